from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.analysis.lens_spread import Spread

values = st.lists(st.floats(0, 1e12), min_size=1, max_size=60)
percents = st.sampled_from([0, 1, 25, 50, 90, 95, 99, 99.9, 100])
weighed = st.lists(st.tuples(st.floats(0, 1e12), st.integers(1, 5)), min_size=1, max_size=30)


def once(found: list[float]) -> Spread:
    return Spread((value, 1) for value in found)


@given(values, percents)
def test_interpolated_is_what_numpy_gives(found: list[float], percent: float) -> None:
    assert once(found).interpolated(percent) == pytest.approx(float(np.percentile(found, percent)))


@given(weighed, percents)
def test_a_weight_is_so_many_values(pairs: list[tuple[float, int]], percent: float) -> None:
    spread, plain = Spread(pairs), [value for value, weight in pairs for _ in range(weight)]
    assert spread.count == len(plain)
    assert spread.interpolated(percent) == pytest.approx(float(np.percentile(plain, percent)))
    assert spread.mean() == pytest.approx(statistics.fmean(plain))
    assert spread.std() == pytest.approx(float(np.std(plain)), rel=1e-6, abs=1e-3)
    assert (spread.least(), spread.most()) == (min(plain), max(plain))


@given(weighed, percents)
def test_reached_is_the_inverse_of_the_distribution(pairs: list[tuple[float, int]], percent: float) -> None:
    plain = sorted(value for value, weight in pairs for _ in range(weight))
    rank = max(-(-round(percent * len(plain) / 100, 9) // 1), 1)
    assert Spread(pairs).reached(percent) == plain[int(rank) - 1]


@given(st.lists(st.floats(0, 1e12), min_size=2))
def test_the_deviation_of_a_sample(found: list[float]) -> None:
    assert once(found).std(1) == pytest.approx(float(np.std(found, ddof=1)), rel=1e-6, abs=1e-3)


def test_of_nothing_there_is_nothing() -> None:
    spread = Spread([(5.0, 0)])
    assert spread.count == 0
    assert [
        spread.mean(),
        spread.std(),
        spread.least(),
        spread.most(),
        spread.interpolated(50),
        spread.reached(50),
    ] == [None] * 6
    assert once([1.0]).std(1) is None
