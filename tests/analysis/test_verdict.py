from __future__ import annotations

from dataclasses import replace

import pytest

from fluxperf.analysis.evidence import Evidence
from fluxperf.analysis.merge import summarise
from fluxperf.analysis.verdict import judge, judge_run
from fluxperf.model import CONTROL, Check, RoundName, RoundResult, Status, Verdict
from fluxperf.model.evaluation import Answer, CacheEvaluation
from fluxperf.tally import Tally


def check(weight: Status, text: str = "why", figures: tuple[str, ...] = ()) -> Check:
    return Check(name="c", ok=weight is Status.VALID, text=text, weight=weight, figures=figures)


def a_round(verdict: Verdict, *, stage: str | None = None, concurrency: int = 5, number: RoundName = 1) -> RoundResult:
    summary = summarise(Evidence(tally=Tally()))
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
    assert judge_run(rounds, (), partial=False) == Verdict(
        status=Status.INVALID,
        reasons=(
            "concurrency 5, round 2: dead",
            "concurrency 5, round 2: late",
            "stage nightly, concurrency 10, round 1: busy",
        ),
    )


def test_a_run_without_reproach_is_valid() -> None:
    assert judge_run([a_round(Verdict(status=Status.VALID))] * 2, (), partial=False) == Verdict(status=Status.VALID)


def test_a_run_that_was_stopped_says_so() -> None:
    verdict = judge_run([a_round(Verdict(status=Status.VALID))], (), partial=True)
    assert verdict == Verdict(status=Status.DEGRADED, reasons=("the run was stopped before its end",))


@pytest.mark.parametrize("partial", [True, False])
def test_a_run_without_a_round_measured_nothing(partial: bool) -> None:
    assert judge_run([], (), partial=partial) == Verdict(status=Status.INVALID, reasons=("no round was measured",))


def of_level(verdict: Verdict, *, number: RoundName | None = 2, stage: str | None = None) -> CacheEvaluation:
    return CacheEvaluation(
        stage=stage, concurrency=5, round=number, answer=Answer.CANNOT_TELL, why="because", verdict=verdict
    )


def test_a_run_is_worth_no_more_than_the_evidence_on_its_cache() -> None:
    rounds = [
        a_round(Verdict(status=Status.DEGRADED, reasons=("busy",))),
        a_round(Verdict(status=Status.VALID), number=2),
    ]
    found = [
        of_level(Verdict(status=Status.INVALID, reasons=("not cold", "others"))),
        of_level(Verdict(status=Status.VALID), stage="nightly"),
        of_level(Verdict(status=Status.DEGRADED, reasons=("others", "shorter")), number=3),
    ]
    assert judge_run(rounds, found, partial=False) == Verdict(
        status=Status.INVALID,
        reasons=(
            "concurrency 5, round 1: busy",
            "concurrency 5: not cold",
            "concurrency 5: others",  # once, though two of its rounds say so
            "concurrency 5: shorter",
        ),
    )


def test_a_round_of_fresh_prompts_has_a_name() -> None:
    rounds = [a_round(Verdict(status=Status.DEGRADED, reasons=("busy",)), number=CONTROL)]
    assert judge_run(rounds, (), partial=False).reasons == ("concurrency 5, control round: busy",)
