from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fluxperf.metrics import BY_NAME, METRICS
from fluxperf.model import CachedTokens, Check, Goodput, Outcome, RoundResult, RoundSummary, Stats, Status, Verdict
from fluxperf.report.table import render_round

Build = Callable[..., RoundResult]
Golden = Callable[[str, str], None]


def rows(text: str) -> dict[str, list[str]]:
    """The cells of the box by label."""
    lines = [line.strip("│").split("│") for line in text.splitlines() if line.startswith("│")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}


@pytest.mark.parametrize("columns", [None, 137, 160, 400])
def test_the_full_layout(a_round: Build, golden: Golden, columns: int | None) -> None:
    golden("table.txt", render_round(a_round(), columns) + "\n")


def test_everything_there_is_to_tell_when_piped(full_round: RoundResult, golden: Golden) -> None:
    golden("table_everything_piped.txt", render_round(full_round, None) + "\n")


@pytest.mark.parametrize("columns", [40, 60, 80, 137])
def test_everything_there_is_to_tell(full_round: RoundResult, golden: Golden, columns: int) -> None:
    golden(f"table_everything_{columns}.txt", render_round(full_round, columns) + "\n")


@pytest.mark.parametrize(
    ("columns", "headings"),
    [
        (137, ["Avg", "P50", "P90", "P99", "Min", "Max", "Stddev"]),
        (95, ["Avg", "P50", "P90", "P99", "Min", "Max"]),
        (80, ["Avg", "P50", "P90", "P99", "Max"]),
        (70, ["Avg", "P50", "P99", "Max"]),
        (55, ["Avg", "P50", "P99"]),
        (40, ["P50", "P99"]),
        (1, ["P50", "P99"]),
    ],
)
def test_a_narrow_terminal_has_fewer_columns(full_round: RoundResult, columns: int, headings: list[str]) -> None:
    assert rows(render_round(full_round, columns))["Metric"] == headings


def test_a_value_that_does_not_exist_is_a_dash_and_zero_is_zero(a_round: Build) -> None:
    stats = {**a_round().summary.stats, "itl_ms": Stats(), "ttft_ms": Stats(avg=0.0, p50=float("nan"))}
    text = render_round(
        a_round(summary={"stats": stats, "avg_output_tokens": None, "tokens_per_s": None, "goodput": None}), None
    )
    assert rows(text)["ITL (ms)"] == ["-"] * 7
    assert rows(text)["TTFT (ms)"] == ["0.00"] + ["-"] * 6
    assert "Average Output Tokens: -" in text
    assert "Token Throughput: - tokens/sec" in text
    assert "Goodput" not in text


def test_a_goodput_without_requests_has_no_ratio(a_round: Build) -> None:
    nothing = Goodput(name=None, requests=0, ratio=None, tokens=0, requests_per_s=None, tokens_per_s=None, missed={})
    assert "  Requests Meeting SLO: 0 / 50 (-)" in render_round(a_round(summary={"goodput": nothing}), None)


@pytest.mark.parametrize(
    ("value", "cell"),
    [(1e9, "1000000000"), (123456789.5, "123456789.50"), (1e15, "1.0e+15"), (1e300, "1.0e+300")],
)
def test_a_value_too_wide_for_its_cell_loses_digits(a_round: Build, value: float, cell: str) -> None:
    stats = {**a_round().summary.stats, "latency_ms": Stats(avg=value)}
    text = render_round(a_round(summary={"stats": stats}), None)
    assert rows(text)["Latency (ms)"][0] == cell
    assert {len(line) for line in text.splitlines() if line.startswith(("│", "├", "└"))} == {137}


def test_further_rows_are_shown_only_where_they_say_more(a_round: Build, full_round: RoundResult) -> None:
    plain = ["Metric", "TTFT (ms)", "ITL (ms)", "Latency (ms)"]
    assert list(rows(render_round(a_round(), None))) == plain
    shown = list(rows(render_round(full_round, None)))
    assert shown == [*plain, "TTFO (ms)", "* Chunk gap (ms)", "Tokens/s a request", "Wait (ms)"]
    stats = full_round.summary.stats
    repeated = replace(full_round.summary, stats={**stats, "ttfo_ms": stats["ttft_ms"]})
    assert "TTFO (ms)" not in rows(render_round(replace(full_round, summary=repeated), None))


def test_the_constraint_most_often_missed(a_round: Build) -> None:
    goodput = a_round().summary.goodput
    assert goodput is not None
    one = render_round(a_round(summary={"goodput": replace(goodput, missed={"ttft_ms": 0, "itl_ms": 1})}), None)
    assert "\n  Most often missed: itl_ms (1 request)\n" in one
    none = render_round(a_round(summary={"goodput": replace(goodput, missed={"ttft_ms": 0})}), None)
    assert "missed" not in none


