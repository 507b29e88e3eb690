"""Gates held against figures whose bounds are given: what fails, what passes, and what nobody can tell."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from fluxperf.analysis.gates import judge_gates
from fluxperf.analysis.uncertain import Uncertain, on_logs, unknown
from fluxperf.model import CONTROL, Check, RoundName, RoundResult, RoundSummary, RunResult, StageResult, Status, Verdict
from fluxperf.model.contrast import Figure, Way
from fluxperf.model.gate import GateOutcome, GateResult
from fluxperf.plan.gates import parse_gate

Value = Callable[[RoundResult], float | None]


def certain(value: float, error: float = 0.0, count: int = 50, way: Way = Way.PAIRED) -> Uncertain:
    """A figure whose logarithm has this standard error; infinite: nothing is known."""
    limits = on_logs(math.log(value), error, 1000) if error and error < math.inf else unknown()
    if not error:
        limits = lambda _: (value, value)  # noqa: E731
    return Uncertain(value=value, limits=limits, way=way, counts=(count, count), why=None if error < 9 else "too few")


@dataclass
class Figures:
    """Figures that are what a test says; `error` is the standard error of each, on the scale of logarithms."""

    error: float = 0.0
    value: Value = lambda result: 100.0
    asked: list[str] = field(default_factory=list)

    def measure(self, figure: Figure, rounds: Sequence[RoundResult]) -> Uncertain | None:
        found = [self.value(result) for result in rounds]
        self.asked.append(f"measure {figure} of {len(rounds)}")
        value = found[0]
        return None if value is None else certain(value, self.error)

    def contrast(self, figure: Figure, base: Sequence[RoundResult], new: Sequence[RoundResult]) -> Uncertain | None:
        before, after = self.value(base[0]), self.value(new[0])
        return certain(after / before, self.error) if before and after else None

    def rounds_ratio(self, figure: Figure, runs: Sequence[tuple[RoundResult, RoundResult]]) -> Uncertain | None:
        earlier, later = runs[0]
        return self.contrast(figure, [earlier], [later])


def by_round(**values: float | None) -> Value:
    """Values by the name of the round, `r1` or `control`."""
    return lambda result: values[str(result.round) if result.round == CONTROL else f"r{result.round}"]


def by_label(**values: float | None) -> Value:
    """Values by the run that the round is of."""
    return lambda result: values[str(result.configuration["run"])]


def make_round(name: RoundName = 1, concurrency: int = 8, **more: Any) -> RoundResult:
    told = {"total_requests": 50, "successful_requests": 50, "failed_requests": 0} | more.pop("summary", {})
    summary = RoundSummary(
        duration_s=1.0,
        avg_input_tokens=None,
        avg_output_tokens=None,
        avg_in_flight=None,
        stats={},
        tokens_per_s=None,
        requests_per_s=None,
        goodput=None,
        outcomes={},
        cached_tokens=None,
        **told,
    )
    plain = RoundResult(
        stage=None,
        concurrency=concurrency,
        round=name,
        configuration={},
        summary=summary,
        requests=(),
        first_sent_ns=0,
    )
    return replace(plain, **more)


def make_run(*rounds: RoundResult, name: str = "new", **more: Any) -> RunResult:
    """A run of one round at concurrency 8, or of these rounds."""
    named = tuple(replace(one, configuration={"run": name}) for one in rounds or (make_round(),))
    plain = RunResult(
        started_at="2026-01-31T12:00:00Z",
        partial=False,
        environment={},
        labels={},
        configuration={},
        rounds=named,
        comparisons=(),
    )
    return replace(plain, **more)


BASE = make_run(name="base")


def judge(text: str, figures: Figures, *new: RunResult, base: Sequence[RunResult] | None = None) -> GateResult:
    """The one result of one gate."""
    (found,) = judge_gates([parse_gate(text)], new or [make_run()], base, "interval", figures)
    return found


def outcomes(results: Sequence[GateResult]) -> list[str]:
    return [f"{result.round}: {result.outcome}" for result in results]


@pytest.mark.parametrize(
    ("value", "error", "outcome"),
    [
        (99.0, 0.0, "passed"),
        (100.0, 0.0, "passed"),  # what is at the threshold is not above it
        (101.0, 0.001, "failed"),
        (101.0, 0.1, "undecided"),
        (99.0, 0.1, "passed"),  # noise fails nothing, and what is below the threshold passes
        (101.0, math.inf, "undecided"),
    ],
)
def test_a_value(value: float, error: float, outcome: str) -> None:
    found = judge("ttft_ms.p99 > 100", Figures(error, lambda _: value))
    assert (found.outcome, found.value) == (outcome, value)


def test_at_least_the_threshold() -> None:
    assert judge("ttft_ms.p99 >= 100", Figures()).outcome is GateOutcome.FAILED
    assert judge("ttft_ms.p99 <= 100", Figures()).outcome is GateOutcome.FAILED
    assert judge("ttft_ms.p99 < 100", Figures()).outcome is GateOutcome.PASSED


def test_one_bound_decides_with_all_that_chance_is_allowed() -> None:
    """One-sided at 5 %: 1.6449 standard errors."""
    barely, not_quite = 100 * math.exp(0.01 * 1.66), 100 * math.exp(0.01 * 1.63)
    assert judge("ttft_ms.p99 > 100", Figures(0.01, lambda _: barely)).outcome is GateOutcome.FAILED
    assert judge("ttft_ms.p99 > 100", Figures(0.01, lambda _: not_quite)).outcome is GateOutcome.UNDECIDED
    assert judge("ttft_ms.p99 > 100", Figures(0.01, lambda _: barely)).confidence == pytest.approx(0.9)


def test_judgements_share_what_chance_is_allowed() -> None:
    """Holm: of two the first must be beyond 2.5 %, the second then beyond 5 %."""
    rounds = make_run(make_round(1), make_round(2))
    gate = [parse_gate("ttft_ms.p99 > 100")]

    def of(first: float, second: float) -> list[str]:
        figures = Figures(0.01, by_round(r1=100 * math.exp(0.01 * first), r2=100 * math.exp(0.01 * second)))
        return outcomes(judge_gates(gate, [rounds], None, "interval", figures))

    assert of(1.8, 1.8) == ["1: undecided", "2: undecided"]
    assert of(1.8, 2.1) == ["1: failed", "2: failed"]
    assert of(1.5, 2.1) == ["1: undecided", "2: failed"]
    assert of(-1.0, 1.8) == ["1: passed", "2: undecided"]


def test_bounds_agree_with_what_was_decided() -> None:
    runs = [make_run(*(make_round(number) for number in range(1, 6)))]
    values = {f"r{number}": 100 * math.exp(0.01 * number * 0.7) for number in range(1, 6)}
    for found in judge_gates(
        [parse_gate("ttft_ms.p99 > 100")], runs, None, "interval", Figures(0.01, by_round(**values))
    ):
        assert found.bounds is not None
        assert (found.bounds[0] > 100) == (found.outcome is GateOutcome.FAILED)


def test_by_the_point_noise_does_not_matter() -> None:
    figures = Figures(10.0, lambda _: 101.0)
    (found,) = judge_gates([parse_gate("ttft_ms.p99 > 100")], [make_run()], None, "point", figures)
    assert (found.outcome, found.bounds, found.confidence) == (GateOutcome.FAILED, None, None)
    assert found.text == "ttft_ms.p99 was 101 ms; the gate is > 100 ms"


def test_a_change_against_the_baseline() -> None:
    figures = Figures(0.01, by_label(base=200.0, new=240.0))
    found = judge("ttft_ms.p99 > +10%", figures, base=[BASE])
    assert (found.outcome, found.value, found.base, found.new) == (GateOutcome.FAILED, 1.2, 200, 240)
    assert found.text == (
        "ttft_ms.p99 changed by +20% (200 -> 240 ms), with 95% confidence at least +18%; the gate is > +10%"
    )
    assert judge("ttft_ms.p99 > +25%", figures, base=[BASE]).outcome is GateOutcome.PASSED
    assert judge("tokens_per_s < -5%", figures, base=[BASE]).outcome is GateOutcome.PASSED


def test_a_ratio_of_rounds() -> None:
    run = make_run(make_round(1), make_round(2))
    found = judge("round2/round1 ttft_ms.p50 > 0.6", Figures(0.01, by_round(r1=100.0, r2=80.0)), run)
    assert (found.outcome, found.round, found.base, found.new) == (GateOutcome.FAILED, 2, 100, 80)
    assert found.text.startswith(
        "ttft_ms.p50 was 0.8 of round 1's (100 -> 80 ms), with 95% confidence at least 0.7869; "
    )


def test_nothing_in_both_is_no_change() -> None:
    figures = Figures(0.0, lambda _: 0.0)
    assert judge("errors.ratio > +10%", figures, base=[BASE]).outcome is GateOutcome.PASSED
    assert judge("errors.ratio < +10%", figures, base=[BASE]).outcome is GateOutcome.FAILED


def test_how_many_prompts_would_decide() -> None:
    text = judge("ttft_ms.p99 > 100", Figures(0.02, lambda _: 102.0)).text
    assert text == (
        "ttft_ms.p99 was 102 ms; > 100 ms is within noise, it may be as low as 98.7 ms: "
        "if it stays so, about 140 prompts in place of 50 would decide"
    )
    assert "too near" in judge("ttft_ms.p99 > 100", Figures(0.1, lambda _: 100.01)).text
    assert judge("ttft_ms.p99 > 100", Figures(math.inf, lambda _: 300.0)).text.endswith("is not shown: too few")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ttft_ms.p99 > 1", ["8 1", "8 2", "16 1", "16 2"]),
        ("control ttft_ms.p99 > 1", ["8 control", "16 control"]),
        ("concurrency=16 round2 ttft_ms.p99 > 1", ["16 2"]),
        ("round2/round1 ttft_ms.p99 > 1", ["8 2", "16 2"]),
        ("control/round1 ttft_ms.p99 > 1", ["8 control", "16 control"]),
    ],
)
def test_where_a_gate_applies(text: str, found: list[str]) -> None:
    run = make_run(*(make_round(name, level) for level in (8, 16) for name in (1, 2, CONTROL)))
    results = judge_gates([parse_gate(text)], [run], None, "interval", Figures())
    assert [f"{result.concurrency} {result.round}" for result in results] == found


@pytest.mark.parametrize(
    ("name", "stages"),
    [("Low", ["Suite/Low", "Other/Low"]), ("Suite/Low", ["Suite/Low"]), ("ow", []), ("Suite", [])],
)
def test_a_stage_is_named_with_its_suite_or_without(name: str, stages: list[str]) -> None:
    run = make_run(*(make_round(stage=stage) for stage in ("Suite/Low", "Suite/High", "Other/Low")))
    results = judge_gates([parse_gate(f"stage={name} errors.ratio > 0")], [run], None, "interval", Figures())
    assert [result.stage for result in results if result.outcome is not GateOutcome.ABSENT] == stages
    assert len(results) == max(len(stages), 1)


def test_what_was_planned_and_not_measured_fails() -> None:
    plan = {"concurrency": [8, 16], "rounds": 2, "control_round": False}
    results = judge_gates(
        [parse_gate("ttft_ms.p99 > 1000")], [make_run(configuration=plan)], None, "interval", Figures()
    )
    assert [(one.concurrency, one.round, one.outcome.value) for one in results] == [
        (8, 1, "passed"),
        (8, 2, "absent"),
        (16, 1, "absent"),
        (16, 2, "absent"),
    ]
    assert results[1].text == "round 2 was not measured"
    assert results[1].failed


def test_a_stage_that_failed_is_missed_too() -> None:
    stage = StageResult(name="High", folder="High", configuration={"concurrency": [8], "rounds": 1})
    run = make_run(make_round(stage="Low"), stages=(stage,))
    results = judge_gates([parse_gate("ttft_ms.p99 > 1000")], [run], None, "interval", Figures())
    assert [(one.stage, one.outcome.value) for one in results] == [("Low", "passed"), ("High", "absent")]


def test_what_only_the_baseline_has_fails_a_gate_on_changes() -> None:
    base = make_run(make_round(1, 8), make_round(1, 16), name="base")
    gates = [parse_gate("ttft_ms.p99 > +10%"), parse_gate("ttft_ms.p99 > 1000")]
    results = judge_gates(gates, [make_run()], [base], "interval", Figures())
    assert [(one.concurrency, one.outcome.value) for one in results] == [(8, "passed"), (16, "absent"), (8, "passed")]


def test_what_the_baseline_lacks_is_undecided() -> None:
    run = make_run(make_round(1, 8), make_round(1, 16))
    found = judge_gates([parse_gate("ttft_ms.p99 > +10%")], [run], [BASE], "interval", Figures())[1]
    assert (found.outcome, found.concurrency) == (GateOutcome.UNDECIDED, 16)
    assert "the baseline has no such round" in found.text


def test_a_run_without_rounds_passes_nothing() -> None:
    (found,) = judge_gates(
        [parse_gate("ttft_ms.p99 > 1")], [replace(make_run(), rounds=())], None, "interval", Figures()
    )
    assert found.outcome is GateOutcome.ABSENT
    assert judge_gates([parse_gate("ttft_ms.p99 > 1")], [], None, "interval", Figures())[0].failed


def test_a_round_that_one_repeat_lacks_fails() -> None:
    two = make_run(make_round(1), make_round(2))
    found = judge_gates([parse_gate("ttft_ms.p99 > 1000")], [two, make_run()], None, "interval", Figures())[1]
    assert (found.outcome, found.text) == (GateOutcome.ABSENT, "round 2 was not measured in repeat 2")


def test_all_repeats_are_judged_together() -> None:
    figures = Figures()
    judge("ttft_ms.p99 > 1000", figures, make_run(), make_run(), make_run())
    assert figures.asked == ["measure ttft_ms.p99 of 3"]


NOTHING = make_round(
    summary={
        "successful_requests": 0,
        "failed_requests": 50,
        "verdict": Verdict(status=Status.INVALID, reasons=("no request succeeded",)),
        "checks": (Check(name="outcome", ok=False, text="no request succeeded", weight=Status.INVALID),),
    }
)


def test_where_nothing_succeeded_a_figure_is_absent_and_errors_are_not() -> None:
    found = judge("ttft_ms.p99 > 1000", Figures(), make_run(NOTHING))
    assert (found.outcome, found.text) == (GateOutcome.ABSENT, "no request of round 1 succeeded")
    assert judge("errors.ratio > 0.01", Figures(0.0, lambda _: 1.0), make_run(NOTHING)).outcome is GateOutcome.FAILED


def test_a_figure_without_a_value_is_absent() -> None:
    found = judge("cached_tokens.ratio < 0.5", Figures(0.0, lambda _: None))
    assert (found.outcome, found.text) == (
        GateOutcome.ABSENT,
        "there is no value of cached_tokens.ratio: the server does not tell cached tokens",
    )
    figures = Figures(0.0, by_label(base=None, new=1.0))
    assert judge("ttft_ms.p99 > +10%", figures, base=[BASE]).outcome is GateOutcome.UNDECIDED
    figures = Figures(0.0, by_label(base=1.0, new=None))
    assert judge("ttft_ms.p99 > +10%", figures, base=[BASE]).outcome is GateOutcome.ABSENT


def invalid(*figures: str) -> RoundResult:
    late = Check(name="ttft_error", ok=False, text="the client was late", weight=Status.INVALID, figures=figures)
    busy = Check(name="cpu", ok=False, text="busy", weight=Status.DEGRADED, figures=("throughput",))
    verdict = Verdict(status=Status.INVALID, reasons=("the client was late", "busy"), figures=(*figures, "throughput"))
    return make_round(summary={"checks": (late, busy), "verdict": verdict})


@pytest.mark.parametrize(
    ("gate", "figures", "outcome"),
    [
        ("ttft_ms.p50 > 1000", ("ttft_ms.p50",), "undecided"),
        ("ttft_ms.mean > 1000", ("ttft_ms.p50",), "undecided"),  # if its median is worthless, so is its mean
        ("itl_ms.p50 > 1000", ("ttft_ms.p50",), "passed"),
        ("tokens_per_s > 1000", ("ttft_ms.p50",), "passed"),  # which is only degraded
        ("tokens_per_s > 1000", ("throughput",), "undecided"),
        ("errors.ratio > 1000", (), "undecided"),  # a dead worker takes from all
    ],
)
def test_figures_that_are_not_to_be_used_decide_nothing(gate: str, figures: tuple[str, ...], outcome: str) -> None:
    found = judge(gate, Figures(), make_run(invalid(*figures)))
    assert found.outcome.value == outcome
    assert ("round 1 is invalid: the client was late" in found.text) == (outcome == "undecided")


def test_so_it_is_by_the_point_and_in_the_baseline() -> None:
    gate = [parse_gate("ttft_ms.p50 > +10%")]
    base = make_run(invalid("ttft_ms.p50"), name="base")
    (found,) = judge_gates(gate, [make_run()], [base], "point", Figures())
    assert (found.outcome, found.text) == (
        GateOutcome.UNDECIDED,
        "in the baseline round 1 is invalid: the client was late",
    )


def test_a_verdict_without_checks_speaks_for_itself() -> None:
    verdict = Verdict(status=Status.INVALID, reasons=("because",), figures=("ttft_ms.p50",))
    run = make_run(make_round(summary={"verdict": verdict}))
    assert judge("ttft_ms.p99 > 1000", Figures(), run).text == "round 1 is invalid: because"
    assert judge("itl_ms.p99 > 1000", Figures(), run).outcome is GateOutcome.PASSED
    degraded = replace(verdict, status=Status.DEGRADED)
    assert judge("ttft_ms.p99 > 1000", Figures(), make_run(make_round(summary={"verdict": degraded}))).value == 100


def test_from_nothing_to_something() -> None:
    figures = Figures(0.0, by_label(base=0.0, new=0.5))

    class Shares(Figures):
        def contrast(self, figure: Figure, base: Sequence[RoundResult], new: Sequence[RoundResult]) -> Uncertain:
            return Uncertain(value=math.inf, limits=lambda _: (2.0, math.inf), way=Way.PAIRED, counts=(50, 50))

    found = judge("errors.ratio > +10%", Shares(0.0, figures.value), base=[BASE])
    assert found.outcome is GateOutcome.FAILED
    assert found.text == "errors.ratio went 0 -> 0.5, with 95% confidence at least +100%; the gate is > +10%"
