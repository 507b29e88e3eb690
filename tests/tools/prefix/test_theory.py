"""Forecasts: two rounds, in several orders."""

from __future__ import annotations

from fluxperf_tools.prefix.blocks import BlockCache
from fluxperf_tools.prefix.slots import SlotCache
from fluxperf_tools.prefix.theory import Orders, Sharing, describe, forecast, shuffle
from fluxperf_tools.prefix.tree import grow

ORDERS = Orders(seed=42, permutations=5)
# Two groups of two: 8 tokens in common, 4 of their own.
CHAINS = grow([(group * 8 + own * 4).encode() for group in ("aaaa", "bbbb") for own in ("xxxx", "yyyy")])


def test_two_rounds_of_a_cache_without_end() -> None:
    found = forecast(BlockCache(4, None, 1), CHAINS, ORDERS)
    first, second = found.file_order
    assert first.cached_tokens == (0, 8, 0, 8)
    assert second.cached_tokens == (8, 8, 8, 8)
    assert first.prompt_tokens == 48
    assert first.rate == 16 / 48
    assert [spread.mean for spread in found.random_order] == [16 / 48, 32 / 48]


def test_cached_tokens_are_listed_by_prompt_whatever_the_order() -> None:
    """Of each group the prompt that comes first hits nothing."""
    order = shuffle(4, 42)
    first = forecast(BlockCache(4, None, 1), CHAINS, ORDERS).shuffled_order[0]
    firsts = {min(pair, key=order.index) for pair in ((0, 1), (2, 3))}
    assert {index for index, cached in enumerate(first.cached_tokens) if not cached} == firsts


def test_a_small_cache_hangs_on_the_order() -> None:
    found = forecast(BlockCache(4, 16, 1), CHAINS, Orders(42, 30))
    spread = found.random_order[0]
    assert spread.least < spread.mean < spread.most


def test_a_prompt_that_does_not_fit() -> None:
    found = forecast(BlockCache(4, 12, 4), CHAINS, ORDERS)
    assert not found.fits
    assert describe(found, with_prompts=True) == {
        "block_tokens": 4,
        "cache_tokens": 12,
        "answer_tokens": 4,
        "fits": False,
    }


def test_as_json() -> None:
    found = describe(forecast(SlotCache(1, True, False, 4), CHAINS, ORDERS), with_prompts=True)
    assert found["slots"] == 1
    assert found["file_order"]["round_1"] == {
        "hit_rate": 0.333333,
        "cached_tokens": 16,
        "prompt_tokens": 48,
        "cached_tokens_of_prompts": [0, 8, 0, 8],
    }
    assert set(found["random_order"]["round_2"]) == {"mean", "least", "most"}


def test_sharing() -> None:
    assert Sharing.of(CHAINS, [0, 0, 1, 1]) == Sharing((8, 8), 0)
    assert Sharing.of(CHAINS, [0, 1, 0, 1]) == Sharing((0, 0), 8)
    assert Sharing.of(CHAINS[:1], [0]) == Sharing(None, None)
