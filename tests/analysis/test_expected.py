from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.analysis.expected import (
    BLOCKS,
    TEMPLATE_TOKENS,
    expected_at_first,
    expected_when_repeated,
    fit_line,
)
from fluxperf.model import PromptBytes, Timeline


def requests(*tokens: int) -> list[Timeline]:
    return [Timeline(index=index, prompt_tokens=count) for index, count in enumerate(tokens)]


def test_there_is_a_figure_for_each_size_of_a_block() -> None:
    assert list(expected_when_repeated(requests(100))) == list(BLOCKS)
    assert list(expected_at_first(requests(100), [PromptBytes(0, 400, 0)])) == list(BLOCKS)


@pytest.mark.parametrize(
    ("tokens", "block", "share"),
    [
        ([100], 1, 0.99),  # the last token is computed in any case
        ([100], 16, 0.96),
        ([100], 256, 0),
        ([96], 16, 80 / 96),  # so six whole blocks are not all found
        ([97], 16, 96 / 97),
        ([100, 300], 16, (96 + 288) / 400),  # of all tokens, not of prompts
        ([1], 1, 0),
    ],
)
def test_what_was_sent_before_could_hit_but_for_its_last_token(tokens: list[int], block: int, share: float) -> None:
    assert expected_when_repeated(requests(*tokens))[block] == pytest.approx(share)


def test_nothing_is_expected_of_nothing() -> None:
    assert expected_when_repeated([]) == {}
    assert expected_when_repeated(requests(0)) == {}
    assert expected_at_first([], [PromptBytes(0, 400, 0)]) == {}
    assert expected_at_first(requests(100), []) == {}
    assert expected_at_first(requests(100), [PromptBytes(7, 400, 0)]) == {}  # not one of those that were answered


def shared(*bytes_: tuple[int, int]) -> list[PromptBytes]:
    return [PromptBytes(index, length, common) for index, (length, common) in enumerate(bytes_)]


def test_prompts_that_have_nothing_in_common_share_their_template() -> None:
    """Four bytes a token, and ten tokens of a template before the first of them."""
    found = expected_at_first(requests(110, 210, 310), shared((400, 0), (800, 0), (1200, 0)))
    assert found[1] == pytest.approx(20 / 630, abs=0.002)  # the first prompt finds no template
    assert found[16] == 0


def test_a_prefix_counts_once_for_each_prompt_but_the_first() -> None:
    found = expected_at_first(requests(100, 200, 300), shared((400, 0), (800, 400), (1200, 400)))
    assert found[1] == pytest.approx(200 / 600, abs=0.002)
    assert found[16] == pytest.approx(192 / 600)  # 6 blocks of 16 each


def test_a_prompt_that_is_all_prefix_still_computes_its_last_token() -> None:
    found = expected_at_first(requests(100, 100), shared((400, 0), (400, 400)))
    assert found[1] == 99 / 200


def test_prompts_without_an_answer_are_left_out() -> None:
    known = requests(100, 200)
    assert expected_at_first(known, [*shared((400, 0), (800, 400)), PromptBytes(9, 900, 900)]) == expected_at_first(
        known, shared((400, 0), (800, 400))
    )


@pytest.mark.parametrize(
    ("lengths", "tokens", "template", "per_byte"),
    [
        ([400, 800], [110, 210], 10, 0.25),
        ([400, 400], [100, 100], 0, 0.25),  # of one length nobody can tell a template
        ([400, 800], [90, 190], 0, 0.2333),  # none has a negative length
        ([100, 900], [500, 700], TEMPLATE_TOKENS, 1.072),  # nor one of hundreds of tokens
        ([0, 0], [5, 5], 0, 0),
    ],
)
def test_tokens_are_a_line_over_bytes(
    lengths: Sequence[int], tokens: Sequence[int], template: float, per_byte: float
) -> None:
    assert fit_line(lengths, tokens) == pytest.approx((template, per_byte), abs=1e-3)


@given(
    st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 20_000), st.floats(0, 1)), min_size=1, max_size=20),
)
def test_a_share_is_a_share_and_larger_blocks_hold_no_more(rows: list[tuple[int, int, float]]) -> None:
    sent = requests(*(tokens for tokens, _, _ in rows))
    bytes_ = shared(*((length, round(length * part)) for _, length, part in rows))
    for found in (expected_when_repeated(sent), expected_at_first(sent, bytes_)):
        assert all(0 <= share < 1 for share in found.values())
        assert found[1] >= found[16] >= found[32] >= found[256]


