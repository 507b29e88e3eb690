"""`Listener`: the listening socket, and what to do with each connection that comes. Knows no protocol."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import resource
import socket
from collections.abc import Callable

from fluxperf.clock import stamp_receives
from fluxperf.errors import RunFailed

_BACKLOG = 4096
_MOST_ACCEPTS = 256
_ACCEPT_PAUSE_S = 0.1


class Listener:
    """Accepts connections on a listening socket, and has each of them taken."""

    def __init__(
        self, sock: socket.socket, loop: asyncio.AbstractEventLoop, take: Callable[[socket.socket], None]
    ) -> None:
        self._sock = sock
        self._loop = loop
        self._take = take
        loop.add_reader(sock, self._accept)

    def close(self) -> None:
        """Stops listening."""
        self._loop.remove_reader(self._sock)
        self._sock.close()

    def _accept(self) -> None:
        for _ in range(_MOST_ACCEPTS):
            try:
                sock, _ = self._sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    # The connection stays in the backlog; asking again at once would only spin.
                    self._loop.remove_reader(self._sock)
                    self._loop.call_later(_ACCEPT_PAUSE_S, self._loop.add_reader, self._sock, self._accept)
                    return
                continue
            sock.setblocking(False)
            self._take(sock)


def listen(host: str, port: int) -> socket.socket:
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


def raise_descriptor_limit() -> None:
    """Allows as many connections as the system lets us have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
