from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fluxperf.model import Extent, RoundResult, RunResult, Status, Verdict
from fluxperf.report.verdict import render_verdict, round_verdict

BuildRound = Callable[..., RoundResult]
BuildRun = Callable[..., RunResult]
VALID = Verdict(status=Status.VALID)


def degraded(*reasons: str) -> Verdict:
    return Verdict(status=Status.DEGRADED, reasons=reasons)


def test_a_valid_round_says_what_speaks_for_it(a_round: BuildRound) -> None:
    assert round_verdict(a_round().summary) == [
        "Verdict: valid: stamps are at most 0.02 ms late at p99, the busiest worker used 4% of its core"
    ]


def test_a_valid_round_without_an_audit_just_says_so(a_round: BuildRound) -> None:
    assert round_verdict(a_round(summary={"audit": None}).summary) == ["Verdict: valid"]
    audit = a_round().summary.audit
    assert audit is not None
    unseen = replace(audit, chunk_gap_error_ms=Extent(), ttft_error_ms=Extent())
    assert round_verdict(a_round(summary={"audit": unseen}).summary) == ["Verdict: valid"]


def test_a_round_that_nobody_judged_has_no_verdict(a_round: BuildRound) -> None:
    assert round_verdict(a_round(summary={"verdict": None}).summary) == []


def test_one_reason_is_on_the_line_of_the_verdict_and_several_are_below(a_round: BuildRound) -> None:
    one = a_round(summary={"verdict": degraded("slow\x1b")}).summary
    assert round_verdict(one) == ["Verdict: degraded: slow\N{REPLACEMENT CHARACTER}"]
    two = a_round(summary={"verdict": degraded("slow", "late")}).summary
    assert round_verdict(two) == ["Verdict: degraded:", "  slow", "  late"]


def test_a_single_round_has_said_it_all(a_run: BuildRun, a_round: BuildRound) -> None:
    assert render_verdict(a_run(a_round()), None) == ""


def test_a_run_that_was_stopped_has_a_verdict_of_its_own(a_run: BuildRun, a_round: BuildRound) -> None:
    stopped = a_run(a_round(summary={"verdict": degraded("stopped")}), verdict=degraded("whatever"), partial=True)
    assert render_verdict(stopped, None).splitlines() == [
        "Verdict: degraded:",
        "  Concurrency 5, round 1: degraded: stopped",
        "  The run was stopped before its end.",
    ]
    nothing = replace(stopped, rounds=(), verdict=Verdict(status=Status.INVALID, reasons=("no round was measured",)))
    assert render_verdict(nothing, None) == "Verdict: invalid: no round was measured"


def test_a_run_that_is_valid(a_run: BuildRun) -> None:
    assert render_verdict(a_run(), None) == "Verdict: valid: 2 rounds, nothing speaks against any of them"


def test_a_run_that_nobody_judged(a_run: BuildRun) -> None:
    assert render_verdict(a_run(verdict=None), None) == ""


def test_each_round_that_is_not_valid_has_a_line_with_its_worst_reason(a_run: BuildRun, a_round: BuildRound) -> None:
    rounds = (
        a_round(),
        a_round(round=2, summary={"verdict": degraded("slow")}),
        a_round(stage="nightly", concurrency=10, summary={"verdict": degraded("late", "slow", "hot")}),
    )
    text = render_verdict(a_run(*rounds, verdict=degraded("whatever"), partial=True), None)
    assert text.splitlines() == [
        "Verdict: degraded:",
        "  Concurrency 5, round 2: degraded: slow",
        "  Stage nightly, concurrency 10, round 1: degraded: late (and 2 further reasons)",
        "  The run was stopped before its end.",
    ]


verdicts = st.builds(
    Verdict, status=st.sampled_from(Status), reasons=st.lists(st.text(max_size=300), min_size=1, max_size=3).map(tuple)
)


@given(verdict=verdicts, stage=st.none() | st.text(max_size=80), columns=st.integers(40, 200))
def test_no_line_is_ever_wider_than_the_terminal(
    a_run: BuildRun, a_round: BuildRound, verdict: Verdict, stage: str | None, columns: int
) -> None:
    rounds = [a_round(stage=stage, summary={"verdict": verdict})] * 2
    lines = render_verdict(a_run(*rounds, verdict=verdict), columns).split("\n")
    assert max(cell_len(line) for line in lines) <= columns
    assert all(line.isprintable() for line in lines)
