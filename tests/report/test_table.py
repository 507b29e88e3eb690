from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fluxperf.metrics import BY_NAME, METRICS
from fluxperf.model import (
    CacheCounters,
    CachedTokens,
    CacheFigures,
    CacheReset,
    Check,
    Goodput,
    Hits,
    Outcome,
    Reading,
    RoundResult,
    RoundSummary,
    Stats,
    Status,
    Verdict,
)
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
    ours = [*plain, "TTFO (ms)", "* Chunk gap (ms)", "Tokens/s a request", "Wait (ms)"]
    assert shown[: len(ours)] == ours
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


# Metrics of the server's own.

LONG = 'vllm:num_requests_running{engine="0",model_name="a/model"}'


def gauge(**figures: Any) -> dict[str, Any]:
    return {"kind": "gauge", "p50": 1.0, **figures}


def with_metrics(a_round: Build, columns: int | None, **metrics: dict[str, Any]) -> str:
    return render_round(a_round(summary={"prometheus": metrics}), columns)


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (0.0012, "0.0012"),
        (0.0, "0"),
        (5, "5"),
        (9.75, "9.75"),
        (0.123456789, "0.123457"),
        (-0.000123456789, "-0.000123457"),
        (1.5e-10, "1.5e-10"),
        (12345.678, "12345.7"),
        (99999.5, "99999.5"),
        (123456.789, "123456.79"),
        (123456789012, "123456789012"),
        (1234567890123, "1.2e+12"),
        (-1e300, "-1.0e+300"),
        (float("nan"), "-"),
        (None, "-"),
    ],
)
def test_a_value_in_its_own_unit_has_as_many_digits_as_make_sense(
    a_round: Build, value: float | None, cell: str
) -> None:
    assert rows(with_metrics(a_round, None, metric=gauge(avg=value)))["metric"][0] == cell


@pytest.mark.parametrize(
    ("value", "cell"),
    [(0.0012345678, "0.001235"), (-0.000123456, "-0.00012"), (12345.678, "12345.7"), (1e9, "1.0e+09")],
)
def test_a_narrow_cell_has_fewer_of_them(a_round: Build, value: float, cell: str) -> None:
    assert rows(with_metrics(a_round, 71, metric=gauge(avg=value)))["metric"][0] == cell


def test_gauges_and_histograms_stand_beside_ttft_in_the_order_asked_for(
    a_round: Build, full_round: RoundResult
) -> None:
    shown = list(rows(render_round(full_round, None)))
    asked = [*full_round.summary.prometheus][:3]
    assert shown[-3:] == asked
    text = with_metrics(
        a_round, None, z=gauge(), a=gauge(), m={"kind": "histogram", "avg": 1.0, "p50": 2.0, "delta": 9.0}
    )
    assert list(rows(text))[-3:] == ["z", "a", "m"]
    assert "Prometheus" not in text  # all that is to be said of them


def test_counters_and_what_is_not_available_stand_below(a_round: Build) -> None:
    counted = {"kind": "counter", "delta": 34641.0, "rate_per_s": 41737.0812}
    text = with_metrics(
        a_round,
        None,
        tokens=counted,
        errors={"kind": "counter", "delta": 0.0, "rate_per_s": 0.0},
        large={"kind": "counter", "delta": 1234567.5, "rate_per_s": None},
        pauses={"kind": "summary", "avg": 0.00123, "delta": 34, "rate_per_s": 4.125},
        nothing={"kind": "histogram", "avg": None, "p50": None, "delta": 0.0, "rate_per_s": 0.0},
        approximate=counted | {"note": "approximate: \x1b no samples"},
        absent={"unavailable": "no metric of that\nname"},
        empty={},
    )
    assert text[text.index("Prometheus:") :].split("\n\n")[0].splitlines() == [
        "Prometheus:",
        "  tokens: +34,641 (41,737.1 per second)",
        "  errors: 0 (0 per second)",
        "  large: +1,234,568",
        "  pauses: 0.00123 on average; +34 (4.125 per second)",
        "  nothing: 0 (0 per second)",
        "  approximate: +34,641 (41,737.1 per second); approximate: \N{REPLACEMENT CHARACTER} no samples",
        "  absent: not available: no metric of that name",
    ]
    assert list(rows(text)) == ["Metric", "TTFT (ms)", "ITL (ms)", "Latency (ms)"]


def test_what_is_to_know_of_a_row_stands_below(a_round: Build) -> None:
    text = with_metrics(a_round, None, usage=gauge(note="no sample fell into the round"))
    assert "\nPrometheus:\n  usage: no sample fell into the round\n" in text


@pytest.mark.parametrize("columns", [None, 160, 400])
def test_a_long_name_makes_a_wide_terminals_box_wider(a_round: Build, columns: int | None) -> None:
    lines = with_metrics(a_round, columns, **{LONG: gauge()}).splitlines()
    assert any(line.startswith(f"│ {LONG} │ ") for line in lines)
    assert LONG not in lines  # it need not be told again


@pytest.mark.parametrize("columns", [40, 80, 100])
def test_a_name_that_is_cut_has_a_number_and_stands_below_in_full(a_round: Build, columns: int) -> None:
    other = LONG.replace("0", "1")
    text = with_metrics(a_round, columns, **{LONG: gauge(), "short": gauge(), other: gauge()})
    labels = list(rows(text))[-3:]
    assert labels[0].startswith("[1] vllm:nu")
    assert labels[0].endswith("…")
    assert (labels[1], labels[2][:4]) == ("short", "[2] ")
    below = text[text.index("└") :].replace("\n", "")
    assert f"[1] {LONG}" in below.replace("[1]vllm", "[1] vllm")
    assert other in below


