"""`Wire`: one TCP connection's socket. Stamped reads, writes that never block, a close that loses nothing.

Knows bytes and stamps; what they mean is its connection's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from fluxperf.clock import STAMP_SPACE, StampClock, now_ns, realtime_stamp_ns
from fluxperf_mock.connection import Connection
from fluxperf_mock.generation import Receipt
from fluxperf_mock.truth import Truth

_READ_BYTES = 64 * 1024
_MOST_READS = 16
_MOST_UNSENT_BYTES = 64 * 1024 * 1024
_LINGER_S = 2.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all wires share. `after` is called after each piece of work that the loop had a wire do."""

    loop: asyncio.AbstractEventLoop
    clock: StampClock
    truth: Truth
    after: Callable[[], None]

    def arrival_ns(self, ancillary: list[tuple[int, int, bytes]]) -> int:
        """When the kernel had what was just read; without its stamp now, which the truth counts."""
        read_ns = now_ns()
        realtime_ns = realtime_stamp_ns(ancillary)
        if realtime_ns is not None and self.clock.sample():
            return min(realtime_ns + self.clock.offset_ns, read_ns)
        self.truth.counts.user_stamps += 1
        return read_ns


class Wire:
    """A non-blocking, accepted socket in the event loop."""

    __slots__ = (
        "_around",
        "_closed",
        "_connection",
        "_finishing",
        "_receipts",
        "_sent_bytes",
        "_sock",
        "_unsent",
        "_written_bytes",
    )

    def __init__(self, sock: socket.socket, around: Surroundings) -> None:
        self._sock = sock
        self._around = around
        self._connection: Connection | None = None
        self._unsent = bytearray()
        # Receipts wait for the number of bytes ever sent to reach the number written when they were handed in.
        self._receipts: deque[tuple[int, Receipt]] = deque()
        self._written_bytes = 0
        self._sent_bytes = 0
        self._finishing = False
        self._closed = False

    def open(self, connection: Connection) -> None:
        """Starts reading for the connection."""
        self._connection = connection
        self._around.loop.add_reader(self._sock, self._read)

    def write(self, data: bytes, receipt: Receipt | None = None) -> None:
        """Sends bytes after those before, now or as soon as there is room; `receipt` gets the last byte's stamp."""
        if self._closed:
            return
        sent = 0
        at_ns = now_ns()
        if not self._unsent:
            sent = self._send(data)
            if sent == len(data):
                if receipt is not None:
                    receipt(at_ns)
                return
            self._around.loop.add_writer(self._sock, self._flush)
        self._unsent += data[sent:]
        self._written_bytes += len(data) - sent
        if receipt is not None:
            self._receipts.append((self._written_bytes, receipt))
        if len(self._unsent) > _MOST_UNSENT_BYTES:  # it does not read, and memory has an end
            self._around.loop.call_soon(self.close)

    def finish(self) -> None:
        """Closes once everything is sent and the client has closed (or after two seconds).

        Closing with unread input would reset the connection, and the client might lose the answer (RFC 9112, 9.6).
        """
        self._finishing = True
        if not self._unsent:
            self._shut()

    def close(self) -> None:
        """Closes at once."""
        if not self._closed:
            self._closed = True
            self._around.loop.remove_reader(self._sock)
            self._around.loop.remove_writer(self._sock)
            self._sock.close()
            self._receipts.clear()
            if self._connection is not None:
                self._connection.lose(now_ns())
                self._connection = None
            self._around.after()

    def _read(self) -> None:
        for _ in range(_MOST_READS):
            try:
                data, ancillary, _, _ = self._sock.recvmsg(_READ_BYTES, STAMP_SPACE)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data or self._connection is None:
                self.close()
                return
            if not self._finishing:
                self._connection.receive(data, self._around.arrival_ns(ancillary))
            if len(data) < _READ_BYTES:
                break
        self._around.after()

    def _send(self, data: bytes | bytearray) -> int:
        """How many of the bytes the kernel took. A socket that fails is closed in the loop's next turn."""
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self._around.loop.call_soon(self.close)
            return 0

    def _flush(self) -> None:
        at_ns = now_ns()
        sent = self._send(self._unsent)
        del self._unsent[:sent]
        self._sent_bytes += sent
        while self._receipts and self._receipts[0][0] <= self._sent_bytes:
            self._receipts.popleft()[1](at_ns)
        if not self._unsent:
            self._around.loop.remove_writer(self._sock)
            if self._finishing:
                self._shut()
        self._around.after()

    def _shut(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
        self._around.loop.call_later(_LINGER_S, self.close)
