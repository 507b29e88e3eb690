from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fluxperf.analysis.clustered import Stretches, count_stretches, estimate, estimate_mean, label, variance

numbers = st.floats(-10, 10).map(lambda number: round(number, 3))


def in_order(count: int, stretches: int) -> NDArray[np.int64]:
    return label(np.arange(count), stretches)


def by_pairs(influence: NDArray[np.float64], *labels: NDArray[np.int64]) -> float:
    """The sum over all pairs of observations that have all of these labels in common."""
    return sum(
        float(influence[one] * influence[other])
        for one in range(influence.size)
        for other in range(influence.size)
        if all(label[one] == label[other] for label in labels)
    )


@pytest.mark.parametrize(
    ("requests", "concurrency", "count"),
    [
        (50, 10, 5),
        (49, 10, 4),
        (40, 10, 4),
        (39, 10, 3),
        (50, 20, 2),
        (50, 1, 7),
        (60, 7, 7),
        (64, 1, 8),
        (1000, 20, 8),
        (1000, 100, 8),
        (7, 1, 7),
        (1, 1, 1),
        (5, 10, 0),
        (0, 1, 0),
        (0, 0, 0),
    ],
)
def test_how_many_stretches(requests: int, concurrency: int, count: int) -> None:
    assert count_stretches(requests, concurrency) == count


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(0, 12))
def test_stretches_are_runs_of_the_same_length(sent: list[int], count: int) -> None:
    labels = label(np.array(sent, np.int64), count).tolist()
    in_time = [found for _, found in sorted(zip(sent, labels, strict=True), key=lambda pair: pair[0])]
    assert in_time == sorted(in_time)
    lengths = [labels.count(number) for number in set(labels)]
    assert len(lengths) == min(max(count, 1), len(sent))
    assert not lengths or max(lengths) - min(lengths) <= 1


def test_the_variance_is_what_is_in_common_in_either_round_but_once_if_in_both() -> None:
    chance = np.random.default_rng(3)
    labels = [chance.permutation(np.arange(60) // 10) for _ in range(2)]
    moods = [np.array([-3, 3, -2, 2, -1, 1])[found] for found in labels]
    influence = moods[0] + moods[1] + chance.normal(size=60)
    stretches = Stretches(*labels)
    alone = by_pairs(influence, np.arange(60)) * 60 / 59
    first, second = (by_pairs(influence, found) * 6 / 5 for found in labels)
    cells = len(set(zip(*map(list, labels), strict=True)))
    both = by_pairs(influence, *labels) * cells / (cells - 1)
    assert variance(influence, stretches) == pytest.approx(alone + 1.5 * (first + second - both - alone))


def test_in_the_same_order_it_is_that_of_one_way() -> None:
    labels = in_order(40, 4)
    influence = np.repeat([-1.0, 1, 2, -2], 10) + np.tile([0.5, -0.5], 20)
    alone = by_pairs(influence, np.arange(40)) * 40 / 39
    one_way = by_pairs(influence, labels) * 4 / 3
    assert variance(influence, Stretches(labels, labels)) == pytest.approx(alone + 1.5 * (one_way - alone))


def test_it_is_no_less_than_the_mean_of_the_one_way_variances() -> None:
    chance = np.random.default_rng(4)
    stretches = Stretches(in_order(80, 8), chance.permutation(in_order(80, 8)))
    lowest = 0
    for _ in range(200):
        influence = chance.normal(size=80)
        least = sum(by_pairs(influence, found) * 8 / 7 for found in (stretches.first, stretches.second)) / 2
        found = variance(influence, stretches)
        assert found >= least * (1 - 1e-9)
        lowest += found == pytest.approx(least)
    assert 50 < lowest < 150


def test_sums_that_cancel_do_not_make_a_certainty() -> None:
    labels = in_order(40, 4)
    found = estimate_mean(np.tile([0.5, 1.5], 20), Stretches(labels, labels))
    assert found is not None
    assert found.standard_error == pytest.approx(0.5 * math.sqrt(1 / 39) / 2)


@pytest.mark.parametrize(("value", "p_value"), [(0.0, 1.0), (0.25, 0.0)])
def test_values_that_are_all_the_same(value: float, p_value: float) -> None:
    found = estimate_mean(np.full(8, value), Stretches(in_order(8, 4), in_order(8, 4)))
    assert found is not None
    assert (found.value, found.standard_error, found.interval, found.p_value) == (value, 0, (value, value), p_value)


def test_four_stretches_in_both_rounds_are_the_least() -> None:
    values = np.arange(12.0)
    for first, second, enough in ((4, 4, True), (3, 4, False), (4, 3, False), (1, 1, False)):
        stretches = Stretches(in_order(12, first), in_order(12, second))
        assert stretches.clusters == min(first, second)
        assert (estimate_mean(values, stretches) is not None) is enough
    nothing = np.array([], np.int64)
    assert estimate_mean(np.array([]), Stretches(nothing, nothing)) is None


def test_stretches_that_weigh_little_hardly_count() -> None:
    """Six stretches of which one has nearly all the weight are as good as one, and make a wide interval."""
    labels = in_order(60, 6)
    residuals = np.tile([1.0, -1, 2, -2, 0.5, -0.25], 10)
    weights = np.ones(60) / 60
    even = estimate(1, weights, residuals, Stretches(labels, labels))
    uneven = estimate(1, np.where(labels == 0, 1, weights), residuals, Stretches(labels, labels))
    assert even is not None
    assert uneven is not None
    assert even.degrees_of_freedom == pytest.approx(5)
    assert uneven.degrees_of_freedom == 1


@given(st.lists(numbers, min_size=4, max_size=40), st.randoms(use_true_random=False))
def test_interval_and_p_value_agree_and_turn_with_the_values(values: list[float], chance: Random) -> None:
    size = len(values)
    order = list(range(size))
    chance.shuffle(order)
    first, second = in_order(size, 8), label(np.array(order), 8)
    found = estimate_mean(np.array(values), Stretches(first, second))
    turned = estimate_mean(-np.array(values), Stretches(second, first))
    assert found is not None
    assert turned is not None
    low, high = found.interval
    assert low <= found.value <= high
    if abs(found.p_value - 0.05) > 1e-9:
        assert (found.p_value < 0.05) is not (low <= 0 <= high)
    assert turned.interval == pytest.approx((-high, -low), abs=1e-12)
    assert turned.p_value == pytest.approx(found.p_value, abs=1e-9)
