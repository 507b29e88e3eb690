"""`Accounts`: what one process counts of its requests, and tells their clients.

The truth gets what happened; the counters and the usage get what the engine and the faults make of it.
"""

from __future__ import annotations

from fluxperf_mock.api import Usage
from fluxperf_mock.dialects import DIALECTS
from fluxperf_mock.faults import Quota
from fluxperf_mock.figures import Figures
from fluxperf_mock.scheduler import Sequence
from fluxperf_mock.settings import MockSettings


class Accounts:
    """Counts requests as they come, begin to be answered and end; each of their tokens is the engine's to count."""

    __slots__ = (
        "_block_tokens",
        "_counters",
        "_counts",
        "_ended",
        "_foreign_blocks",
        "_foreign_tokens",
        "_hides_hits",
        "_looks_up",
        "_preempted",
        "_restart_after",
        "_tells_cached",
    )

    def __init__(self, settings: MockSettings, figures: Figures) -> None:
        faults = settings.read_faults()
        self._counts = figures.truth.counts
        self._counters = figures.counters
        self._block_tokens = settings.block_tokens
        self._looks_up = settings.cache_tokens >= settings.block_tokens
        self._tells_cached = DIALECTS[settings.engine].cached_tokens and "no-cached-tokens" not in faults
        self._hides_hits = "hidden-cache" in faults
        foreign_to_own = faults["foreign"] / (1 - faults["foreign"])
        self._foreign_tokens, self._foreign_blocks = Quota(foreign_to_own), Quota(foreign_to_own)
        self._preempted = Quota(faults["preempt"])
        self._restart_after = int(faults["counters-restart"])
        self._ended = 0

    def accept(self, streams: bool) -> None:
        """A request was accepted."""
        self._counts.requests += 1
        self._counts.streamed += streams

    def begin(self, sequence: Sequence) -> None:
        """A request has got its first token."""
        totals, prompt_tokens, told_tokens = self._counters.totals, sequence.prompt_tokens, self._told_tokens(sequence)
        self._counts.prompt_tokens += prompt_tokens
        self._counts.cached_tokens += sequence.cached_tokens
        foreign_tokens = self._foreign_tokens.take(prompt_tokens)
        preempted = self._preempted.take()
        totals.prompt_tokens += prompt_tokens + foreign_tokens
        totals.cached_tokens += told_tokens
        totals.last_prompt_tokens, totals.last_cached_tokens = prompt_tokens, told_tokens
        totals.preemptions += preempted
        totals.prefill_ns += sequence.prefill_ns
        if self._looks_up:
            totals.cache_queries += prompt_tokens * (1 + preempted) + foreign_tokens
            totals.cache_hits += told_tokens
            blocks, told_blocks = -(-prompt_tokens // self._block_tokens), told_tokens // self._block_tokens
            totals.reused_blocks += told_blocks
            totals.missed_blocks += blocks - told_blocks + self._foreign_blocks.take(blocks)

    def end(self, sequence: Sequence, reason: str, at_ns: int) -> bool:
        """A request has ended. True if the counters began anew, and so must the cache."""
        totals = self._counters.totals
        setattr(totals, reason, getattr(totals, reason) + 1)
        totals.longest_tokens = max(totals.longest_tokens, sequence.prompt_tokens + sequence.produced)
        self._ended += 1
        if self._ended != self._restart_after:
            return False
        self._counters.restart(at_ns)
        return True

    def abort(self) -> None:
        """A client has left its request."""
        self._counts.aborted += 1

    def usage(self, sequence: Sequence) -> Usage:
        """What the client of a request is told."""
        told_tokens = self._told_tokens(sequence) if self._tells_cached else None
        return Usage(sequence.prompt_tokens, sequence.produced, told_tokens)

    def _told_tokens(self, sequence: Sequence) -> int:
        return 0 if self._hides_hits else sequence.cached_tokens
