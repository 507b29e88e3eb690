"""`Sampler`: looks at a page just before a round, each second during it, and just after it, in a thread of its own.

Knows when to look, not what is on the page. One look at a time: while a page is slow, none is added.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from fluxperf.clock import now_ns
from fluxperf.fetch import Cut
from fluxperf.units import NS_PER_S, ns_to_s
from fluxperf.watch.exposition import Scrape
from fluxperf.watch.series import SETTLE_NS

PERIOD_NS = NS_PER_S
LOOK_TIMEOUT_S = 5.0
# Beyond what the page takes anyway; the next round waits for it.
LAST_TIMEOUT_S = 1.0
JOIN_TIMEOUT_S = 0.5
_NICEST = 19


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at a page. `scrape` None: it could not be read, and `trouble` says why."""

    asked_ns: int
    came_ns: int
    scrape: Scrape | None
    trouble: str = ""


Look = Callable[[float, Cut], Reading]
"""One look, within so many seconds, that can be broken off."""


@dataclass(frozen=True, slots=True)
class Time:
    """Where a sampler has its time from. `stop` ends its waiting."""

    now_ns: Callable[[], int] = now_ns
    pause: Callable[[float], None] = time.sleep
    stop: threading.Event = field(default_factory=threading.Event)


class Sampler:
    """For one round. Readings are in the order in which they came."""

    def __init__(self, look: Look, its_time: Time | None = None) -> None:
        self._look = look
        self._time = its_time or Time()
        self._lock = threading.Lock()
        self._cut = Cut()
        self._readings: list[Reading] = []
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

    def begin(self) -> None:
        """Takes the first reading, and goes on in the background."""
        self._readings.append(self._look(LOOK_TIMEOUT_S, self._cut))
        self._thread.start()

    def end(self) -> tuple[Reading, ...]:
        """Ends the thread, breaking off the look that it takes, and takes the last reading."""
        with self._lock:
            self._time.stop.set()
            self._cut.make()
        # It can hang where nothing breaks it off, in the search for a host; what it still finds is not taken.
        self._thread.join(JOIN_TIMEOUT_S)
        self._time.pause(ns_to_s(SETTLE_NS))
        quickest_s = min((ns_to_s(one.came_ns - one.asked_ns) for one in self._readings if one.scrape), default=0.0)
        return (*self._readings, self._look(min(quickest_s + LAST_TIMEOUT_S, LOOK_TIMEOUT_S), Cut()))

    def _run(self) -> None:
        _step_back()
        due_ns = self._time.now_ns()
        while True:
            late = (self._time.now_ns() - due_ns) // PERIOD_NS  # looks that a slow page has cost
            due_ns += max(late + 1, 1) * PERIOD_NS
            if self._time.stop.wait(ns_to_s(due_ns - self._time.now_ns())):
                return
            with self._lock:
                if self._time.stop.is_set():
                    return
                self._cut = cut = Cut()
            reading = self._look(LOOK_TIMEOUT_S, cut)
            with self._lock:
                if self._time.stop.is_set():
                    return
                self._readings.append(reading)


def _step_back() -> None:
    """Lets everything else go first: workers measure on the same cores (setpriority(2) of the calling thread)."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICEST)
