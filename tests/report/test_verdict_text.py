from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fluxperf.model import CONTROL, Extent, RoundResult, RunResult, Status, Verdict
from fluxperf.model.evaluation import CacheEvaluation
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


def of_level(a_run: BuildRun, *found: CacheEvaluation) -> list[str]:
    return render_verdict(a_run(evaluations=found, verdict=degraded("whatever")), None).splitlines()


def test_what_the_answer_says_is_not_said_before(
    a_run: BuildRun, an_evaluation: Callable[..., CacheEvaluation]
) -> None:
    assert of_level(a_run, an_evaluation(verdict=degraded("others"))) == [
        "Verdict: degraded:",
        "  Concurrency 5, the cache: degraded: see the answer below",
    ]
    found = an_evaluation(verdict=degraded("others", "shorter\x1b", "late"), stage="nightly")
    assert of_level(a_run, found) == [
        "Verdict: degraded:",
        "  Stage nightly, concurrency 5, the cache: degraded: see the answer below",
        "  Stage nightly, concurrency 5, the cache: shorter\N{REPLACEMENT CHARACTER}",
        "  Stage nightly, concurrency 5, the cache: late",
    ]


def test_what_several_rounds_say_of_a_level_is_said_once(
    a_run: BuildRun, an_evaluation: Callable[..., CacheEvaluation]
) -> None:
    found = [an_evaluation(round=name, verdict=degraded("others", "late")) for name in (2, 3)]
    assert len(of_level(a_run, *found, an_evaluation(concurrency=10))) == 3


def test_of_one_round_there_is_no_answer_so_the_verdict_says_it_all(
    a_run: BuildRun, a_round: BuildRound, an_evaluation: Callable[..., CacheEvaluation]
) -> None:
    found = an_evaluation(round=None, verdict=degraded("the reset was refused", "others"))
    run = a_run(a_round(), evaluations=(found,), verdict=degraded("whatever"))
    assert render_verdict(run, None).splitlines() == [
        "Verdict: degraded:",
        "  Concurrency 5, the cache: degraded: the reset was refused",
        "  Concurrency 5, the cache: others",
    ]
    fine = replace(found, verdict=VALID)
    assert render_verdict(replace(run, evaluations=(fine,), verdict=VALID), None) == ""


def test_a_round_of_fresh_prompts_goes_by_its_name(a_run: BuildRun, a_round: BuildRound) -> None:
    fresh = a_round(round=CONTROL, summary={"verdict": degraded("slow")})
    text = render_verdict(a_run(a_round(), fresh, verdict=degraded("whatever")), None)
    assert text.endswith("\n  Concurrency 5, the control round: degraded: slow")


verdicts = st.builds(
    Verdict, status=st.sampled_from(Status), reasons=st.lists(st.text(max_size=300), min_size=1, max_size=3).map(tuple)
)


@given(verdict=verdicts, stage=st.none() | st.text(max_size=80), columns=st.integers(40, 200))
def test_no_line_is_ever_wider_than_the_terminal(
    a_run: BuildRun,
    a_round: BuildRound,
    an_evaluation: Callable[..., CacheEvaluation],
    verdict: Verdict,
    stage: str | None,
    columns: int,
) -> None:
    rounds = [a_round(stage=stage, summary={"verdict": verdict})] * 2
    found = (an_evaluation(stage=stage, verdict=verdict),)
    lines = render_verdict(a_run(*rounds, evaluations=found, verdict=verdict), columns).split("\n")
    assert max(cell_len(line) for line in lines) <= columns
    assert all(line.isprintable() for line in lines)
