from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fluxperf.model import CONTROL, CachedTokens, Comparison, RoundResult, RunResult, Stats, Status, Verdict
from fluxperf.model.dose import DoseResponse
from fluxperf.model.evaluation import Answer, CacheEvaluation
from fluxperf.model.result import Effect
from fluxperf.report.closing import render_comparison

BuildRound = Callable[..., RoundResult]
BuildRun = Callable[..., RunResult]
BuildComparison = Callable[..., Comparison]
BuildEvaluation = Callable[..., CacheEvaluation]
INVALID = Verdict(status=Status.INVALID, reasons=("because",))
Golden = Callable[[str, str], None]


def ttft(a_round: BuildRound, p50: float | None, p99: float | None = None) -> dict[str, Stats]:
    return {**a_round().summary.stats, "ttft_ms": Stats(p50=p50, p99=p99)}


@pytest.mark.parametrize("columns", [None, 60])
def test_a_run_that_found_the_cache(a_run: BuildRun, golden: Golden, columns: int | None) -> None:
    golden(f"closing_{columns or 'piped'}.txt", render_comparison(a_run(), columns) + "\n")


def test_one_round_leaves_nothing_to_compare(a_run: BuildRun, a_round: BuildRound) -> None:
    assert render_comparison(a_run(a_round()), None) == ""
    assert render_comparison(a_run(a_round(), a_round(concurrency=10)), None) == ""


def test_each_later_round_of_each_level_is_compared_with_round_1(
    a_run: BuildRun, a_round: BuildRound, a_comparison: Callable[..., Comparison]
) -> None:
    rounds = [a_round(stage="x", concurrency=level, round=nth) for level in (1, 5) for nth in (1, 2, 3)]
    comparisons = tuple(
        a_comparison(stage=stage, concurrency=5, round=nth, median_ratio=ratio, dropped=0, dropped_reasons={})
        for stage, nth, ratio in ((None, 3, 0.1), ("x", 2, 0.2), ("x", 3, 0.3))
    )
    text = render_comparison(a_run(*rounds, comparisons=comparisons), None)
    blocks = text.split("\n\n")
    assert len(blocks) == 4
    assert blocks[0].splitlines()[3].startswith("Stage x, concurrency 1: round 2's TTFT")
    assert "Prompt by prompt" not in blocks[1]
    assert (
        "  Prompt by prompt: median ratio 0.200, p90 of the ratios 0.410, p99 of the ratios 0.520 over 49 pairs\n"
        in blocks[2]
    )
    assert blocks[3].startswith("Stage x, concurrency 5: round 3's TTFT")
    assert "median ratio 0.300" in blocks[3]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (245.1, 79.0, "round 2's TTFT was 3.1x faster at the median (245.1 -> 79.0 ms over 50 prompts)."),
        (79.0, 245.1, "round 2's TTFT was 3.1x slower at the median (79.0 -> 245.1 ms over 50 prompts)."),
        (100.0, 96.0, "round 2's TTFT was about the same at the median (100.0 -> 96.0 ms over 50 prompts)."),
        (1000.0, 4.0, "round 2's TTFT was 250x faster"),
        (None, 4.0, "round 2 cannot be compared, because a TTFT is missing."),
        (4.0, 0.0, "round 2 cannot be compared, because a TTFT is missing."),
    ],
)
def test_the_sentence(
    a_run: BuildRun, a_round: BuildRound, before: float | None, after: float | None, words: str
) -> None:
    first = a_round(summary={"stats": ttft(a_round, before), "cold": True})
    later = a_round(round=2, summary={"stats": ttft(a_round, after)})
    assert f"Concurrency 5: {words}" in render_comparison(a_run(first, later), None)


def test_rounds_with_unequal_numbers_of_successes_say_so(a_run: BuildRun, a_round: BuildRound) -> None:
    later = a_round(round=2, summary={"successful_requests": 1}, partial=True)
    text = render_comparison(a_run(a_round(), later), None)
    assert "over 50 and 1 prompt)" in text
    assert text.endswith("\n  Round 2 was stopped before its end.")


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("sent before at concurrency 5", "round 1 was not cold (sent before at concurrency 5), so"),
        (None, "round 1 was not cold, so"),
    ],
)
def test_no_gain_is_claimed_over_a_round_that_was_not_cold(
    a_run: BuildRun, a_round: BuildRound, reason: str | None, words: str
) -> None:
    text = render_comparison(a_run(a_round(summary={"cold": False, "cold_reason": reason}), a_round(round=2)), None)
    assert words in text
    assert "  TTFT p50: 238.15 -> 238.15 ms\n  TTFT p99: 312.45 -> 312.45 ms" in text
    for claim in ("faster", "slower", "same", "ratio"):
        assert claim not in text


def test_where_the_evidence_does_not_hold_the_reason_is_at_the_end(
    a_run: BuildRun, a_round: BuildRound, a_comparison: BuildComparison, an_evaluation: BuildEvaluation
) -> None:
    found = an_evaluation(answer=Answer.CANNOT_TELL, why="because", verdict=INVALID)
    for summary in ({"cold": True}, {"cold": False, "cold_reason": "sent before at concurrency 2"}):
        rounds = a_round(summary=summary), a_round(round=2)
        text = render_comparison(a_run(*rounds, comparisons=(a_comparison(),), evaluations=(found,)), None)
        assert (
            "Concurrency 5: a gain by the cache cannot be told, for the reason at the end.\n  TTFT p50: 238.15" in text
        )
        for claim in ("faster", "slower", "same", "ratio", "because", "sent before"):
            assert claim not in text


