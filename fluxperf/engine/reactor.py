"""`Reactor`: the one task of a worker that touches sockets.

All sockets sit in one epoll, which is itself what trio waits for. Each turn sends a few requests,
drains every ready socket, and only then thinks: since the kernel stamps arrivals, a busy loop delays
processing, not measurement. A timerfd in the same epoll fires timers without rounding. The reactor
knows channels and bytes; it knows no HTTP.
"""

from __future__ import annotations

import os
import select
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import trio

from fluxperf.clock import STAMP_SPACE, StampClock, now_ns, realtime_stamp_ns
from fluxperf.engine.attention import Attention
from fluxperf.engine.channel import Channel
from fluxperf.engine.gauge import Gauge
from fluxperf.engine.pace import PROMPT
from fluxperf.engine.timers import Timer, Timers
from fluxperf.engine.writer import Writer
from fluxperf.units import NS_PER_MS

READ_BYTES = 16_384
POLLED_AT_ONCE = 64
SENDING_NS = NS_PER_MS
# While there is much to read, the reactor waits by itself: a turn of trio's loop costs as much as five tokens.
ALONE_NS = 5 * NS_PER_MS
ALONE_WAIT_S = 0.002
SLEPT_NS = NS_PER_MS // 5  # a wait that lasted longer was a sleep
_WAKE_DECAY_BITS = 6


# What one read gave: the data or how it failed; the kernel's stamp (CLOCK_REALTIME, ns) or None, then when it was read;
# and since when it must have come, 0: since the last drain.
Arrival = tuple[Channel, bytes | OSError, int | None, int, int]