def test_our_own_rows_keep_their_columns_whatever_the_names(a_round: Build) -> None:
    plain = rows(render_round(a_round(), 80))["Metric"]
    assert rows(with_metrics(a_round, 80, **{LONG * 3: gauge()}))["Metric"] == plain


def test_wide_characters_are_as_wide_as_they_are(a_round: Build) -> None:
    text = with_metrics(a_round, 80, **{'requests{model="日本語の長い名前のモデル"}': gauge()})
    box = [line for line in text.splitlines() if line.startswith(("│", "├", "└"))]
    assert len({cell_len(line) for line in box}) == 1


# The cache.


def section(text: str, start: str) -> list[str]:
    return text[text.index(start) :].split("\n\n")[0].splitlines()


def test_what_both_witnesses_say_of_the_cache(full_round: RoundResult) -> None:
    assert section(render_round(full_round, None), "Cache reset") == [
        "Cache reset before the round: was accepted, and did nothing",
        "Cached prompt tokens: 1,234 of 2,000 (61.7%)",
        "By the server's counters: 1,300 of 2,105 tokens (61.8%), +66 unexplained",
        "  Engine 0: 700 of 1,005",
        "  Engine 1: 600 of 1,100",
        "Other traffic: +105 prompt tokens (5.0%)",
    ]


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({"hits": 0, "queries": 0}, ["By the server's counters: 0 of 0 tokens (-), +66 unexplained"]),
        ({"unit": "blocks"}, ["By the server's counters: 1,300 of 2,105 blocks (61.8%), +66 unexplained"]),
        (
            {"preemptions": 3},
            [
                "By the server's counters: 1,300 of 2,105 tokens (61.8%), +66 unexplained, "
                "3 requests given up and looked up again"
            ],
        ),
        ({"reading": Reading.RESET, "why": "they began again"}, ["By the server's counters: reset: they began again"]),
        ({"reading": Reading.ABSENT, "why": "start it so"}, ["By the server's counters: absent: start it so"]),
        ({"reading": Reading.ABSENT, "engine": None, "why": "nobody knows"}, []),
    ],
)
def test_what_the_counters_say(
    a_round: Build,
    a_cache: Callable[..., CacheFigures],
    counters: Callable[..., CacheCounters],
    changes: dict[str, Any],
    lines: list[str],
) -> None:
    cache = a_cache(counters=counters(**{"by_engine": {"0": Hits(hits=1, queries=2)}} | changes), foreign_share=None)
    text = render_round(a_round(summary={"cache": cache}), None)
    assert [line for line in text.splitlines() if "counters" in line or "Engine" in line] == lines


@pytest.mark.parametrize(
    ("foreign", "share", "told"), [(105, 0.05, True), (-1000, -0.9, True), (0, 0.0, False), (1, 0.0005, False)]
)
def test_other_traffic_is_told_where_there_is_some(
    a_round: Build, a_cache: Callable[..., CacheFigures], foreign: int, share: float, told: bool
) -> None:
    cache = a_cache(foreign_tokens=foreign, foreign_share=share)
    assert ("Other traffic" in render_round(a_round(summary={"cache": cache}), None)) is told


@pytest.mark.parametrize(
    ("accepted", "confirmed", "words"),
    [
        (True, True, "was accepted, and nothing was found after it"),
        (True, False, "was accepted, and did nothing"),
        (True, None, "was accepted, and nobody confirms it"),
        (False, False, "was refused"),
    ],
)
def test_a_reset_before_the_round(
    a_round: Build, a_cache: Callable[..., CacheFigures], accepted: bool, confirmed: bool | None, words: str
) -> None:
    reset = CacheReset(url="u", accepted=accepted, status=200, answer="", attempts=1)
    text = render_round(a_round(summary={"cache": a_cache(reset=reset, reset_confirmed=confirmed)}), None)
    assert f"\nCache reset before the round: {words}\n" in text


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
    cache=st.none()
    | st.builds(
        CacheFigures,
        counters=st.builds(
            CacheCounters,
            engine=st.none() | names,
            reading=st.sampled_from(Reading),
            why=st.none() | names,
            hits=amounts,
            queries=amounts,
            by_engine=st.dictionaries(names, st.builds(Hits, hits=amounts, queries=amounts), max_size=2),
        ),
        foreign_tokens=amounts,
        foreign_share=st.floats(-10, 1),
        reset=st.none()
        | st.builds(CacheReset, url=names, accepted=st.booleans(), status=amounts, answer=names, attempts=amounts),
        reset_confirmed=st.none() | st.booleans(),
    ),
    prometheus=st.dictionaries(
        names,
        st.fixed_dictionaries({"unavailable": names})
        | st.fixed_dictionaries(
            {"kind": st.just("any"), "delta": figures, "rate_per_s": figures},
            optional={**dict.fromkeys(["avg", "p50", "p90", "p99", "min", "max", "stddev"], figures), "note": names},
        ),
        max_size=4,
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
    end = next(place for place, line in enumerate(lines) if line.startswith("└"))
    box = [line for line in lines[: end + 1] if line.startswith(("│", "├", "└"))]
    assert len({cell_len(line) for line in box}) == 1
    assert {"P50", "P99"} <= set(rows(box[0])["Metric"])  # a metric of the server may be called like that, too
