"""The server: listening socket, event loop, and the timer that keeps the engine's schedule."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import resource
import signal
import socket
from collections.abc import Callable
from typing import Any

import uvloop

from fluxperf.clock import StampClock, TimerFd, now_ns, stamp_receives
from fluxperf.errors import RunFailed
from fluxperf_mock.connection import Http1Connection
from fluxperf_mock.service import Service
from fluxperf_mock.settings import MockSettings
from fluxperf_mock.wire import Surroundings, Wire

_BACKLOG = 4096
_MOST_ACCEPTS = 256
_MOST_TOKENS = 64  # before the loop looks for requests again
_ACCEPT_PAUSE_S = 0.1


class Server:
    """Serves `settings` on an event loop. `url` is where chat completions are to be had."""

    def __init__(self, settings: MockSettings, loop: asyncio.AbstractEventLoop) -> None:
        clock = StampClock()
        self._loop = loop
        self._service = Service(settings, now_ns(), clock.offset_ns)
        self._engine = self._service.engine
        self._around = Surroundings(loop, clock, self._engine.truth, self._keep_schedule)
        self._timer = TimerFd()
        self._armed_ns: int | None = None
        self._stopped_by = 0
        self._failed = False
        self._listener = _listen(settings.host, settings.port)
        host, port = self._listener.getsockname()[:2]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}/v1/chat/completions"
        loop.add_reader(self._timer.fileno(), self._on_timer)
        loop.add_reader(self._listener, self._accept)

    def run(self) -> int:
        """Serves until SIGINT or SIGTERM, and returns its number; raises RunFailed if an error of its own ended it."""
        for signum in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(signum, self._stop, signum)
        self._loop.set_exception_handler(self._fail)
        self._loop.run_forever()
        if self._failed:
            raise RunFailed("ended by an internal error, which stands above")
        return self._stopped_by

    def close(self) -> None:
        """Stops listening and stepping; connections end with the process."""
        self._loop.remove_reader(self._listener)
        self._loop.remove_reader(self._timer.fileno())
        self._listener.close()
        self._timer.close()

    def _stop(self, signum: int) -> None:
        self._stopped_by = signum
        self._loop.stop()

    def _fail(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # A reference that went on after an error of its own might tell untruths.
        loop.default_exception_handler(context)
        self._failed = True
        loop.stop()

    def _accept(self) -> None:
        for _ in range(_MOST_ACCEPTS):
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    # The connection stays in the backlog; asking again at once would only spin.
                    self._loop.remove_reader(self._listener)
                    self._loop.call_later(_ACCEPT_PAUSE_S, self._loop.add_reader, self._listener, self._accept)
                    return
                continue
            sock.setblocking(False)
            self._engine.truth.connections += 1
            wire = Wire(sock, self._around)
            wire.open(Http1Connection(wire, self._service))

    def _on_timer(self) -> None:
        self._timer.clear()
        self._armed_ns = None
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


def serve(settings: MockSettings, announce: Callable[[str], None]) -> int:
    """Serves until SIGINT or SIGTERM, and returns that signal's number.

    Calls `announce` with the URL of chat completions once it listens. Raises RunFailed if it cannot.
    """
    _raise_descriptor_limit()
    with contextlib.closing(uvloop.new_event_loop()) as loop, contextlib.closing(Server(settings, loop)) as server:
        # From within the loop, so that a signal sent in answer to the announcement is taken care of.
        loop.call_soon(announce, server.url)
        # What exists now stays: the collector need not look at it between two tokens.
        gc.freeze()
        return server.run()


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket; accepted ones inherit its options. Raises RunFailed."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
    except OSError as error:
        raise RunFailed(f"cannot listen on {host}: {error.strerror}; give an address of this machine") from error
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):  # without kernel stamps, arrivals are by the user's clock
            stamp_receives(listener)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        why = "another program listens there" if error.errno == errno.EADDRINUSE else error.strerror
        raise RunFailed(f"cannot listen on {host} port {port}: {why}; --port 0 takes any free port") from error
    return listener


def _raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
