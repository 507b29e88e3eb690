"""`CounterWatch`: reads the server's counters before and after a round, while nothing runs."""

from __future__ import annotations

import time
from collections.abc import Callable

from fluxperf.clock import now_ns
from fluxperf.model.cache import CacheCounters
from fluxperf.units import s_to_ns
from fluxperf.watch.engines import Engine
from fluxperf.watch.readings import Identity, Pages, counter_values, subtract, values_of

# How long a server may take to become quiet, and how often it is looked at meanwhile: counters follow a response by a
# turn of the server's loop.
QUIET_TIMEOUT_S = 2.0
QUIET_POLL_S = 0.05


class CounterWatch:
    """Reads the counters around rounds. `read` takes one reading, `pause` waits for so many seconds."""

    def __init__(
        self,
        identity: Identity,
        read: Callable[[], Pages],
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], int] = now_ns,
    ) -> None:
        self.identity = identity
        self._read = read
        self._pause = pause
        self._clock = clock
        self._before = Pages(None, "no round has begun")

    def begin(self) -> None:
        """A round begins, once nothing runs on the server as far as its counters tell, or after two seconds."""
        if self.identity.engine is not None:
            self._before = self._quiet(self.identity.engine, None)

    def end(self, prompt_tokens: int | None) -> CacheCounters:
        """What was counted in the round that is over, which sent so many prompt tokens; None: that is not known."""
        engine = self.identity.engine
        after = self._before if engine is None else self._quiet(engine, prompt_tokens)
        return subtract(self.identity, self._before, after)

    def _quiet(self, engine: Engine, prompt_tokens: int | None) -> Pages:
        """The first reading after which nothing changes; of a server that others keep busy, the first that has all."""
        deadline_ns = self._clock() + s_to_ns(QUIET_TIMEOUT_S)
        complete: Pages | None = None
        last = self._read()
        while last.scrape is not None and self._clock() < deadline_ns:
            if complete is None and self._has(last, prompt_tokens):
                complete = last
            self._pause(QUIET_POLL_S)
            reading = self._read()
            if reading.scrape is None:  # says less than what there was
                break
            if not _busy(engine, reading) and _counts(engine, last) == _counts(engine, reading):
                return last
            last = reading
        return complete or last

    def _has(self, pages: Pages, prompt_tokens: int | None) -> bool:
        """Whether the round's prompts are counted in it."""
        if prompt_tokens is None:
            return False
        counts = subtract(self.identity, self._before, pages)
        counted = counts.queries if counts.prompt_tokens is None else counts.prompt_tokens
        return counted is not None and counted >= prompt_tokens


def _busy(engine: Engine, pages: Pages) -> bool:
    return pages.scrape is not None and any(value > 0 for value in values_of(engine.busy, pages.scrape).values())


def _counts(engine: Engine, pages: Pages) -> object:
    return None if pages.scrape is None else counter_values(engine, pages.scrape)
