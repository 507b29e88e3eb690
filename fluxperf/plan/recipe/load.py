"""A recipe's file into a `Campaign`: read as a whole, and all that is wrong with it said at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fluxperf.errors import UsageError
from fluxperf.model.gate import Gate
from fluxperf.plan.campaign import Campaign, RecipeText, StageSpec
from fluxperf.plan.gates import parse_gates
from fluxperf.plan.recipe.document import MOST_BYTES, Block, Listing, Value, read_document
from fluxperf.plan.recipe.env import make_lookup, read_env
from fluxperf.plan.recipe.faults import Faults, Place, unknown_key
from fluxperf.plan.recipe.folders import Folders, read_name
from fluxperf.plan.recipe.gates import check_gates, read_gates
from fluxperf.plan.recipe.keys import OF_CAMPAIGN, SUITE, TOP, option_keys
from fluxperf.plan.recipe.masks import mask_text, secrets_of
from fluxperf.plan.recipe.options import Item, OptionReader
from fluxperf.plan.recipe.overrides import select_given
from fluxperf.plan.recipe.stage import Common, StageSource, read_stage
from fluxperf.plan.recipe.surroundings import RecipeSurroundings
from fluxperf.plan.recipe.values import Reader, Unread, check_keys, entries, read_flag, resolve_null

# At the top such keys are the user's own, to hold what aliases repeat.
OWN = "x-"

__all__ = ["RecipeSurroundings", "load_recipe"]


def load_recipe(path: Path, given: Mapping[str, Any], surroundings: RecipeSurroundings) -> Campaign:
    """The campaign that the file describes. `given` are the command line's options by name, which stand above it.

    Raises UsageError that lists all faults, one a line, with file, line and path of keys.
    """
    data = _read_bytes(path)
    faults = Faults(path)
    document = read_document(path, data, faults)
    text, secrets = mask_text(document)
    common = _read_common(path, document.top, given, faults, surroundings)
    sources = list(_find_stages(document.top, faults, surroundings))
    found = [read_stage(source, common) for source in sources]
    stages = [stage for stage in found if stage is not None]
    _tell_missing(common, len(sources))
    secrets += [secret for stage in stages for secret in secrets_of(stage)]
    secrets += [secret.strip() for secret in secrets if secret.strip()]  # a block's text ends with a line end
    goes_on = _read_continue(common, given)
    gates = _read_gates(common, stages)
    faults.raise_if_any(secrets)
    first = stages[0].settings
    output = common.items.get("output")
    return Campaign(
        stages=tuple(_house(stage, len(stages)) for stage in stages),
        output_dir=first.output_dir,
        overwrite=first.overwrite,
        quiet=first.quiet,
        continue_on_error=goes_on,
        copy_to=None if output is None else output.value,
        recipe=RecipeText(str(path), hashlib.sha256(data).hexdigest(), text),
        overrides=common.overrides.sentences(len(stages)),
        remarks=common.remarks.sentences(len(stages)),
        secrets=tuple(dict.fromkeys(secrets)),
        gates=gates,
    )


def _read_gates(common: Common, stages: Sequence[StageSpec]) -> tuple[Gate, ...]:
    """The recipe's gates and those of `fail_on`, each once. What they need is asked of a plan without faults."""
    reader = Reader(common.faults, common.surroundings.environ.get)
    gates: dict[Gate, Place | None] = dict(read_gates(common.top.entries.get("gates"), reader))
    item = common.items.get("fail_on")
    place = None if item is None or "fail_on" in common.given else item.place
    for gate in parse_gates(stages[0].settings.fail_on) if stages else ():
        gates.setdefault(gate, place)
    if not common.faults.found:
        check_gates(gates, stages, common.faults)
    return tuple(gates)


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: the recipe cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > MOST_BYTES:
        raise UsageError(f"{path}: more than {MOST_BYTES / 2**20:.0f} MiB: too large for a recipe")
    return data


