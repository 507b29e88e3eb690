from __future__ import annotations

from dataclasses import replace

import pytest

from fluxperf.analysis.evidence import Evidence
from fluxperf.analysis.merge import summarise
from fluxperf.analysis.verdict import judge, judge_run
from fluxperf.model import Check, RoundResult, Status, Verdict
from fluxperf.tally import Tally


def check(weight: Status, text: str = "why", figures: tuple[str, ...] = ()) -> Check:
    return Check(name="c", ok=weight is Status.VALID, text=text, weight=weight, figures=figures)


def a_round(verdict: Verdict, *, stage: str | None = None, concurrency: int = 5, number: int = 1) -> RoundResult:
    summary = summarise(Evidence(tally=Tally()), first_round=False, sent_before_at=None)
    return RoundResult(
        stage=stage,
        concurrency=concurrency,
        round=number,
        configuration={},
        summary=replace(summary, verdict=verdict),
        requests=(),
        first_sent_ns=None,
    )


@pytest.mark.parametrize(
    ("weights", "status"),
    [
        ([], Status.VALID),
        ([Status.VALID], Status.VALID),
        ([Status.VALID, Status.DEGRADED], Status.DEGRADED),
        ([Status.INVALID, Status.DEGRADED, Status.VALID], Status.INVALID),
    ],
)
def test_the_weightiest_check_decides(weights: list[Status], status: Status) -> None:
    assert judge(map(check, weights)).status is status


def test_a_warning_that_weighs_nothing_is_no_reason() -> None:
    warning = Check(name="resent", ok=False, text="1 request was sent again")
    assert judge([warning]) == Verdict(status=Status.VALID)


def test_reasons_begin_with_the_worst_and_figures_are_named_once() -> None:
    verdict = judge(
        [
            check(Status.DEGRADED, "late", ("ttft_ms.p99", "throughput")),
            check(Status.VALID, "fine"),
            check(Status.INVALID, "dead"),
            check(Status.DEGRADED, "busy", ("throughput",)),
        ]
    )
    assert verdict.reasons == ("dead", "late", "busy")
    assert verdict.figures == ("ttft_ms.p99", "throughput")


def test_a_run_is_worth_as_much_as_its_worst_round() -> None:
    rounds = [
        a_round(Verdict(status=Status.VALID)),
        a_round(Verdict(status=Status.INVALID, reasons=("dead", "late")), number=2),
        a_round(Verdict(status=Status.DEGRADED, reasons=("busy",)), stage="nightly", concurrency=10),
    ]
    assert judge_run(rounds, partial=False) == Verdict(
        status=Status.INVALID,
        reasons=(
            "concurrency 5, round 2: dead",
            "concurrency 5, round 2: late",
            "stage nightly, concurrency 10, round 1: busy",
        ),
    )


def test_a_run_without_reproach_is_valid() -> None:
    assert judge_run([a_round(Verdict(status=Status.VALID))] * 2, partial=False) == Verdict(status=Status.VALID)


def test_a_run_that_was_stopped_says_so() -> None:
    verdict = judge_run([a_round(Verdict(status=Status.VALID))], partial=True)
    assert verdict == Verdict(status=Status.DEGRADED, reasons=("the run was stopped before its end",))


@pytest.mark.parametrize("partial", [True, False])
def test_a_run_without_a_round_measured_nothing(partial: bool) -> None:
    assert judge_run([], partial=partial) == Verdict(status=Status.INVALID, reasons=("no round was measured",))
