"""What one process has done and is doing, as its engine sees it; in memory that processes share. Knows no names.

It counts from the start and is never reset, unless a fault makes it look like a restart (`faults`).
"""

from __future__ import annotations

import ctypes
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from fluxperf.units import NS_PER_S
from fluxperf_mock.shared import share, share_numbers

# vLLM's buckets, in seconds.
_TTFT_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
_ITL_S = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
_E2E_S = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0),
    *(40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)


class Buckets:
    """A Prometheus histogram of durations."""

    __slots__ = ("_bounds_ns", "_numbers", "bounds_s")

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self.bounds_s = bounds_s
        self._bounds_ns = [round(bound * NS_PER_S) for bound in bounds_s]
        self._numbers = share_numbers(len(bounds_s) + 2)  # the last is the sum

    def observe(self, value_ns: int) -> None:
        """Counts one duration."""
        self._numbers[bisect_left(self._bounds_ns, value_ns)] += 1
        self._numbers[-1] += value_ns

    def add(self, other: Buckets) -> None:
        """Counts all that another of the same bounds has counted."""
        for index, number in enumerate(other._numbers):
            self._numbers[index] += number

    def clear(self) -> None:
        """Has counted nothing."""
        for index in range(len(self._numbers)):
            self._numbers[index] = 0

    @property
    def counts(self) -> list[int]:
        """How many durations each bucket holds; the last one is of those beyond all bounds."""
        return self._numbers[:-1].tolist()

    @property
    def sum_ns(self) -> int:
        """All durations together."""
        return int(self._numbers[-1])


class Totals(ctypes.Structure):
    """What is counted one by one. `cached_tokens` and what follows from them are as the counters have it (`accounts`).

    `prefill_ns` is the time that prompts took; `longest_tokens` the longest sequence, its answer included. `last_...`
    are of the newest request that has got its first token. `stop`, `length` and `abort` are requests that ended.
    """

    prompt_tokens: int
    cached_tokens: int
    generation_tokens: int
    cache_queries: int
    cache_hits: int
    reused_blocks: int
    missed_blocks: int
    preemptions: int
    prefill_ns: int
    longest_tokens: int
    last_prompt_tokens: int
    last_cached_tokens: int
    stop: int
    length: int
    abort: int

    _fields_ = tuple((name, ctypes.c_int64) for name in __annotations__)


class Counters:
    """What one process has done since it started, as its engine sees it (not its sockets: that is `truth`)."""

    __slots__ = ("_restarted", "e2e", "itl", "totals", "ttft")

    def __init__(self) -> None:
        self.totals = share(Totals)
        self.ttft = Buckets(_TTFT_S)
        self.itl = Buckets(_ITL_S)
        self.e2e = Buckets(_E2E_S)
        self._restarted = share_numbers(1)

    @property
    def restarted_ns(self) -> int:
        """When all began at zero again; 0: never."""
        return int(self._restarted[0])

    def restart(self, at_ns: int) -> None:
        """Begins at zero again, as after a restart of the server."""
        ctypes.memset(ctypes.addressof(self.totals), 0, ctypes.sizeof(self.totals))
        for buckets in (self.ttft, self.itl, self.e2e):
            buckets.clear()
        self._restarted[0] = at_ns

    def add(self, other: Counters) -> None:
        """Counts all that another process has counted."""
        longest = max(self.totals.longest_tokens, other.totals.longest_tokens)
        _add(self.totals, other.totals)
        self.totals.longest_tokens = longest
        for ours, theirs in ((self.ttft, other.ttft), (self.itl, other.itl), (self.e2e, other.e2e)):
            ours.add(theirs)


class Load(ctypes.Structure):
    """How many sequences run and wait, the tokens that those which run hold, and those that the cache has kept.

    `cache_resets` is how many of the orders to empty the cache have been obeyed.
    """

    running: int
    waiting: int
    held_tokens: int
    kept_tokens: int
    cache_resets: int

    _fields_ = tuple((name, ctypes.c_int64) for name in __annotations__)

    def cache_usage(self, cache_tokens: int) -> float:
        """The share of a cache of that size that they take, 0 to 1; what is merely kept does not count."""
        return min(self.held_tokens / cache_tokens, 1.0) if cache_tokens else 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """A server, or several as one, at this moment. `started_s` is Unix time."""

    counters: Counters
    load: Load
    cache_tokens: int
    started_s: float
    block_tokens: int = 16


def merge_samples(samples: Sequence[Sample]) -> Sample:
    """Several servers as one, which has started when the last of them did."""
    if len(samples) == 1:
        return samples[0]
    counters, load = Counters(), Load()
    for sample in samples:
        counters.add(sample.counters)
        _add(load, sample.load)
    cache_tokens = sum(sample.cache_tokens for sample in samples)
    return Sample(counters, load, cache_tokens, max(sample.started_s for sample in samples), samples[0].block_tokens)


def _add(ours: ctypes.Structure, theirs: ctypes.Structure) -> None:
    for name in type(ours).__annotations__:
        setattr(ours, name, getattr(ours, name) + getattr(theirs, name))
