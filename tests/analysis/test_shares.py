from __future__ import annotations

import math

import pytest

from fluxperf.analysis.samples import Sample, read_sample
from fluxperf.analysis.shares import Fieller, Share, contrast_shares, measure_share, share_of
from fluxperf.analysis.uncertain import Uncertain
from fluxperf.model import Outcome
from fluxperf.model.contrast import Way
from tests.analysis.rounds import request
from tests.analysis.worlds import make_round


def sample(count: int, failed: set[int], concurrency: int = 1, dataset: str = "one") -> Sample:
    outcomes = dict.fromkeys(failed, Outcome.REJECTED)
    requests = [request(index, 10, outcome=outcomes.get(index, Outcome.OK)) for index in range(count)]
    return read_sample(make_round(requests, concurrency, dataset=dataset))


def share(count: int, failed: set[int], **facts: str) -> Share:
    found = share_of(sample(count, failed, **facts), "errors")  # type: ignore[arg-type]
    assert found is not None
    return found


def contrast(base: Share, new: Share) -> Uncertain:
    found = contrast_shares(base, new)
    assert found is not None
    return found


def test_a_share_of_nothing_may_be_something() -> None:
    found = measure_share(share(200, set()))
    low, high = found.bounds(0.95)
    assert found.value == 0 == low
    assert 0.015 < high < 0.03  # by Clopper and Pearson 0.018, where the requests are known to be independent


def test_a_share_of_all_may_be_less() -> None:
    successes = share_of(sample(200, set()), "successes")
    assert successes is not None
    low, high = measure_share(successes).bounds(0.95)
    assert high == 1
    assert 0.97 < low < 0.985


def test_failures_in_one_burst_are_less_sure() -> None:
    burst, apart = share(400, set(range(100, 140))), share(400, set(range(0, 400, 10)))
    assert burst.value == apart.value == 0.1
    assert measure_share(burst).bounds(0.95)[1] > 1.5 * measure_share(apart).bounds(0.95)[1]


def test_too_few_stretches_leave_any_share_possible() -> None:
    few = share_of(sample(12, set(), concurrency=4), "errors")
    assert few is not None
    found = measure_share(few)
    assert found.bounds(0.9) == (0, 1)
    assert "fewer than 4 stretches" in (found.why or "")


@pytest.mark.parametrize(("failures", "shown"), [(3, False), (12, True), (40, True)])
def test_failures_against_none_are_shown_as_an_exact_test_would(failures: int, shown: bool) -> None:
    """Fisher's p-value is 0.25, 0.0004 and less for these of 200."""
    found = contrast(share(200, set()), share(200, set(range(0, 200, 200 // failures)[:failures])))
    assert found.value == math.inf
    low, high = found.bounds(0.95)
    assert low < failures  # one in the base might have been
    assert high == math.inf
    assert (found.p_value(1) < 0.05) is shown


def test_no_failures_in_both_are_no_ratio() -> None:
    assert contrast_shares(share(200, set()), share(200, set())) is None


def test_the_same_prompts_failing_is_no_chance() -> None:
    failed = set(range(0, 400, 4))
    paired = contrast(share(400, failed), share(400, failed))
    apart = contrast(share(400, failed), share(400, failed, dataset="other"))
    assert paired.way is Way.PAIRED
    assert apart.way is Way.TWO_SAMPLES
    (low, high), (outer_low, outer_high) = paired.bounds(0.95), apart.bounds(0.95)
    assert outer_low < low < 1 < high < outer_high
    assert high - low > 0.005  # never nothing


@pytest.mark.parametrize(("base", "new", "covariance"), [(0.1, 0.2, 0.0), (0.5, 0.01, 1.0), (0.9, 0.95, 1e-4)])
def test_bounds_are_where_the_difference_is_what_chance_has(base: float, new: float, covariance: float) -> None:
    fieller = Fieller(
        base=base, new=new, base_variance=1e-4, new_variance=2e-4, covariance=covariance, degrees_of_freedom=1e9
    )
    together = fieller._together
    for ratio in fieller.bounds(0.95):
        error = math.sqrt(2e-4 - 2 * ratio * together + ratio**2 * 1e-4)
        assert ratio == 0 or abs(new - ratio * base) / error == pytest.approx(1.96, abs=0.01)


def test_a_ratio_to_what_may_be_nothing_has_no_upper_bound() -> None:
    fieller = Fieller(base=0.01, new=0.1, base_variance=1e-4, new_variance=1e-4, degrees_of_freedom=20)
    assert fieller.bounds(0.95)[1] == math.inf
    assert fieller.bounds(0.95)[0] > 1


def test_cached_tokens_are_a_share_of_what_tells_of_them() -> None:
    requests = [request(index, 10, prompt_tokens=100, cached_tokens=50 if index % 2 else None) for index in range(40)]
    found = share_of(read_sample(make_round(requests, 1)), "cached_tokens")
    assert found is not None
    assert found.count == 20
    assert found.value == 0.5
    assert share_of(sample(10, set()), "cached_tokens") is None
