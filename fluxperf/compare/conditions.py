"""Under what conditions runs were measured, beyond what was asked for: who came how far, what was sent, what was cold.

Pure. Each function gives sentences; whether they speak against a comparison is said by its name or beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from fluxperf.compare.facts import describe_drawing, describe_slo
from fluxperf.compare.telling import (
    MOST_CHARACTERS,
    Place,
    find_round,
    named_runs,
    place_of,
    tell_apart,
)
from fluxperf.model import RoundName, RoundResult, RunResult, StageState, Status
from fluxperf.report.text import printable

Runs: TypeAlias = Sequence[RunResult]

_COLD = {True: "cold", False: "not cold", None: "of unknown coldness"}


def missing_places(base: Runs, new: Runs) -> Iterator[str]:
    """Stages, levels and rounds that are not in all runs."""
    runs = [*base, *new]
    stages = [[list(_layout(run)) for run in side] for side in (base, new)]
    if text := tell_apart(*([", ".join(map(_call, one)) for one in side] for side in stages)):
        yield f"stages: {text}"
    for stage in stages[0][0]:
        layouts = [[_layout(run).get(stage) for run in side] for side in (base, new)]
        known = [[layout for layout in side if layout is not None] for side in layouts]
        if sum(map(len, known)) < len(runs):
            continue
        levels = [[", ".join(map(str, sorted(layout))) or "none" for layout in side] for side in known]
        if text := tell_apart(*levels):
            yield f"levels: {text}{_bracketed(Place(stage))}"
        for level in sorted(set.intersection(*(set(layout) for side in known for layout in side))):
            if text := tell_apart(*([", ".join(map(str, layout[level])) for layout in side] for side in known)):
                yield f"rounds: {text}{_bracketed(Place(stage, level))}"


def _layout(run: RunResult) -> dict[str | None, dict[int, list[RoundName]]]:
    """The rounds of each level of each stage."""
    found: dict[str | None, dict[int, list[RoundName]]] = {stage.name: {} for stage in run.stages}
    for result in run.rounds:
        found.setdefault(result.stage, {}).setdefault(result.concurrency, []).append(result.round)
    return found


def _call(stage: str | None) -> str:
    return "one without a name" if stage is None else printable(stage)


def _bracketed(place: Place) -> str:
    return f" ({place.text})" if place.text else ""


def other_samples(base: Runs, new: Runs) -> Iterator[str]:
    """Levels whose prompts are not the same. Rows are read only where what was asked for does not tell."""
    runs = [*base, *new]
    firsts: dict[tuple[str | None, int], Place] = {}
    for result in base[0].rounds:
        firsts.setdefault((result.stage, result.concurrency), place_of(result))
    for place in firsts.values():
        drawings = [describe_drawing(run, place.stage) for run in runs]
        results = [found for run in runs if (found := find_round(run, place))]
        if len(results) < len(runs) or (None not in drawings and all(one == drawings[0] for one in drawings)):
            continue
        if len({one.configuration.get("dataset_sha256") for one in results}) > 1:
            continue  # the indices are of other prompts, and that is told
        samples = [{request.index for request in one.requests} for one in results]
        shared, every = len(set.intersection(*samples)), len(set.union(*samples))
        if shared < every:
            level = Place(place.stage, place.concurrency)
            yield f"sample: of {every} prompts that were sent, {shared} are the same in all runs{_bracketed(level)}"


def other_timeouts(base: Runs, new: Runs) -> Iterator[str]:
    """Other timeouts matter where one was reached: it decides which requests count."""
    timeouts = [[one.configuration.get("timeout_s") for run in side for one in run.rounds] for side in (base, new)]
    reached = any(one.summary.outcomes.get("timeout") for run in (*base, *new) for one in run.rounds)
    if reached and (text := tell_apart(*timeouts)):
        yield f"timeout: {text}, and requests took that long"


def unfinished(base: Runs, new: Runs) -> Iterator[str]:
    """Runs that did not come to their end."""
    for name, run in named_runs(base, new):
        failed = [stage for stage in run.stages if stage.state is StageState.FAILED]
        for stage in failed:
            why = f": {printable(stage.error.splitlines()[0], MOST_CHARACTERS)}" if stage.error else ""
            yield f"failed: {Place(stage.name).text} of {name} did not come to its end{why}"
        if (run.partial and not failed) or any(one.partial for one in run.rounds):
            yield f"partial: {name} was stopped before its end"


def other_caches(base: Runs, new: Runs) -> Iterator[tuple[str, bool]]:
    """What is to be said of first rounds that met another cache, and whether that speaks against a comparison."""
    for place in (place_of(one) for one in base[0].rounds if one.round == 1):
        ours, theirs = (
            [found.summary.cold for run in side if (found := find_round(run, place))] for side in (base, new)
        )
        if not ours or not theirs or len({*ours, *theirs}) == 1:
            continue
        known = [[one for one in side if one is not None] for side in (ours, theirs)]
        apart = f"cold: BASE was {_tell_cold(ours)}, NEW was {_tell_cold(theirs)}{_bracketed(place)}"
        if all(known) and _share(known[0]) != _share(known[1]):
            yield apart, True
        elif len({*known[0], *known[1]}) > 1:
            text = f"cold: both sides were {_tell_cold([*ours, *theirs])}{_bracketed(place)}"
            yield (
                f"{text}: what differs from run to run is the cache; --salt or --reset-cache-url makes them alike",
                False,
            )
        else:
            yield apart, False


def _share(cold: Sequence[bool]) -> float:
    return sum(cold) / len(cold)


def _tell_cold(found: Sequence[bool | None]) -> str:
    counts = {one: found.count(one) for one in _COLD if one in found}
    if len(counts) == 1:
        return _COLD[found[0]]
    return " and ".join(f"{_COLD[one]} in {amount} of {len(found)} runs" for one, amount in counts.items())


def other_objectives(base: Runs, new: Runs) -> Iterator[tuple[str, bool]]:
    """Goodput by other objectives is another figure; by none it is not there, which is only told."""
    told: dict[str, bool] = {}
    for place in map(place_of, base[0].rounds):
        ours, theirs = (
            [describe_slo(found) for run in side if (found := find_round(run, place))] for side in (base, new)
        )
        if ours and theirs and (text := tell_apart(ours, theirs)):
            told.setdefault(f"SLO: {text}", None not in (*ours, *theirs))
    yield from told.items()


def verdicts(base: Runs, new: Runs, status: Status) -> Iterator[str]:
    """Rounds of that verdict through the measurement's fault: that nothing succeeded is a result."""
    for name, run in named_runs(base, new):
        for result in run.rounds:
            verdict = result.summary.verdict
            reasons = [] if verdict is None or verdict.status is not status else _reasons(result)
            if reasons:
                more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
                yield f"{status}: {name}, {place_of(result).text}: {printable(reasons[0])}{more}"


def _reasons(result: RoundResult) -> list[str]:
    verdict = result.summary.verdict
    of_server = {check.text for check in result.summary.checks if check.name == "outcome"}
    return [] if verdict is None else [reason for reason in verdict.reasons if reason not in of_server]
