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
        stop_asked: Callable[[], bool] = lambda: False,
    ) -> None:
        self.identity = identity
        self._read = read
        self._pause = pause
        self._clock = clock
        self._stop_asked = stop_asked
        self._before = Pages(None, "no round has begun")

    def begin(self) -> None:
        """A round begins, once nothing runs on the server as far as its counters tell, or after two seconds."""
        if self.identity.engine is not None:
            self._before = self._quiet(self.identity.engine, None)

    def end(self, prompt_tokens: int) -> CacheCounters:
        """What was counted in the round that is over, which is known to have sent at least so many prompt tokens."""
        engine = self.identity.engine
        after = self._before if engine is None else self._quiet(engine, prompt_tokens)
        return subtract(self.identity, self._before, after)

    def _quiet(self, engine: Engine, prompt_tokens: int | None) -> Pages:
        """The first reading after which nothing changes, and nothing is missing that the round has sent.

        Of a server that others keep busy it is the first that has all of the round, and so least of theirs; of one that
        never has all, or before a round (`prompt_tokens` None), the last. A page that cannot be read is tried again
        meanwhile, if it ever could be.
        """
        deadline_ns = self._clock() + s_to_ns(QUIET_TIMEOUT_S)
        complete: Pages | None = None
        last = self._read()
        while self._is_worth_waiting(last, deadline_ns):
            has_all = last.scrape is not None and self._has_all(last, prompt_tokens)
            if has_all and complete is None and prompt_tokens is not None:
                complete = last
            self._pause(QUIET_POLL_S)
            reading = self._read()
            if reading.scrape is None:  # says less than what there was
                continue
            changes = _busy(engine, reading) or _counts(engine, last) != _counts(engine, reading)
            if not changes and has_all:
                return last
            last = reading
        return complete or last

    def _is_worth_waiting(self, last: Pages, deadline_ns: int) -> bool:
        never_readable = last.scrape is None and self.identity.note is not None
        return not never_readable and not self._stop_asked() and self._clock() < deadline_ns

    def _has_all(self, pages: Pages, prompt_tokens: int | None) -> bool:
        """Whether the round's prompts are counted in it, as far as anybody knows."""
        found = subtract(self.identity, self._before, pages)
        if prompt_tokens is None or found.prompt_tokens is None:
            return True
        return found.prompt_tokens + found.resolution_tokens >= prompt_tokens


def _busy(engine: Engine, pages: Pages) -> bool:
    return pages.scrape is not None and any(value > 0 for value in values_of(engine.busy, pages.scrape).values())


def _counts(engine: Engine, pages: Pages) -> object:
    return None if pages.scrape is None else counter_values(engine, pages.scrape)
