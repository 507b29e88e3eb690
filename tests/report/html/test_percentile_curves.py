"""Curves by percentile say what tables say: the nearest rank."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.metrics import BY_NAME
from fluxperf.model import Histogram, RoundResult, Stats
from fluxperf.report.html.chart import Chart, Missing
from fluxperf.report.html.columns import read_columns
from fluxperf.report.html.percentiles import Curve, Line, curve_of, find_curve, percentile_chart

TTFT = BY_NAME["ttft_ms"]


def curve(values: list[float]) -> Curve:
    found, counts = np.unique(np.array(values), return_counts=True)
    made = curve_of(found, counts.astype(np.float64))
    assert made is not None
    return made


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_curve_has_the_percentiles_that_histograms_have(values: list[int], share: float) -> None:
    histogram = Histogram()
    histogram.record_all(values)
    exact = sorted(values)[max(int(np.ceil(round(share * len(values), 9))), 1) - 1]
    assert curve([float(value) for value in values]).at(share) == exact
    assert histogram.percentile(100 * share) == pytest.approx(exact, rel=6e-4, abs=1)


def test_it_begins_at_the_minimum_and_its_last_step_is_the_maximum() -> None:
    made = curve([float(value) for value in range(1, 101)])
    assert made.inverse[0] == 1
    assert (made.value[0], made.value[-1], made.count) == (1, 100, 100)
    assert made.inverse[-1] == pytest.approx(100)


def test_a_large_one_keeps_few_steps_and_the_percentiles_exact() -> None:
    values = np.random.default_rng(1).lognormal(3, 1, 50_000)
    made = curve(list(values))
    assert len(made.inverse) < 320
    ordered = np.sort(values)
    for share, rank in ((0.5, 25_000), (0.9, 45_000), (0.99, 49_500)):
        assert made.at(share) == ordered[rank - 1]
    assert made.value[-1] == ordered[-1]


def with_histogram(result: RoundResult, metric: str, values_ns: list[int], stats: Stats) -> RoundResult:
    histogram = Histogram()
    histogram.record_all(values_ns)
    summary = replace(result.summary, stats={**result.summary.stats, metric: stats})
    return replace(result, histograms={metric: histogram.encode()}, summary=summary)


def test_histograms_are_read_in_the_unit_of_the_metric(a_round: Callable[..., RoundResult]) -> None:
    stats = Stats(min=1.000123, max=3.000456)
    result = with_histogram(a_round(), "chunk_gap_ms", [1_000_123, 2_000_000, 3_000_456], stats)
    made = find_curve(result, None, BY_NAME["chunk_gap_ms"])
    assert made is not None
    assert list(made.value) == [1.000123, pytest.approx(2, rel=1e-3), 3.000456]


def test_without_a_histogram_requests_tell(a_round: Callable[..., RoundResult]) -> None:
    result = a_round()
    columns = read_columns(result)
    made = find_curve(result, columns, TTFT)
    assert made is not None
    assert made.count == int(np.isfinite(columns.ttft_ms).sum())
    assert find_curve(result, None, TTFT) is None
    assert find_curve(result, columns, BY_NAME["chunk_gap_ms"]) is None


def test_what_could_not_be_measured_has_no_curve_but_a_reason(a_round: Callable[..., RoundResult]) -> None:
    result = a_round()
    result = replace(result, summary=replace(result.summary, unmeasured={"ttft_ms": "they came at once"}))
    assert find_curve(result, read_columns(result), TTFT) is None
    chart = percentile_chart(TTFT, [], [result])
    assert isinstance(chart, Missing)
    assert chart.why == "they came at once"


def test_the_words_have_the_numbers_and_the_axis_its_nines() -> None:
    line = Line("Round 1", "series-1", "solid", curve([float(value) for value in range(1, 1001)]))
    chart = percentile_chart(TTFT, [line], [])
    assert isinstance(chart, Chart)
    assert "Round 1: p50 500.00 ms, p90 900.00 ms, p99 990.00 ms, most 1000.00 ms, of 1,000 values." in chart.says
    assert [chart.x.ticks[place] for place in (1.0, 2.0, 10.0, 100.0, 1000.0)] == [
        "0 %",
        "50 %",
        "90 %",
        "99 %",
        "99.9 %",
    ]
    assert 10_000.0 not in chart.x.ticks


def test_no_value_is_a_sentence(a_run: Callable[..., Any]) -> None:
    chart = percentile_chart(BY_NAME["ttfo_ms"], [], [])
    assert isinstance(chart, Missing)
    assert "no request has a value" in chart.why
