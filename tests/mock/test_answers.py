from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from fluxperf_mock.answers import LONGEST_TOKENS, WORDS, Answer, AnswerBook, Limits
from fluxperf_mock.prompts import TOKEN_BYTES, count_tokens

book = AnswerBook(seed=7, tokens=10)
prompts = st.binary(min_size=1)
limits = st.builds(
    Limits,
    max_tokens=st.none() | st.integers(1, 40),
    min_tokens=st.integers(0, 40),
    ignore_eos=st.booleans(),
)


def test_every_word_with_its_space_is_one_token_and_needs_no_escape() -> None:
    assert all(len(f"{word} ".encode()) == TOKEN_BYTES for word in WORDS)
    assert json.dumps(WORDS[0] + WORDS[-1]) == f'"{WORDS[0]}{WORDS[-1]}"'
    assert all(word.isascii() and word.isalpha() for word in WORDS)


@given(prompts, limits)
def test_the_same_prompt_gets_the_same_answer(prompt: bytes, asked: Limits) -> None:
    again = AnswerBook(seed=7, tokens=10)
    answer = book.draw(prompt, asked)
    assert again.draw(prompt, asked) == answer
    assert again.text(answer, answer.length) == book.text(answer, answer.length)


def test_another_seed_gives_other_answers() -> None:
    other = AnswerBook(seed=8, tokens=10)
    drawn = [(book.draw(bytes([i]), Limits()), other.draw(bytes([i]), Limits())) for i in range(20)]
    assert any(mine != yours for mine, yours in drawn)


def test_lengths_spread_around_the_mean() -> None:
    lengths = [book.draw(str(i).encode(), Limits()).length for i in range(2000)]
    assert (min(lengths), max(lengths)) == (5, 15)
    assert 9.5 < sum(lengths) / len(lengths) < 10.5


@given(prompts, limits)
def test_a_length_keeps_the_limits_and_the_reason_says_which_held(prompt: bytes, asked: Limits) -> None:
    answer = book.draw(prompt, asked)
    assert answer.length >= min(asked.min_tokens, asked.max_tokens or LONGEST_TOKENS)
    if asked.max_tokens is None:
        assert answer.finish_reason == "stop"
    else:
        assert answer.length <= asked.max_tokens
        assert (answer.finish_reason == "length") == (answer.length == asked.max_tokens)
    if asked.ignore_eos and asked.max_tokens:
        assert answer.length == asked.max_tokens


@given(prompts)
def test_a_limit_cuts_the_answer_and_changes_nothing_else(prompt: bytes) -> None:
    whole, cut = book.draw(prompt, Limits()), book.draw(prompt, Limits(max_tokens=3))
    assert book.text(whole, whole.length).startswith(book.text(cut, cut.length))


@given(st.integers(0, 4095), st.integers(1, 50))
def test_a_text_is_its_words_and_counts_its_tokens(place: int, length: int) -> None:
    answer = Answer(place, length, "stop")
    text = book.text(answer, length)
    assert text == b"".join(book.word(answer, index) for index in range(length))
    assert count_tokens(text) == length
