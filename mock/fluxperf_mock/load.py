"""`Load`: a client that only keeps a server busy. It reads as much as there is and measures nothing."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fluxperf.clock import now_ns
from fluxperf.units import ns_to_s

_HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: self\r\ncontent-length: %d\r\n\r\n"
_END = b"0\r\n\r\n"  # the last chunk of a stream, which no event ends with
_READ_BYTES = 1 << 16
_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Load:
    """So many streams at once, each of so many answers of so many tokens, one after another."""

    streams: int
    answers: int
    tokens: int

    def run(self, port: int, ready: Callable[[], None], deadline_ns: int) -> bool:
        """Loads the server on this machine; False if it was not done by the deadline. Raises OSError.

        All streams begin at once, after `ready` was called with all connections open.
        """
        clients: dict[int, _Client] = {}
        try:
            for number in range(self.streams):
                client = _Client(port, self._requests(number))
                clients[client.sock.fileno()] = client
            ready()
            return _run(clients, deadline_ns)
        finally:
            for client in clients.values():
                client.sock.close()

    def _requests(self, stream: int) -> Iterator[bytes]:
        for number in range(self.answers):
            message = {"role": "user", "content": f"answer {number} of stream {stream}"}
            chat = {"messages": [message], "stream": True, "max_tokens": self.tokens, "ignore_eos": True}
            body = json.dumps(chat).encode()
            yield _HEAD % len(body) + body


class _Client:
    """One stream's connection."""

    def __init__(self, port: int, requests: Iterator[bytes]) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), _TIMEOUT_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._requests = list(requests)[::-1]
        self._tail = b""

    def send_next(self) -> bool:
        """Sends the next request; False if there is none."""
        if self._requests:
            self.sock.sendall(self._requests.pop())
            return True
        return False

    def read(self) -> bool:
        """Reads what there is; False once all answers are complete."""
        data = self.sock.recv(_READ_BYTES)
        if not data:
            raise ConnectionError("the server closed a connection in the middle of an answer")
        self._tail = (self._tail + data)[-len(_END) :]
        if self._tail != _END:
            return True
        self._tail = b""
        return self.send_next()


def _run(clients: dict[int, _Client], deadline_ns: int) -> bool:
    with select.epoll() as epoll:
        for descriptor, client in clients.items():
            epoll.register(descriptor, select.EPOLLIN)
            client.send_next()
        left = len(clients)
        while left and (left_ns := deadline_ns - now_ns()) > 0:
            for descriptor, _ in epoll.poll(ns_to_s(left_ns)):
                if not clients[descriptor].read():
                    epoll.unregister(descriptor)
                    left -= 1
    return left == 0
