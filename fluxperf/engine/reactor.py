"""`Reactor`: the one task of a worker that touches sockets.

All sockets sit in one epoll, which is itself what trio waits for. Each turn sends a few requests,
drains every ready socket, and only then thinks: since the kernel stamps arrivals, a busy loop delays
processing, not measurement. A timerfd in the same epoll fires timers without rounding. The reactor
knows channels and bytes; it knows no HTTP.
"""

from __future__ import annotations

import os
import select
import socket
from collections import deque
from collections.abc import Callable
from typing import Protocol

import trio

from fluxperf.clock import STAMP_SPACE, StampClock, now_ns, realtime_stamp_ns
from fluxperf.engine.timers import Timer, Timers

READ_BYTES = 16_384
POLLED_AT_ONCE = 64
MAX_BATCH = 512
# A burst of first requests must not keep the reactor from the first answers.
SENDS_BETWEEN_DRAINS = 32
# Nor must a burst of finished ones: each woken task takes a tenth of a millisecond to prepare its next request.
WAKE_UPS_BETWEEN_DRAINS = 8


class Channel(Protocol):
    """A connected socket and those who care for it."""

    @property
    def sock(self) -> socket.socket:
        """The non-blocking socket."""

    def sent(self, at_ns: int) -> None:
        """The first byte of what was handed to `Reactor.send` was about to be written at `at_ns`."""

    def receive(self, data: bytes, at_ns: int) -> None:
        """Takes bytes that the kernel had at `at_ns`; empty: the peer has closed."""

    def fail(self, error: OSError, at_ns: int) -> None:
        """The connection is broken."""


# What one read gave: the data or how it failed, and the kernel's stamp or, where it gave none, the time of the read.
Arrival = tuple[Channel, bytes | OSError, "list[tuple[int, int, bytes]] | int"]


