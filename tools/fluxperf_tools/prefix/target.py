"""How long or how many prompts must be for a hit rate that is asked for. Pure; a formula, not a simulation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fluxperf_tools.prefix.design import Design, group_sizes

MOST_PROMPTS_UNASKED = 20_000
"""No hit rate takes more, unless there are more groups than that."""
_NEAR_THE_LIMIT = 0.005


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the rate depends on besides the design: tokens of a block, and those of a template around each prompt."""

    block_tokens: int
    head_tokens: int
    tail_tokens: int


def hit_rate(design: Design, around: Surroundings) -> float:
    """Of one round in an empty cache without end, 0 to 1; for a design of one turn."""
    sizes = group_sizes(design)
    tokens = around.head_tokens + design.shared_tokens + design.unique_tokens + around.tail_tokens
    block = around.block_tokens
    most = (tokens - 1) // block * block
    repeated = min((around.head_tokens + design.shared_tokens) // block * block, most)
    begun = min(around.head_tokens // block * block, most)  # all but the very first find the template's head
    hits = repeated * sum(size - 1 for size in sizes) + begun * (len(sizes) - 1)
    return hits / (tokens * sum(sizes))


def split_prompt(design: Design, rate: float, prompt_tokens: int, around: Surroundings) -> Design:
    """The design with prompts of `prompt_tokens` tokens of text, as many of them shared as come nearest to the rate.

    The shared part ends where a block does, so that the rate does not hang on a token more or less.
    """
    ends = range(0, around.head_tokens + prompt_tokens, around.block_tokens)
    lengths = {0, *(end - around.head_tokens for end in ends if end > around.head_tokens)}
    return _nearest(
        (
            replace(design, shared_tokens=shared, unique_tokens=prompt_tokens - shared)
            for shared in sorted(lengths)
            if shared < prompt_tokens
        ),
        rate,
        around,
    )


def size_groups(design: Design, rate: float, around: Surroundings) -> Design:
    """The design with as many prompts in a group as come nearest to the rate, for the lengths that it has.

    Beyond the highest rate, to which ever larger groups come ever nearer, it has the smallest groups that are near it.
    """
    low, high = 1, _most_per_group(design)  # the rate grows with the number
    highest = highest_rate(design, around)
    goal = rate if rate <= highest else highest - _NEAR_THE_LIMIT
    while high - low > 1:
        middle = (low + high) // 2
        if hit_rate(replace(design, per_group=middle), around) < goal:
            low = middle
        else:
            high = middle
    if rate == goal:
        return _nearest((replace(design, per_group=number) for number in (low, high)), rate, around)
    return replace(design, per_group=high)


def highest_rate(design: Design, around: Surroundings) -> float:
    """What `size_groups` can reach at most, for the lengths that the design has."""
    return hit_rate(replace(design, per_group=_most_per_group(design)), around)


def _most_per_group(design: Design) -> int:
    return max(MOST_PROMPTS_UNASKED // design.groups, 1)


def _nearest(designs: Iterable[Design], rate: float, around: Surroundings) -> Design:
    return min(designs, key=lambda one: abs(hit_rate(one, around) - rate))
