"""Which prompts there are, what they share, and in which order they stand. Pure; knows no words and no tokens.

A group of prompts shares an opening. A prompt is a way down from there: `(3,)` is the fourth first question of its
group, `(3, 0, 1)` a third turn after it. A later turn's history is the turns before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, product
from random import Random
from statistics import median

from fluxperf.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What was asked for; lengths are in tokens of text, without a chat template's.

    `per_group` is the mean number of first turns a group. `zipf`: how much more popular the first groups are (0: not
    at all). Each turn but the last is continued in `branching` ways. `repeat_distance`: None is a random order.
    """

    groups: int
    per_group: int
    shared_tokens: int
    unique_tokens: int
    zipf: float = 0.0
    turns: int = 1
    branching: int = 1
    reply_tokens: int = 0
    repeat_distance: int | None = None
    seed: int = 42

    def __post_init__(self) -> None:
        if self.shared_tokens + self.unique_tokens < 1:
            raise UsageError("prompts of no tokens: --shared-tokens or --unique-tokens must be above 0")
        if self.turns > 1 and not (self.unique_tokens and self.reply_tokens):
            raise UsageError(
                "with --turns each turn needs a text of its own: --unique-tokens and --reply-tokens above 0"
            )

    @property
    def prompts_a_tree(self) -> int:
        """How many requests come of one first turn."""
        return sum(self.branching**depth for depth in range(self.turns))

    @property
    def prompts(self) -> int:
        """How many requests there are in all."""
        return self.groups * self.per_group * self.prompts_a_tree


@dataclass(frozen=True, slots=True, order=True)
class Prompt:
    """One request: its group, and its way through the group's tree."""

    group: int
    way: tuple[int, ...]

    @property
    def name(self) -> str:
        """Such as `g2-p3` or `g2-p3.0.1`."""
        return f"g{self.group}-p{'.'.join(map(str, self.way))}"


def group_sizes(design: Design) -> list[int]:
    """First turns in each group: one each, and the rest of `groups * per_group` in proportion to 1 / rank ** zipf."""
    total = design.groups * design.per_group
    weights = [(rank + 1) ** -design.zipf for rank in range(design.groups)]
    scale = (total - design.groups) / sum(weights)  # what is left once every group has one
    exact = [1 + weight * scale for weight in weights]
    sizes = [int(share) for share in exact]
    by_rest = sorted(range(design.groups), key=lambda group: (sizes[group] - exact[group], group))
    for group in by_rest[: total - sum(sizes)]:
        sizes[group] += 1
    return sizes


def arrange(design: Design) -> list[Prompt]:
    """All prompts in the order of the file. Within a group a turn stands after the turn that it continues."""
    queues = [deque(_prompts_of(group, size, design)) for group, size in enumerate(group_sizes(design))]
    if design.repeat_distance is None:
        turns = list(chain.from_iterable([group] * len(queue) for group, queue in enumerate(queues)))
        Random(f"{design.seed}/order").shuffle(turns)  # noqa: S311 (a draw, not a secret)
    else:
        turns = list(_keep_distance([len(queue) for queue in queues], design.repeat_distance))
    return [queues[group].popleft() for group in turns]


def _prompts_of(group: int, size: int, design: Design) -> Iterator[Prompt]:
    """Session after session: of each the first turn, then all second turns, and so on."""
    for first in range(size):
        for depth in range(design.turns):
            for branches in product(range(design.branching), repeat=depth):
                yield Prompt(group, (first, *branches))


def _keep_distance(sizes: Sequence[int], distance: int) -> Iterator[int]:
    """The groups in an order that has `distance` prompts of other groups between two uses of one.

    So many groups and one more take turns; one that is used up makes room for the next, the largest first. In the
    end, when fewer are left, the distance is what they allow.
    """
    left = list(sizes)
    waiting = deque(sorted(range(len(sizes)), key=lambda group: (-sizes[group], group)))
    playing: deque[tuple[int, int]] = deque()  # (group, when it was last used), the longest ago first
    for place in range(sum(sizes)):
        is_due = bool(playing) and place - playing[0][1] > distance
        group = playing.popleft()[0] if is_due or not waiting else waiting.popleft()
        left[group] -= 1
        yield group
        if left[group]:
            playing.append((group, place))


@dataclass(frozen=True, slots=True)
class Distances:
    """Between two uses of a group's opening in a row: prompts of other groups, and their tokens. No use: all 0."""

    repeats: int
    least: int
    middle: float
    most: int
    middle_tokens: float

    @classmethod
    def of(cls, groups: Sequence[int], tokens: Sequence[int]) -> Distances:
        """From the group and the tokens of each prompt, in the order in which they are sent."""
        last: dict[int, tuple[int, int]] = {}
        prompts: list[int] = []
        between: list[int] = []
        sent = 0
        for place, (group, count) in enumerate(zip(groups, tokens, strict=True)):
            if group in last:
                prompts.append(place - last[group][0] - 1)
                between.append(sent - last[group][1])
            sent += count
            last[group] = (place, sent)
        if not prompts:
            return cls(0, 0, 0, 0, 0)
        return cls(len(prompts), min(prompts), median(prompts), max(prompts), median(between))
