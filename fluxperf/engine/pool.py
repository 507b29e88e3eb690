"""`Pool`: a worker's connections and their free places. The least busy serves next, of idle ones the last used.

Every step is O(1) in the number of connections. What has idled too long is let go before it is used.
"""

from __future__ import annotations

from collections import deque

import trio

from fluxperf.clock import now_ns
from fluxperf.engine.connection import Connection
from fluxperf.engine.dial import CONNECT_TIMEOUT_S, Route, dial
from fluxperf.engine.pace import PATIENT, PROMPT
from fluxperf.engine.reactor import Reactor
from fluxperf.units import NS_PER_S

EARLY_CLOSE_NS = NS_PER_S
LOST_TO_STOP_REUSE = 2
OPENED_AT_ONCE = 64  # listen queues of servers are short


class Pool:
    """Connections with room for further exchanges: HTTP/1.1 has one place each, HTTP/2 some.

    Some servers close after each response without saying so. Once that is plain, nothing is reused.
    """

    def __init__(self, reactor: Reactor, route: Route, *, kernel_stamps: bool) -> None:
        self.reactor = reactor
        self.opened = 0
        self.lost_early = 0  # connections that the server closed soon after a response, without having said so
        self._route = route
        self._kernel_stamps = kernel_stamps
        self._reuse_works = False
        # By how many exchanges they have under way: those that have room for another.
        self._ready: list[dict[Connection, None]] = [{} for _ in range(route.streams_per_connection)]
        self._place: dict[Connection, int] = {}
        self._per_connection = 1
        self._opening = 0
        self._waiting: deque[trio.Event] = deque()

    def take(self) -> Connection | None:
        """The connection that has least to do, if any has room and is still good."""
        for ready in self._ready:
            while ready:
                connection = next(reversed(ready))
                if connection.idled_ns() < connection.idle_limit_ns:
                    return connection
                connection.close()
        return None

    async def acquire(self) -> tuple[Connection, int, int]:
        """A connection with room, and what that took in ns: the wait for room on another, and opening this one.

        Raises OSError or trio.TooSlowError. What it gives must be used before the next checkpoint.
        """
        connection = self.take()
        if connection is not None:
            return connection, 0, 0
        begun_ns = now_ns()
        with trio.fail_after(CONNECT_TIMEOUT_S):
            while connection is None:
                # Whoever waits for one that is being opened need not open another; who opens it needs a place too.
                if len(self._waiting) < self._opening * (self._per_connection - 1):
                    await self._wait()
                    connection = self.take()
                    continue
                opening_ns = now_ns()
                connection = await self._open()
                if self._room(connection) > len(connection.active):
                    return connection, opening_ns - begun_ns, now_ns() - opening_ns
                connection = self.take()  # others were quicker
        return connection, now_ns() - begun_ns, 0

    async def _wait(self) -> None:
        """Until a place is free, or may be."""
        event = trio.Event()
        self._waiting.append(event)
        try:
            await event.wait()
        finally:
            if not event.is_set():
                self._waiting.remove(event)

    async def _open(self) -> Connection:
        self._opening += 1
        try:
            with self.reactor.company():
                connection = await dial(self._route, self, kernel_stamps=self._kernel_stamps)
        finally:
            self._opening -= 1
            self._wake_waiting(len(self._waiting))  # also if it failed: the next one tries
        self.opened += 1
        self._per_connection = max(self._room(connection), 1)
        # HTTP/2 even with one stream a connection: its requests take twice as long to prepare, and tokens pile up.
        self.reactor.pace = PATIENT if self._kernel_stamps and connection.version == "1.1" else PROMPT
        self.changed(connection)
        return connection

    def _room(self, connection: Connection) -> int:
        return min(connection.capacity, len(self._ready))

    def _wake_waiting(self, count: int) -> None:
        for _ in range(min(count, len(self._waiting))):
            self._waiting.popleft().set()

    async def warm(self, count: int) -> None:
        """Sees to it that there are `count` free places, fresh enough for the start of a round.

        Raises OSError or trio.TooSlowError, alone, if a connection cannot be opened.
        """
        for connection in list(self._place):
            if connection.idled_ns() > connection.idle_limit_ns // 4:
                connection.close()
        if not self._place and count:
            await self._open()  # it tells how much one carries
        missing = -(-(count - self.free) // self._per_connection)
        while missing > 0:
            at_once = min(missing, OPENED_AT_ONCE)
            missing -= at_once
            try:
                async with trio.open_nursery() as nursery:
                    for _ in range(at_once):
                        nursery.start_soon(self._open)
            except* (OSError, trio.TooSlowError) as group:
                first: BaseException = group
                while isinstance(first, BaseExceptionGroup):
                    first = first.exceptions[0]
                raise first from None

    @property
    def free(self) -> int:
        """How many exchanges could begin now."""
        return sum(max(self._room(connection) - len(connection.active), 0) for connection in self._place)

    @property
    def idle(self) -> list[Connection]:
        """The connections without anything to do, the one that serves next first."""
        return list(reversed(self._ready[0]))

    def close(self) -> None:
        """Closes the connections that have nothing to do."""
        for connection in self.idle:
            connection.close()

    # What connections call.

    def changed(self, connection: Connection) -> None:
        """See `Owner`."""
        load, served = len(connection.active), connection.served
        self._reuse_works = self._reuse_works or served > 1
        if load == 0 and served and self.lost_early >= LOST_TO_STOP_REUSE and not self._reuse_works:
            connection.close()
            return
        self.dropped(connection)
        if load < self._room(connection):
            self._ready[load][connection] = None
            self._place[connection] = load
            if self._waiting:
                self._wake_waiting(self._room(connection) - load)

    def dropped(self, connection: Connection) -> None:
        """See `Owner`."""
        place = self._place.pop(connection, None)
        if place is not None:
            del self._ready[place][connection]

    def lost(self, connection: Connection) -> None:
        """See `Owner`."""
        self.lost_early += connection.served > 0 and connection.idled_ns() < EARLY_CLOSE_NS
