"""The model of llama.cpp's server. The figures of the first test were measured at a real one."""

from __future__ import annotations

import pytest

from fluxperf_tools.prefix.slots import SlotCache, hit_tokens
from fluxperf_tools.prefix.tree import Chain, grow

HEAD, TAIL = 3, 6


def prompt(group: str, number: int, shared: int, own: int) -> bytes:
    """As a chat template of 3 tokens before and 6 after makes it."""
    parts = [b"head" * HEAD, group.encode() * shared, b"%04d" % number * own, b"tail" * TAIL]
    return b"".join(parts)


def chains_of(names: str, shared: int = 40, own: int = 20) -> tuple[list[Chain], list[int]]:
    """The prompts `a0 b0 a1` of groups a and b, and the order that they stand in; a name may come again."""
    different = sorted(set(names.split()))
    chains = grow([prompt(name[0] * 4, int(name[1:]), shared, own) for name in different])
    return chains, [different.index(name) for name in names.split()]


def hits(names: str, cache: SlotCache, shared: int = 40, own: int = 20) -> list[int]:
    return list(hit_tokens(cache, *chains_of(names, shared, own)))


ONE = SlotCache(slots=1, host_memory=True, unified=False, answer_tokens=4)
ONE_ALONE = SlotCache(slots=1, host_memory=False, unified=False, answer_tokens=4)
FOUR_ALONE = SlotCache(slots=4, host_memory=False, unified=False, answer_tokens=4)
AS_IT_COMES = SlotCache(slots=4, host_memory=True, unified=True, answer_tokens=4)


@pytest.mark.parametrize(
    ("cache", "expected"),
    [
        # Back in the slot, b's own part is gone: a second time it hits what the group shares.
        (ONE, [0, 3, 43, 43, 43, 43]),
        (ONE_ALONE, [0, 3, 3, 3, 3, 3]),
        (AS_IT_COMES, [0, 0, 43, 43, 43, 43]),
    ],
)
def test_two_groups_in_turns(cache: SlotCache, expected: list[int]) -> None:
    assert hits("a0 b0 a1 b1 a0 b0", cache) == expected


def test_the_same_prompt_again_is_computed_but_for_its_last_token() -> None:
    assert hits("a0 a0", ONE_ALONE) == [0, HEAD + 40 + 20 + TAIL - 1]


def test_what_would_be_lost_is_copied_and_found_again() -> None:
    """Of a prompt with a short beginning in common less than half would stay, so it is copied, and hits as a whole."""
    assert hits("a0 a1 a0", ONE, shared=10, own=40) == [0, 13, 58]
    assert hits("a0 a1 a0", ONE_ALONE, shared=10, own=40) == [0, 13, 13]
    assert hits("a0 a1 a0", ONE, shared=40, own=20) == [0, 43, 43]


def test_a_copy_of_which_little_is_of_use_stays_where_it_is() -> None:
    """b's copy begins with a tenth of what is asked for."""
    assert hits("b0 a0 b1", ONE, shared=5, own=60) == [0, 3, 3]


@pytest.mark.parametrize(("shared", "cached"), [(22, 25), (21, 3)])
def test_a_copy_is_taken_back_from_a_quarter_of_it_on(shared: int, cached: int) -> None:
    """b's copy has 100 tokens, with the three that are left of its answer; three more are of the template."""
    own = 100 - HEAD - TAIL - 3 - shared
    assert hits("b0 a0 b1", ONE, shared=shared, own=own) == [0, 3, cached]


def test_slots_hold_a_prompt_each() -> None:
    assert hits("a0 b0 c0 d0 a1 b1 c1 d1", FOUR_ALONE) == [0, 0, 0, 0, 43, 43, 43, 43]
    assert hits("a0 b0 c0 d0 e0 a1 b1 c1 d1 e1", FOUR_ALONE) == [0, 0, 0, 0, 3, 3, 3, 3, 3, 3]


def test_tiny_prompts_may_be_taken_for_the_template_alone() -> None:
    """Three tokens of eleven are more than a quarter."""
    assert hits("a0 b0", AS_IT_COMES, shared=1, own=1) == [0, 3]


def test_no_prompts() -> None:
    assert list(hit_tokens(ONE, [], [])) == []