def test_what_was_sent_before_and_forgotten_bears_a_gain(
    a_run: BuildRun, a_round: BuildRound, an_evaluation: BuildEvaluation
) -> None:
    rounds = a_round(summary={"cold": False, "cold_reason": "sent before at concurrency 2"}), a_round(round=2)
    text = render_comparison(a_run(*rounds, evaluations=(an_evaluation(),)), None)
    assert "round 2's TTFT was about the same at the median" in text


def test_each_metric_has_its_mean_ratio_with_an_interval(
    a_run: BuildRun, a_round: BuildRound, a_comparison: BuildComparison
) -> None:
    comparisons = (
        a_comparison(),
        a_comparison(metric="itl_ms", ratio_ci95=None),
        a_comparison(metric="latency_ms", mean_ratio=1.0, ratio_ci95=(0.98, 1.02), effect=Effect.NOT_SHOWN),
    )
    text = render_comparison(a_run(comparisons=comparisons), None)
    assert "\n  TTFT: mean ratio 0.330 (95% interval 0.280 to 0.389), faster\n  Latency: mean ratio 1.000" in text
    assert "(95% interval 0.980 to 1.020), no difference shown\n" in text
    assert "ITL" not in text


def test_fresh_prompts_are_compared_too(a_run: BuildRun, a_round: BuildRound, a_comparison: BuildComparison) -> None:
    rounds = (*a_run().rounds, a_round(round=CONTROL))
    text = render_comparison(a_run(*rounds, comparisons=(a_comparison(round=CONTROL),)), None)
    assert "\n\nConcurrency 5: the control round's TTFT was about the same at the median (238.2 -> 238.2 ms" in text
    assert text.count("Prompt by prompt") == 1


def test_what_each_cached_token_saved(a_run: BuildRun, an_evaluation: BuildEvaluation) -> None:
    dose = DoseResponse(pairs=9, slope_us_per_token=4.21, slope_ci95=(-1.0, 9.42), intercept_ms=12.34)
    words = "  TTFT saved by each cached token: 4.2 us (95% interval -1.0 to 9.4), and 12.3 ms whatever was cached\n"
    assert words in render_comparison(a_run(evaluations=(an_evaluation(dose=dose),)), None)
    for unknown in (None, DoseResponse(pairs=9, why="too few"), replace(dose, slope_ci95=None)):
        assert "cached token:" not in render_comparison(a_run(evaluations=(an_evaluation(dose=unknown),)), None)


def test_prompts_without_a_pair_are_told_with_the_reason(a_run: BuildRun, a_comparison: BuildComparison) -> None:
    reasons = {"failed in round 1": 2, "not sent in round 2": 3}
    text = render_comparison(a_run(comparisons=(a_comparison(dropped=5, dropped_reasons=reasons),)), None)
    assert "over 49 pairs, 5 without a pair (2 failed in round 1, 3 not sent in round 2)\n" in text


def test_a_server_that_does_not_tell_cached_tokens_leaves_a_caveat(a_run: BuildRun, a_round: BuildRound) -> None:
    caveat = "  Whether round 1 was cold is not known"
    unknown = render_comparison(a_run(a_round(), a_round(round=2)), None)
    assert unknown.endswith(f"{caveat}: the server does not tell cached tokens.")
    reason = render_comparison(a_run(a_round(summary={"cold_reason": "because"}), a_round(round=2)), None)
    assert reason.endswith(f"{caveat}: because.")
    told = CachedTokens(prompt_tokens=1, cached_tokens=0, ratio=0.0)
    bare = render_comparison(a_run(a_round(summary={"cached_tokens": told}), a_round(round=2)), None)
    assert bare.endswith(f"{caveat}.")
    assert "Cached prompt tokens: 0 of 1 (0.0%) -> -\n" in bare
    assert caveat not in render_comparison(a_run(), None)


@pytest.mark.parametrize(
    ("first", "later", "which"), [(0, 50, "round 1"), (50, 0, "round 2"), (0, 0, "round 1 and round 2")]
)
def test_rounds_without_a_success(a_run: BuildRun, a_round: BuildRound, first: int, later: int, which: str) -> None:
    rounds = (
        a_round(summary={"successful_requests": first}),
        a_round(round=2, summary={"successful_requests": later}),
    )
    text = render_comparison(a_run(*rounds), None)
    assert text.endswith(f"\nConcurrency 5: no comparison, because no request of {which} succeeded.")


@given(
    stage=st.none() | st.text(max_size=80),
    reason=st.none() | st.text(max_size=80),
    cold=st.none() | st.booleans(),
    before=st.none() | st.floats(1e-6, 1e15),
    after=st.none() | st.floats(1e-6, 1e15),
    columns=st.integers(40, 200),
)
def test_nothing_is_ever_wider_than_the_terminal(
    a_run: BuildRun,
    a_round: BuildRound,
    stage: str | None,
    reason: str | None,
    cold: bool | None,
    before: float | None,
    after: float | None,
    columns: int,
) -> None:
    stats = ttft(a_round, before, after)
    first = a_round(stage=stage, summary={"stats": stats, "cold": cold, "cold_reason": reason})
    later = a_round(stage=stage, round=2, summary={"stats": ttft(a_round, after, before)})
    lines = render_comparison(a_run(first, later), columns).split("\n")
    assert max(cell_len(line) for line in lines) <= columns
    assert all(line.isprintable() for line in lines)
