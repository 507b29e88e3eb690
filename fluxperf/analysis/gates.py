"""Gates held against what was measured: a `GateResult` for each stage, level and round that a gate applies to.

By the interval a gate fails only where the truth is beyond the threshold: the one-sided p-value of each judgement, all
of them corrected together (Holm, 1979), so that of any number of gates on an unchanged server at most 5 % of runs fail
one. Knows no grammar, and of figures only that they are `Uncertain`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from fluxperf.analysis.figures import Reading
from fluxperf.analysis.gate_words import Finding, tell_failed, tell_passed, tell_undecided
from fluxperf.analysis.uncertain import Uncertain
from fluxperf.model import CONTROL, RoundName, RoundResult, RunResult, Status
from fluxperf.model.contrast import Figure
from fluxperf.model.gate import Against, Gate, GateOutcome, GateResult, Judge

TOTAL_ERROR = 0.05
_OF_FAILURES = ("errors", "goodput")  # what they are of a round in which nothing succeeded is known, and bad


class Measures(Protocol):
    """What is asked of figures; `fluxperf.analysis.figures.Reading` is one."""

    def measure(self, figure: Figure, rounds: Sequence[RoundResult]) -> Uncertain | None:
        """The figure itself, of one side."""

    def contrast(self, figure: Figure, base: Sequence[RoundResult], new: Sequence[RoundResult]) -> Uncertain | None:
        """New over base."""

    def rounds_ratio(self, figure: Figure, runs: Sequence[tuple[RoundResult, RoundResult]]) -> Uncertain | None:
        """The later round over the earlier one, of runs as (earlier, later)."""


@dataclass(frozen=True, slots=True)
class _Place:
    stage: str | None
    concurrency: int
    round: RoundName


def judge_gates(
    gates: Sequence[Gate],
    new: Sequence[RunResult],
    base: Sequence[RunResult] | None,
    judge: Judge,
    measures: Measures | None = None,
) -> tuple[GateResult, ...]:
    """What became of each gate at each place it applies to, in order. `new` and `base` are repeats of one plan.

    A place that was asked for, or that the baseline of a gate has, and that is not in every one of `new`, is ABSENT;
    so is a figure without a value. Reads requests, and raises UsageError where they cannot be read.
    """
    court = _Court(new, base, Reading() if measures is None else measures)
    cases = [court.look(gate, place) for gate in gates for place in court.places(gate)]
    if judge == "point":
        return tuple(_judge_point(case) for case in cases)
    tails = _correct([_p_value(case) for case in cases])
    return tuple(_judge_interval(case, tail) for case, tail in zip(cases, tails, strict=True))


@dataclass(frozen=True, slots=True)
class _Case:
    """A gate at a place: what is held against the threshold, or (`result` has an outcome) why that cannot be."""

    result: GateResult
    found: Uncertain | None = None

    @property
    def is_beyond(self) -> bool:
        gate = self.result.gate
        return self.found is not None and (
            self.found.value > gate.threshold if gate.above else self.found.value < gate.threshold
        )


def _p_value(case: _Case) -> float | None:
    """One-sided: low where the truth is beyond the threshold; None: there is nothing to judge."""
    gate, found = case.result.gate, case.found
    if found is None:
        return None
    return found.p_above(gate.threshold) if gate.above else found.p_below(gate.threshold)


def _correct(p_values: Sequence[float | None]) -> list[tuple[float, bool]]:
    """Holm's procedure: for each the share of error that it was allowed, and whether it is beyond doubt with that."""
    found: list[tuple[float, bool]] = [(TOTAL_ERROR, False)] * len(p_values)
    order = sorted((p, nth) for nth, p in enumerate(p_values) if p is not None)
    allowed, certain = TOTAL_ERROR, True
    for rank, (p, nth) in enumerate(order):
        if certain:
            allowed = TOTAL_ERROR / (len(order) - rank)
            certain = p <= allowed
        found[nth] = allowed, certain
    return found


def _judge_point(case: _Case) -> GateResult:
    if case.found is None:
        return case.result
    finding = Finding(case.result, case.found)
    if case.is_beyond:
        return replace(case.result, outcome=GateOutcome.FAILED, text=tell_failed(finding))
    return replace(case.result, outcome=GateOutcome.PASSED, text=tell_passed(finding))


