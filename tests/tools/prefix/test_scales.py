"""How prompts become tokens."""

from __future__ import annotations

import pytest

from fluxperf.plan.entry import estimate_tokens
from fluxperf_mock.prompts import count_tokens, render_chat
from fluxperf_tools.prefix.scales import Estimate, MockScale, Template, TokenizerScale, load_scale
from fluxperf_tools.prefix.tree import common_tokens

HISTORY = [("user", "How late is it?"), ("assistant", "It is noon, and 中午."), ("user", "Thanks")]


def test_the_mocks_tokens_are_the_mocks() -> None:
    (found,) = MockScale().encode([HISTORY])
    assert found == render_chat(HISTORY)
    assert -(-len(found) // 4) == count_tokens(render_chat(HISTORY))


@pytest.mark.parametrize("text", ["four", "some words here", "中文", "a中b", "für", "🙂🙂"])
def test_the_estimate_is_the_estimate(text: str) -> None:
    scale = Estimate(Template())
    (found,) = scale.encode([[("user", text)]])
    assert abs(len(found) / 4 - estimate_tokens(text)) <= 1
    assert abs(scale.weigh([text])[0] / scale.step - estimate_tokens(text)) <= 1


def test_equal_beginnings_are_equal_in_any_script() -> None:
    scale = Estimate(Template())
    plain, longer, other = scale.encode([[("user", text)] for text in ("word word", "word word für", "wörd word")])
    assert common_tokens(plain, longer) == 2
    assert common_tokens(plain, other) == 0


def test_a_history_begins_with_the_prompt_that_it_continues() -> None:
    """The template's tokens after a question are there whether the answer is or not."""
    scale = Estimate(Template(before=3, after=6, between=5))
    first, second = scale.encode([HISTORY[:1], HISTORY])
    assert len(first) // 4 == 3 + 4 + 6
    assert common_tokens(first, second) == len(first) // 4
    assert len(second) // 4 == 3 + 4 + 6 + 7 + 5 + 2 + 6


def test_a_tokenizer() -> None:
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({"one": 0, "two": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    scale = TokenizerScale("words", tokenizer, Template(before=2, after=1))
    assert scale.weigh(["one two", " two"]) == [2, 1]
    one, two = scale.encode([[("user", "one two two")], [("user", "one two one")]])
    assert len(one) == len(two) == 4 * (2 + 3 + 1)
    assert common_tokens(one, two) == 4


def test_names() -> None:
    assert load_scale(None, Template()).name == "estimate"
    assert load_scale("mock", Template()).exact
