"""Texts of a given length that begin differently."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf_tools.prefix.composition import Composer, Lexicon, as_row
from fluxperf_tools.prefix.design import Design, Prompt, arrange
from fluxperf_tools.prefix.scales import Estimate, MockScale, Scale, Template
from fluxperf_tools.prefix.theory import Sharing
from fluxperf_tools.prefix.tree import grow
from fluxperf_tools.prefix.words import own_words

MOCK, ESTIMATE = MockScale(), Estimate(Template())
OURS = Lexicon(own_words(), MOCK, are_ours=True)
DESIGN = Design(groups=5, per_group=6, shared_tokens=50, unique_tokens=20)
CORPUS = [f"{word}{ending}" for word in ("stein", "wort", "baum", "ja") for ending in "abcdefghijklmnopqrstuvwxyz"]


@given(st.integers(10, 300), st.integers(0, 5000), st.booleans())
def test_a_text_has_the_tokens_that_were_asked_for(tokens: int, number: int, opens: bool) -> None:
    text = OURS.write(tokens, OURS.start(number, tokens), Random(number), opens=opens)
    assert len(text.encode()) == 4 * tokens
    assert text.startswith(" ") != opens


@pytest.mark.parametrize("scale", [MOCK, ESTIMATE])
@pytest.mark.parametrize("words", [own_words(), CORPUS])
def test_prompts_share_what_was_designed(scale: Scale, words: list[str]) -> None:
    composer = Composer(DESIGN, Lexicon(words, scale, are_ours=False))
    prompts = arrange(DESIGN)
    chains = grow(scale.encode([composer.messages(prompt) for prompt in prompts]))
    head, tail = scale.head_tokens, scale.tail_tokens
    assert {chain.tokens for chain in chains} == {head + 50 + 20 + tail}
    sharing = Sharing.of(chains, [prompt.group for prompt in prompts])
    assert sharing.in_group is not None
    assert sharing.in_group[0] == head + 50
    if words is not CORPUS:
        assert sharing.in_group[1] == head + 50
        assert sharing.across is not None
        assert sharing.across <= head


def test_a_tree_shares_its_history() -> None:
    design = replace(DESIGN, groups=2, per_group=2, turns=2, branching=2, reply_tokens=10)
    composer = Composer(design, OURS)
    first, one, other = (composer.messages(Prompt(0, way)) for way in ((1,), (1, 0), (1, 1)))
    assert [role for role, _ in one] == ["user", "assistant", "user"]
    assert one[0] == other[0] == first[0]
    assert one[1] == other[1]
    assert one[2][1].split()[0] != other[2][1].split()[0]


def test_without_shared_tokens_all_begin_differently() -> None:
    design = replace(DESIGN, shared_tokens=0)
    composer = Composer(design, OURS)
    starts = [composer.messages(prompt)[0][1].split()[0] for prompt in arrange(design)]
    assert len(set(starts)) == len(starts) == 30


def test_without_unique_tokens_all_of_a_group_are_equal() -> None:
    composer = Composer(replace(DESIGN, unique_tokens=0), OURS)
    assert composer.messages(Prompt(1, (0,))) == composer.messages(Prompt(1, (4,)))


def test_the_seed_decides() -> None:
    def texts(seed: int) -> list[object]:
        composer = Composer(replace(DESIGN, seed=seed), OURS)
        return [composer.messages(prompt) for prompt in arrange(DESIGN)]

    assert texts(1) == texts(1) != texts(2)


def test_rows() -> None:
    assert as_row(Prompt(2, (3,)), [("user", "x")]) == {"id": "g2-p3", "text": "x"}
    row = as_row(Prompt(2, (3, 0)), [("user", "x"), ("assistant", "y"), ("user", "z")])
    assert row["id"] == "g2-p3.0"
    assert row["messages"] == [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "y"},
        {"role": "user", "content": "z"},
    ]
