"""`Pace`: how fast a round goes, now and on the whole, and what it may still take. It is told counts and the time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from fluxperf.units import NS_PER_S, ns_to_s
from fluxperf.watch.counts import LiveCounts

# What "now" means: long enough for some requests to end in, short enough to see that a server stands still.
NOW_NS = 5 * NS_PER_S
# A rate of less time is chance, and the time left that follows from it too.
LEAST_NS = 2 * NS_PER_S
LEAST_OVER = 3


@dataclass(frozen=True, slots=True)
class Rates:
    """Since the start, and in the last seconds; of the latter None, as long as that is the same."""

    tokens_per_s: float
    requests_per_s: float
    tokens_per_s_now: float | None


class Pace:
    """Of one round with so many requests, of which so many are in flight at once."""

    def __init__(self, total: int, concurrency: int) -> None:
        self._total = total
        self._least_over = max(min(concurrency, total // 2), LEAST_OVER)
        self._noted: deque[tuple[int, float, int]] = deque()

    def note(self, at_ns: int, counts: LiveCounts) -> None:
        """So far it is at that instant (monotonic), which comes after the one before."""
        self._noted.append((at_ns, counts.output_tokens, counts.over))
        while len(self._noted) > 2 and self._noted[1][0] <= at_ns - NOW_NS:
            self._noted.popleft()

    def rates(self, elapsed_ns: int, counts: LiveCounts) -> Rates | None:
        """None: it is too early to tell."""
        if elapsed_ns < LEAST_NS:
            return None
        elapsed_s = ns_to_s(elapsed_ns)
        (first_ns, first, _), (last_ns, last, _) = self._noted[0], self._noted[-1]
        now = None
        if last_ns - first_ns >= LEAST_NS and elapsed_ns > NOW_NS:
            now = max(last - first, 0) / ns_to_s(last_ns - first_ns)
        return Rates(counts.output_tokens / elapsed_s, counts.done / elapsed_s, now)

    def left_ns(self, elapsed_ns: int, counts: LiveCounts) -> float | None:
        """What the round may still take; None until as many requests are over as are in flight at once, or half of all.

        Before that, only those that are over soonest are known. What is in flight is taken to be half done. None too
        while nothing moves: who can tell how long a server will hang?
        """
        if elapsed_ns < LEAST_NS or counts.over < self._least_over or self._stands_still():
            return None
        work = counts.over + counts.in_flight / 2
        return elapsed_ns * max(self._total - work, 0) / work

    def _stands_still(self) -> bool:
        first, last = self._noted[0], self._noted[-1]
        return last[0] - first[0] >= NOW_NS and first[1:] == last[1:]