def answered(*cached: int | None) -> list[Timeline]:
    """Prompts of 10, 20, 30 ... tokens of their own, behind 400 that the server puts before each."""
    return [
        Timeline(index=index, prompt_tokens=400 + 10 * (index + 1), cached_tokens=tokens)
        for index, tokens in enumerate(cached)
    ]


LENGTHS = shared(*((40 * number, 0) for number in range(1, 7)))


def test_a_long_template_is_believed_if_half_of_the_prompts_found_it() -> None:
    """The first ones run together, and find nothing."""
    found = expected_at_first(answered(0, 0, 400, 400, 400, 400), LENGTHS)
    assert found[16] == pytest.approx(5 * 400 / sum(400 + 10 * number for number in range(1, 7)))
    silent = expected_at_first(answered(None, None, 400, 400, 400, 400), LENGTHS)  # vLLM does not tell 0
    assert silent == found


def test_a_long_template_that_nobody_found_is_none() -> None:
    found = expected_at_first(answered(0, 0, 0, 0, 0, 400), LENGTHS)
    assert found[1] == pytest.approx(5 * TEMPLATE_TOKENS / sum(400 + 10 * number for number in range(1, 7)), rel=0.1)


def test_the_counters_tell_of_a_long_template_too() -> None:
    assert expected_at_first(answered(*[None] * 6), LENGTHS, mean_hits=400)[16] > 0.7
    assert expected_at_first(answered(*[None] * 6), LENGTHS)[16] < 0.2


def test_prompts_of_one_length_share_what_half_of_them_found() -> None:
    alike = [Timeline(index=index, prompt_tokens=500, cached_tokens=400) for index in range(4)]
    assert expected_at_first(alike, shared(*[(400, 0)] * 4))[1] == pytest.approx(3 * 400 / 2000)
    warm = [Timeline(index=index, prompt_tokens=500, cached_tokens=496) for index in range(4)]
    assert expected_at_first(warm, shared(*[(400, 0)] * 4))[1] == 0


def turns(*tokens: tuple[int, int], index: int = 0, dropped: Sequence[int] = ()) -> list[Timeline]:
    """A session: of each turn the prompt's tokens and the answer's."""
    return [
        Timeline(
            index=index,
            turn=turn,
            prompt_tokens=prompt,
            completion_tokens=answer,
            dropped_turns=dropped[turn] if dropped else 0,
        )
        for turn, (prompt, answer) in enumerate(tokens)
    ]


def test_a_later_turn_has_the_one_before_it_in_common() -> None:
    found = expected_at_first(turns((100, 20), (150, 30), (200, 9)), shared((400, 0)))
    assert found[1] == (0 + 120 + 180) / 450
    assert found[16] == (0 + 112 + 176) / 450


def test_the_first_turns_share_what_their_texts_do() -> None:
    sessions = [*turns((100, 20), (150, 30)), *turns((200, 20), index=1)]
    found = expected_at_first(sessions, shared((400, 0), (800, 400)))
    assert found[1] == pytest.approx((120 + 100) / 450, abs=0.002)


def test_a_turn_whose_history_is_another_one_has_its_system_messages_which_it_found() -> None:
    found = expected_at_first(turns((100, 20), (150, 30), (120, 9), dropped=(0, 0, 1)), shared((400, 0)))
    assert found[1] == 120 / 370
    first, second, third = turns((100, 20), (150, 30), (120, 9), dropped=(0, 0, 1))
    third.cached_tokens = 64
    assert expected_at_first([first, second, third], shared((400, 0)))[1] == (120 + 64) / 370


def test_of_too_many_sessions_the_later_turns_are_known() -> None:
    assert expected_at_first(turns((100, 20), (150, 30)), ())[1] == 120 / 250
    assert expected_at_first(turns((100, 20)), ()) == {}


def test_a_turn_after_one_that_failed_has_nothing_for_certain() -> None:
    first, _, third = turns((100, 20), (150, 30), (200, 9))
    assert expected_at_first([first, third], shared((400, 0)))[1] == 0
