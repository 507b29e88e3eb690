"""`Reactor`: the one task of a worker that touches sockets.

All sockets sit in one epoll, which is itself what trio waits for. Each turn sends a few requests,
reads every ready socket, and only then thinks, for a short while, about what came: since the kernel
stamps arrivals, and they are read as soon as can be, a busy loop delays processing, not measurement. A
timerfd in the same epoll fires timers without rounding. The reactor knows channels and bytes; it knows
no HTTP.
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

from fluxperf.clock import now_ns
from fluxperf.engine.attention import Attention
from fluxperf.engine.channel import Channel
from fluxperf.engine.gauge import Gauge
from fluxperf.engine.pace import PROMPT, Pace
from fluxperf.engine.receiver import MAX_ARRIVALS, MAX_BATCH, Receiver
from fluxperf.engine.timers import Timer, Timers
from fluxperf.engine.writer import Writer
from fluxperf.units import NS_PER_MS, NS_PER_US

GLANCE_NS = 100 * NS_PER_US  # whoever looked less than this ago need not look again
# While there is much to read, the reactor waits by itself: a turn of trio's loop costs as much as five tokens.
ALONE_NS = 5 * NS_PER_MS
ALONE_WAIT_S = 0.002
CATCHING_UP_NS = 50 * NS_PER_MS


class Reactor:
    """Sends, receives, stamps and times for all connections of a worker.

    A channel whose socket asks the kernel for stamps gets those, any other the time of the read.
    `hold` keeps sends back until `release`, so that a first wave can wait with everything prepared.
    """

    def __init__(self) -> None:
        self.gauge = Gauge()
        self.attention = Attention()
        self.pace: Pace = PROMPT
        self._epoll = select.epoll()
        self._writer = Writer(self._epoll)
        self.receiver = Receiver(self._epoll, self._writer, self.gauge, self.attention)
        self._timers = Timers()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._outbox: deque[tuple[Channel, bytes, Any, int]] = deque()
        self._finished: deque[trio.Event] = deque()
        self._held = False
        self._asleep = False
        self._company = 0
        self._released_ns = 0
        self._epoll.register(self._bell, select.EPOLLIN)
        self._epoll.register(self._timers.fd, select.EPOLLIN)

    def watch(self, channel: Channel) -> None:
        """Starts reading for the channel."""
        self.receiver.watch(channel)

    def forget(self, channel: Channel) -> None:
        """Stops reading for the channel, which must still be open; what it had not sent is dropped."""
        self.receiver.forget(channel)
        if self._held:  # those who count what is queued must not count what will never be sent
            self._outbox = deque(entry for entry in self._outbox if entry[0] is not channel)

    def send(self, channel: Channel, data: bytes, parcel: Any) -> None:
        """Queues bytes; the channel hears of it by `sent`, with the parcel, when the first one goes out."""
        self._outbox.append((channel, data, parcel, now_ns()))
        if not self._held:
            self._rouse()

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
        self._rouse()

    def wake(self, event: trio.Event) -> None:
        """Sets the event soon, from the reactor's task: only a few tasks are woken between two drains."""
        self._finished.append(event)
        self._rouse()

    def _rouse(self) -> None:
        """There is something to do that the sockets do not tell: ends the reactor's wait, if it waits."""
        if self._asleep:
            self._asleep = False
            os.eventfd_write(self._bell, 1)

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
            if self._has_work() or self.receiver.arrivals:
                await trio.lowlevel.checkpoint()
                self._send_some()
            else:
                self._asleep = True
                await trio.lowlevel.wait_readable(fd)
                self._asleep = False
            self._drain()
            self._drain_on()
            for _ in range(min(self._pace.wake_ups, len(self._finished))):
                self._finished.popleft().set()

    @property
    def _pace(self) -> Pace:
        """Once thinking cannot follow, the sockets need all the more attention."""
        return PROMPT if len(self.receiver.arrivals) > MAX_BATCH else self.pace

    def _has_work(self) -> bool:
        """Whether there is something to do that needs a turn of trio's loop, or a send."""
        return bool(self._finished or (self._outbox and not self._held))

    @contextmanager
    def company(self) -> Iterator[None]:
        """While the block lasts, somebody else waits for something in trio's loop: the reactor leaves it time."""
        self._company += 1
        try:
            yield
        finally:
            self._company -= 1

    def glance(self) -> None:
        """Reads what has come, where that must not wait; for whoever has just done something that took its time."""
        looking_ns = now_ns()
        if self._pace.to_the_end and looking_ns > self.receiver.looked_ns + GLANCE_NS:
            self.receiver.receive()
            self.attention.looked(looking_ns, looking_ns)
            if self.receiver.arrivals:
                self._rouse()

    def _drain_on(self) -> None:
        """Drains for a while without a turn of trio's loop, as long as there is something to read and nothing else."""
        until_ns = now_ns() + ALONE_NS
        while not (self._company or self._has_work()) and now_ns() < until_ns:
            thinking = bool(self.receiver.arrivals)
            if self._pace.rest_s and not thinking:
                time.sleep(self._pace.rest_s)
            if not self._drain(0 if thinking else ALONE_WAIT_S):
                break

    def close(self) -> None:
        """Closes its own descriptors; channels are closed by their owners."""
        self._epoll.close()
        self._timers.fd.close()
        os.close(self._bell)

    def _send_some(self) -> None:
        if self._held:
            return
        enough_ns = now_ns() + self._pace.sending_ns
        for _ in range(min(self._pace.sends, len(self._outbox))):
            channel, data, parcel, due_ns = self._outbox.popleft()
            if channel.sock.fileno() not in self.receiver.channels or not channel.wants(parcel):
                continue
            sealed = channel.seal(data)
            at_ns = now_ns()
            self.write(channel, sealed)
            channel.sent(parcel, at_ns)
            self.gauge.sent(at_ns - max(due_ns, self._released_ns))
            if at_ns > enough_ns:
                break

    def _drain(self, wait_s: float = 0) -> bool:
        """Receive first, think later: reads every ready socket, then hands out some of what came.

        Waits for it, for `wait_s` at most; without, trio has waited. False if there was nothing.
        """
        others = self.receiver.receive(wait_s, to_the_end=self._pace.to_the_end)
        if self._bell in others:
            os.eventfd_read(self._bell)
        timers_due = self._timers.fd.fileno() in others
        came = len(self.receiver.arrivals)
        thinking_ns = self._pace.thinking_ns if came < MAX_ARRIVALS else CATCHING_UP_NS
        self._hand_out(None if timers_due else thinking_ns)
        if timers_due:  # what arrived comes before them: it may be the end of a request whose time is up
            self._timers.fire()
        return came > 0 or timers_due

    def _hand_out(self, time_ns: int | None) -> None:
        """Gives channels what came for them, for as long as this; None: all of it."""
        arrivals, gauge = self.receiver.arrivals, self.gauge
        until_ns = now_ns() + time_ns if time_ns is not None else None
        counted, firsts = gauge.outputs, gauge.firsts
        while arrivals:
            channel, data, at_ns, exact, slack_ns = arrivals.popleft()
            if isinstance(data, OSError):
                channel.fail(data, at_ns)
            else:
                channel.receive(data, at_ns)
            if gauge.outputs != counted:
                outputs = gauge.outputs - counted
                if outputs > 1 or not exact:
                    gauge.read(outputs, gauge.firsts - firsts, slack_ns, exact=exact)
                counted, firsts = gauge.outputs, gauge.firsts
            if until_ns is not None and now_ns() > until_ns:
                break
