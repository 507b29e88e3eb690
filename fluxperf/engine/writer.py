"""`Writer`: bytes to sockets, in order; what a socket does not take at once waits for it."""

from __future__ import annotations

import select
import socket

from fluxperf.engine.channel import Channel


class Writer:
    """Writes for all channels of an epoll, which it asks to say when a socket takes more."""

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll
        self._rests: dict[int, memoryview] = {}
        self._known: set[int] = set()

    def watch(self, fd: int) -> None:
        """From now on this descriptor, which is registered, is written to."""
        self._known.add(fd)

    def write(self, channel: Channel, data: bytes) -> None:
        """Writes sealed bytes, after whatever still waits; drops them if the descriptor is forgotten."""
        fd = channel.sock.fileno()
        if fd not in self._known:  # the end of the connection has been read: nobody is there to write to
            return
        rest = self._rests.get(fd)
        if rest is not None:
            self._rests[fd] = memoryview(bytes(rest) + data)
        elif (written := _write(channel.sock, data)) < len(data):
            self._rests[fd] = memoryview(data)[written:]
            self._epoll.modify(fd, select.EPOLLIN | select.EPOLLOUT)

    def go_on(self, channel: Channel) -> None:
        """The channel's socket takes more."""
        fd = channel.sock.fileno()
        rest = self._rests.get(fd, memoryview(b""))
        rest = rest[_write(channel.sock, rest) :]
        if rest:
            self._rests[fd] = rest
        else:
            self._rests.pop(fd, None)
            self._epoll.modify(fd, select.EPOLLIN)

    def is_writing(self, channel: Channel) -> bool:
        """Whether some of the channel's bytes wait."""
        return channel.sock.fileno() in self._rests

    def forget(self, fd: int) -> None:
        """Drops what waits for this descriptor, and what is yet to be written to it."""
        self._known.discard(fd)
        self._rests.pop(fd, None)


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