class Reactor:
    """Sends, receives, stamps and times for all connections of a worker.

    A channel whose socket asks the kernel for stamps gets those, any other the time of the read.
    `hold` keeps sends back until `release`, so that a first wave can wait with everything prepared.
    """

    def __init__(self) -> None:
        self.clock = StampClock()
        self.reads = 0
        self.voided_stamps = 0
        self._epoll = select.epoll()
        self._timers = Timers()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._channels: dict[int, Channel] = {}
        self._outbox: deque[tuple[Channel, bytes]] = deque()
        self._unsent: dict[int, memoryview] = {}
        self._finished: deque[trio.Event] = deque()
        self._held = False
        self._epoll.register(self._bell, select.EPOLLIN)
        self._epoll.register(self._timers.fd, select.EPOLLIN)

    def watch(self, channel: Channel) -> None:
        """Starts reading for the channel."""
        fd = channel.sock.fileno()
        self._channels[fd] = channel
        self._epoll.register(fd, select.EPOLLIN)

    def forget(self, channel: Channel) -> None:
        """Stops reading for the channel, which must still be open; what it had not sent is dropped."""
        fd = channel.sock.fileno()
        if self._channels.pop(fd, None) is not None:
            self._unsent.pop(fd, None)
            self._epoll.unregister(fd)
            if self._held:  # those who count what is queued must not count what will never be sent
                self._outbox = deque(entry for entry in self._outbox if entry[0] is not channel)

    def send(self, channel: Channel, data: bytes) -> None:
        """Queues bytes; the channel hears of it by `sent` when the first one goes out."""
        self._outbox.append((channel, data))
        if len(self._outbox) == 1 and not self._held:
            os.eventfd_write(self._bell, 1)

    def is_sending(self, channel: Channel) -> bool:
        """Whether some of the channel's bytes have yet to go out."""
        return channel.sock.fileno() in self._unsent

    @property
    def queued(self) -> int:
        """How many requests wait to be sent."""
        return len(self._outbox)

    def hold(self) -> None:
        """Keeps sends back until `release`."""
        self._held = True

    def release(self) -> None:
        """Lets sends go."""
        self._held = False
        os.eventfd_write(self._bell, 1)

    def wake(self, event: trio.Event) -> None:
        """Sets the event soon, from the reactor's task: only a few tasks are woken between two drains."""
        self._finished.append(event)

    def call_at(self, deadline_ns: int, callback: Callable[[], None]) -> Timer:
        """Calls `callback` once `deadline_ns` (monotonic) has passed, from the reactor's task."""
        timer = Timer(deadline_ns, callback)
        self._timers.add(timer)
        return timer

    def cancel(self, timer: Timer) -> None:
        """Takes a timer back."""
        self._timers.cancel(timer)

    async def run(self) -> None:
        """Serves until it is cancelled."""
        fd = self._epoll.fileno()
        while True:
            if self._finished or (self._outbox and not self._held):
                await trio.lowlevel.checkpoint()
                self._send_some()
            else:
                await trio.lowlevel.wait_readable(fd)
            self._drain()
            for _ in range(min(WAKE_UPS_BETWEEN_DRAINS, len(self._finished))):
                self._finished.popleft().set()

    def close(self) -> None:
        """Closes its own descriptors; channels are closed by their owners."""
        self._epoll.close()
        self._timers.fd.close()
        os.close(self._bell)

    def _send_some(self) -> None:
        if self._held:
            return
        for _ in range(min(SENDS_BETWEEN_DRAINS, len(self._outbox))):
            channel, data = self._outbox.popleft()
            fd = channel.sock.fileno()
            if fd not in self._channels:
                continue
            at_ns = now_ns()
            written = _write(channel.sock, data)
            channel.sent(at_ns)
            if written < len(data):
                self._unsent[fd] = memoryview(data)[written:]
                self._epoll.modify(fd, select.EPOLLIN | select.EPOLLOUT)

    def _send_rest(self, channel: Channel, fd: int) -> None:
        rest = self._unsent.get(fd, memoryview(b""))
        rest = rest[_write(channel.sock, rest) :]
        if rest:
            self._unsent[fd] = rest
        else:
            self._unsent.pop(fd, None)
            self._epoll.modify(fd, select.EPOLLIN)

    def _drain(self) -> None:
        """Receive first, think later: reads every ready socket, then hands out what came."""
        batch: list[Arrival] = []
        timers_due = False
        while True:
            events = self._epoll.poll(0, POLLED_AT_ONCE)
            for fd, event in events:
                channel = self._channels.get(fd)
                if channel is not None:
                    if event & select.EPOLLOUT:
                        self._send_rest(channel, fd)
                    if event != select.EPOLLOUT:
                        self._read(channel, batch)
                elif fd == self._bell:
                    os.eventfd_read(fd)
                elif fd == self._timers.fd.fileno():
                    timers_due = True
            if len(events) < POLLED_AT_ONCE or len(batch) >= MAX_BATCH:
                break
        if batch:
            self._hand_out(batch)
        if timers_due:
            self._timers.fire()

    def _read(self, channel: Channel, batch: list[Arrival]) -> None:
        try:
            data, ancillary, _, _ = channel.sock.recvmsg(READ_BYTES, STAMP_SPACE)
        except BlockingIOError:
            return
        except OSError as error:
            # Its traceback holds this frame and so the batch: a cycle that only the collector could free.
            batch.append((channel, error.with_traceback(None), now_ns()))
            self.forget(channel)
            return
        batch.append((channel, data, ancillary or now_ns()))
        if not data:
            self.forget(channel)

    def _hand_out(self, batch: list[Arrival]) -> None:
        stamps_hold = self.clock.sample()
        offset_ns = self.clock.offset_ns
        self.reads += len(batch)
        for channel, data, stamp in batch:
            if isinstance(data, OSError):
                channel.fail(data, now_ns())
                continue
            if isinstance(stamp, int):
                at_ns = stamp
            elif stamps_hold:
                at_ns = (realtime_stamp_ns(stamp) or 0) + offset_ns
            else:
                at_ns = now_ns()
                self.voided_stamps += 1
            channel.receive(data, at_ns)


def _write(sock: socket.socket, data: bytes | memoryview) -> int:
    """Writes what the socket takes. A broken connection takes everything: reading will tell how it broke,
    and gives an answer that was sent before the connection broke.
    """
    try:
        return sock.send(data)
    except BlockingIOError:
        return 0
    except OSError:
        return len(data)
