from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fluxperf_mock.prompts import TOKEN_BYTES, chain_blocks, count_tokens, render_chat

conversations = st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text()), min_size=1)


@given(conversations, st.text(), st.text())
def test_a_history_and_its_answer_are_a_prefix_of_the_next_turn(
    history: list[tuple[str, str]], answer: str, question: str
) -> None:
    next_turn = render_chat([*history, ("assistant", answer), ("user", question)])
    assert next_turn.startswith(render_chat(history) + answer.encode())


def test_roles_tell_prompts_apart() -> None:
    assert render_chat([("user", "a")]) != render_chat([("system", "a")])


def test_four_bytes_are_a_token_and_a_rest_is_one() -> None:
    assert [count_tokens(b"x" * size) for size in (0, 1, 4, 5, 8)] == [0, 1, 1, 2, 2]


@given(st.binary(), st.binary(), st.binary(), st.integers(1, 4))
def test_keys_agree_on_the_common_prefix_and_nowhere_else(
    common: bytes, left: bytes, right: bytes, block_tokens: int
) -> None:
    size = block_tokens * TOKEN_BYTES
    a, b = common + left, common + right
    keys_a, keys_b = chain_blocks(a, block_tokens), chain_blocks(b, block_tokens)
    assert len(keys_a) == len(a) // size
    for index, (key_a, key_b) in enumerate(zip(keys_a, keys_b, strict=False)):
        until = (index + 1) * size
        assert (key_a == key_b) == (a[:until] == b[:until])


def test_equal_blocks_after_different_beginnings_have_different_keys() -> None:
    assert chain_blocks(b"aaaabbbb", 1)[1] != chain_blocks(b"ccccbbbb", 1)[1]


@given(st.binary(), st.binary(), st.integers(1, 4))
def test_a_chain_can_be_continued(text: bytes, more: bytes, block_tokens: int) -> None:
    keys = chain_blocks(text, block_tokens)
    rest = text[len(keys) * block_tokens * TOKEN_BYTES :] + more
    assert keys + chain_blocks(rest, block_tokens, keys[-1] if keys else 0) == chain_blocks(text + more, block_tokens)
