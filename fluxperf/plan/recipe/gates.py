"""The gates of a recipe, each with its line, and whether its stages have what they ask for. Judges nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from fluxperf.errors import UsageError
from fluxperf.model.gate import Gate
from fluxperf.plan.campaign import StageSpec
from fluxperf.plan.gate_checks import find_problems, plan_of_stages
from fluxperf.plan.gates import parse_gate
from fluxperf.plan.recipe.document import Listing, Value
from fluxperf.plan.recipe.faults import Faults, Place
from fluxperf.plan.recipe.values import Reader, Unread, resolve_null


def read_gates(value: Value | None, reader: Reader) -> dict[Gate, Place]:
    """The gates of the list with their places; what is wrong with one is a fault."""
    listing = resolve_null(value)
    if listing is None:
        return {}
    if not isinstance(listing, Listing):
        reader.faults.add(listing.place, "must be a list of gates, such as - ttft_ms.p99 > +10%")
        return {}
    return dict(_read_entries(listing, reader))


def _read_entries(listing: Listing, reader: Reader) -> Iterator[tuple[Gate, Place]]:
    for entry in listing.entries:
        try:
            text = reader.written(entry)
        except Unread:
            continue
        if text is None:
            reader.faults.add(entry.place, "is null: write a gate, such as ttft_ms.p99 > +10%, or leave it out")
            continue
        try:
            yield parse_gate(text), entry.place
        except UsageError as error:
            reader.faults.add(entry.place, str(error))


def check_gates(gates: Mapping[Gate, Place | None], stages: Sequence[StageSpec], faults: Faults) -> None:
    """What the gates ask for and no stage has is a fault. Those without a place were given on the command line."""
    has_baseline = any(stage.settings.baseline is not None for stage in stages)
    plan = plan_of_stages(stages)
    for gate, place in gates.items():
        for problem in find_problems([gate], plan, has_baseline=has_baseline):
            if place is None:
                faults.add_text(f"--fail-on {problem}")
            else:
                faults.add(place, problem)