def _judge_interval(case: _Case, tail: tuple[float, bool]) -> GateResult:
    if case.found is None:
        return case.result
    allowed, certain = tail
    confidence = 1 - 2 * allowed  # of both bounds; each leaves out what is allowed
    result = replace(case.result, bounds=case.found.bounds(confidence), confidence=confidence)
    finding = Finding(result, case.found, allowed)
    if certain and case.is_beyond:
        return replace(result, outcome=GateOutcome.FAILED, text=tell_failed(finding))
    if case.is_beyond:
        return replace(result, outcome=GateOutcome.UNDECIDED, text=tell_undecided(finding))
    return replace(result, outcome=GateOutcome.PASSED, text=tell_passed(finding))


@dataclass(frozen=True, slots=True)
class _Court:
    """All that was measured, by run and place."""

    new: Sequence[RunResult]
    base: Sequence[RunResult] | None
    measures: Measures

    def places(self, gate: Gate) -> list[_Place]:
        """Where the gate applies; one place in any case, since a gate that was never looked at must not pass."""
        found = dict.fromkeys(place for run in self.new for place in _places_of(run))
        if gate.against is Against.BASELINE:
            found |= dict.fromkeys(place for run in self.base or () for place in _rounds_of(run))
        chosen = [place for place in found if self._applies(gate, place, found)]
        return chosen or [_Place(gate.stage, gate.concurrency or 0, 1 if gate.round is None else gate.round)]

    @staticmethod
    def _applies(gate: Gate, place: _Place, places: Mapping[_Place, None]) -> bool:
        if gate.stage is not None and place.stage != gate.stage and not (place.stage or "").endswith(f"/{gate.stage}"):
            return False
        if gate.concurrency not in (None, place.concurrency):
            return False
        if gate.earlier is not None and replace(place, round=gate.earlier) not in places:
            return False
        return place.round != CONTROL if gate.round is None else place.round == gate.round

    def look(self, gate: Gate, place: _Place) -> _Case:
        """What is held against the gate's threshold at the place."""
        blank = GateResult(
            gate=gate,
            stage=place.stage,
            concurrency=place.concurrency,
            round=place.round,
            outcome=GateOutcome.UNDECIDED,
            text="",
        )
        names = [place.round, *([] if gate.earlier is None else [gate.earlier])]
        sides: list[list[RoundResult]] = []
        for name in names:
            rounds = [_rounds_of(run).get(replace(place, round=name)) for run in self.new]
            if (absent := _find_absent(gate.figure, rounds, name)) is not None:
                return _Case(replace(blank, outcome=GateOutcome.ABSENT, text=absent))
            sides.append([result for result in rounds if result is not None])
        if (doubt := self._find_false_pair(gate, place)) is not None:
            return _Case(replace(blank, text=doubt))
        if (doubt := _find_invalid(gate.figure, [result for side in sides for result in side])) is not None:
            return _Case(replace(blank, text=doubt))
        if gate.against is Against.BASELINE:
            return self._against_baseline(blank, place, sides[0])
        if gate.against is Against.ROUND:
            return self._against_round(blank, sides[0], sides[1])
        return self._case(blank, self.measures.measure(gate.figure, sides[0]))

    def _find_false_pair(self, gate: Gate, place: _Place) -> str | None:
        """Why two rounds of a level cannot be held against each other, as its evaluation has it; None: they can."""
        if gate.earlier is None:
            return None
        for run in self.new:
            for found in run.evaluations:
                its_place = (found.stage, found.concurrency, found.round)
                is_it = its_place == (place.stage, place.concurrency, place.round)
                if is_it and gate.earlier == 1 and found.verdict.status is Status.INVALID:
                    return f"the rounds cannot be compared: {found.verdict.reasons[0]}"
        return None

    def _against_baseline(self, blank: GateResult, place: _Place, new: Sequence[RoundResult]) -> _Case:
        figure = blank.gate.figure
        base = [result for run in self.base or () if (result := _rounds_of(run).get(place)) is not None]
        if not base:
            return _Case(replace(blank, text="the baseline has no such round: save a baseline anew, with this plan"))
        if (doubt := _find_invalid(figure, base)) is not None:
            return _Case(replace(blank, text=f"in the baseline {doubt}"))
        before = self.measures.measure(figure, base)
        if before is None:
            return _Case(replace(blank, text=f"the baseline has no value of {figure} there"))
        return self._ratio(blank, before, new, lambda: self.measures.contrast(figure, base, new))

    def _against_round(self, blank: GateResult, later: Sequence[RoundResult], first: Sequence[RoundResult]) -> _Case:
        figure = blank.gate.figure
        before = self.measures.measure(figure, first)
        if before is None:
            return self._case(blank, None)
        return self._ratio(
            blank, before, later, lambda: self.measures.rounds_ratio(figure, list(zip(first, later, strict=True)))
        )

    def _ratio(
        self,
        blank: GateResult,
        before: Uncertain,
        later: Sequence[RoundResult],
        compare: Callable[[], Uncertain | None],
    ) -> _Case:
        """One value over an earlier one."""
        after = self.measures.measure(blank.gate.figure, later)
        if after is None:
            return self._case(blank, None)
        blank = replace(blank, base=before.value, new=after.value)
        found = compare()
        if found is None and before.value == after.value:  # 0 in both: nothing has changed
            ratio = replace(after, value=1.0, limits=lambda _: (1.0, 1.0))
            return self._case(blank, ratio)
        return self._case(blank, found)

    @staticmethod
    def _case(blank: GateResult, found: Uncertain | None) -> _Case:
        if found is None:
            what = f"there is no value of {blank.gate.figure}: {_why_no_value(blank.gate.figure)}"
            return _Case(replace(blank, outcome=GateOutcome.ABSENT, text=what))
        return _Case(replace(blank, value=found.value), found)


