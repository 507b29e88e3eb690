from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.analysis.numeric import t_below
from fluxperf.analysis.uncertain import Uncertain, on_logs, plain, t_reach, unknown
from fluxperf.model.contrast import Way

CONFIDENCES = st.floats(0, 0.9999)


def uncertain(error: float = 0.1, freedom: float = 7, value: float = 2.0) -> Uncertain:
    limits = on_logs(math.log(value), error, freedom)
    return Uncertain(value=value, limits=limits, way=Way.PAIRED, counts=(10, 10))


@given(CONFIDENCES, CONFIDENCES)
def test_bounds_are_wider_for_more_confidence(one: float, other: float) -> None:
    (low, high), (outer_low, outer_high) = (uncertain().bounds(each) for each in sorted((one, other)))
    assert outer_low <= low <= 2 <= high <= outer_high


@given(st.floats(0.5, 8), CONFIDENCES)
def test_a_value_is_outside_where_its_p_value_says_so(null: float, confidence: float) -> None:
    found = uncertain()
    low, high = found.bounds(confidence)
    p_value = found.p_value(null)
    if abs(p_value - (1 - confidence)) > 1e-6:
        assert (low <= null <= high) is (p_value > 1 - confidence)


@pytest.mark.parametrize("null", [1.0, 1.5, 1.9, 2.0, 2.2, 4.0])
def test_p_values_of_a_t_interval_are_those_of_the_t_test(null: float) -> None:
    distance = (math.log(2) - math.log(null)) / 0.1
    found = uncertain()
    assert found.p_value(null) == pytest.approx(2 * t_below(7, -abs(distance)), rel=1e-4)
    assert found.p_above(null) == pytest.approx(t_below(7, -distance), rel=1e-4, abs=1e-6)
    assert found.p_below(null) == pytest.approx(t_below(7, distance), rel=1e-4, abs=1e-6)


def test_nothing_is_known_of_what_has_no_bounds() -> None:
    found = Uncertain(value=2.0, limits=unknown(), way=Way.PAIRED, counts=(1, 1))
    assert found.bounds(0.5) == (0, math.inf)
    assert found.p_value(1) == 1
    assert found.p_above(1) == 0.5 == found.p_below(4)


def test_the_value_is_always_within() -> None:
    """A percentile of a table may be off by half a thousandth, which may be more than the interval has."""
    found = Uncertain(value=1.001, limits=plain(1.0, 1e-6, 7), way=Way.PAIRED, counts=(1, 1))
    assert found.bounds(0.95)[1] == 1.001
    assert found.p_value(1.0005) == 1


def test_without_any_error_only_the_value_is_within() -> None:
    found = uncertain(error=0.0)
    assert found.bounds(0.999) == pytest.approx((2, 2))
    assert found.p_value(1.9) < 1e-9


def test_reach_keeps_its_digits() -> None:
    assert t_reach(1e9, 1 - 1e-12) == pytest.approx(7.13, abs=0.01)
