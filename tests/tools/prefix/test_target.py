"""Sizes for a hit rate: the formula against the simulation of the prompts that come of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf_tools.prefix.blocks import BlockCache
from fluxperf_tools.prefix.composition import Composer, Lexicon
from fluxperf_tools.prefix.design import Design, arrange
from fluxperf_tools.prefix.scales import MockScale
from fluxperf_tools.prefix.target import Surroundings, highest_rate, hit_rate, size_groups, split_prompt
from fluxperf_tools.prefix.theory import Orders, forecast
from fluxperf_tools.prefix.tree import grow
from fluxperf_tools.prefix.words import own_words

MOCK = MockScale()
LEXICON = Lexicon(own_words(), MOCK, are_ours=True)


def simulated(design: Design, block_tokens: int) -> float:
    composer = Composer(design, LEXICON)
    chains = grow(MOCK.encode([composer.messages(prompt) for prompt in arrange(design)]))
    return forecast(BlockCache(block_tokens, None, 4), chains, Orders(42, 1)).file_order[0].rate


@pytest.mark.parametrize("block_tokens", [16, 64])
@pytest.mark.parametrize(("shared", "unique"), [(100, 60), (64, 8), (0, 70), (333, 1), (120, 0)])
def test_the_formula_is_what_the_simulation_finds(block_tokens: int, shared: int, unique: int) -> None:
    design = Design(groups=3, per_group=4, shared_tokens=shared, unique_tokens=unique)
    around = Surroundings(block_tokens, MOCK.head_tokens, MOCK.tail_tokens)
    assert hit_rate(design, around) == pytest.approx(simulated(design, block_tokens))


@given(st.floats(0, 0.8), st.integers(1, 64))
def test_a_split_is_as_near_as_blocks_allow(rate: float, block_tokens: int) -> None:
    around = Surroundings(block_tokens, 3, 6)
    design = split_prompt(Design(groups=4, per_group=10, shared_tokens=1, unique_tokens=1), rate, 1000, around)
    assert design.shared_tokens + design.unique_tokens == 1000
    assert design.unique_tokens >= 1
    assert abs(hit_rate(design, around) - rate) <= max(block_tokens, 4) / 1000


def test_what_is_wanted_may_be_beyond_reach() -> None:
    around = Surroundings(16, 0, 0)
    design = split_prompt(Design(groups=4, per_group=10, shared_tokens=1, unique_tokens=1), 1.0, 1000, around)
    assert hit_rate(design, around) == pytest.approx(0.9 * 0.992)


@pytest.mark.parametrize("groups", [1, 8, 1000, 15_000, 30_000])
@pytest.mark.parametrize("rate", [0.795, 0.9, 1.0])
def test_beyond_reach_groups_are_no_larger_than_they_need_be(groups: int, rate: float) -> None:
    around = Surroundings(16, 0, 0)
    design = size_groups(Design(groups=groups, per_group=1, shared_tokens=800, unique_tokens=200), rate, around)
    highest = highest_rate(design, around)
    assert design.prompts <= max(20_000, groups)
    assert hit_rate(design, around) >= highest - 0.005
    if groups <= 8:
        assert highest == pytest.approx(0.8, abs=0.001)
    if design.per_group > 1 and rate > highest:
        fewer = replace(design, per_group=design.per_group - 1)
        assert hit_rate(fewer, around) < highest - 0.005


def test_groups_grow_until_the_rate_is_reached() -> None:
    around = Surroundings(16, 0, 0)
    design = size_groups(Design(groups=4, per_group=1, shared_tokens=800, unique_tokens=200), 0.6, around)
    assert design.per_group == 4
    assert hit_rate(design, around) == pytest.approx(0.6)
