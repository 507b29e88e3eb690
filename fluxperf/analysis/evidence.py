"""`Evidence`: what is known of a round beside its figures, for those who judge what the figures are worth."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from fluxperf.model import (
    Audit,
    CacheCounters,
    CacheReset,
    Histogram,
    Outcome,
    PromptBytes,
    RoundName,
    Timeline,
)
from fluxperf.tally import Tally
from fluxperf.units import NS_PER_MS, NS_PER_US

# From here on a pause between two drains is one that a user would call a standstill: it is a thousand times what a
# drain takes, and the token interval of a fast server.
STALL_NS = 10 * NS_PER_MS
# What is shorter is our own work of picking a connection, and no wait.
LEAST_WAIT_NS = 100 * NS_PER_US


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a round's prompts had been through when it began.

    `new`: they cannot have been sent before, since they begin with a salt or are fresh. `repeats`: all of them were
    sent before, and nothing has emptied the cache since. `sent_before`: where some of them were sent before, as in
    "sent before at concurrency 5". `reset`: the call that was to empty the cache just before the round.
    """

    round: RoundName = 1
    new: bool = False
    repeats: bool = False
    sent_before: str | None = None
    reset: CacheReset | None = None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A round as its workers told it.

    `audits` has each worker that lived to report, `lost` those that did not. `planned` is how many requests the
    round was to have, `stopped` whether it was ended before it had them. `more_workers`: whether cores and requests
    in flight were left for any, `less_concurrency` whether it could be lower; `streams_per_connection`: 1 where it is
    not HTTP/2. `counters` is the server's own count of cache hits; `prompts` are the lengths of its prompts, and None
    where they are too many to be compared; `requests` are all that came to an end. `sessions`: they are turns of
    sessions, whose prompts repeat one another's beginnings, and `prompts` are those of the first turns; `concurrency`
    of them run at once, and their prompts should not be longer than `most_context_tokens`.
    """

    tally: Tally
    audits: Mapping[int, Audit] = field(default_factory=dict)
    lost: tuple[int, ...] = ()
    planned: int = 0
    stopped: bool = False
    kernel_stamps: bool = True
    more_workers: bool = True
    less_concurrency: bool = True
    streams_per_connection: int = 1
    history: History = field(default_factory=History)
    counters: CacheCounters | None = None
    prompts: Sequence[PromptBytes] | None = None
    requests: Collection[Timeline] = ()
    sessions: bool = False
    concurrency: int = 0
    most_context_tokens: int | None = None

    @cached_property
    def audit(self) -> Audit:
        """All workers' audits as one."""
        merged = Audit()
        for audit in self.audits.values():
            merged.merge(audit)
        return merged

    @property
    def counted(self) -> int:
        """How many requests came to an end of their own."""
        return count_ended(self.tally)

    @property
    def lags(self) -> dict[int, tuple[Histogram, ...]]:
        """By worker, for how long it did not read: by its own clock, and as far as the kernel's stamps tell."""
        return {
            number: (audit.away, audit.receive_lag) if self.kernel_stamps else (audit.away,)
            for number, audit in sorted(self.audits.items())
        }


def count_ended(tally: Tally) -> int:
    """How many requests came to an end of their own."""
    return sum(count for outcome, count in tally.outcomes.items() if Outcome(outcome).counted)


def cpu_share(audit: Audit) -> float | None:
    """Which part of one core the worker used while the round ran; None: it took no part."""
    return audit.cpu_ns / audit.span_ns if audit.span_ns > 0 else None


def longest_ns(lags: Iterable[Histogram]) -> int | None:
    """The longest that a worker stood still; None: nobody looked."""
    return max((lag.max for lag in lags if lag.max is not None), default=None)


def percent(share: float) -> str:
    """A share in words; below 10 % with a digit more, so that what is just above a limit does not look like it.

    Nothing and all are said as such.
    """
    return f"{share:.0%}" if share in (0, 1) else f"{share:.1%}" if share >= 0.1 else f"{share:.2%}"


def count_stalls(lags: Iterable[Histogram]) -> int:
    """How often that was longer than `STALL_NS`. One stall may show in several ways, so the largest count is taken."""
    return max(lag.count_above(STALL_NS) for lag in lags)
