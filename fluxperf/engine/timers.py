"""`Timers`: callbacks that are due at a time, over one timerfd, so that nothing is rounded to milliseconds."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from fluxperf.clock import TimerFd, now_ns


class Timer:
    """A callback that is due at a time; see `Reactor.call_at`."""

    __slots__ = ("callback", "deadline_ns")

    def __init__(self, deadline_ns: int, callback: Callable[[], None]) -> None:
        self.deadline_ns = deadline_ns
        self.callback: Callable[[], None] | None = callback

    def __lt__(self, other: Timer) -> bool:
        return self.deadline_ns < other.deadline_ns


class Timers:
    """A heap of timers over one timerfd. Cancelled ones are swept out before they outnumber the living."""

    __slots__ = ("_armed_ns", "_cancelled", "_heap", "fd")

    def __init__(self) -> None:
        self.fd = TimerFd()
        self._heap: list[Timer] = []
        self._armed_ns: int | None = None
        self._cancelled = 0

    def add(self, timer: Timer) -> None:
        """Schedules it."""
        heapq.heappush(self._heap, timer)
        self._arm()

    def cancel(self, timer: Timer) -> None:
        """Makes sure that it does not fire; a timer that has fired is left alone."""
        if timer.callback is None:
            return
        timer.callback = None
        self._cancelled += 1
        if self._cancelled > 64 and self._cancelled * 2 > len(self._heap):
            self._heap = [timer for timer in self._heap if timer.callback is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def fire(self) -> None:
        """Calls what is due."""
        self.fd.clear()
        self._armed_ns = None
        now = now_ns()
        while self._heap and self._heap[0].deadline_ns <= now:
            timer = heapq.heappop(self._heap)
            callback, timer.callback = timer.callback, None
            if callback is None:
                self._cancelled -= 1
            else:
                callback()
        self._arm()

    def _arm(self) -> None:
        # Only ever moved forward: firing early costs one look at the heap, re-arming for each request a system call.
        if self._heap and (self._armed_ns is None or self._heap[0].deadline_ns < self._armed_ns):
            self._armed_ns = self._heap[0].deadline_ns
            self.fd.arm(self._armed_ns)
