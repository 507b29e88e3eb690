"""One process of the server: an event loop, its connections, and the timer that keeps the engine's schedule."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import uvloop

from fluxperf.clock import StampClock, TimerFd, now_ns
from fluxperf.errors import RunFailed
from fluxperf_mock.connection import Connection, Output
from fluxperf_mock.endpoints import Origin
from fluxperf_mock.figures import Board
from fluxperf_mock.http1_connection import Http1Connection
from fluxperf_mock.http2_connection import Allowance, Http2Connection
from fluxperf_mock.listener import Listener, listen, raise_descriptor_limit
from fluxperf_mock.opening import Opening
from fluxperf_mock.service import Service
from fluxperf_mock.settings import MockSettings
from fluxperf_mock.tls import TlsConnection, load_context
from fluxperf_mock.wire import Surroundings, Wire

_EXPIRED = -1
_MOST_TOKENS = 64  # before the loop looks for requests again


@dataclass(frozen=True, slots=True)
class Site:
    """What all processes of a server have in common. `url` is where chat completions are to be had."""

    settings: MockSettings
    board: Board
    tls: ssl.SSLContext | None
    listener: socket.socket
    origin: Origin

    @property
    def url(self) -> str:
        """Where chat completions are to be had."""
        host, port = self.listener.getsockname()[:2]
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/v1/chat/completions"


def open_site(settings: MockSettings) -> Site:
    """Listens, and sets up what processes that are forked then have in common. Raises UsageError or RunFailed."""
    raise_descriptor_limit()
    tls = None
    if settings.tls_cert is not None and settings.tls_key is not None:
        tls = load_context(settings.tls_cert, settings.tls_key)
    try:
        board = Board(settings.replicas)
    except OSError as error:  # where the system promises no memory that it does not have
        raise RunFailed(f"cannot get memory for the truth: {error.strerror}; use fewer --replicas") from error
    return Site(settings, board, tls, listen(settings.host, settings.port), Origin(now_ns(), StampClock().offset_ns))


class Server:
    """Serves the connections that it is given."""

    def __init__(self, site: Site, loop: asyncio.AbstractEventLoop) -> None:
        clock = StampClock()
        self._loop = loop
        self._tls = site.tls
        self._allowance = Allowance(site.settings.max_concurrent_streams)
        self._service = Service(site.settings, site.board, site.origin, self._call_later)
        self._engine = self._service.engine
        self._around = Surroundings(loop, clock, self._engine.truth, self._keep_schedule)
        self._timer = TimerFd()
        self._armed_ns: int | None = None
        self._stopped_by = 0
        self._failed = False
        loop.set_exception_handler(self._fail)
        loop.add_reader(self._timer.fileno(), self._on_timer)

    def run(self) -> int:
        """Serves until it is stopped, and returns by which signal; raises RunFailed if an error of its own ended it."""
        # What exists now stays: the collector need not look at it between two tokens.
        gc.freeze()
        self._loop.run_forever()
        if self._failed:
            raise RunFailed("ended by an internal error, which stands above")
        return self._stopped_by

    def stop(self, signum: int = 0) -> None:
        """Has `run` return."""
        self._stopped_by = signum
        self._loop.stop()

    def close(self) -> None:
        """Stops stepping; connections end with the process."""
        self._loop.remove_reader(self._timer.fileno())
        self._timer.close()

    def take(self, sock: socket.socket) -> None:
        """Serves an accepted, non-blocking socket."""
        self._engine.truth.counts.connections += 1
        wire = Wire(sock, self._around)
        if self._tls is None:
            wire.open(Opening(wire, self._choose))
        else:
            wire.open(TlsConnection(wire, self._tls, self._choose))

    def _choose(self, output: Output, http2: bool) -> Connection:
        if http2:
            return Http2Connection(output, self._service, self._allowance, self._keep_schedule)
        return Http1Connection(output, self._service)

    def _call_later(self, delay_s: float, act: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            act()
            self._keep_schedule()

        return self._loop.call_later(delay_s, run).cancel

    def _fail(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # A reference that went on after an error of its own might tell untruths.
        loop.default_exception_handler(context)
        self._failed = True
        loop.stop()

    def _on_timer(self) -> None:
        # Setting the timer anew, which follows in any case, makes it unreadable too (timerfd_create(2)).
        self._armed_ns = _EXPIRED
        self._keep_schedule()

    def _keep_schedule(self) -> None:
        """Sends what is due, and sets the timer to what comes next; a time that is past makes it fire at once.

        Called after each read and write too, so that a burst of requests makes no token wait for all of them.
        """
        for _ in range(_MOST_TOKENS):
            if not self._engine.step(now_ns()):
                break
        due_ns = self._engine.next_due_ns()
        if due_ns != self._armed_ns:
            self._timer.arm(due_ns)
            self._armed_ns = due_ns


@contextlib.contextmanager
def serving(site: Site) -> Iterator[tuple[Server, asyncio.AbstractEventLoop]]:
    """A server on an event loop of its own."""
    with contextlib.closing(uvloop.new_event_loop()) as loop, contextlib.closing(Server(site, loop)) as server:
        yield server, loop


def serve(settings: MockSettings, announce: Callable[[str], None]) -> int:
    """Serves in this process until SIGINT or SIGTERM, and returns that signal's number.

    Calls `announce` with the URL of chat completions once it listens. Raises UsageError or RunFailed if it cannot.
    """
    site = open_site(settings)
    with serving(site) as (server, loop), contextlib.closing(Listener(site.listener, loop, server.take)):
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signum, server.stop, signum)
        # From within the loop, so that a signal sent in answer to the announcement is taken care of.
        loop.call_soon(announce, site.url)
        return server.run()