def _read_common(
    path: Path, top: Block, given: Mapping[str, Any], faults: Faults, surroundings: RecipeSurroundings
) -> Common:
    """What all stages share, with its faults."""
    options = option_keys(surroundings.later)
    for key, value in top.entries.items():
        if key in options and key not in TOP:
            faults.add(value.place, "unknown key at this level; it belongs in global or in a stage")
        elif key not in TOP and not key.startswith(OWN):
            faults.add(value.place, unknown_key(key, TOP))
    shared = resolve_null(top.entries.get("global"))
    if shared is not None and not isinstance(shared, Block):
        faults.add(shared.place, "must be a mapping with the options that all stages share")
    if isinstance(shared, Block):
        check_keys(shared, options, faults)
    place = shared.place if shared is not None else top.place
    of_campaign = {key: value for key, value in entries(shared).items() if key in (*OF_CAMPAIGN, "output")}
    others = {key: value for key, value in entries(shared).items() if key not in of_campaign}
    env = read_env([others.get("env")], Reader(faults, surroundings.environ.get))
    reader = Reader(faults, make_lookup(env, surroundings.environ.get))
    items = OptionReader(reader, surroundings.later).read(Block(place, of_campaign))
    return Common(
        file=path,
        top=top,
        options=Block(place, others),
        items=items,
        given=select_given(given),
        surroundings=surroundings,
        faults=faults,
    )


def _find_stages(top: Block, faults: Faults, surroundings: RecipeSurroundings) -> Iterator[StageSource]:
    """Where each stage stands, in order."""
    given = {key: value for key in ("stages", "suites") if (value := resolve_null(top.entries.get(key))) is not None}
    if len(given) != 1:
        what = "give either stages or suites, not both" if given else "give stages, or suites with stages"
        faults.add(given["suites"].place if given else Place(top.place.line), what)
    reader = Reader(faults, surroundings.environ.get)
    if "stages" in given:
        yield from (StageSource(block) for block in _blocks(given["stages"], "stages", faults))
    elif "suites" in given:
        folders = Folders()
        for suite in _blocks(given["suites"], "suites", faults):
            check_keys(suite, SUITE, faults)
            name = read_name(suite, reader)
            if name is not None:
                folders.take((name,), suite, reader)
            stages = resolve_null(suite.entries.get("stages"))
            if stages is None:
                faults.add(suite.place, "stages is missing: a suite needs some")
                continue
            for block in _blocks(stages, "stages", faults):
                yield StageSource(block, name or suite.place.path, suite.entries.get("env"))


def _blocks(value: Value, what: str, faults: Faults) -> Iterator[Block]:
    """The mappings that a list holds."""
    if not isinstance(value, Listing):
        faults.add(value.place, f"must be a list of {what}, each beginning with - name: ...")
        return
    if not value.entries:
        faults.add(value.place, f"is an empty list: there is nothing to run without {what}")
    for entry in value.entries:
        if isinstance(entry, Block):
            yield entry
        else:
            faults.add(entry.place, "must be a mapping that begins with name: ...")


def _tell_missing(common: Common, stages: int) -> None:
    """What no stage has is missing in `global`."""
    for what, places in common.missing.items():
        if len(places) == stages > 1:
            places = [Place(common.options.place.line, "global")]
        for place in places:
            common.faults.add(place, what)


def _read_continue(common: Common, given: Mapping[str, Any]) -> bool:
    """Whether a failed stage is followed by the next one: at the top, in `global`, or on the command line."""
    told = common.items.get("continue_on_error", Item(None, common.options.place, ""))
    value = common.top.entries.get("continue_on_error")
    if value is not None:
        reader = Reader(common.faults, common.surroundings.environ.get)
        try:
            at_top = reader.read(value, read_flag)
        except Unread:
            return False
        if at_top is not None and told.value is not None and at_top != told.value:
            common.faults.add(value.place, f"contradicts the one in line {told.place.line}: leave one out")
        told = told if at_top is None else replace(told, value=at_top)
    return bool(given.get("continue_on_error")) or bool(told.value)


def _house(stage: StageSpec, stages: int) -> StageSpec:
    """The stage with its own directories below those of the recipe."""
    settings = stage.settings
    debug_log_dir = settings.debug_log_dir
    if stages > 1:
        debug_log_dir = str(Path(debug_log_dir, stage.folder))
    output_dir = str(Path(settings.output_dir, stage.folder))
    return replace(stage, settings=replace(settings, output_dir=output_dir, debug_log_dir=debug_log_dir))
