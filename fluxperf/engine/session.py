"""What HTTP/1.1 and HTTP/2 have in common, without IO: `Request` out, `Exchange` in the middle, `Session` as the seam.

A session turns requests into bytes and bytes into calls to the sinks of its exchanges. It knows no
socket, no clock and no encryption; `fluxperf.engine.connection` gives it those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import trio

from fluxperf.engine.sink import Headers, Sink
from fluxperf.engine.timers import Timer


class MalformedResponse(Exception):
    """What came is not HTTP of the version that is spoken."""


class BrokenResponse(Exception):
    """The response ended before it was whole. `untouched`: not one byte of it had come.

    `disowned`: the server said that it has not looked at the request (a GOAWAY, RFC 9113 6.8).
    """

    def __init__(self, message: str, *, untouched: bool, disowned: bool = False) -> None:
        super().__init__(message)
        self.untouched = untouched
        self.disowned = disowned


@dataclass(slots=True)
class Request:
    """A request in the terms that both versions share. Header names as they are to be sent in HTTP/1.1."""

    method: bytes
    scheme: bytes
    path: bytes
    headers: Headers
    body: bytes


class Exchange:
    """One request and its response. `status` and `headers` are there once the head of the response is."""

    __slots__ = ("begun", "done", "error", "headers", "on_idle", "sink", "started", "status", "timeout_ns", "timer")

    def __init__(self, sink: Sink, timeout_ns: int | None) -> None:
        self.sink = sink
        self.timeout_ns = timeout_ns
        self.timer: Timer | None = None
        self.begun = False  # its first byte was written
        self.started = False  # the first byte of the response has come
        self.on_idle = False  # it was given to a connection that had served before and did nothing else
        self.status: int | None = None
        self.headers: Headers = []
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


# An exchange that is over, and what broke it: None, if nothing did.
Ending = tuple[Exchange, Exception | None]


class Session(Protocol):
    """One connection's worth of HTTP. What `feed` and `feed_eof` return is over and forgotten by the session."""

    version: str
    settled: bool  # what the server allows is known
    news: bool  # since somebody last set this to False, `settled`, `capacity` or `pending` may have changed
    complaint: str | None  # what was wrong with what came, if something was

    @property
    def capacity(self) -> int:
        """How many exchanges it can carry at once; 0: it takes no further ones, now or ever."""

    @property
    def idle_limit_ns(self) -> int:
        """How long it may be idle and still be used."""

    def begin(self, exchange: Exchange, request: Request) -> bytes:
        """Takes an exchange on; returns the bytes of its request, as far as they may be sent now."""

    def begun(self, exchange: Exchange) -> None:
        """The first byte of the request was written."""

    def feed(self, data: bytes, at_ns: int) -> Sequence[Ending]:
        """Takes bytes that arrived at `at_ns`."""

    def feed_eof(self, at_ns: int) -> Sequence[Ending]:
        """The server has closed the connection: everything ends."""

    def break_off(self, message: str) -> Sequence[Ending]:
        """The connection is broken: everything ends."""

    def abandon(self, exchange: Exchange) -> bool:
        """Forgets an exchange before its end; False if that leaves the connection of no use."""

    def pending(self) -> bytes:
        """What is to be written at once, besides requests."""
