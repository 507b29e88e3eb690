from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from fluxperf.analysis.samples import Sample
from fluxperf.analysis.twins import contrast_twins
from fluxperf.analysis.uncertain import Uncertain
from fluxperf.model.contrast import Way
from tests.analysis.worlds import Change, World, simulate


def contrast(base: Sample, new: Sample, share: float = 0.5) -> Uncertain:
    found = contrast_twins(base, new, "ttft_ms", share)
    assert found is not None
    return found


def slower(sample: Sample, factor: float) -> Sample:
    return replace(sample, values={name: (values * factor).astype(int) for name, values in sample.values.items()})


def test_each_prompt_slower_by_the_same_is_known_exactly() -> None:
    base, _ = next(simulate(World("plain", 200, 4), 1))
    found = contrast(base, slower(base, 1.05))
    assert found.way is Way.PAIRED
    assert found.bounds(0.999) == pytest.approx((1.05, 1.05), rel=1e-4)


def test_the_same_runs_always_give_the_same_interval() -> None:
    base, new = next(simulate(World("noisy", 200, 4), 1))
    assert contrast(base, new).bounds(0.95) == contrast(base, new).bounds(0.95)


def test_either_may_be_the_base() -> None:
    base, new = next(simulate(World("noisy", 200, 4), 1))
    low, high = contrast(base, new).bounds(0.95)
    assert contrast(new, base).bounds(0.95) == pytest.approx((1 / high, 1 / low), rel=0.02)


def test_pairs_tell_more_than_samples() -> None:
    (paired,) = (contrast(*pair) for pair in simulate(World("plain", 500, 4), 1))
    assert 0.01 < (paired.standard_error or 0) < 0.05


@pytest.mark.parametrize("prompts", [100, 300])
def test_few_prompts_leave_p99_without_bounds(prompts: int) -> None:
    found = contrast(*next(simulate(World("plain", prompts, 4), 1)), 0.99)
    assert found.bounds(0.95) == (0, math.inf)
    assert found.standard_error is None
    assert f"p99 of {prompts} prompts" in (found.why or "")


def test_a_burst_of_slow_prompts_leaves_p99_without_bounds() -> None:
    """Ten that are slow together are one event, however many prompts there are."""
    base, new = next(simulate(World("plain", 1000, 4), 1))
    burst = np.zeros(1000)
    burst[500:520] = 3e9
    first, second = (
        replace(one, values={"ttft_ms": (one.values["ttft_ms"] + burst).astype(int)}) for one in (base, new)
    )
    assert contrast(base, new, 0.99).bounds(0.95)[1] < math.inf
    assert contrast(first, second, 0.99).bounds(0.95) == (0, math.inf)


def test_moods_of_a_run_make_it_less_sure() -> None:
    base, new = next(simulate(World("plain", 400, 4), 1))
    moods = np.repeat(np.random.default_rng(1).normal(0, 0.3, 8), 50)
    moody = replace(new, values={"ttft_ms": (new.values["ttft_ms"] * np.exp(moods)).astype(int)})
    assert (contrast(base, moody).standard_error or 0) > 2 * (contrast(base, new).standard_error or 1)


def test_what_is_far_from_the_quantile_hardly_matters() -> None:
    """Rounds of many prompts are looked at near the quantile only."""
    base, new = next(simulate(World("plain", 6000, 4), 1, Change(slower=1.1)))
    found = contrast(base, new)
    low, high = found.bounds(0.95)
    assert low < 1.1 < high
    assert 0.003 < (found.standard_error or 0) < 0.02
