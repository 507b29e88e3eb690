"""`Load`: a client that only keeps a server busy. It reads as much as there is and measures nothing."""

from __future__ import annotations

import json
import select
import socket
from collections import deque
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
    """So many streams at once, each of so many answers of so many tokens, one after another.

    They begin evenly over `ramp_ns`.
    """

    streams: int
    answers: int
    tokens: int
    ramp_ns: int = 0

    def run(self, port: int, ready: Callable[[], None], deadline_ns: int) -> bool:
        """Loads the server on this machine; False if it was not done by the deadline. Raises OSError.

        Calls `ready` when all connections are open, before the first stream begins.
        """
        clients: list[_Client] = []
        try:
            clients.extend(_Client(port, self._requests(number)) for number in range(self.streams))
            ready()
            start_ns = now_ns()
            starts_ns = (start_ns + self.ramp_ns * number // self.streams for number in range(self.streams))
            return _run(deque(zip(starts_ns, clients, strict=True)), deadline_ns)
        finally:
            for client in clients:
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


def _run(waiting: deque[tuple[int, _Client]], deadline_ns: int) -> bool:
    """Begins each stream when it is time, and reads until all are done; False if the deadline came first."""
    running: dict[int, _Client] = {}
    with select.epoll() as epoll:
        while (waiting or running) and (at_ns := now_ns()) < deadline_ns:
            while waiting and waiting[0][0] <= at_ns:
                _, client = waiting.popleft()
                running[client.sock.fileno()] = client
                epoll.register(client.sock, select.EPOLLIN)
                client.send_next()
            until_ns = min(waiting[0][0], deadline_ns) if waiting else deadline_ns
            for descriptor, _ in epoll.poll(ns_to_s(until_ns - at_ns)):
                if not running[descriptor].read():
                    epoll.unregister(descriptor)
                    del running[descriptor]
    return not (waiting or running)
