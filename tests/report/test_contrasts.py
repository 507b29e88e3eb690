from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fluxperf.metrics import METRICS
from fluxperf.model import CONTROL
from fluxperf.model.contrast import Call, Contrast, Figure, Need, Way
from fluxperf.report.contrast_words import (
    change_text,
    confidence_text,
    counts_text,
    figure_name,
    interval_text,
    needs_text,
    sensitivity,
    summarize,
    values_text,
)
from fluxperf.report.contrasts import Header, render_contrasts

HEADER = Header(
    base="results/main, 2026-11-25T00:46:02Z, mistral-7b",
    new="results/pull-77, 2026-11-26T09:12:40Z, mistral-7b",
    margin=0.02,
    remarks=("server version: BASE has 0.6.1, NEW has 0.6.3", "environment variable FLAG: BASE has none, NEW has 1"),
)
PLAIN = Contrast(
    stage=None,
    concurrency=8,
    round=2,
    figure=Figure("ttft_ms", "p50"),
    lower_is_better=True,
    base=25.0,
    new=27.0,
    ratio=1.08,
    interval=(1.05, 1.11),
    confidence=0.99,
    p_value=0.0001,
    call=Call.WORSE,
    way=Way.PAIRED,
    counts=(48, 48),
)


def contrast(
    name: str = "ttft_ms.p50", ratio: float | None = 1.08, call: Call = Call.WORSE, **changes: Any
) -> Contrast:
    metric, _, statistic = name.partition(".")
    figure = Figure(metric, statistic or None)
    return replace(PLAIN, figure=figure, ratio=ratio, call=call, **changes)


def same(name: str = "itl_ms.mean", **changes: Any) -> Contrast:
    return contrast(name, 1.001, Call.SAME, **({"interval": (0.995, 1.006), "p_value": 0.5} | changes))


def untold(name: str = "ttft_ms.p99", **changes: Any) -> Contrast:
    return contrast(name, 1.1, Call.CANNOT_TELL, **({"interval": (0.8, 1.5), "p_value": 0.5} | changes))


MANY = (
    contrast("ttft_ms.mean", 1.0823, base=24.98, new=27.02, interval=(1.051, 1.114)),
    contrast("ttft_ms.p50", 1.12, base=24.98, new=27.98, interval=(1.08, 1.17)),
    untold(base=157.41, new=131.02, why="p99 of 48 prompts is the slowest one", interval=(0.0, math.inf)),
    same(base=10.012, new=10.021),
    contrast("latency_ms.p50", 1.06, base=1122.43, new=1190.4, interval=(1.05, 1.07)),
    contrast("tokens_per_s", 0.9, base=12345.3, new=11100.4, interval=(0.88, 0.93), lower_is_better=False),
    untold("goodput.ratio", base=0.96, new=0.91, need=Need(change=0.05, prompts=4711), lower_is_better=False),
    contrast("errors.ratio", None, base=0.0, new=0.1, interval=(1.2, math.inf), counts=(50, 50)),
    contrast("cached_tokens.ratio", 180.0, Call.BETTER, base=0.005, new=0.9, interval=(3.0, 1900.0)),
    contrast("output_token_throughput.p50", 0.93, base=98.43, new=91.4, interval=(0.92, 0.95), round=CONTROL),
    untold("itl_ms.p99", stage="Cache on", interval=None, p_value=None, base=None, why="there is no gap in BASE"),
)


@pytest.mark.parametrize("columns", [None, 160, 80])
def test_a_comparison_of_two_runs(golden: Callable[[str, str], None], columns: int | None) -> None:
    golden(f"contrasts_{columns or 'piped'}.txt", render_contrasts(MANY, HEADER, columns) + "\n")


def test_runs_that_are_unlike_are_said_to_be() -> None:
    text = render_contrasts(MANY, replace(HEADER, objections=("model: BASE has a, NEW has b",)), 80)
    assert "Unlike runs, compared all the same (1 difference):\n    model: BASE has a, NEW has b\n" in text
    assert "Unlike" not in render_contrasts(MANY, HEADER, 80)


def test_only_repeats_have_the_spread_between_runs() -> None:
    assert "One run a side" in render_contrasts(MANY, HEADER, None)
    repeats = [replace(one, way=Way.REPEATS, counts=(5, 5)) for one in MANY]
    text = render_contrasts(repeats, HEADER, None)
    assert "One run a side" not in text
    assert "round 2: 5 runs\n" in text


