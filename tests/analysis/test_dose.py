from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fluxperf.analysis.clustered import Stretches, count_stretches, estimate, label
from fluxperf.analysis.dose import fit, respond
from fluxperf.analysis.paired import Pairs, pair
from fluxperf.model import Outcome
from tests.analysis.rounds import a_round, request

US = 1_000


def exact(tokens: list[int], *, concurrency: int = 5, **of_first: Any) -> Pairs:
    """Two rounds in which the later gains so many cached tokens, each of which saves 0.2 ms beside 3 ms for nothing."""
    first = [
        request(index, 500 + 0.2 * gained, **{"cached_tokens": 0} | (of_first if index == 0 else {}))
        for index, gained in enumerate(tokens)
    ]
    second = [request(index, 497, cached_tokens=gained) for index, gained in enumerate(tokens)]
    return pair(a_round(1, first, concurrency), a_round(2, second, concurrency))


def test_what_each_token_saved() -> None:
    found = respond(exact([(index * 7 % 20) * 16 for index in range(40)]))
    assert found is not None
    assert (found.pairs, found.why) == (40, None)
    assert found.slope_us_per_token == pytest.approx(200)
    assert found.intercept_ms == pytest.approx(3)
    assert found.r2 == pytest.approx(1)
    assert found.slope_ci95 == pytest.approx((200, 200))
    assert found.intercept_ci95 == pytest.approx((3, 3))


def test_it_is_the_line_of_least_squares() -> None:
    chance = np.random.default_rng(1)
    gained, saved = chance.integers(0, 500, 64).astype(float), chance.normal(0, 1000, 64)
    stretches = Stretches(label(np.arange(64), 8), label(np.arange(64), 8))
    found = fit(gained, saved, stretches)
    slope, intercept = np.polyfit(gained, saved, 1)
    assert found.slope_us_per_token == pytest.approx(slope / US)
    assert found.intercept_ms == pytest.approx(intercept / US**2)
    assert found.r2 == pytest.approx(np.corrcoef(gained, saved)[0, 1] ** 2)


def test_its_error_comes_from_how_far_each_prompt_is_from_the_line_of_the_others() -> None:
    chance = np.random.default_rng(2)
    gained = np.exp(chance.normal(5, 1, 48))
    saved = 300 * gained + chance.normal(0, 1, 48) * gained
    stretches = Stretches(label(np.arange(48), 8), label(chance.permutation(48), 8))
    lines = [np.polyfit(np.delete(gained, at), np.delete(saved, at), 1) for at in range(48)]
    apart = np.array([saved[at] - np.polyval(line, gained[at]) for at, line in enumerate(lines)])
    of_slope, of_intercept = np.linalg.pinv(np.column_stack([gained, np.ones(48)]))
    line = np.polyfit(gained, saved, 1)
    slope, intercept = (
        estimate(value, weights, apart, stretches)
        for value, weights in zip(line, (of_slope, of_intercept), strict=True)
    )
    found = fit(gained, saved, stretches)
    assert slope is not None
    assert intercept is not None
    assert found.slope_ci95 == pytest.approx(np.array(slope.interval) / US)
    assert found.intercept_ci95 == pytest.approx(np.array(intercept.interval) / US**2)


def test_without_cached_tokens_or_ttft_there_is_nothing_to_tell() -> None:
    told, untold = ([request(index, 10, cached_tokens=count) for index in range(9)] for count in (5, None))
    for first, second in ((untold, untold), ([], [])):
        assert respond(pair(a_round(1, first), a_round(2, second))) is None
    assert respond(pair(a_round(1, told), a_round(2, told), ("itl_ms",))) is None


def test_only_pairs_that_tell_count() -> None:
    tokens = [index * 16 for index in range(40)]
    for facts in ({"outcome": Outcome.RESET}, {"cached_tokens": None}):  # others tell 0, so this one is not 0
        found = respond(exact(tokens, **facts))
        assert found is not None
        assert found.pairs == 39
        assert found.slope_us_per_token == pytest.approx(200)


def test_a_gain_that_is_the_same_for_all_has_no_slope() -> None:
    found = respond(exact([160] * 30))
    assert found is not None
    assert (found.slope_us_per_token, found.slope_ci95, found.r2) == (None, None, None)
    assert found.why == "every prompt gained the same number of cached tokens"


def test_a_slope_that_hangs_on_one_prompt_has_no_interval() -> None:
    found = respond(exact([0] * 29 + [160]))
    assert found is not None
    assert found.slope_us_per_token == pytest.approx(200)
    assert found.slope_ci95 is found.intercept_ci95 is None
    assert found.why == "all prompts but one gained the same number of cached tokens"


def test_under_four_stretches_there_is_no_interval() -> None:
    tokens = [index * 16 for index in range(40)]
    for concurrency, told in ((10, True), (11, False)):
        found = respond(exact(tokens, concurrency=concurrency))
        assert found is not None
        assert found.slope_us_per_token == pytest.approx(200)
        assert (found.slope_ci95 is not None, found.why is None) == (told, told)
        assert told or found.why == "the requests do not make 4 stretches that did not run together"


Simulated = tuple[NDArray[np.float64], NDArray[np.float64]]


def simulate(chance: np.random.Generator, prompts: int, stretch: int) -> Simulated:
    """Tokens gained and TTFT saved, ns: 300 us a token, in rounds whose speed changes, with a tail of long prompts."""
    length = np.exp(chance.normal(6, 0.6, prompts))
    gained = np.floor(chance.choice([0, 0.5, 0.97], prompts) * length / 16) * 16
    speed = [
        np.exp(
            chance.normal(0, 0.2, prompts) + np.repeat(chance.normal(0, 0.2, prompts // stretch + 1), stretch)[:prompts]
        )
        for _ in range(2)
    ]
    mean_speed = np.exp(0.04)
    saved_us = (300 * length * speed[0] - 300 * (length - gained) * speed[1]) / mean_speed
    return gained, saved_us * US


@pytest.mark.parametrize(("prompts", "concurrency"), [(50, 1), (50, 10), (200, 20)])
def test_the_intervals_cover(prompts: int, concurrency: int) -> None:
    chance = np.random.default_rng(prompts + concurrency)
    labels = label(np.arange(prompts), count_stretches(prompts, concurrency))
    lines = [
        fit(*simulate(chance, prompts, max(concurrency, prompts // 10)), Stretches(labels, labels)) for _ in range(400)
    ]
    slopes = [line.slope_ci95 for line in lines if line.slope_ci95]
    intercepts = [line.intercept_ci95 for line in lines if line.intercept_ci95]
    covered = [sum(low <= 300 <= high for low, high in slopes), sum(low <= 0 <= high for low, high in intercepts)]
    assert len(slopes) == len(intercepts) == 400
    assert all(0.91 <= count / 400 <= 0.995 for count in covered), covered


def test_silence_is_zero_where_nobody_tells_zero() -> None:
    """As vLLM has it: what was not cached is left out."""
    tokens = [16 + (index * 7 % 20) * 16 for index in range(40)]
    first = [request(index, 500 + 0.2 * gained, cached_tokens=None) for index, gained in enumerate(tokens)]
    second = [request(index, 497, cached_tokens=gained) for index, gained in enumerate(tokens)]
    found = respond(pair(a_round(1, first), a_round(2, second)))
    assert found is not None
    assert (found.pairs, round(found.slope_us_per_token or 0, 6)) == (40, 200)
