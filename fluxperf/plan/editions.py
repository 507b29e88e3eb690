"""Editions: the forms in which a sample's prompts are sent. As they stand, salted, or as fresh prompts of like lengths.

A prefix cache goes by the beginning of what is sent, so a salt must stand at the very start: one in the middle leaves
the prefix shared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from random import Random
from typing import TypeAlias

from fluxperf.model import CONTROL
from fluxperf.plan.entry import Entry, Message
from fluxperf.plan.forms import SYSTEM_ROLES
from fluxperf.plan.planner import PLAIN, LevelPlan, find_drawn

Rewrite: TypeAlias = Callable[[Entry], Entry]

# What separates words, and in scripts without spaces what separates clauses.
_GAPS = re.compile("([\\s\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f]+)")
_MARK_BYTES = 8  # in hexadecimal twice as many characters, and a space


@dataclass(frozen=True, slots=True)
class Edition:
    """The entries (dataset indices) that are sent in one form, and how an entry becomes that. None: it stays.

    What `salt` makes of an entry may be cut to the maximum input length, what `renew` makes of that has its length.
    """

    name: str
    sample: Sequence[int]
    salt: Rewrite | None = None
    renew: Rewrite | None = None


def plan_editions(levels: Sequence[LevelPlan], dataset_size: int, token: str) -> tuple[Edition, ...]:
    """What the rounds of the levels send, each edition once. `token` is what salts are made of: new for each run."""
    editions: list[Edition] = []
    if any(plan.edition == PLAIN for level in levels for plan in level.rounds):
        editions.append(Edition(PLAIN, find_drawn(levels, dataset_size)))
    for level in levels:
        salt = partial(salted, salt=salt_of(token, level.concurrency))
        names = {plan.edition: plan for plan in level.rounds if plan.edition != PLAIN}
        is_salted = not any(plan.edition == PLAIN for plan in level.rounds)
        for name, plan in names.items():
            renew = partial(renewed, token=f"{token}/{level.concurrency}") if plan.round == CONTROL else None
            editions.append(Edition(name, level.sample, salt if is_salted else None, renew))
    return tuple(editions)


def salt_of(token: str, concurrency: int) -> str:
    """What begins every prompt of a level: the same in its rounds, another one at each level and in each run."""
    return f"[{token}-{concurrency}] "


def salted(entry: Entry, *, salt: str) -> Entry:
    """The entry with the salt before its first text."""
    first, *others = entry.turns
    return replace(entry, turns=(_begin(first, lambda text: salt + text), *others))


def renewed(entry: Entry, *, token: str) -> Entry:
    """A prompt that nobody has sent, of the same length: its words in another order, behind a mark of its own.

    Each text of user and system keeps its characters and gaps, but for the mark, which takes the place of the first of
    them. So a cache that finds more than prefixes finds little either.
    """
    seed = f"{token}/{entry.index}"
    mark = blake2b(seed.encode(), digest_size=_MARK_BYTES).hexdigest() + " "
    draw = Random(seed)  # noqa: S311 (a draw, not a secret)
    turns = [tuple(_shuffled(message, draw) for message in turn) for turn in entry.turns]
    first, *others = turns
    return replace(entry, turns=(_begin(first, lambda text: mark + text[len(mark) :]), *others))


def _begin(turn: tuple[Message, ...], change: Callable[[str], str]) -> tuple[Message, ...]:
    """The turn with the first text in it changed."""
    place = next(place for place, message in enumerate(turn) if message["content"] is not None)
    message = turn[place]
    return (*turn[:place], {**message, "content": change(message["content"])}, *turn[place + 1 :])


def _shuffled(message: Message, draw: Random) -> Message:
    if message["role"] not in ("user", *SYSTEM_ROLES) or message["content"] is None:
        return message
    parts = _GAPS.split(message["content"])  # words, and between them what separates them
    words = parts[::2]
    draw.shuffle(words)
    parts[::2] = words
    return {**message, "content": "".join(parts)}