@given(
    st.integers(40, 200),
    st.lists(
        st.builds(
            contrast,
            st.sampled_from(["ttft_ms.p50", "output_token_throughput.mean", "cached_tokens.ratio", "tokens_per_s"]),
            st.none() | st.floats(0, 1e12),
            st.sampled_from(Call),
            base=st.none() | st.floats(0, 1e12),
            new=st.none() | st.floats(0, 1e12),
            interval=st.none() | st.tuples(st.floats(0, 1), st.floats(1, math.inf)),
            stage=st.none() | st.just("a stage with a name that goes on and on " * 3),
            way=st.sampled_from(Way),
            need=st.none() | st.builds(Need, change=st.just(0.05), prompts=st.none() | st.integers(1, 10**9)),
            why=st.none() | st.text(max_size=200),
        )
    ),
)
def test_no_line_is_wider_than_the_terminal(columns: int, contrasts: list[Contrast]) -> None:
    text = render_contrasts(contrasts, HEADER, columns)
    assert max(map(cell_len, text.split("\n"))) <= columns


def test_at_80_columns_each_round_has_one_table_and_all_have_the_same_columns() -> None:
    heads = [line.split() for line in render_contrasts(MANY, HEADER, 80).splitlines() if line.startswith("│ Figure")]
    assert heads == [["│", "Figure", "│", "Call", "│", "Base", "│", "New", "│", "Change", "│", "Interval", "│"]] * 3


@pytest.mark.parametrize(
    ("contrasts", "says"),
    [
        ([], "Nothing could be compared."),
        ([same()], "NEW is the same: of 1 figure none differs by 2% or more."),
        (
            [contrast(), same(), untold()],
            "NEW is worse: 1 of 3 figures worse, 1 cannot be told. "
            "Biggest: TTFT p50 at concurrency 8, round 2: +8.0% (+5.0 to +11.0%).",
        ),
        (
            [
                contrast("ttft_ms.mean", 0.7, Call.BETTER, interval=(0.6, 0.8)),
                contrast("ttft_ms.p50", 0.9, Call.BETTER),
            ],
            "NEW is better: 2 of 2 figures better. "
            "Biggest: TTFT mean at concurrency 8, round 2: -30.0% (-40.0 to -20.0%).",
        ),
        (
            [contrast(), contrast("errors.ratio", None, base=0.0, new=0.1), contrast(ratio=0.9, call=Call.BETTER)],
            "NEW is worse in some and better in others: 2 of 3 figures worse, 1 better. "
            "Worst: Failures at concurrency 8, round 2: from 0 (+5.0 to +11.0%). "
            "Best: TTFT p50 at concurrency 8, round 2: -10.0% (+5.0 to +11.0%).",
        ),
        (
            [same(), untold()],
            "No difference shown: 1 of 2 figures are the same within 2%, of 1 it cannot be told. "
            "A change of 5% would have been seen in ITL mean, not in TTFT p99.",
        ),
        (
            [untold()],
            "No difference shown: of none of 1 figure it can be told whether it differs. "
            "A change of 5% would not have been seen in any of them.",
        ),
    ],
)
def test_the_answer_in_a_sentence(contrasts: list[Contrast], says: str) -> None:
    assert summarize(contrasts, 0.02) == says


def test_a_change_is_seen_where_it_would_be_at_each_place() -> None:
    enough, short = Need(change=0.1, prompts=48), Need(change=0.1, prompts=49)
    seen = untold("ttft_ms.mean", need=enough)
    names = ("ttft_ms.p50", "ttft_ms.p99", "itl_ms.p50", "itl_ms.p99", "latency_ms.p50")
    others = [untold(name, need=short) for name in names]
    assert sensitivity([seen, *others]) == (
        "A change of 10% would have been seen in TTFT mean, not in TTFT p50, TTFT p99, ITL p50 and 2 others."
    )
    assert "not have been seen in any" in sensitivity([seen, replace(seen, round=1, need=short)])
    repeats = replace(seen, way=Way.REPEATS, counts=(3, 4))
    assert "seen in TTFT mean." in sensitivity([replace(repeats, need=Need(change=0.05, repeats=3))])
    assert "not have been" in sensitivity([replace(repeats, need=Need(change=0.05, repeats=4))])