def test_failures_by_outcome_with_one_example_each(a_round: Build) -> None:
    summary = {
        "outcomes": {"ok": 40, "length": 3, "timeout": 0, "reset": 1, "rejected": 6, "cut_off": 2},
        "examples": {"rejected": "429:\r\n\x1b]0;owned\x07 \u202eslow down \ud800" + "!" * 300},
    }
    text = render_round(a_round(summary=summary), None)
    section = text[text.index("Failed requests:") : text.index("\n\nVerdict:")].splitlines()
    assert section[2] == "  reset: 1"
    assert section[1].startswith("  rejected: 6, for example: 429: \ufffd]0;owned\ufffd \ufffdslow down \ufffd!!!")
    assert section[1].endswith("!…")
    assert len(section[1]) < 240
    assert len(section) == 3
    assert "Cut Off (not counted): 2" in text


def test_a_round_that_was_not_cold_says_so(a_round: Build) -> None:
    told = render_round(a_round(summary={"cold": False, "cold_reason": "sent before at concurrency 5"}), None)
    assert "Note: round 1 was not cold: sent before at concurrency 5\n" in told
    for cold in (True, None):
        assert "cold" not in render_round(a_round(summary={"cold": cold}), None)


@pytest.mark.parametrize("metric", ["chunk_gap_ms", "itl_ms"])
def test_what_could_not_be_measured_has_a_mark_and_a_sentence_in_place_of_figures(a_round: Build, metric: str) -> None:
    text = render_round(a_round(summary={"unmeasured": {metric: "it all came at once"}}), None)
    label = f"* {BY_NAME[metric].label}"
    assert rows(text)[label] == ["-"] * 7
    assert f"\n{label}: no figures, because it all came at once\n" in text
    assert label[2:] not in rows(text)


def test_a_check_that_weighs_is_a_reason_of_the_verdict_and_no_warning_too(a_round: Build) -> None:
    checks = (
        Check(name="one", ok=False, text="only warns"),
        Check(name="two", ok=False, text="weighs", weight=Status.DEGRADED),
        Check(name="three", ok=True, text="is fine"),
    )
    verdict = Verdict(status=Status.DEGRADED, reasons=("weighs",))
    text = render_round(a_round(summary={"checks": checks, "verdict": verdict}), None)
    assert text.endswith("\n\nWarnings:\n  one: only warns\n\nVerdict: degraded: weighs")


names = st.text(max_size=60)
amounts = st.integers(0, 10**9)
figures = st.none() | st.floats()
spreads = st.builds(
    Stats, avg=figures, p50=figures, p90=figures, p95=figures, p99=figures, min=figures, max=figures, stddev=figures
)
reasons = st.lists(st.text(max_size=300), max_size=3).map(tuple)
verdicts = st.builds(Verdict, status=st.sampled_from(Status), reasons=reasons)
summaries = st.builds(
    RoundSummary,
    total_requests=amounts,
    successful_requests=amounts,
    failed_requests=amounts,
    duration_s=st.floats(),
    avg_input_tokens=figures,
    avg_output_tokens=figures,
    avg_in_flight=figures,
    stats=st.fixed_dictionaries({metric.name: spreads for metric in METRICS}),
    tokens_per_s=figures,
    requests_per_s=figures,
    goodput=st.none()
    | st.builds(
        Goodput,
        name=st.none() | names,
        requests=amounts,
        ratio=figures,
        tokens=amounts,
        requests_per_s=figures,
        tokens_per_s=figures,
        missed=st.dictionaries(names, amounts, max_size=3),
    ),
    outcomes=st.dictionaries(st.sampled_from([outcome.value for outcome in Outcome]), amounts),
    cached_tokens=st.none() | st.builds(CachedTokens, prompt_tokens=amounts, cached_tokens=amounts, ratio=figures),
    cold=st.none() | st.booleans(),
    cold_reason=st.none() | names,
    checks=st.lists(st.builds(Check, name=st.just("check"), ok=st.booleans(), text=names), max_size=2).map(tuple),
    verdict=st.none()
    | st.builds(
        Verdict, status=st.sampled_from(Status), reasons=st.lists(st.text(max_size=300), max_size=3).map(tuple)
    ),
    unmeasured=st.dictionaries(st.sampled_from(sorted(BY_NAME)), names, max_size=2),
    examples=st.dictionaries(st.sampled_from([outcome.value for outcome in Outcome]), st.text(max_size=300)),
)


@given(summary=summaries, stage=st.none() | names, notes=st.lists(names, max_size=2), columns=st.integers(40, 200))
def test_nothing_is_ever_wider_than_the_terminal(
    a_round: Build, summary: RoundSummary, stage: str | None, notes: list[str], columns: int
) -> None:
    text = render_round(a_round(summary=summary, stage=stage, notes=tuple(notes)), columns)
    lines = text.split("\n")
    assert max(cell_len(line) for line in lines) <= columns
    assert all(line.isprintable() for line in lines)
    box = [line for line in lines if line.startswith(("│", "├", "└"))]
    assert len({len(line) for line in box}) == 1
    assert {"P50", "P99"} <= set(rows(text)["Metric"])