class Reactor:
    """Sends, receives, stamps and times for all connections of a worker.

    A channel whose socket asks the kernel for stamps gets those, any other the time of the read.
    `hold` keeps sends back until `release`, so that a first wave can wait with everything prepared.
    """

    def __init__(self) -> None:
        self.clock = StampClock()
        self.gauge = Gauge()
        self.attention = Attention()
        self.reads = 0
        self._epoll = select.epoll()
        self._writer = Writer(self._epoll)
        self._timers = Timers()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._channels: dict[int, Channel] = {}
        self._outbox: deque[tuple[Channel, bytes, Any, int]] = deque()
        self._finished: deque[trio.Event] = deque()
        self.pace = PROMPT
        self._held = False
        self._company = 0
        self._released_ns = 0
        self._looked_ns = now_ns()  # all that came before has been read
        self._left_some = False  # the last look did not read all that there was
        self._wake_ns = 0  # how long it takes, at worst and lately, from an arrival to being awake
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
            self._writer.forget(fd)
            self._epoll.unregister(fd)
            if self._held:  # those who count what is queued must not count what will never be sent
                self._outbox = deque(entry for entry in self._outbox if entry[0] is not channel)

    def send(self, channel: Channel, data: bytes, parcel: Any) -> None:
        """Queues bytes; the channel hears of it by `sent`, with the parcel, when the first one goes out."""
        self._outbox.append((channel, data, parcel, now_ns()))
        if len(self._outbox) == 1 and not self._held:
            os.eventfd_write(self._bell, 1)

    def write(self, channel: Channel, data: bytes) -> None:
        """Writes sealed bytes at once, ahead of what is queued: what keeps a connection going is never held back."""
        self._writer.write(channel, data)

    def is_sending(self, channel: Channel) -> bool:
        """Whether some of the channel's bytes have yet to go out."""
        return self._writer.is_writing(channel)

    @property
    def queued(self) -> int:
        """How many requests wait to be sent."""
        return len(self._outbox)

    def hold(self) -> None:
        """Keeps sends back until `release`."""
        self._held = True

    def release(self, due_ns: int = 0) -> None:
        """Lets sends go; what was held was due at `due_ns`."""
        self._held = False
        self._released_ns = due_ns or now_ns()
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
        trio.lowlevel.add_instrument(self.attention)
        try:
            await self._serve()
        finally:
            trio.lowlevel.remove_instrument(self.attention)

    async def _serve(self) -> None:
        fd = self._epoll.fileno()
        while True:
            if self._finished or (self._outbox and not self._held):
                await trio.lowlevel.checkpoint()
                self._send_some()
                self._drain()
            else:
                await trio.lowlevel.wait_readable(fd)
                self._drain()
                self._drain_on()
            for _ in range(min(self.pace.wake_ups, len(self._finished))):
                self._finished.popleft().set()

    @contextmanager
    def company(self) -> Iterator[None]:
        """While the block lasts, somebody else waits for something in trio's loop: the reactor leaves it time."""
        self._company += 1
        try:
            yield
        finally:
            self._company -= 1

    def _drain_on(self) -> None:
        """Drains for a while without a turn of trio's loop, as long as there is something to read and nothing else."""
        began_ns = now_ns()
        while not (self._company or self._finished or (self._outbox and not self._held)):
            if self.pace.rest_s:
                time.sleep(self.pace.rest_s)
            if not self._drain(ALONE_WAIT_S) or now_ns() > began_ns + ALONE_NS:
                break

    def close(self) -> None:
        """Closes its own descriptors; channels are closed by their owners."""
        self._epoll.close()
        self._timers.fd.close()
        os.close(self._bell)

    def _send_some(self) -> None:
        if self._held:
            return
        enough_ns = now_ns() + SENDING_NS
        for _ in range(min(self.pace.sends, len(self._outbox))):
            channel, data, parcel, due_ns = self._outbox.popleft()
            if channel.sock.fileno() not in self._channels or not channel.wants(parcel):
                continue
            sealed = channel.seal(data)
            at_ns = now_ns()
            self.write(channel, sealed)
            channel.sent(parcel, at_ns)
            self.gauge.sent(at_ns - max(due_ns, self._released_ns))
            if at_ns > enough_ns:
                break

    def _drain(self, wait_s: float = 0) -> bool:
        """Receive first, think later: reads every ready socket, then hands out what came; False if nothing did.

        Waits for it, for `wait_s` at most; without, trio has waited.
        """
        batch: list[Arrival] = []
        last_ns, attention, pace = self._looked_ns, self.attention, self.pace
        since_ns = 0
        while True:
            looked_ns = now_ns()
            events = self._epoll.poll(wait_s, POLLED_AT_ONCE)
            if wait_s:
                attention.looked(looked_ns, now_ns())
                looked_ns, wait_s = attention.woke_ns, 0
            before, self._left_some = len(batch), len(events) >= POLLED_AT_ONCE
            timers_due = self._take_in(events, batch, since_ns)
            if not self._left_some:  # else there may be more, and older, than was read
                since_ns = self._looked_ns = looked_ns
            done = len(batch) == before if pace.to_the_end else len(events) < POLLED_AT_ONCE
            if timers_due or done or len(batch) >= pace.batch:
                break
        if batch:
            self._hand_out(batch, last_ns)
        if timers_due:
            self._timers.fire()
        return bool(batch) or timers_due

    def _take_in(self, events: list[tuple[int, int]], batch: list[Arrival], since_ns: int) -> bool:
        """Reads from what is ready; returns whether timers are due. Nothing that it reads came before `since_ns`."""
        timers_due = False
        for fd, event in events:
            channel = self._channels.get(fd)
            if channel is not None:
                if event & select.EPOLLOUT:
                    self._writer.go_on(channel)
                if event != select.EPOLLOUT:
                    self._read(channel, batch, since_ns)
            elif fd == self._bell:
                os.eventfd_read(fd)
            elif fd == self._timers.fd.fileno():
                timers_due = True
        return timers_due

    def _read(self, channel: Channel, batch: list[Arrival], since_ns: int) -> None:
        try:
            data, ancillary, _, _ = channel.sock.recvmsg(READ_BYTES, STAMP_SPACE)
        except BlockingIOError:
            return
        except OSError as error:
            # Its traceback holds this frame and so the batch: a cycle that only the collector could free.
            batch.append((channel, error.with_traceback(None), None, now_ns(), since_ns))
            self.forget(channel)
            return
        realtime_ns = realtime_stamp_ns(ancillary) if ancillary else None
        batch.append((channel, data, realtime_ns, 0 if realtime_ns else now_ns(), since_ns))
        self._left_some |= len(data) >= READ_BYTES
        if not data:
            self.forget(channel)

    def _hand_out(self, batch: list[Arrival], last_ns: int) -> None:
        """Gives each channel what came for it. Nothing came before `last_ns`."""
        stamps_hold = self.clock.sample()
        offset_ns = self.clock.offset_ns
        gauge, started_ns = self.gauge, now_ns()
        oldest_ns = (
            offset_ns + min(entry[2] or started_ns - offset_ns for entry in batch) if stamps_hold else started_ns
        )
        floor_ns = self._floor(last_ns, oldest_ns)
        counted, firsts = gauge.outputs, gauge.firsts
        self.reads += len(batch)
        for channel, data, realtime_ns, read_ns, since_ns in batch:
            if isinstance(data, OSError):
                channel.fail(data, read_ns)
                continue
            exact = realtime_ns is not None and stamps_hold
            if realtime_ns is not None and stamps_hold:
                at_ns = realtime_ns + offset_ns
            else:
                at_ns = read_ns or started_ns
                if data:  # the end of a connection has no stamp
                    gauge.unstamped(void=realtime_ns is not None)
            channel.receive(data, at_ns)
            if gauge.outputs != counted:
                gauge.read(gauge.outputs - counted, gauge.firsts - firsts, at_ns - (since_ns or floor_ns), exact=exact)
                counted, firsts = gauge.outputs, gauge.firsts
        gauge.drained(len(batch), started_ns - oldest_ns)

    def _floor(self, last_ns: int, oldest_ns: int) -> int:
        """Before when nothing came of what the first look of a drain found: what came before the last one it has read,
        and if we slept since, the first arrival has woken us.
        """
        attention = self.attention
        if attention.slept_ns < SLEPT_NS or attention.woke_ns < last_ns:
            return last_ns
        self._wake_ns = max(attention.woke_ns - oldest_ns, self._wake_ns - (self._wake_ns >> _WAKE_DECAY_BITS))
        return max(last_ns, attention.woke_ns - self._wake_ns)
