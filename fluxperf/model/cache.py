"""What is known of a server's prefix cache in one round: its own counters, and whether it was emptied before.

Zero, absent, reset and unreadable are four different results: only the first is a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Reading(StrEnum):
    """What became of reading counters twice."""

    OK = "ok"
    ABSENT = "absent"  # the server has no such counters, or none that can be had
    RESET = "reset"  # they began again in between, so their difference says nothing
    UNREADABLE = "unreadable"  # there should be some, and they could not be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """What was looked up in the cache, and what of it was there."""

    hits: int
    queries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheCounters:
    """What a server's counters counted between the start and the end of a round.

    Where `reading` is not OK, `why` says so in a sentence and there are no numbers. `unit` is tokens or
    blocks. `prompt_tokens` is how many prompt tokens the server says it was sent by all its clients; None:
    its counters do not tell. `preemptions`: requests that it gave up and began again, which some counters
    count twice. `capacity_tokens` is what the cache holds, where the server says so. `by_engine` has the
    label `engine` of servers that run several behind one port. `label` is the engine's name for people,
    `block_tokens` the size of its cache's blocks; `counts_prompts`: whether its lookups are of every prompt
    token. Counters that are printed in few digits are known to within `resolution_tokens`.
    """

    engine: str | None
    version: str | None = None
    reading: Reading
    why: str | None = None
    unit: str = "tokens"
    hits: int | None = None
    queries: int | None = None
    prompt_tokens: int | None = None
    preemptions: int | None = None
    capacity_tokens: int | None = None
    label: str | None = None
    block_tokens: int = 16
    counts_prompts: bool = False
    resolution_tokens: int = 0
    by_engine: Mapping[str, Hits] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """The hit rate; None: nothing was looked up, or it is not known."""
        return self.hits / self.queries if self.queries and self.hits is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheReset:
    """A call that should empty the cache before a round. `accepted`: status and body say that it was done.

    Whether it *was* done only the round after it can tell. `answer` is what the server said, in a line.
    """

    url: str
    accepted: bool
    status: int | None
    answer: str
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedTokens:
    """Sums over the successful requests whose `usage` told cached_tokens."""

    prompt_tokens: int
    cached_tokens: int
    ratio: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheFigures:
    """What two witnesses say of the cache hits of a round: the answers' usage, and the server's counters.

    `sent_tokens` are the prompt tokens of the round, `estimated_tokens` of them by our own estimate, where usage is
    silent. `foreign_tokens` is what the server counted beyond them, and `foreign_share` its share of all that it
    counted: below 0 where it counted less than was sent. `unexplained_hits` is the counters' hits less those of usage.
    `expected` is the share of prompt tokens that could have hit, by the size of a cache block in tokens;
    `block_tokens` the size that goes with the engine. `reset_confirmed`: whether what followed the reset
    bears it out; None: there was none, or nobody tells. `new`: the prompts cannot have been sent before. Of the prompt
    tokens in usage, `silent_tokens` are of answers that told no cached tokens; `zeros_told` counts those that told 0.
    """

    usage: CachedTokens | None = None
    counters: CacheCounters | None = None
    sent_tokens: int = 0
    estimated_tokens: int = 0
    foreign_tokens: int | None = None
    foreign_share: float | None = None
    unexplained_hits: int | None = None
    expected: Mapping[int, float] = field(default_factory=dict)
    block_tokens: int = 1
    repeats: bool = False
    new: bool = False
    silent_tokens: int = 0
    zeros_told: int = 0
    reset: CacheReset | None = None
    reset_confirmed: bool | None = None

    @property
    def counted_rate(self) -> float | None:
        """By the counters. 0 where the server looked nothing up, though it was sent prompts: its cache is off."""
        counters = self.counters
        if counters is None or counters.reading is not Reading.OK:
            return None
        return 0.0 if counters.queries == 0 and self.sent_tokens else counters.ratio

    @property
    def rates(self) -> tuple[float, ...]:
        """The hit rate by each witness that tells one."""
        told = (None if self.usage is None else self.usage.ratio, self.counted_rate)
        return tuple(rate for rate in told if rate is not None)

    @property
    def found_rate(self) -> float | None:
        """The share of the round's own prompt tokens that was surely found: by the witness that tells more.

        The counters' hits may be those of others, as far as others were there.
        """
        counted, others = self.counted_rate, max(self.foreign_tokens or 0, 0)
        if counted and others and self.counters is not None and self.counters.hits is not None and self.sent_tokens:
            counted = max(self.counters.hits - others, 0) / self.sent_tokens
        told = (None if self.usage is None else self.usage.ratio, counted)
        return max((rate for rate in told if rate is not None), default=None)

    @property
    def hit_rate(self) -> float | None:
        """By usage, which is of our own requests only; else by the counters."""
        return self.rates[0] if self.rates else None

    @property
    def expected_rate(self) -> float | None:
        """The share that could have hit, in blocks of the engine's size."""
        return self.expected.get(self.block_tokens)


@dataclass(frozen=True, slots=True)
class PromptBytes:
    """How long one prompt (dataset index) is, and how much of its beginning another of its round has too."""

    index: int
    length: int
    shared: int
