"""The cache of blocks against a slow one that knows every block by all the tokens up to its end."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf_tools.prefix.blocks import BlockCache, hit_tokens
from fluxperf_tools.prefix.tree import grow


def hits_of_each_block(cache: BlockCache, prompts: Sequence[bytes], order: Sequence[int]) -> list[int]:
    """Least recently used, block by block, over the bytes themselves."""
    size = cache.block_tokens * 4
    room = None if cache.cache_tokens is None else cache.cache_tokens // cache.block_tokens
    used: list[bytes] = []  # the most recent last
    hits = []

    def keep(text: bytes) -> None:
        blocks = [text[:end] for end in range(size, len(text) + 1, size)]
        used[:] = [block for block in used if block not in blocks] + blocks[::-1]
        if room is not None and len(used) > room:
            del used[: len(used) - room]

    for index in order:
        prompt = prompts[index]
        most = (-(-len(prompt) // 4) - 1) // cache.block_tokens
        found = 0
        while found < most and prompt[: (found + 1) * size] in used:
            found += 1
        hits.append(found * cache.block_tokens)
        keep(prompt)
        answer = b"".join(b"%04d" % (prompts.index(prompt)) for _ in range(cache.answer_tokens - 1))
        keep(prompt + answer)
    return hits


tokens = st.lists(st.sampled_from([b"aaaa", b"bbbb", b"cccc"]), min_size=1, max_size=12).map(b"".join)
ends = st.sampled_from([b"", b"a"])


@given(
    st.lists(st.builds(bytes.__add__, tokens, ends), min_size=1, max_size=8),
    st.lists(st.integers(0, 7), max_size=24),
    st.integers(1, 4),
    st.integers(1, 6),
    st.one_of(st.none(), st.integers(22, 34)),
)
def test_it_hits_what_a_cache_of_single_blocks_does(
    prompts: list[bytes], draws: list[int], block: int, answer: int, room: int | None
) -> None:
    order = [draw % len(prompts) for draw in draws]
    cache = BlockCache(block, room, answer)
    assert list(hit_tokens(cache, grow(prompts), order)) == hits_of_each_block(cache, prompts, order)


def prompt(shared: str, own: str, tokens_shared: int, tokens_own: int) -> bytes:
    return (shared * tokens_shared + own * tokens_own).encode()


@pytest.mark.parametrize(
    ("room", "expected"),
    [(None, [0, 32, 32, 48, 48, 48]), (48, [0, 32, 32, 32, 32, 32]), (64, [0, 32, 32, 32, 32, 32])],
)
def test_a_shared_beginning(room: int | None, expected: list[int]) -> None:
    """40 tokens shared are two blocks of 16; 57 in all are three, and the last token is in the fourth."""
    prompts = [prompt("same", f"own{number}", 40, 17) for number in range(3)]
    assert list(hit_tokens(BlockCache(16, room, 1), grow(prompts), [0, 1, 2, 0, 1, 2])) == expected


def test_the_block_of_the_last_token_is_computed() -> None:
    prompts = [prompt("same", "", 32, 0)]
    assert list(hit_tokens(BlockCache(16, None, 1), grow(prompts), [0, 0])) == [0, 16]
