"""`Connection` and `Pool`: TCP connections to the server, kept from request to request.

One HTTP/1.1 exchange at a time on a connection. The reactor moves the bytes; httpx is not known here.
"""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass
from typing import Any

import trio

from fluxperf.clock import now_ns, stamp_receives
from fluxperf.engine.http1 import BrokenResponse, MalformedResponse, Persistence, ResponseReader
from fluxperf.engine.reactor import Reactor
from fluxperf.engine.sink import Sink
from fluxperf.engine.timers import Timer
from fluxperf.units import NS_PER_S

CONNECT_TIMEOUT_S = 30.0
EARLY_CLOSE_NS = NS_PER_S
LOST_TO_STOP_REUSE = 2


@dataclass(frozen=True, slots=True)
class Address:
    """A resolved address of the server, as `socket` wants it."""

    family: socket.AddressFamily
    sockaddr: tuple[Any, ...]

    def __str__(self) -> str:
        host, port = self.sockaddr[:2]
        return f"[{host}]:{port}" if self.family == socket.AF_INET6 else f"{host}:{port}"


class Exchange:
    """One request and its response on one connection."""

    __slots__ = ("begun", "done", "error", "reader", "sink", "timeout_ns", "timer")

    def __init__(self, sink: Sink, timeout_ns: int | None) -> None:
        self.sink = sink
        self.timeout_ns = timeout_ns
        self.reader = ResponseReader(sink)
        self.timer: Timer | None = None
        self.begun = False
        self.error: Exception | None = None
        self.done = trio.Event()

    async def wait(self) -> None:
        """Waits for the end of the response; raises what broke it."""
        await self.done.wait()
        error, self.error = self.error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback holds this frame: a cycle that only the collector could free


class Connection:
    """A TCP connection to the server: a channel of the reactor, and a member of the pool while it is idle."""

    __slots__ = ("_pool", "exchange", "idle_since_ns", "persistence", "sock")

    def __init__(self, sock: socket.socket, pool: Pool) -> None:
        self.sock = sock
        self.persistence = Persistence()
        self.exchange: Exchange | None = None
        self.idle_since_ns = now_ns()
        self._pool = pool
        pool.reactor.watch(self)

    def start(self, exchange: Exchange, wire: bytes) -> None:
        """Sends a request; its response goes to the exchange."""
        self.exchange = exchange
        self._pool.reactor.send(self, wire)

    def close(self) -> None:
        """Closes the connection; an exchange that is under way is its caller's to end."""
        if self.sock.fileno() >= 0:
            self._pool.drop(self)
            self._pool.reactor.forget(self)
            self.sock.close()

    def abandon(self, exchange: Exchange) -> None:
        """Gives up the exchange and the connection with it, unless it is over and the connection may serve another."""
        if exchange is self.exchange:
            self._end(BrokenResponse("abandoned", untouched=False))

    def _end(self, error: Exception | None) -> None:
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return
        if exchange.timer is not None:
            self._pool.reactor.cancel(exchange.timer)
        reader = exchange.reader
        if error is None:
            self.persistence.learn(reader.headers)
            self._pool.reused += self.persistence.served > 1
        # An answer that came before the whole request had gone out leaves the connection in the middle of it.
        spoiled = error is not None or self._pool.reactor.is_sending(self)
        if spoiled or not reader.reusable or self.persistence.exhausted:
            self.close()
        else:
            self._pool.give(self)
        reader.release()
        exchange.error = error
        self._pool.reactor.wake(exchange.done)

    # What the reactor calls.

    def sent(self, at_ns: int) -> None:
        """See `Channel`."""
        exchange = self.exchange
        if exchange is not None:
            exchange.begun = True
            exchange.sink.sent(at_ns)
            if exchange.timeout_ns is not None:
                exchange.timer = self._pool.reactor.call_at(at_ns + exchange.timeout_ns, self._expire)

    def receive(self, data: bytes, at_ns: int) -> None:
        """See `Channel`."""
        exchange = self.exchange
        if self.sock.fileno() < 0:  # closed by us, while this waited in a batch
            return
        if exchange is None:  # an idle connection has nothing to receive but its end
            early = now_ns() - self.idle_since_ns < EARLY_CLOSE_NS
            self._pool.lost += early and self.persistence.served > 0
            self.close()
            return
        reader = exchange.reader
        try:
            if not exchange.begun:
                raise BrokenResponse("the server closed the connection before the request was sent", untouched=True)
            if data:
                reader.feed(data, at_ns)
            else:
                reader.feed_eof(at_ns)
        except (BrokenResponse, MalformedResponse) as error:
            self._end(error)
            return
        if reader.complete:
            self._end(None)

    def fail(self, error: OSError, at_ns: int) -> None:
        """See `Channel`."""
        if self.exchange is None:
            self.close()
            return
        name = errno.errorcode.get(error.errno or 0, "")
        what = "the server reset the connection" if error.errno == errno.ECONNRESET else f"{error.strerror} ({name})"
        self._end(BrokenResponse(what, untouched=not self.exchange.reader.started))

    def _expire(self) -> None:
        exchange = self.exchange
        if exchange is not None and exchange.timeout_ns is not None:
            self._end(TimeoutError(f"no end of the response within {exchange.timeout_ns / NS_PER_S:g} s"))


