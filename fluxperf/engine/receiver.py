"""`Receiver`: reads all sockets of a worker and queues what came with its stamp. What it means is for others, later.

Reading takes a few microseconds and must not wait for thinking, which takes more: what lies unread
in a socket may be merged with what comes next, and then has its stamp.
"""

from __future__ import annotations

import select
from collections import deque

from fluxperf.clock import STAMP_SPACE, StampClock, now_ns, realtime_stamp_ns
from fluxperf.engine.attention import Attention
from fluxperf.engine.channel import Channel
from fluxperf.engine.gauge import Gauge
from fluxperf.engine.writer import Writer
from fluxperf.units import NS_PER_MS

READ_BYTES = 16_384
POLLED_AT_ONCE = 64
MAX_BATCH = 512
# Some 60 MB. Beyond it there is more time to think between two looks: what waits then waits in the kernel, where it
# shares stamps, and slows the server.
MAX_ARRIVALS = 131_072
SLEPT_NS = NS_PER_MS // 5  # a wait that lasted longer was a sleep
_WAKE_DECAY_BITS = 6

# What one read gave: the data or how it failed, its stamp (CLOCK_MONOTONIC, ns), whether that is the kernel's, and by
# how much the stamp may be late for what is not the last thing in the data.
Arrival = tuple[Channel, bytes | OSError, int, bool, int]
# The same before it is stamped: the kernel's stamp (CLOCK_REALTIME) or None, then when it was read; and since when it
# must have come, 0: since the last time that everything had been read.
_Read = tuple[Channel, bytes | OSError, int | None, int, int]


class Receiver:
    """Queues in `arrivals`, in the order of reading. A channel whose socket asks for kernel stamps gets those."""

    def __init__(self, epoll: select.epoll, writer: Writer, gauge: Gauge, attention: Attention) -> None:
        self.clock = StampClock()
        self.arrivals: deque[Arrival] = deque()
        self.channels: dict[int, Channel] = {}
        self.reads = 0
        self._epoll = epoll
        self._writer = writer
        self._gauge = gauge
        self._attention = attention
        self.looked_ns = now_ns()  # all that came before has been read
        self._left_some = False  # the last look did not read all that there was
        self._wake_ns = 0  # how long it takes, at worst and lately, from an arrival to being awake

    def watch(self, channel: Channel) -> None:
        """Starts reading for the channel."""
        fd = channel.sock.fileno()
        self.channels[fd] = channel
        self._epoll.register(fd, select.EPOLLIN)
        self._writer.watch(fd)

    def forget(self, channel: Channel) -> None:
        """Stops reading for the channel, which must still be open."""
        fd = channel.sock.fileno()
        if self.channels.pop(fd, None) is not None:
            self._writer.forget(fd)
            self._epoll.unregister(fd)

    def receive(self, wait_s: float = 0, *, to_the_end: bool = False) -> set[int]:
        """Reads what is there, or comes within `wait_s`; returns the ready descriptors that are no channel's.

        `to_the_end`: looks again and again until there is nothing left.
        """
        batch: list[_Read] = []
        others: set[int] = set()
        last_ns, since_ns = self.looked_ns, 0
        while True:
            looked_ns = now_ns()
            events = self._epoll.poll(wait_s, POLLED_AT_ONCE)
            if wait_s:
                self._attention.looked(looked_ns, now_ns())
                looked_ns, wait_s = self._attention.woke_ns, 0
            before, self._left_some = len(batch), len(events) >= POLLED_AT_ONCE
            self._read(events, batch, others, since_ns)
            if not self._left_some:  # else there may be more, and older, than was read
                since_ns = self.looked_ns = looked_ns
            if len(batch) >= MAX_BATCH or not (self._left_some or (to_the_end and len(batch) > before)):
                break
        if batch:
            self._stamp(batch, last_ns)
        return others

    def _read(self, events: list[tuple[int, int]], batch: list[_Read], others: set[int], since_ns: int) -> None:
        """Reads each of the ready sockets once."""
        channels, input_only = self.channels, select.EPOLLIN
        for fd, event in events:
            channel = channels.get(fd)
            if channel is None:
                others.add(fd)
                continue
            if event != input_only and event & select.EPOLLOUT:
                self._writer.go_on(channel)
                if event == select.EPOLLOUT:
                    continue
            try:
                data, ancillary, _, _ = channel.sock.recvmsg(READ_BYTES, STAMP_SPACE)
            except BlockingIOError:
                continue
            except OSError as error:
                # Its traceback holds this frame and so the batch: a cycle that only the collector could free.
                batch.append((channel, error.with_traceback(None), None, now_ns(), since_ns))
                self.forget(channel)
                continue
            realtime_ns = realtime_stamp_ns(ancillary) if ancillary else None
            batch.append((channel, data, realtime_ns, 0 if realtime_ns else now_ns(), since_ns))
            if not data:
                self.forget(channel)
            elif len(data) >= READ_BYTES:
                self._left_some = True

    def _stamp(self, batch: list[_Read], last_ns: int) -> None:
        """Queues what was read. Nothing of it came before `last_ns`."""
        holds, read_ns, queue = self.clock.sample(), now_ns(), self.arrivals
        offset_ns = self.clock.offset_ns
        oldest_ns = offset_ns + min(entry[2] or read_ns - offset_ns for entry in batch) if holds else read_ns
        floor_ns = self._floor(last_ns, oldest_ns)
        for channel, data, realtime_ns, user_ns, since_ns in batch:
            if realtime_ns is not None and holds:
                at_ns = realtime_ns + offset_ns
                queue.append((channel, data, at_ns, True, at_ns - (since_ns or floor_ns)))
                continue
            at_ns = user_ns or read_ns
            queue.append((channel, data, at_ns, False, at_ns - (since_ns or floor_ns)))
            if data and not isinstance(data, OSError):  # the end of a connection has no stamp
                self._gauge.unstamped(void=realtime_ns is not None)
        self.reads += len(batch)
        self._gauge.drained(len(batch), read_ns - oldest_ns)

    def _floor(self, last_ns: int, oldest_ns: int) -> int:
        """Before when nothing came of what the first look found: what came before the last one it has read, and if we
        slept since, the first arrival has woken us.
        """
        attention = self._attention
        if attention.slept_ns < SLEPT_NS or attention.woke_ns < last_ns:
            return last_ns
        self._wake_ns = max(attention.woke_ns - oldest_ns, self._wake_ns - (self._wake_ns >> _WAKE_DECAY_BITS))
        return max(last_ns, attention.woke_ns - self._wake_ns)
