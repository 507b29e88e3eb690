from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.analysis.bounds import error_bounds
from fluxperf.model import Histogram

MS = 1_000_000
PERCENTS = (1, 25, 50, 90, 99, 100)
BUCKET = 1.002  # a histogram's percentile is in the right bucket, which is 0.1 % wide; two of them are compared

Build = Callable[..., Histogram]


def nearest_rank(values: Sequence[int], percent: float) -> int:
    return sorted(values)[max(math.ceil(percent * len(values) / 100), 1) - 1]


def close(found: float, expected: float) -> bool:
    """Whether it is so, as far as buckets tell."""
    return found == pytest.approx(expected, rel=2e-3, abs=2)


@given(st.lists(st.tuples(st.integers(10_000, 10_000_000), st.integers(0, 3_000_000) | st.just(0)), min_size=1))
def test_late_stamps_never_move_a_percentile_by_more(requests: list[tuple[int, int]]) -> None:
    """Each value is late by its slack or by less: the truth is within the bound, whichever it is."""
    measured, slack = Histogram(), Histogram()
    measured.record_all(true + late for true, late in requests)
    slack.record_all(late for _, late in requests)
    for percent, bound in zip(PERCENTS, error_bounds(measured, slack, PERCENTS), strict=True):
        truth = nearest_rank([true for true, _ in requests], percent)
        said = nearest_rank([true + late for true, late in requests], percent)
        assert said - truth <= bound * BUCKET + said * (BUCKET - 1) + 2


@given(st.lists(st.tuples(st.integers(20_000, 10_000_000), st.integers(0, 10_000) | st.just(0)), min_size=2))
def test_nor_do_late_stamps_at_both_ends(events: list[tuple[int, int]]) -> None:
    """Stamps in a row, each late by its slack: a gap is too long by one end's and too short by the other's."""
    true_gaps = [gap for gap, _ in events[1:]]
    late = [slack for _, slack in events]
    said_gaps = [gap + late[number + 1] - late[number] for number, gap in enumerate(true_gaps)]
    measured, slack = Histogram(), Histogram()
    measured.record_all(said_gaps)
    slack.record_all(late)
    for percent, bound in zip(PERCENTS, error_bounds(measured, slack, PERCENTS, both_ways=True), strict=True):
        truth, said = nearest_rank(true_gaps, percent), nearest_rank(said_gaps, percent)
        assert abs(said - truth) <= bound * BUCKET + said * (BUCKET - 1) + 2


def test_stamps_that_are_never_late_leave_no_doubt(a_histogram: Build) -> None:
    assert error_bounds(a_histogram(1, 5 * MS, 9 * MS), a_histogram(0, 0, 0), (50, 99), both_ways=True) == [0, 0]


@pytest.mark.parametrize(("values", "slack"), [((), (5,)), ((5,), ())])
def test_where_nothing_is_known_nothing_is_said(
    a_histogram: Build, values: tuple[int, ...], slack: tuple[int, ...]
) -> None:
    assert error_bounds(a_histogram(*values), a_histogram(*slack), (50, 99)) == [0, 0]


def test_a_single_value_may_be_off_by_all_its_slack(a_histogram: Build) -> None:
    assert error_bounds(a_histogram(20 * MS), a_histogram(3 * MS), (50, 99)) == [3 * MS, 3 * MS]


def test_a_few_late_stamps_among_many_alike_values_move_nothing(a_histogram: Build) -> None:
    values = a_histogram(*[10 * MS] * 995, *[15 * MS] * 5)
    slack = a_histogram(*[5 * MS] * 5, zeros=995)
    assert error_bounds(values, slack, (50, 99)) == [0, 0]


def test_late_stamps_move_the_percentile_that_they_reach(a_histogram: Build) -> None:
    values = a_histogram(*[10 * MS] * 980, *[15 * MS] * 20)
    slack = a_histogram(*[5 * MS] * 20, zeros=980)
    p50, p99 = error_bounds(values, slack, (50, 99))
    assert p50 == 0
    assert close(p99, 5 * MS)


def test_an_error_may_also_hide_what_was_longer(a_histogram: Build) -> None:
    values = a_histogram(*[10 * MS] * 98, *[14 * MS] * 2)
    slack = a_histogram(*[5 * MS] * 2, zeros=98)
    one_way, _ = error_bounds(values, slack, (97, 50))
    both_ways, _ = error_bounds(values, slack, (97, 50), both_ways=True)
    assert one_way == 0
    assert close(both_ways, 4 * MS)


def test_an_error_that_is_shared_by_many_parts_is_small(a_histogram: Build) -> None:
    values, slack = a_histogram(*[10 * MS] * 4), a_histogram(*[5 * MS] * 4)
    (bound,) = error_bounds(values, slack, (50,), parts=100)
    assert close(bound, 0.05 * MS)
