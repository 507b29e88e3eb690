from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from fluxperf.analysis.influence import Spread
from fluxperf.analysis.quantiles import Order, contrast_samples, measure_quantile, nearest_rank, rank_above
from fluxperf.analysis.samples import Sample, read_sample
from fluxperf.analysis.twins import contrast_twins
from fluxperf.model.contrast import Way
from tests.analysis.rounds import MS, request
from tests.analysis.worlds import Change, World, make_round, simulate

INDEPENDENT = 1e9


def order(size: int, share: float) -> Order:
    return Order(np.arange(1, size + 1), share, Spread(0.0, INDEPENDENT))


@pytest.mark.parametrize(
    ("size", "share", "low", "high"),
    [(25, 0.5, 8, 18), (100, 0.5, 40, 61), (100, 0.9, 84, 96)],
)
def test_bounds_are_the_ranks_of_the_binomial(size: int, share: float, low: int, high: int) -> None:
    """As in tables of the sign test's interval, whose ranks are whole and so no nearer."""
    bounds = order(size, share).between(0.95, INDEPENDENT)
    assert low <= bounds[0] < low + 1
    assert high - 1 < bounds[1] <= high


@pytest.mark.parametrize(("size", "bounded"), [(367, False), (368, True)])
def test_p99_has_an_upper_bound_from_368_independent_values_on(size: int, bounded: bool) -> None:
    assert (order(size, 0.99).between(0.95, INDEPENDENT)[1] < math.inf) is bounded


def test_the_fastest_are_as_uncertain_as_the_slowest() -> None:
    low = order(500, 0.01).between(0.95, INDEPENDENT)
    high = order(500, 0.99).between(0.95, INDEPENDENT)
    assert low[0] == pytest.approx(501 - high[1])
    assert low[1] == pytest.approx(501 - high[0])


def test_what_is_known_from_few_stretches_is_less() -> None:
    few, many = (order(400, 0.5).between(0.95, freedom) for freedom in (7, INDEPENDENT))
    assert (few[1] - few[0]) / (many[1] - many[0]) == pytest.approx(2.365 / 1.96, rel=0.05)


def test_more_confidence_never_gives_less() -> None:
    bounds = [order(400, 0.95).between(confidence, 7) for confidence in np.linspace(0, 0.9999, 60)]
    assert all(outer[0] <= inner[0] and inner[1] <= outer[1] for inner, outer in pairwise(bounds))


@pytest.mark.parametrize(("share", "size", "rank"), [(0.9, 10, 9), (0.5, 5, 3), (0.99, 60, 60), (0.01, 3, 1)])
def test_nearest_rank_is_that_of_the_tables(share: float, size: int, rank: int) -> None:
    assert nearest_rank(share, size) == rank


def test_a_rank_that_is_never_reached_is_infinite() -> None:
    assert rank_above(10, 0.99, 0.025) == math.inf


def sample_of(count: int, concurrency: int = 1) -> Sample:
    return read_sample(make_round([request(index, 10 + index % 97) for index in range(count)], concurrency))


def test_p99_of_60_prompts_is_the_slowest_one() -> None:
    found = measure_quantile(sample_of(60), "ttft_ms", 0.99)
    assert found is not None
    assert found.value == 69 * MS
    assert found.bounds(0.95)[1] == math.inf
    assert found.why is not None
    assert found.why.startswith("p99 of 60 prompts is the slowest one: about ")
    needed = int(found.why.split()[-3])
    assert 368 <= needed <= 1000


def test_so_many_prompts_as_it_says_would_do() -> None:
    found = measure_quantile(sample_of(300), "ttft_ms", 0.99)
    assert found is not None
    assert found.why is not None
    enough = measure_quantile(sample_of(int(found.why.split()[-3]) * 5 // 4), "ttft_ms", 0.99)
    assert enough is not None
    assert enough.bounds(0.95)[1] < math.inf
    assert enough.why is None


def test_too_few_stretches_say_nothing() -> None:
    found = measure_quantile(sample_of(30, concurrency=10), "ttft_ms", 0.5)
    assert found is not None
    assert found.bounds(0.5) == (0, math.inf)
    assert "fewer than 4 stretches" in (found.why or "")


def test_two_samples_are_as_sure_whichever_is_the_base() -> None:
    base, new = next(simulate(World("plain", 200, 4), 1, Change(same_prompts=False, slower=1.2)))
    there, back = contrast_samples(base, new, "ttft_ms", 0.9), contrast_samples(new, base, "ttft_ms", 0.9)
    assert there is not None
    assert back is not None
    assert there.way is Way.TWO_SAMPLES
    low, high = there.bounds(0.95)
    assert back.bounds(0.95) == pytest.approx((1 / high, 1 / low))


def test_other_prompts_of_a_queue_leave_p99_without_bounds() -> None:
    base, new = next(simulate(World("queue", 1000, 32), 1, Change(same_prompts=False)))
    found = contrast_samples(base, new, "ttft_ms", 0.99)
    assert found is not None
    assert found.bounds(0.95)[1] == math.inf
    assert "p99 of 1000 prompts is too near the slowest one" in (found.why or "")


@pytest.mark.parametrize("function", [contrast_samples, contrast_twins])
def test_without_values_there_is_none(function: object) -> None:
    sample = read_sample(make_round([request(0, 10, tokens=1)]))
    assert callable(function)
    assert function(sample, sample, "itl_ms", 0.5) is None
