from __future__ import annotations

import math

import pytest

from fluxperf.analysis.repeats import (
    Values,
    contrast_repeated_shares,
    contrast_repeats,
    contrast_within,
    measure_repeats,
    measure_shares,
)
from fluxperf.model.contrast import Way

BASE, NEW = Values((100.0, 102.0, 98.0)), Values((110.0, 113.0, 108.0))


def test_a_ratio_is_by_the_t_test_of_the_logarithms() -> None:
    """As scipy.stats.ttest_ind has it: t = 5.618, p = 0.00493."""
    found = contrast_repeats(BASE, NEW)
    assert found is not None
    assert found.way is Way.REPEATS
    assert found.counts == (3, 3)
    assert found.degrees_of_freedom == 4
    assert found.value == pytest.approx((110 * 113 * 108 / (100 * 102 * 98)) ** (1 / 3))
    assert found.p_value(1) == pytest.approx(0.004933, rel=1e-3)
    assert found.why is None


def test_one_run_is_taken_to_scatter_as_the_others() -> None:
    found = contrast_repeats(Values((105.0,)), Values((100.0, 102.0, 98.0, 101.0, 99.0)))
    assert found is not None
    assert found.degrees_of_freedom == 4
    assert found.why == "one run against 5: it is taken to scatter as those do"
    spread = contrast_repeats(Values((105.0, 105.0)), Values((100.0, 102.0, 98.0, 101.0, 99.0)))
    assert spread is not None
    assert (spread.standard_error or 1) < (found.standard_error or 0)


def test_repeats_that_are_all_the_same_are_known_to_what_a_table_shows() -> None:
    found = contrast_repeats(Values((100.0,) * 3), Values((100.0,) * 3))
    assert found is not None
    low, high = found.bounds(0.95)
    assert 0.0001 < high - low < 0.005


def test_the_mean_of_repeats() -> None:
    found = measure_repeats(BASE)
    assert found is not None
    low, high = found.bounds(0.95)
    assert found.value == pytest.approx((100 * 102 * 98) ** (1 / 3))
    assert high / low == pytest.approx(math.exp(2 * 4.303 * 0.02 / math.sqrt(3)), rel=0.01)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_shares_at_an_end_are_never_certain(value: float) -> None:
    share = Values((value,) * 3, least_variance=(1 / 200) / 200)
    low, high = measure_shares(share).bounds(0.95)
    assert 0 <= low <= value <= high <= 1
    assert high - low > 0.005


def test_shares_of_failures() -> None:
    none, some = Values((0.0,) * 3, 1e-5), Values((0.05, 0.06, 0.04), 1e-5)
    assert contrast_repeated_shares(none, none) is None
    found = contrast_repeated_shares(none, some)
    assert found is not None
    assert found.value == math.inf
    assert found.p_value(1) < 0.01
    back = contrast_repeated_shares(some, none)
    assert back is not None
    assert back.value == 0
    assert back.bounds(0.95)[1] < 1


def test_what_is_not_above_0_has_no_ratio() -> None:
    assert contrast_repeats(Values((0.0, 1.0)), NEW) is None
    assert contrast_within(Values((0.0, 1.0)), Values((1.0, 1.0))) is None
    assert measure_repeats(Values((0.0, 1.0))) is None


def test_within_runs_what_the_whole_run_has_in_common_falls_out() -> None:
    earlier = Values((100.0, 200.0, 50.0))
    later = Values((50.5, 99.0, 25.1))
    found = contrast_within(earlier, later)
    assert found is not None
    low, high = found.bounds(0.95)
    assert 0.48 < low < 0.5 < high < 0.52
    assert found.counts == (3, 3)
