from __future__ import annotations

import base64
import gc
import math
import random
import statistics
import tracemalloc
from array import array
from collections.abc import Iterable
from fractions import Fraction

import msgpack
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.model import Histogram
from fluxperf.model.histogram import HIGHEST, LOWEST, SIGNIFICANT_DIGITS

PERCENTS = ("0", "0.1", "50", "90", "95", "99", "99.9", "100")
EDGES = sorted({0, HIGHEST} | {min(2**power + step, HIGHEST) for power in range(43) for step in (-1, 0, 1)})

in_range = st.integers(0, HIGHEST) | st.integers(0, 5000) | st.sampled_from(EDGES)
anything = in_range | st.integers(HIGHEST + 1, 2**56)


def histogram_of(values: Iterable[int]) -> Histogram:
    histogram = Histogram()
    histogram.record_all(values)
    return histogram


def filled(histogram: Histogram) -> dict[int, int]:
    """The buckets that are not empty, by their index."""
    state = histogram.to_state()
    return dict(zip(array("H", state["buckets"]), array(state["counts_code"], state["counts"]), strict=True))


def filled_in(reference: HdrHistogram) -> dict[int, int]:
    """The same of the package's own."""
    return {bucket: count for bucket, count in enumerate(reference.counts) if count}


def nearest_rank(values: list[int], percent: str) -> int:
    """The definition: the smallest value with at least that share at or below it."""
    rank = max(math.ceil(Fraction(percent) * len(values) / 100), 1)
    return sorted(values)[rank - 1]


@given(st.lists(st.lists(anything), max_size=4))
def test_merged_is_the_histogram_of_the_union(parts: list[list[int]]) -> None:
    merged = Histogram()
    for part in parts:
        merged.merge(histogram_of(part))
    union = histogram_of(value for part in parts for value in part)
    assert merged == union
    assert merged.percentiles(0, 50, 99, 100) == union.percentiles(0, 50, 99, 100)


