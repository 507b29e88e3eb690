"""What prompts have in common, as a tree of their tokens. Knows tokens as bytes, four of them each, and no text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

TOKEN_BYTES = 4


@dataclass(frozen=True, slots=True)
class Chain:
    """One prompt as a way through the tree, from its first token to its last.

    `steps` are (node, end): the prompt's tokens from the end of the step before up to `end` belong to `node`, and
    prompts share exactly the nodes that they both go through. `whole_tokens` leaves out a last token that is short
    of bytes (the mock server has such), `tokens` counts it. `twin` is the index of the first prompt that is equal.
    """

    tokens: int
    whole_tokens: int
    steps: tuple[tuple[int, int], ...]
    twin: int


def grow(prompts: Sequence[bytes]) -> list[Chain]:
    """The chains of the prompts (each its tokens, four bytes a token), in their order."""
    order = sorted(range(len(prompts)), key=prompts.__getitem__)
    common = [0] + [common_tokens(prompts[one], prompts[two]) for one, two in pairwise(order)]
    steps: list[list[tuple[int, int]]] = [[] for _ in prompts]
    nodes = 0
    # Ranges of `order` whose prompts have their first `start` tokens in common and are in the tree up to there.
    ranges = [(0, len(order), 0)] if order else []
    while ranges:
        low, high, start = ranges.pop()
        alone = high - low == 1
        end = len(prompts[order[low]]) // TOKEN_BYTES if alone else min(common[low + 1 : high])
        if end > start:
            for place in range(low, high):
                steps[order[place]].append((nodes, end))
            nodes += 1
        if not alone:
            cuts = [low, *(place for place in range(low + 1, high) if common[place] == end), high]
            ranges += [(one, two, end) for one, two in pairwise(cuts)]
    firsts: dict[bytes, int] = {}
    return [
        Chain(-(-len(prompt) // TOKEN_BYTES), len(prompt) // TOKEN_BYTES, tuple(way), firsts.setdefault(prompt, index))
        for index, (prompt, way) in enumerate(zip(prompts, steps, strict=True))
    ]


def common_tokens(one: bytes, two: bytes) -> int:
    """How many whole tokens both begin with."""
    low, high = 0, min(len(one), len(two)) // TOKEN_BYTES
    while low < high:  # the beginnings are equal up to `low` and not beyond `high`
        middle = (low + high + 1) // 2
        if one[low * TOKEN_BYTES : middle * TOKEN_BYTES] == two[low * TOKEN_BYTES : middle * TOKEN_BYTES]:
            low = middle
        else:
            high = middle - 1
    return low


def shared_tokens(one: Chain, two: Chain) -> int:
    """How many tokens two prompts of one tree begin with alike."""
    shared = 0
    for (node, end), (other, _) in zip(one.steps, two.steps, strict=False):
        if node != other:
            break
        shared = end
    return shared
