from __future__ import annotations

import math

import pytest

from fluxperf.analysis.means import contrast_means, measure_mean
from fluxperf.analysis.paired import compare
from fluxperf.analysis.samples import read_sample
from fluxperf.model.contrast import Way
from tests.analysis.rounds import MS, request
from tests.analysis.worlds import Change, World, make_requests, make_round, simulate


def test_of_pairs_it_is_what_rounds_of_a_run_are_compared_by() -> None:
    base, new = next(simulate(World("waves", 200, 8), 1, Change(slower=1.1)))
    found = contrast_means(base, new, "ttft_ms", "mean")
    rounds = [make_round(make_requests(sample), concurrency=8) for sample in (base, new)]
    (expected,) = compare(rounds[0], rounds[1], ["ttft_ms"])
    assert found is not None
    assert found.way is Way.PAIRED
    assert found.value == pytest.approx(expected.mean_ratio)
    assert found.bounds(0.95) == pytest.approx(expected.ratio_ci95)
    assert found.p_value(1) == pytest.approx(expected.p_value, rel=1e-3)
    assert found.standard_error == pytest.approx(expected.log_ratio_error)


@pytest.mark.parametrize(("statistic", "expected"), [("mean", 20.0), ("avg", 70 / 3)])
def test_means_of_one_round(statistic: str, expected: float) -> None:
    sample = read_sample(make_round([request(index, ttft) for index, ttft in enumerate((10, 20, 40))]))
    found = measure_mean(sample, "ttft_ms", statistic)
    assert found is not None
    assert found.value == pytest.approx(expected * MS)
    assert found.bounds(0.5) == (0, math.inf)
    assert found.why is not None
    assert "3 prompts at a concurrency of 4 are fewer than 4 stretches" in found.why
    assert "at least 16" in found.why


def test_other_prompts_are_two_samples_and_far_less_sure() -> None:
    world = World("plain", 200, 4)
    (paired,) = (contrast_means(base, new, "ttft_ms", "mean") for base, new in simulate(world, 1))
    change = Change(same_prompts=False)
    (apart,) = (contrast_means(base, new, "ttft_ms", "mean") for base, new in simulate(world, 1, change))
    assert paired is not None
    assert apart is not None
    assert apart.way is Way.TWO_SAMPLES
    assert apart.counts == (200, 200)
    assert (apart.standard_error or 0) > 4 * (paired.standard_error or 0)


def test_without_values_there_is_none() -> None:
    sample = read_sample(make_round([request(0, 10, tokens=1)]))
    assert measure_mean(sample, "itl_ms", "mean") is None
    assert contrast_means(sample, sample, "itl_ms", "avg") is None


def test_a_mean_of_zero_is_no_yardstick() -> None:
    sample = read_sample(make_round([request(index, 0) for index in range(20)]))
    assert contrast_means(sample, sample, "ttft_ms", "avg") is None
    assert measure_mean(sample, "ttft_ms", "mean") is None
