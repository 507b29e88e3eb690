"""`Connection`: a socket, the encryption on it if there is any, and the HTTP session that it carries."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import trio

from fluxperf.clock import now_ns
from fluxperf.engine.reactor import Reactor
from fluxperf.engine.session import BrokenResponse, Ending, Exchange, Request, Session
from fluxperf.engine.tls import Tls, describe
from fluxperf.units import NS_PER_S


@dataclass(frozen=True, slots=True)
class Address:
    """A resolved address of the server, as `socket` wants it."""

    family: socket.AddressFamily
    sockaddr: tuple[Any, ...]

    def __str__(self) -> str:
        host, port = self.sockaddr[:2]
        return f"[{host}]:{port}" if self.family == socket.AF_INET6 else f"{host}:{port}"


class Owner(Protocol):
    """Who keeps connections: the pool."""

    reactor: Reactor

    def changed(self, connection: Connection) -> None:
        """It has finished an exchange, or what the server allows it has changed."""

    def dropped(self, connection: Connection) -> None:
        """It is being closed."""

    def lost(self, connection: Connection) -> None:
        """The server closed it while it was idle."""


class Connection:
    """A channel of the reactor that carries exchanges: `active` are under way, `served` were read whole."""

    __slots__ = (
        "_owner",
        "_session",
        "_talks",
        "_tls",
        "active",
        "complaint",
        "idle_since_ns",
        "served",
        "settled",
        "sock",
    )

    def __init__(self, sock: socket.socket, owner: Owner, session: Session, tls: Tls | None = None) -> None:
        self.sock = sock
        self.active: dict[Exchange, None] = {}
        self.served = 0
        self.idle_since_ns = now_ns()
        self.settled = trio.Event()  # what the server allows is known, or the connection was closed
        self.complaint: str | None = None  # why it was closed while nothing was under way
        self._owner = owner
        self._session = session
        self._tls = tls
        self._talks = tls is not None or session.version != "1.1"  # it may have to write what is no request
        owner.reactor.watch(self)
        self._flush()
        if tls is not None:  # the server may have spoken in the same breath as its handshake
            self._unseal(tls, b"", now_ns())
        if session.settled:
            self.settled.set()

    @property
    def version(self) -> str:
        """Of HTTP."""
        return self._session.version

    @property
    def is_open(self) -> bool:
        """Whether it has not been closed by us."""
        return self.sock.fileno() >= 0

    @property
    def capacity(self) -> int:
        """How many exchanges it can carry at once; 0: it takes no further ones, now or ever."""
        return self._session.capacity if self.is_open else 0

    def idled_ns(self) -> int:
        """For how long it has had nothing to do."""
        return 0 if self.active else now_ns() - self.idle_since_ns

    @property
    def idle_limit_ns(self) -> int:
        """How long it may idle and still be used."""
        return self._session.idle_limit_ns

    def start(self, exchange: Exchange, request: Request) -> None:
        """Sends a request; its response goes to the exchange."""
        exchange.on_idle = self.served > 0 and not self.active
        self.active[exchange] = None
        self._owner.changed(self)
        wire = self._session.begin(exchange, request)
        self._owner.reactor.glance()
        self._owner.reactor.send(self, wire, exchange)

    def close(self) -> None:
        """Closes the connection; what is under way ends broken."""
        if not self.is_open:
            return
        endings = self._session.break_off("the connection was closed")
        self._owner.dropped(self)
        self._owner.reactor.forget(self)
        self.sock.close()
        self.settled.set()
        self._conclude(endings)

    def abandon(self, exchange: Exchange) -> None:
        """Gives up the exchange, unless it is over; over HTTP/1.1 the connection goes with it."""
        if exchange in self.active:
            self._give_up(exchange, BrokenResponse("abandoned", untouched=False))

    def _give_up(self, exchange: Exchange, error: Exception) -> None:
        useful = self._session.abandon(exchange)
        self._conclude([(exchange, error)])
        if useful:
            self._flush()
            self._look_after(was_idle=False)
        else:
            self.close()

    def _expire(self, exchange: Exchange) -> None:
        if exchange in self.active and exchange.timeout_ns is not None:
            limit_s = exchange.timeout_ns / NS_PER_S
            self._give_up(exchange, TimeoutError(f"no end of the response within {limit_s:g} s"))

    # What the reactor calls.

    def seal(self, data: bytes) -> bytes:
        """See `Channel`."""
        return data if self._tls is None else self._tls.seal(data)

    def wants(self, exchange: Exchange) -> bool:
        """See `Channel`."""
        return exchange in self.active

    def sent(self, exchange: Exchange, at_ns: int) -> None:
        """See `Channel`."""
        exchange.begun = True
        exchange.sink.sent(at_ns)
        if exchange.timeout_ns is not None:
            deadline_ns = at_ns + exchange.timeout_ns
            exchange.timer = self._owner.reactor.call_at(deadline_ns, partial(self._expire, exchange))
        if self._talks:
            self._session.begun(exchange)
            self._flush()

    def receive(self, data: bytes, at_ns: int) -> None:
        """See `Channel`."""
        if self._tls is None or not data:
            self._hear(data or None, at_ns)
        else:
            self._unseal(self._tls, data, at_ns)

    def fail(self, error: OSError, at_ns: int) -> None:
        """See `Channel`."""
        if not self.is_open:  # closed by us, while this waited in a batch
            return
        name = errno.errorcode.get(error.errno or 0, "")
        self._break(
            "the server reset the connection" if error.errno == errno.ECONNRESET else f"{error.strerror} ({name})"
        )

    def _hear(self, data: bytes | None, at_ns: int) -> None:
        """Takes plain bytes; None: there will be no more."""
        session, was_idle, ended = self._session, not self.active, False
        if was_idle and not self.is_open:  # closed by us, while this waited in a batch
            return
        endings: Sequence[Ending] = ()
        if data:
            endings = session.feed(data, at_ns)
        elif data is None:
            endings = session.feed_eof(at_ns)
        if endings:
            self._conclude(endings)
            ended, endings = True, ()  # an error's traceback holds this frame: a cycle for the collector alone
        if session.news or self._tls is not None:
            self._flush()
        if ended or was_idle or session.news:
            session.news = False
            self._look_after(was_idle=was_idle)

    def _look_after(self, *, was_idle: bool) -> None:
        """After something has ended or changed: is the connection of use?"""
        if not self.is_open:
            return
        if self._session.settled:
            self.settled.set()
        # A response that came before its whole request had gone out leaves the connection in the middle of that.
        spoiled = self._session.capacity == 0 or self._owner.reactor.is_sending(self)
        if not self.active and spoiled:
            if was_idle:
                self.complaint = self._session.complaint
                self._owner.lost(self)
            self.close()
        elif self._session.settled:
            self._owner.changed(self)

    def _unseal(self, tls: Tls, data: bytes, at_ns: int) -> None:
        """Takes bytes as they came."""
        try:
            plain = tls.unseal(data)
        except ssl.SSLError as error:
            self._break(describe(error))
            return
        self._hear(plain, at_ns)
        if tls.ended:
            self._hear(None, at_ns)

    def _break(self, what: str) -> None:
        endings = self._session.break_off(what)
        self.complaint = what
        self.close()
        self._conclude(endings)

    def _conclude(self, endings: Sequence[Ending]) -> None:
        reactor = self._owner.reactor
        for exchange, error in endings:
            self.active.pop(exchange, None)
            self.served += error is None
            if exchange.timer is not None:
                reactor.cancel(exchange.timer)
            exchange.error = error
            reactor.wake(exchange.done)
        if not self.active:
            self.idle_since_ns = now_ns()

    def _flush(self) -> None:
        """Writes what the session and the encryption have to say besides requests."""
        if not self.is_open:
            return
        plain = self._session.pending()
        data = self._tls.seal(plain) if self._tls is not None else plain
        if data:
            self._owner.reactor.write(self, data)
