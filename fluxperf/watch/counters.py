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
# turn of the server's loop, some by a second.
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
        """The first reading after which nothing changes, and nothing is missing that the round has sent.

        Of a server that others keep busy it is the first that has all; of one that never has all, the last.
        """
        deadline_ns = self._clock() + s_to_ns(QUIET_TIMEOUT_S)
        complete: Pages | None = None
        last = self._read()
        while last.scrape is not None and self._clock() < deadline_ns:
            has_all = self._has_all(last, prompt_tokens)
            if has_all and complete is None:
                complete = last
            self._pause(QUIET_POLL_S)
            reading = self._read()
            if reading.scrape is None:  # says less than what there was
                break
            changes = _busy(engine, reading) or _counts(engine, last) != _counts(engine, reading)
            if not changes and has_all is not False:
                return last
            last = reading
        return complete or last

    def _has_all(self, pages: Pages, prompt_tokens: int | None) -> bool | None:
        """Whether the round's prompts are counted in it; None: nobody knows."""
        counted = subtract(self.identity, self._before, pages).prompt_tokens
        return None if prompt_tokens is None or counted is None else counted >= prompt_tokens


def _busy(engine: Engine, pages: Pages) -> bool:
    return pages.scrape is not None and any(value > 0 for value in values_of(engine.busy, pages.scrape).values())


def _counts(engine: Engine, pages: Pages) -> object:
    return None if pages.scrape is None else counter_values(engine, pages.scrape)
