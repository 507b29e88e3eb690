"""What follows a run, made of the results that it has just written: gates, files for CI, other definitions, the page.

What can be refused is before anything is sent (`read_demands`); the rest is what `fluxperf compare` and `fluxperf
report` make of the same directory. Their libraries are loaded when the workers are gone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluxperf.baselines import resolve
from fluxperf.compare.likeness import find_planned_differences
from fluxperf.definitions import DEFINITIONS
from fluxperf.errors import FluxPerfError, Interrupted, UsageError
from fluxperf.masking import mask_json, scrub_all
from fluxperf.model import RoundResult, RunResult
from fluxperf.output import OutputDirectory, check_place, write_copy
from fluxperf.plan.campaign import Campaign
from fluxperf.plan.gate_checks import (
    find_base_problems,
    find_doubts,
    find_problems,
    plan_of_results,
    plan_of_stages,
)
from fluxperf.stored import read_run, read_runs
from fluxperf.survey import StageSurvey, Survey
from fluxperf.voice import Voice

if TYPE_CHECKING:
    from fluxperf.compare.asked import Asked
    from fluxperf.model.gate import GateResult

PAGE_SWITCH = "FLUXPERF_REPORT"
"""The environment variable that, set to `no`, leaves out report.html."""


@dataclass(frozen=True, slots=True)
class Demands:
    """What is wanted of a run besides its results, and who is told."""

    campaign: Campaign
    voice: Voice

    @property
    def judges(self) -> bool:
        """Whether the run is held against something, or to be told of."""
        settings = self.campaign.settings
        told = settings.junit or settings.markdown or settings.github
        return bool(self.campaign.gates or told) or settings.baseline is not None


def read_demands(survey: Survey, voice: Voice) -> Demands:
    """What is wanted, as far as it can be had. Raises UsageError where it cannot."""
    campaign = survey.campaign
    settings = campaign.settings
    if settings.lens is not None:
        from fluxperf.analysis.lens import find_tool

        find_tool(settings.lens)
    has_baseline = settings.baseline is not None
    problems = find_problems(campaign.gates, plan_of_stages(campaign.stages), has_baseline=has_baseline)
    if settings.baseline is not None:
        problems += _find_base_problems(survey, settings.baseline)
    if problems:
        raise UsageError("\n".join(problems))
    for option, path in (("--junit", settings.junit), ("--markdown", settings.markdown)):
        if path is None:
            continue
        if Path(path).is_dir():
            raise UsageError(f"{option} {path}: is a directory; give the name of a file")
        check_place(option, Path(path).absolute().parent)
    for doubt in find_doubts(campaign.gates):
        voice.say(doubt)
    return Demands(campaign, voice)


def _find_base_problems(survey: Survey, name: str) -> list[str]:
    """Why what is planned cannot be held against the baseline."""
    campaign = survey.campaign
    place = Path(os.path.realpath(resolve(name)))
    if place.is_relative_to(os.path.realpath(campaign.output_dir)):
        return [f"--baseline {name} is what --output-dir {campaign.output_dir} would replace: choose another directory"]
    base = read_runs([place])
    problems = find_base_problems(campaign.gates, plan_of_results(base))
    if campaign.settings.allow_different:
        return problems
    planned = {found.spec.plain_title: _asked_of(found, campaign.secrets) for found in survey.stages}
    differences = [*find_planned_differences(base, planned), *_find_other_prompts(survey, base[0])]
    if differences:
        problems += [f"this run could not be compared with the baseline {name}:", *(f"  {one}" for one in differences)]
        problems.append("measure by the same plan, or compare all the same with --allow-different")
    return problems


def _asked_of(found: StageSurvey, secrets: Sequence[str]) -> Mapping[str, Any]:
    """What a stage is asked for, under the names by which its results will tell it, secrets masked as there."""
    settings = found.spec.settings
    asked: dict[str, Any] = {one.name: getattr(settings, one.name) for one in fields(settings)}
    asked |= {"dataset_sha256": found.dataset.sha256, "definitions": DEFINITIONS}
    asked["extra_body"] = mask_json(settings.extra_body)
    del asked["header"], asked["api_key"]
    if settings.model is None:
        del asked["model"]
    scrubbed: Mapping[str, Any] = scrub_all(asked, secrets)
    return scrubbed


def _find_other_prompts(survey: Survey, base: RunResult) -> Iterator[str]:
    """Where this run and the baseline do not send the same prompts at the same levels, as often."""
    titles = {one.stage for one in base.rounds}
    stages = {found.spec.plain_title: found for found in survey.stages}
    for title, found in stages.items():
        its_title = next(iter(titles)) if len(titles) == len(stages) == 1 else title
        own = [one for one in base.rounds if one.stage == its_title]
        where = "" if title is None else f" (stage {title})"
        if own:
            yield from (f"{sentence}{where}" for sentence in _compare_levels(found, own))


def _compare_levels(found: StageSurvey, base: Sequence[RoundResult]) -> Iterator[str]:
    for what, ours, theirs in (
        ("concurrency", [one.concurrency for one in found.levels], [one.concurrency for one in base]),
        ("rounds", [one.round for level in found.levels for one in level.rounds], [one.round for one in base]),
    ):
        planned, there = (dict.fromkeys(map(str, names)) for names in (ours, theirs))
        if planned.keys() != there.keys():
            yield f"{what}: the baseline has {', '.join(there)}, this run {', '.join(planned)}"
    for level in found.levels:
        sent = next((one.requests for one in base if one.concurrency == level.concurrency), None)
        if sent is not None and {one.index for one in sent} != set(level.sample):
            yield f"prompts at concurrency {level.concurrency}: others are drawn (num_samples, seed)"


def follow(demands: Demands, output: OutputDirectory) -> None:
    """After a run that came to its end. Raises GateFailed, and UsageError where it cannot be compared after all."""
    try:
        _print_repeats(demands, output)
        _print_lens(demands, output)
        if demands.judges:
            _judge(demands, output)
    finally:
        make_pages(demands, output)


def _judge(demands: Demands, output: OutputDirectory) -> None:
    from fluxperf.compare.comparison import compare
    from fluxperf.compare.publication import publish

    asked = _as_comparison(demands.campaign, output.path)
    try:
        found = compare(asked, lambda name: output.path if name == str(output.path) else resolve(name), tolerant=True)
    except UsageError as error:
        raise UsageError(f"{error}\nwhat was measured is in {output.path}") from error
    keep_gates(output, found.gates, demands.campaign.copy_to)
    publish(asked, found)
    if found.likeness.objections and not asked.allow_different:
        lines = [f"  {sentence}" for sentence in found.likeness.objections]
        head = f"this run cannot be compared with the baseline; what was measured is in {output.path}:"
        raise UsageError("\n".join([head, *lines]))


def _as_comparison(campaign: Campaign, path: Path) -> Asked:
    """What `fluxperf compare` would be asked for."""
    from fluxperf.analysis.contrast import MARGIN, TABLE
    from fluxperf.compare.asked import Asked

    settings = campaign.settings
    return Asked(
        base=() if settings.baseline is None else (settings.baseline,),
        new=(str(path),),
        margin=MARGIN,
        figures=TABLE,
        gates=campaign.gates,
        judge=settings.judge,
        allow_different=settings.allow_different,
        strict=settings.strict,
        json=None,
        junit=None if settings.junit is None else Path(settings.junit),
        markdown=None if settings.markdown is None else Path(settings.markdown),
        github=settings.github,
        quiet=campaign.quiet,
    )


def keep_gates(output: OutputDirectory, gates: tuple[GateResult, ...], copy_to: str | None) -> None:
    """Writes the results of gates into run.json, and its copy."""
    if gates:
        run = replace(read_run(output.path), gates=gates)
        output.write_run(run)
        write_copy(copy_to, run)


def _print_repeats(demands: Demands, output: OutputDirectory) -> None:
    """What the spread from run to run is, if the plan was repeated."""
    if demands.campaign.settings.repeat == 1:
        return
    from fluxperf.analysis.steadiness import find_steadiness
    from fluxperf.report.steadiness import render_steadiness

    voice = demands.voice
    voice.print("\n" + render_steadiness(find_steadiness(read_runs([output.path])), voice.columns))


def _print_lens(demands: Demands, output: OutputDirectory) -> None:
    """The figures by another tool's definitions, if asked for."""
    lens = demands.campaign.settings.lens
    if lens is None:
        return
    from fluxperf.analysis.lens import apply_lens
    from fluxperf.report.lens import render_lens

    voice = demands.voice
    voice.print("\n" + render_lens(apply_lens(lens, read_run(output.path)), voice.columns))


def make_pages(demands: Demands, output: OutputDirectory) -> None:
    """report.html of the run and of its stages, whatever of them there is. What goes wrong is said, and no more."""
    if os.environ.get(PAGE_SWITCH, "").lower() == "no":
        return
    from fluxperf.presentation.page import NAME, check_library, write_page

    voice = demands.voice
    try:
        check_library()
        folders = [stage.folder for stage in demands.campaign.stages if stage.folder]
        for path in (*(output.path / folder for folder in folders), output.path):
            if (path / "run.json").is_file():
                voice.announce(f"writing {path / NAME}")
                write_page([path], path / NAME)
    except Interrupted:
        raise
    except FluxPerfError as error:
        voice.say(str(error))
    except Exception as error:  # the page is the last thing, and the least: the results are on disk
        voice.complain(f"{NAME} could not be made: {type(error).__name__}: {error}")
    finally:
        voice.clear()