def test_what_would_tell() -> None:
    three = [
        untold("ttft_ms.p50", why="noise", need=Need(change=0.05, prompts=1234)),
        untold("ttft_ms.p50", why="noise", round=1, need=Need(change=0.05, prompts=40)),
        untold("itl_ms.p50", why="noise", way=Way.REPEATS, counts=(3, 3), need=Need(change=0.05, repeats=7)),
    ]
    assert needs_text(three) == [
        "TTFT p50 and ITL p50 in 2 rounds: noise. "
        "A change of 5% would be seen with about 1,300 prompts a round or 7 runs a side (--repeat)"
    ]
    assert needs_text([three[1]]) == ["TTFT p50 at concurrency 8, round 1: noise. A change of 5% would have been seen"]
    assert needs_text([untold(why="too few")]) == ["TTFT p99 at concurrency 8, round 2: too few"]
    assert needs_text([same(), contrast()]) == []


@pytest.mark.parametrize(
    ("confidences", "says"),
    [
        ([0.95], "Intervals at 95%."),
        ([0.983], "Intervals at 98.3%: 95% corrected for 1 comparison."),
        ([0.9979, 0.9979], "Intervals at 99.79%: 95% corrected for 2 comparisons."),
        ([0.975, 0.99], "Intervals at 97.5 to 99%: 95% corrected for 2 comparisons."),
        ([0.99999], "Intervals at 99.999%: 95% corrected for 1 comparison."),
    ],
)
def test_at_which_confidence(confidences: list[float], says: str) -> None:
    assert confidence_text([contrast(confidence=one) for one in confidences]) == says


def test_without_intervals_there_is_no_confidence() -> None:
    assert confidence_text([contrast(interval=None)]) == ""


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (1.082, "+8.2%"),
        (0.5, "-50.0%"),
        (1.0, "0.0%"),
        (0.9999, "0.0%"),
        (1.9996, "+100%"),
        (9.5, "+850%"),
        (12.3, "x12"),
        (123456.0, "x1e+05"),
        (0.0, "-100%"),
        (None, "-"),
        (math.inf, "-"),
        (math.nan, "-"),
    ],
)
def test_changes(ratio: float | None, text: str) -> None:
    assert change_text(ratio) == text


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        ((1.051, 1.114), "+5.1 to +11.4%"),
        ((0.95, 1.0), "-5.0 to 0.0%"),
        ((1.2, math.inf), "above +20.0%"),
        ((12.0, math.inf), "above x12"),
        ((0.0, 1.2), "below +20.0%"),
        ((0.0, 40.0), "below x40"),
        ((1.5, 12.0), "+50.0% to x12"),
        ((11.0, 12.0), "x11 to x12"),
        ((0.0, math.inf), "-"),
        (None, "-"),
    ],
)
def test_intervals(interval: tuple[float, float] | None, text: str) -> None:
    assert interval_text(interval) == text


@pytest.mark.parametrize(
    ("name", "base", "new", "texts"),
    [
        ("ttft_ms.p50", 24.981, 0.5, ("24.98", "0.50")),
        ("ttft_ms.p50", 0.0123, 0.05, ("0.012", "0.050")),
        ("ttft_ms.p50", 99.4, 157.41, ("99.4", "157.4")),
        ("tokens_per_s", 1122.43, None, ("1122", "-")),
        ("errors.ratio", 0.0, 0.0, ("0.000", "0.000")),
        ("goodput.ratio", 1.0, 0.955, ("100.0", "95.5")),
        ("ttft_ms.p50", None, None, ("-", "-")),
    ],
)
def test_values(name: str, base: float | None, new: float | None, texts: tuple[str, str]) -> None:
    assert values_text(contrast(name, base=base, new=new)) == texts


def test_every_figure_has_a_name() -> None:
    for metric in METRICS:
        assert figure_name(Figure(metric.name, "p50")).endswith(" p50")
    assert figure_name(Figure("ttft_ms", "p99"), unit=True) == "TTFT p99 (ms)"
    assert figure_name(Figure("tokens_per_s"), unit=True) == "Tokens/s"
    assert figure_name(Figure("goodput", "ratio"), unit=True) == "Goodput (%)"
    assert figure_name(Figure("duration_s"), unit=True) == "Duration (s)"


def test_what_an_interval_stands_on() -> None:
    assert counts_text(PLAIN) == "48 pairs"
    assert counts_text(replace(PLAIN, way=Way.TWO_SAMPLES, counts=(48, 50_000))) == "48 and 50,000 prompts"
    assert counts_text(replace(PLAIN, way=Way.REPEATS, counts=(1, 1))) == "1 run"


def test_names_from_anywhere_are_made_safe() -> None:
    wild = replace(PLAIN, stage="a\x1b[31m\nb", call=Call.CANNOT_TELL, why="x\x1b")
    text = render_contrasts([wild], replace(HEADER, base="\x1b]0;"), 80)
    assert "\x1b" not in text
