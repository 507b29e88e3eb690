"""SIGINT, SIGTERM and SIGHUP for the parent: the first one asks for a clean end, the second ends everything at once."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from fluxperf.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _under_nohup(number: signal.Signals) -> bool:
    return number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN


class Signals:
    """Outside of `deferred`, the first signal raises Interrupted where the program stands; within, it is only noted.

    `fd` becomes readable with every signal, so that a wait on descriptors ends. `at_once` is called
    before the process ends by a second signal.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.at_once: Callable[[], None] = lambda: None
        self._deferred = 0
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    @property
    def fd(self) -> int:
        """Readable once a signal has come."""
        return self._reader.fileno()

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Within the block a first signal waits: `received` tells of it, and whoever is responsible raises later."""
        self._deferred += 1
        try:
            yield
        finally:
            self._deferred -= 1

    @contextmanager
    def attended(self) -> Iterator[None]:
        """Within the block, though inside of `deferred`, a signal raises at once: for waits that may be long."""
        self.check()
        outer, self._deferred = self._deferred, 0
        try:
            yield
        finally:
            self._deferred = outer

    def check(self) -> None:
        """Raises Interrupted if a signal has come."""
        if self.received is not None:
            raise Interrupted(self.received)

    def _handle(self, signum: int, _frame: FrameType | None) -> None:
        if self.received is not None:
            self.at_once()
            os._exit(128 + signum)
        self.received = signum
        if not self._deferred:
            raise Interrupted(signum)

    @contextmanager
    def installed(self) -> Iterator[Signals]:
        """Handles the signals within the block."""
        before = {number: signal.signal(number, self._handle) for number in SIGNALS if not _under_nohup(number)}
        old_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        try:
            yield self
        finally:
            signal.set_wakeup_fd(old_fd)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._reader.close()
            self._writer.close()
