"""The level of highest power, by hand."""

from __future__ import annotations

import math

from fluxperf.analysis.knee import Operation, find_knee


def test_it_is_where_throughput_over_latency_is_highest() -> None:
    levels = [Operation(1, 10, 1.0), Operation(2, 19, 1.1), Operation(4, 30, 1.4), Operation(8, 32, 2.6)]
    knee = find_knee(reversed(levels))
    assert knee is not None
    assert (knee.concurrency, knee.is_first, knee.is_last) == (4, False, False)
    assert knee.power == 30 / 1.4


def test_of_equals_it_is_the_least_and_says_that_it_is_at_an_end() -> None:
    knee = find_knee([Operation(2, 10, 1.0), Operation(4, 20, 2.0)])
    assert knee is not None
    assert (knee.concurrency, knee.is_first, knee.is_last) == (2, True, False)
    rising = find_knee([Operation(2, 10, 1.0), Operation(4, 20, 1.0)])
    assert rising is not None
    assert rising.is_last


def test_one_level_has_none_nor_have_levels_without_numbers() -> None:
    assert find_knee([]) is None
    assert find_knee([Operation(2, 10, 1.0), Operation(2, 11, 1.0)]) is None
    assert find_knee([Operation(1, 10, 1.0), Operation(2, math.nan, 1.0), Operation(4, 3, 0.0)]) is None