def _rounds_of(run: RunResult) -> dict[_Place, RoundResult]:
    return {_Place(result.stage, result.concurrency, result.round): result for result in run.rounds}


def _places_of(run: RunResult) -> Iterator[_Place]:
    """Where the run should have measured, by its plan, and where it has."""
    yield from _rounds_of(run)
    plans: list[tuple[str | None, Mapping[str, Any]]] = [(stage.name, stage.configuration) for stage in run.stages]
    titles = dict.fromkeys(result.stage for result in run.rounds) or [None]
    plans = plans or [(title, run.configuration) for title in titles]
    for title, plan in plans:
        levels, rounds = plan.get("concurrency"), plan.get("rounds")
        if isinstance(levels, list | tuple) and isinstance(rounds, int):
            names: list[RoundName] = [*range(1, rounds + 1), *([CONTROL] if plan.get("control_round") else [])]
            yield from (_Place(title, int(level), name) for level in levels for name in names)


def _find_absent(figure: Figure, rounds: Sequence[RoundResult | None], name: RoundName) -> str | None:
    """Why there is nothing to judge in one of the repeats; None: there is something in each."""
    for nth, result in enumerate(rounds, 1):
        where = f" in repeat {nth}" if len(rounds) > 1 else ""
        if result is None:
            return f"{_say(name)} was not measured{where}"
        if not result.summary.successful_requests and figure.metric not in _OF_FAILURES:
            return f"no request of {_say(name)} succeeded{where}"
    return None if rounds else "nothing was measured"


def _find_invalid(figure: Figure, rounds: Sequence[RoundResult]) -> str | None:
    """Why the figure is not to be used, by the verdict of a round; None: it is.

    Where one percentile of a metric is worth nothing, its others and its means are no better. A check that names no
    figures speaks against all.
    """
    for result in rounds:
        verdict = result.summary.verdict
        if verdict is None or verdict.status is not Status.INVALID:
            continue
        if not result.summary.successful_requests and figure.metric in _OF_FAILURES:
            continue  # that nothing succeeded is just what they tell
        for check in result.summary.checks:
            if check.weight is Status.INVALID and _takes_from(check.figures, figure):
                return f"{_say(result.round)} is invalid: {check.text}"
        told = any(check.weight is Status.INVALID for check in result.summary.checks)
        if not told and _takes_from(verdict.figures, figure):
            return f"{_say(result.round)} is invalid: {'; '.join(verdict.reasons) or 'no reason is given'}"
    return None


def _takes_from(names: Sequence[str], figure: Figure) -> bool:
    metric = "throughput" if figure.metric in ("tokens_per_s", "requests_per_s", "duration_s") else figure.metric
    return not names or metric in {name.partition(".")[0] for name in names}


def _why_no_value(figure: Figure) -> str:
    reasons = {
        "cached_tokens": "the server does not tell cached tokens",
        "goodput": "the round was measured without an SLO file",
        "itl_ms": "no answer had two tokens that came apart",
    }
    return reasons.get(figure.metric, "no request has one")


def _say(name: RoundName) -> str:
    return "the control round" if name == CONTROL else f"round {name}"
