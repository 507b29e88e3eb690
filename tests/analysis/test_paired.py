from __future__ import annotations

import math
import statistics
import tracemalloc
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.analysis.paired import compare
from fluxperf.metrics import METRICS
from fluxperf.model import Outcome, RoundResult, RoundSummary, Stats, Timeline

MS = 1_000_000


def request(index: int, ttft_ms: float, *, turn: int = 0, outcome: Outcome = Outcome.OK, tokens: int = 11) -> Timeline:
    """A request that ends 100 ms after its first of `tokens` tokens."""
    sent = 1000 * MS * (index + 1)
    first = sent + round(ttft_ms * MS)
    return Timeline(
        index=index,
        turn=turn,
        outcome=outcome,
        sent_ns=sent,
        first_output_ns=first,
        last_output_ns=first + 100 * MS,
        end_ns=first + 100 * MS,
        output_events=tokens,
    )


class Many(Collection[Timeline]):
    """So many requests, made as they are asked for."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __contains__(self, item: object) -> bool:
        return any(request == item for request in self)

    def __iter__(self) -> Iterator[Timeline]:
        return (request(index, 1 + index * 7919 % self.count) for index in range(self.count))


def a_round(number: int, requests: Iterable[Timeline]) -> RoundResult:
    summary = RoundSummary(
        total_requests=0,
        successful_requests=0,
        failed_requests=0,
        duration_s=0,
        avg_input_tokens=None,
        avg_output_tokens=None,
        avg_in_flight=None,
        stats={metric.name: Stats() for metric in METRICS},
        tokens_per_s=None,
        requests_per_s=None,
        goodput=None,
        outcomes={},
        cached_tokens=None,
    )
    return RoundResult(
        stage="x",
        concurrency=5,
        round=number,
        configuration={},
        summary=summary,
        requests=tuple(requests),
        first_sent_ns=None,
    )


def test_prompts_are_compared_with_themselves() -> None:
    baseline = a_round(1, [request(0, 100), request(1, 200), request(5, 400)])
    later = a_round(2, [request(0, 50), request(1, 20), request(5, 440)])
    ttft, itl, latency = compare(baseline, later)
    assert (ttft.stage, ttft.concurrency, ttft.metric, ttft.baseline_round, ttft.round) == ("x", 5, "ttft_ms", 1, 2)
    assert (ttft.pairs, ttft.dropped) == (3, 0)
    assert ttft.median_ratio == 0.5
    assert ttft.mean_ratio == pytest.approx((0.5 * 0.1 * 1.1) ** (1 / 3))
    assert ttft.median_difference_ms == -50
    assert ttft.share_slower == pytest.approx(1 / 3)
    assert (ttft.ratio_ci95, ttft.difference_ci95_ms, ttft.p_value) == (None, None, None)
    assert (itl.metric, itl.median_ratio, itl.mean_ratio, itl.median_difference_ms, itl.share_slower) == (
        "itl_ms",
        1,
        1,
        0,
        0,
    )
    assert (latency.metric, latency.median_ratio) == ("latency_ms", 150 / 200)


def test_what_has_no_pair_is_dropped_and_counted() -> None:
    baseline = a_round(
        1, [request(0, 10), request(1, 10, outcome=Outcome.RESET), request(2, 10), request(3, 10), request(8, 10)]
    )
    later = a_round(
        2,
        [
            request(0, 20, outcome=Outcome.LENGTH),
            request(1, 10),
            request(2, 10, outcome=Outcome.TIMEOUT),
            request(9, 1),
        ],
    )
    (ttft,) = compare(baseline, later, ("ttft_ms",))
    assert (ttft.pairs, ttft.dropped, ttft.median_ratio) == (1, 5, 2)


def test_memory_does_not_grow_with_the_requests() -> None:
    count = 20_000
    baseline, later = (replace(a_round(number, ()), requests=Many(count)) for number in (1, 2))
    tracemalloc.start()
    try:
        assert [found.pairs for found in compare(baseline, later)] == [count] * 3
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1_000_000 < 8 * count * 8


def test_turns_are_pairs_of_their_own() -> None:
    baseline = a_round(1, [request(0, 10), request(0, 100, turn=1)])
    later = a_round(2, [request(0, 20), request(0, 50, turn=1), request(0, 50, turn=2)])
    (ttft,) = compare(baseline, later, ("ttft_ms",))
    assert (ttft.pairs, ttft.dropped, ttft.median_ratio) == (2, 1, 1.25)


def test_a_metric_that_does_not_exist_or_is_zero_makes_no_pair() -> None:
    baseline = a_round(1, [request(0, 0), request(1, 10, tokens=1), request(2, 10)])
    later = a_round(2, [request(0, 10), request(1, 10), request(2, 0)])
    ttft, itl, latency = compare(baseline, later)
    assert (ttft.pairs, ttft.dropped) == (1, 2)
    assert (itl.pairs, itl.dropped) == (2, 1)
    assert (latency.pairs, latency.dropped) == (3, 0)


def test_no_pairs_at_all() -> None:
    for baseline, later in product([(), [request(0, 10)]], [(), [request(1, 10)]]):
        (ttft,) = compare(a_round(1, baseline), a_round(2, later), ("ttft_ms",))
        assert (ttft.pairs, ttft.dropped) == (0, len(baseline) + len(later))
        assert ttft.median_ratio is ttft.mean_ratio is ttft.median_difference_ms is ttft.share_slower is None


def test_a_pooled_metric_has_no_pairs() -> None:
    (gap,) = compare(a_round(1, [request(0, 10)]), a_round(2, [request(0, 10)]), ("chunk_gap_ms",))
    assert (gap.pairs, gap.dropped, gap.median_ratio) == (0, 1, None)


def test_slower_means_less_where_more_is_better() -> None:
    (speed,) = compare(
        a_round(1, [request(0, 10)]), a_round(2, [request(0, 10, tokens=5)]), ("output_token_throughput",)
    )
    assert speed.median_ratio == pytest.approx(5 / 11, rel=1e-4)
    assert speed.share_slower == 1


values_ms = st.dictionaries(st.tuples(st.integers(0, 20), st.integers(0, 3)), st.integers(1, 10**6), max_size=30)


@given(values_ms, values_ms)
def test_it_agrees_with_a_join_in_memory(before: dict[tuple[int, int], int], after: dict[tuple[int, int], int]) -> None:
    baseline, later = (
        a_round(number, (request(index, value, turn=turn) for (index, turn), value in sorted(values.items())))
        for number, values in ((1, before), (2, after))
    )
    (ttft,) = compare(baseline, later, ("ttft_ms",))
    common = before.keys() & after.keys()
    assert (ttft.pairs, ttft.dropped) == (len(common), len(before.keys() ^ after.keys()))
    if common:
        ratios = [after[key] / before[key] for key in common]
        assert ttft.median_ratio == pytest.approx(statistics.median(ratios))
        assert ttft.mean_ratio == pytest.approx(math.exp(statistics.fmean(map(math.log, ratios))))
        assert ttft.share_slower == sum(ratio > 1 for ratio in ratios) / len(ratios)
