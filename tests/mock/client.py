"""A client of the mock without sockets: bytes in, bytes out, and time as the test wants it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httptools

from fluxperf.units import NS_PER_MS
from fluxperf_mock import MockSettings
from fluxperf_mock.endpoints import Origin
from fluxperf_mock.figures import Board
from fluxperf_mock.generation import Receipt
from fluxperf_mock.http1_connection import Http1Connection
from fluxperf_mock.service import Service

FOREVER = 1 << 50
EXACT = MockSettings(prefill_tokens_per_s=1000, decode_ms=10, overhead_ms=5, jitter=0, tokens=4)


class Sink:
    """Takes everything at once; the write with index i is stamped i ms."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.finished = False

    def write(self, data: bytes, receipt: Receipt | None = None) -> None:
        assert not self.finished
        if receipt is not None:
            receipt(len(self.writes) * NS_PER_MS)
        self.writes.append(data)

    def finish(self) -> None:
        self.finished = True


class Reply:
    """One response, as httptools reads it."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name] = value

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete = True

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[Any]:
        datas = [event.removeprefix(b"data: ") for event in self.body.split(b"\n\n") if event]
        return ["DONE" if data == b"[DONE]" else json.loads(data) for data in datas]

    def content(self) -> str:
        choices = [event["choices"][0] for event in self.events() if event != "DONE" and event["choices"]]
        return "".join([choice["delta"].get("content", "") for choice in choices])


def read_replies(writes: list[bytes]) -> Iterator[Reply]:
    """The responses in what a server wrote, each of which must be whole."""
    reply = Reply()
    parser = httptools.HttpResponseParser(reply)
    for data in writes:
        parser.feed_data(data)
        reply.status = parser.get_status_code()
        if reply.complete:
            yield reply
            reply = Reply()
            parser = httptools.HttpResponseParser(reply)


class Timer:
    """A `service.Later`: keeps what is to be done later until the test wants it done."""

    def __init__(self) -> None:
        self.kept: list[tuple[float, Callable[[], None]]] = []

    def __call__(self, delay_s: float, act: Callable[[], None]) -> Callable[[], None]:
        entry = (delay_s, act)
        self.kept.append(entry)
        return lambda: self.kept.remove(entry)


class Client:
    """A client of a service of its own, with settings that are changed as `more` says."""

    def __init__(self, settings: MockSettings = EXACT, **more: Any) -> None:
        self.board = Board()
        self.figures = self.board.figures
        self.timer = Timer()
        self.service = Service(replace(settings, **more), self.board, Origin(0, 0), self.timer)
        self.connect()

    def connect(self) -> None:
        """Opens a connection, in the place of the one before."""
        self.sink = Sink()
        self.connection = Http1Connection(self.sink, self.service)

    def send(self, data: bytes, at_ns: int = 0) -> None:
        self.connection.receive(data, at_ns)

    def run(self, until_ns: int = FOREVER) -> None:
        while self.service.engine.step(until_ns):
            pass

    def replies(self) -> Iterator[Reply]:
        """The responses to what has been sent, each of which must be whole."""
        left, self.sink.writes = self.sink.writes, []
        return read_replies(left)

    def ask(self, method: str, path: str, body: bytes = b"") -> Reply:
        self.send(encode(method, path, body))
        self.run()
        (reply,) = self.replies()
        return reply

    def ask_beside(self, method: str, path: str) -> Reply:
        """The answer on a connection of its own, while nothing else goes on."""
        sink = Sink()
        Http1Connection(sink, self.service).receive(encode(method, path), 0)
        (reply,) = read_replies(sink.writes)
        return reply

    def chat(self, content: str = "hello", **more: object) -> Reply:
        return self.ask("POST", "/v1/chat/completions", chat(content, **more))


def encode(method: str, path: str, body: bytes = b"", version: str = "1.1", headers: str = "") -> bytes:
    return f"{method} {path} HTTP/{version}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def chat(content: str = "hello", **more: object) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": content}], **more}).encode()