@given(st.lists(anything, min_size=1))
def test_one_by_one_is_as_all_at_once(values: list[int]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    assert histogram == histogram_of(values)


@given(st.lists(anything))
def test_state_survives_msgpack(values: list[int]) -> None:
    histogram = histogram_of(values)
    back = Histogram.from_state(msgpack.unpackb(msgpack.packb(histogram.to_state())))
    assert back == histogram
    assert back.percentiles(50, 99) == histogram.percentiles(50, 99)
    # It goes on counting where the other one stopped.
    back.record(7)
    histogram.record(7)
    assert back == histogram


@given(st.lists(anything), st.lists(anything))
def test_what_came_from_elsewhere_merges_like_any_other(here: list[int], there: list[int]) -> None:
    merged = histogram_of(here)
    merged.merge(Histogram.from_state(histogram_of(there).to_state()))
    assert merged == histogram_of(here + there)


@given(st.lists(anything, min_size=1), st.lists(anything, min_size=1), anything)
def test_what_was_merged_into_an_empty_one_stays_as_it_is(first: list[int], second: list[int], limit: int) -> None:
    source, merged = Histogram.from_state(histogram_of(first).to_state()), Histogram()
    merged.merge(source)
    assert merged.count_above(limit) == histogram_of(first).count_above(limit)
    merged.merge(histogram_of(second))
    assert merged == histogram_of(first + second)
    assert source == histogram_of(first)


@pytest.mark.parametrize("times", [2**8 - 1, 2**8, 2**16 - 1, 2**16, 2**32 - 1, 2**32, 2**40])
def test_a_count_of_any_size_survives(times: int) -> None:
    histogram = Histogram()
    histogram.record(7, times)
    back = Histogram.from_state(histogram.to_state())
    assert (back, filled(back)) == (histogram, {7: times})


@given(anything, st.integers(-1, 5))
def test_a_value_that_is_recorded_several_times(value: int, times: int) -> None:
    histogram = Histogram()
    histogram.record(value, times)
    assert histogram == histogram_of([value] * times)


def test_sum_of_squares_may_pass_64_bits() -> None:
    histogram = histogram_of([HIGHEST] * 3)
    assert histogram.sum_of_squares == 3 * HIGHEST**2 > 2**64
    assert Histogram.from_state(msgpack.unpackb(msgpack.packb(histogram.to_state()))).stddev == 0


@given(st.lists(anything))
def test_counts_are_those_of_the_hdrhistogram_package(values: list[int]) -> None:
    reference = HdrHistogram(LOWEST, HIGHEST, SIGNIFICANT_DIGITS, b64_wrap=False)
    for value in values:
        assert reference.record_value(min(value, HIGHEST))
    assert filled(histogram_of(values)) == filled_in(reference)


def test_every_edge_of_a_bucket_is_counted_as_the_hdrhistogram_package_does() -> None:
    reference = HdrHistogram(LOWEST, HIGHEST, SIGNIFICANT_DIGITS, b64_wrap=False)
    for value in EDGES:
        reference.record_value(value)
    assert filled(histogram_of(EDGES)) == filled_in(reference)


@given(st.lists(in_range, min_size=1), st.lists(st.sampled_from(PERCENTS), min_size=1))
def test_percentiles_are_nearest_rank_within_a_thousandth(values: list[int], percents: list[str]) -> None:
    found = histogram_of(values).percentiles(*map(float, percents))
    assert found == [pytest.approx(nearest_rank(values, percent), rel=0.001, abs=0) for percent in percents]


def test_percentiles_of_many_values_are_nearest_rank_within_a_thousandth() -> None:
    source = random.Random(42)
    values = [round(source.lognormvariate(17, 2)) for _ in range(20_000)]
    histogram = histogram_of(values)
    for percent in PERCENTS:
        assert histogram.percentile(float(percent)) == pytest.approx(nearest_rank(values, percent), rel=0.001, abs=0)


def test_the_rank_does_not_suffer_from_binary_fractions() -> None:
    """99.9 % of 41,000 are 40,959, whatever floats make of it."""
    histogram = histogram_of([1] * 40_959 + [9] * 41)
    assert 99.9 * 41_000 / 100 > 40_959
    assert histogram.percentile(99.9) == 1


@given(st.lists(anything, min_size=1), st.floats(0, 100))
def test_percentiles_keep_within_minimum_and_maximum(values: list[int], percent: float) -> None:
    found = histogram_of(values).percentile(percent)
    assert found is not None
    assert min(values) <= found <= max(values)


@pytest.mark.parametrize("value", [2049, 5000, 5003, HIGHEST, 2 * HIGHEST])
def test_percentiles_of_one_value_are_that_value(value: int) -> None:
    assert histogram_of([value] * 3).percentiles(0, 50, 100) == [value] * 3


def test_percentiles_are_the_middle_of_the_bucket() -> None:
    """20 ms lie in a bucket from 19,988,480 ns on that is 16,384 ns wide; its middle counts, not its edge."""
    histogram = histogram_of([1, 20_000_000, HIGHEST])
    assert histogram.percentile(50) == 19_988_480 + 16_383 / 2


@given(st.lists(anything, min_size=1))
def test_moments_are_exact(values: list[int]) -> None:
    histogram = histogram_of(values)
    assert (histogram.count, histogram.sum) == (len(values), sum(values))
    assert (histogram.min, histogram.max) == (min(values), max(values))
    assert histogram.mean == float(Fraction(sum(values), len(values)))
    assert histogram.stddev == pytest.approx(statistics.pstdev(values), rel=1e-9, abs=0)


def test_its_memory_is_given_back_without_the_collector() -> None:
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(20):
            histogram_of([1])
        left_bytes = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        gc.enable()
    assert left_bytes < 8 * 33_000  # the counts of one


def test_a_small_spread_of_large_values_is_not_lost() -> None:
    assert histogram_of([HIGHEST - 2, HIGHEST]).stddev == 1


@given(st.lists(anything))
def test_what_is_above_an_hour_is_counted_as_clipped(values: list[int]) -> None:
    assert histogram_of(values).clipped == sum(value > HIGHEST for value in values)


@given(st.lists(anything), anything)
def test_what_is_above_a_value_is_counted_but_for_the_values_own_bucket(values: list[int], limit: int) -> None:
    count = histogram_of(values).count_above(limit)
    wide = limit + max(limit // 1000, 1)
    assert sum(value > wide for value in values) <= count or wide > HIGHEST  # the top bucket holds all beyond
    assert count <= sum(value > limit for value in values)


@pytest.mark.parametrize(("limit", "count"), [(0, 3), (1, 2), (4, 2), (5, 1), (2**56, 0), (10**6, 1)])
def test_a_few_counted_above(limit: int, count: int) -> None:
    assert histogram_of([0, 1, 5, 2**30]).count_above(limit) == count
    assert Histogram().count_above(limit) == 0


def test_nothing_counted_is_no_value() -> None:
    histogram = Histogram()
    assert (histogram.count, histogram.min, histogram.max, histogram.mean, histogram.stddev) == (0,) + (None,) * 4
    assert histogram.percentiles(50, 99) == [None, None]
    histogram.record_all([])
    histogram.merge(Histogram())
    assert histogram == Histogram()


def test_a_negative_value_is_refused_and_nothing_counted() -> None:
    histogram = histogram_of([5])
    with pytest.raises(ValueError, match=r"no negative values, got -1"):
        histogram.record_all([3, -1])
    assert histogram == histogram_of([5])


def test_equality_is_of_all_that_was_counted() -> None:
    assert histogram_of([4_000_000]) != histogram_of([4_000_001])  # of one bucket
    assert Histogram() != 0
    with pytest.raises(TypeError):
        hash(Histogram())


@given(st.lists(anything))
def test_what_was_encoded_has_the_same_counts(values: list[int]) -> None:
    histogram = histogram_of(values)
    back = Histogram.decode(histogram.encode())
    assert filled(back) == filled(histogram)
    assert back.count == len(values)
    assert list(back.values()) == list(histogram.values())
    assert sum(count for _, count in back.values()) == len(values)


@given(st.lists(in_range, min_size=1))
def test_what_was_decoded_is_within_a_thousandth(values: list[int]) -> None:
    back = Histogram.decode(histogram_of(values).encode())
    assert back.min is not None
    assert back.max is not None
    assert back.min <= min(values) <= back.min * 1.001 + 1
    assert back.max / 1.001 - 1 <= max(values) <= back.max
    assert back.sum == pytest.approx(sum(values), rel=0.001, abs=1)
    assert back.percentiles(50, 99) == pytest.approx(histogram_of(values).percentiles(50, 99), rel=0.001, abs=1)


def test_an_empty_histogram_is_decoded_as_one() -> None:
    assert Histogram.decode(Histogram().encode()) == Histogram()


def test_the_package_reads_what_was_encoded() -> None:
    values = [0, 1, 999, 2048, 10**6, 10**9, HIGHEST]
    reference = HdrHistogram.decode(base64.b64encode(histogram_of(values).encode()))
    assert filled_in(reference) == filled(histogram_of(values))
    assert (reference.get_total_count(), reference.highest_trackable_value) == (len(values), HIGHEST)


@pytest.mark.parametrize("reference", [HdrHistogram(1, HIGHEST, 2), HdrHistogram(1000, HIGHEST, 3)])
def test_a_histogram_of_other_buckets_is_refused(reference: HdrHistogram) -> None:
    reference.record_value(5000)
    with pytest.raises(ValueError, match="not those of FluxPerf"):
        Histogram.decode(base64.b64decode(reference.encode()))


def test_a_histogram_of_higher_values_is_refused() -> None:
    reference = HdrHistogram(1, 10 * HIGHEST, 3)
    reference.record_value(9 * HIGHEST)
    with pytest.raises(ValueError, match="not those of FluxPerf"):
        Histogram.decode(base64.b64decode(reference.encode()))