class Pool:
    """Idle connections, last used first; every step is O(1). What has idled too long is let go before it is used.

    Some servers close after each response without saying so. Once that is plain, nothing is reused.
    """

    def __init__(self, reactor: Reactor, address: Address, *, kernel_stamps: bool) -> None:
        self.reactor = reactor
        self.opened = 0
        self.reused = 0  # responses that came on a connection which had served before
        self.lost = 0  # connections that the server closed soon after a response, without having said so
        self._address = address
        self._kernel_stamps = kernel_stamps
        self._idle: dict[Connection, None] = {}

    def take(self) -> Connection | None:
        """The connection that was used last, if it is still good; None if there is none."""
        while self._idle:
            connection, _ = self._idle.popitem()
            if now_ns() - connection.idle_since_ns < connection.persistence.idle_limit_ns:
                return connection
            connection.close()
        return None

    def give(self, connection: Connection) -> None:
        """Takes back a connection that can serve again."""
        if self.lost >= LOST_TO_STOP_REUSE and not self.reused:
            connection.close()
            return
        connection.idle_since_ns = now_ns()
        self._idle[connection] = None

    def drop(self, connection: Connection) -> None:
        """Forgets a connection that is being closed."""
        self._idle.pop(connection, None)

    async def open(self) -> Connection:
        """Opens a connection. Raises OSError or trio.TooSlowError."""
        sock = socket.socket(self._address.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._kernel_stamps:
                stamp_receives(sock)
            with trio.fail_after(CONNECT_TIMEOUT_S):
                await _connect(sock, self._address)
        except BaseException:
            sock.close()
            raise
        self.opened += 1
        return Connection(sock, self)

    async def warm(self, count: int) -> None:
        """Sees to it that `count` idle connections are fresh enough for the start of a round.

        Raises OSError or trio.TooSlowError, alone, if one cannot be opened.
        """
        for connection in list(self._idle):
            if now_ns() - connection.idle_since_ns > connection.persistence.idle_limit_ns // 4:
                connection.close()
        # A few at a time: listen queues of servers are short.
        for _ in range(0, max(count - len(self._idle), 0), 64):
            missing = min(count - len(self._idle), 64)
            try:
                async with trio.open_nursery() as nursery:
                    for _ in range(missing):
                        nursery.start_soon(self._open_idle)
            except* (OSError, trio.TooSlowError) as group:
                first: BaseException = group
                while isinstance(first, BaseExceptionGroup):
                    first = first.exceptions[0]
                raise first from None

    async def _open_idle(self) -> None:
        self._idle[await self.open()] = None

    def close(self) -> None:
        """Closes the idle connections."""
        for connection in list(self._idle):
            connection.close()


async def _connect(sock: socket.socket, address: Address) -> None:
    code = sock.connect_ex(address.sockaddr)
    if code == errno.EINPROGRESS:
        await trio.lowlevel.wait_writable(sock)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))
