"""The tree of prompts against their bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fluxperf_tools.prefix.tree import common_tokens, grow, shared_tokens

# Two kinds of tokens, so that beginnings are often alike; some prompts end in a token that is short.
prompts = st.lists(
    st.builds(bytes.__add__, st.lists(st.sampled_from([b"aaaa", b"aaab"]), max_size=8).map(b"".join), st.just(b"")),
    min_size=1,
    max_size=12,
)
short_ends = st.sampled_from([b"", b"a", b"aaa"])


@given(prompts, st.lists(short_ends, min_size=12, max_size=12))
def test_two_prompts_share_what_their_bytes_do(whole: list[bytes], ends: list[bytes]) -> None:
    data = [one + end for one, end in zip(whole, ends, strict=False)]
    chains = grow(data)
    for one, first in zip(data, chains, strict=True):
        assert first.tokens == -(-len(one) // 4)
        assert first.whole_tokens == len(one) // 4 == (first.steps[-1][1] if first.steps else 0)
        for two, second in zip(data, chains, strict=True):
            assert shared_tokens(first, second) == common_tokens(one, two)
            assert (first.twin == second.twin) == (one == two)


@given(st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=40))
def test_common_tokens(head: bytes, one: bytes, two: bytes) -> None:
    first, second = head + one, head + two
    count = 0
    while 4 * count + 4 <= min(len(first), len(second)) and first[: 4 * count + 4] == second[: 4 * count + 4]:
        count += 1
    assert common_tokens(first, second) == count
