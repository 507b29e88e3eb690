"""`Attention`: for how long nobody looked whether something had come. While that lasts, nothing is read or sent.

A timer would tell too, but costs a wake-up each time; and the kernel's stamps tell only if something came.
"""

from __future__ import annotations

import trio

from fluxperf.clock import now_ns
from fluxperf.model import Histogram

_NOTES_AT_ONCE = 4096


class Attention(trio.abc.Instrument):
    """Watches a trio loop, once it is one of its instruments: from each waking up to the next waiting.

    What looks for arrivals within a turn of the loop says so by `looked`.
    """

    def __init__(self) -> None:
        self._histogram = Histogram()
        self._noted: list[int] = []
        self._waits = False
        self.woke_ns = self._looking_ns = now_ns()

    @property
    def slept_ns(self) -> int:
        """How long the last look waited; it ended at `woke_ns`. One that does not wait is no sleep, however long."""
        return self.woke_ns - self._looking_ns if self._waits else 0

    def before_io_wait(self, timeout: float) -> None:
        """The loop looks for what is ready, and waits for it."""
        self._note(now_ns())
        self._waits = timeout > 0

    def after_io_wait(self, timeout: float) -> None:
        """It has found something, or waited long enough, and gets to work."""
        self.woke_ns = now_ns()

    def looked(self, from_ns: int, until_ns: int) -> None:
        """Somebody looked between these two instants, waiting included."""
        self._note(from_ns)
        self._waits = True
        self.woke_ns = until_ns

    def take(self) -> Histogram:
        """How long nobody looked, each time since the last `take`, ns."""
        self._settle()
        taken, self._histogram = self._histogram, Histogram()
        return taken

    def _note(self, at_ns: int) -> None:
        self._noted.append(max(at_ns - self.woke_ns, 0))
        self._looking_ns = at_ns
        if len(self._noted) >= _NOTES_AT_ONCE:
            self._settle()

    def _settle(self) -> None:
        self._histogram.record_all(self._noted)
        self._noted.clear()
