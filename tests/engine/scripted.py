"""A loopback server that does what a test's script says, and the client side that talks to it.

A script is an async function of one connection's `Peer`. Server and client share one trio loop, so
a test says in which order things happen and never sleeps.
"""

from __future__ import annotations

import functools
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ParamSpec, TypeAlias

import httpx
import trio

from fluxperf.engine.connection import Address
from fluxperf.engine.dial import Route
from fluxperf.engine.pool import Pool
from fluxperf.engine.reactor import Reactor
from fluxperf.engine.sink import Headers, Sink
from fluxperf.engine.timers import Timer
from fluxperf.engine.transport import Client

PATIENCE_S = 10
STREAMS_PER_CONNECTION = 16

P = ParamSpec("P")


def in_trio(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Runs an async test; one that hangs fails."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def bounded() -> None:
            with trio.fail_after(PATIENCE_S):
                await test(*args, **kwargs)

        trio.run(bounded)

    return run


def has_ipv6() -> bool:
    """Whether this machine's loopback has it."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


async def until(condition: Callable[[], bool]) -> None:
    """Lets all others run until the condition holds."""
    while not condition():
        await trio.lowlevel.checkpoint()


@dataclass(frozen=True)
class Request:
    """A request as it came: its head without the blank line, and its body."""

    head: bytes
    body: bytes

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n")[0].decode()

    @property
    def headers(self) -> dict[str, str]:
        fields = [line.decode().partition(": ") for line in self.head.split(b"\r\n")[1:]]
        return {name.lower(): value for name, _, value in fields}


class Peer:
    """The server's end of one connection. `stream` is what HTTP is spoken over, `connection` what carries that."""

    def __init__(self, connection: trio.SocketStream, server: Server, tls: ssl.SSLContext | None = None) -> None:
        self.connection = connection
        self.stream: trio.SocketStream | trio.SSLStream[trio.SocketStream] = connection
        if tls is not None:
            self.stream = trio.SSLStream(connection, tls, server_side=True, https_compatible=True)
        self.server = server
        self._buffer = b""

    async def request(self) -> Request | None:
        """The next request, read whole; None: the client has closed."""
        try:
            while b"\r\n\r\n" not in self._buffer:
                await self._read_more()
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            length = int(Request(head, b"").headers.get("content-length", "0"))
            while len(self._buffer) < length:
                await self._read_more()
        except (EOFError, trio.BrokenResourceError):
            return None
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        request = Request(head, body)
        self.server.requests.append(request)
        return request

    async def _read_more(self) -> None:
        data = await self.stream.receive_some()
        if not data:
            raise EOFError
        self._buffer += data

    async def send(self, data: bytes) -> None:
        """Writes the data at once."""
        await self.stream.send_all(data)

    async def send_apart(self, *pieces: bytes) -> None:
        """Writes each piece, and waits until the client has read it."""
        for piece in pieces:
            await self._send_until_read(piece)

    async def _send_until_read(self, piece: bytes) -> None:
        reads = self.server.client_reads()
        await self.stream.send_all(piece)
        await until(lambda: self.server.client_reads() > reads)

    async def close(self) -> None:
        """Ends the connection in order."""
        await self.stream.aclose()

    def reset(self) -> None:
        """Breaks the connection."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.socket.close()


Script: TypeAlias = Callable[[Peer], Awaitable[None]]


@dataclass
class Server:
    """The server, as far as it can be counted. `client_reads`: how often the client has read so far."""

    address: Address
    client_reads: Callable[[], int]
    connections: int = 0
    open_connections: int = 0
    requests: list[Request] = field(default_factory=list)
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.address}/v1/chat/completions"


@asynccontextmanager
async def serving(
    script: Script,
    client_reads: Callable[[], int] = lambda: 0,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Server]:
    """Runs the script for each connection. What a client leaves unread when it goes is no failure."""
    listeners = await trio.open_tcp_listeners(0, host=host)
    address = Address(listeners[0].socket.family, listeners[0].socket.getsockname())
    server = Server(address, client_reads, scheme="http" if tls is None else "https")

    async def serve(stream: trio.SocketStream) -> None:
        server.connections += 1
        server.open_connections += 1
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with stream:
                await script(Peer(stream, server, tls))
        server.open_connections -= 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield server
        nursery.cancel_scope.cancel()


def replying(*responses: bytes) -> Script:
    """A script that answers with these in turn, over all connections; the last one again and again."""
    left = list(responses)

    async def script(peer: Peer) -> None:
        while await peer.request() is not None:
            await peer.send(left.pop(0) if len(left) > 1 else left[0])

    return script


def in_turn(*scripts: Script) -> Script:
    """A script for each connection; the last one for all that follow."""
    left = list(scripts)

    async def script(peer: Peer) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(peer)

    return script


async def stall(peer: Peer) -> None:
    """A script that never answers. It ends when the client closes."""
    while await peer.request() is not None:
        pass


class ManualReactor(Reactor):
    """A reactor whose timers fire when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.timers: list[Timer] = []

    def call_at(self, deadline_ns: int, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(deadline_ns, callback))
        return self.timers[-1]

    def cancel(self, timer: Timer) -> None:
        timer.callback = None

    async def fire(self, timer: Timer) -> None:
        """Fires a timer, unless it was cancelled."""
        if timer.callback is not None:
            super().call_at(0, timer.callback)
        fired = trio.Event()
        super().call_at(1, fired.set)
        await fired.wait()


@dataclass(frozen=True)
class Loopback:
    """A scripted server and the client's side: reactor, pool and httpx over them."""

    server: Server
    reactor: Reactor
    pool: Pool
    http: Client

    async def get(self, **extensions: Any) -> httpx.Response:
        """A request without a body."""
        return await self.http.get(self.server.url, extensions=extensions)


@asynccontextmanager
async def loopback(
    script: Script,
    reactor: Reactor | None = None,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
    **route: Any,
) -> AsyncIterator[Loopback]:
    """Server and client for the time of the block. The client uses kernel stamps. `route`: more of its Route."""
    reactor = reactor or Reactor()
    async with serving(script, lambda: reactor.receiver.reads, host, tls) as server, trio.open_nursery() as nursery:
        nursery.start_soon(reactor.run)
        whole = {"streams_per_connection": STREAMS_PER_CONNECTION, **route}
        pool = Pool(reactor, Route(server.address, **whole), kernel_stamps=True)
        with reactor.company():  # the server lives in the same loop
            async with Client(pool) as http:
                yield Loopback(server, reactor, pool, http)
        nursery.cancel_scope.cancel()
    reactor.close()


class Notes(Sink):
    """A sink that writes down what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def opened(self, wait_ns: int, connect_ns: int) -> None:
        self.calls.append(("opened", wait_ns, connect_ns))

    def sent(self, at_ns: int) -> None:
        self.calls.append(("sent", at_ns))

    def resent(self) -> None:
        self.calls.append(("resent",))

    def head(self, status: int, headers: Headers, at_ns: int) -> None:
        self.calls.append(("head", status, list(headers), at_ns))

    def body(self, data: bytes, at_ns: int) -> None:
        self.calls.append(("body", data, at_ns))

    def end(self, at_ns: int) -> None:
        self.calls.append(("end", at_ns))

    @property
    def names(self) -> list[str]:
        return [name for name, *_ in self.calls]

    def told(self, name: str) -> list[Any]:
        """The arguments of each call of this name."""
        return [arguments for called, *arguments in self.calls if called == name]

    @property
    def data(self) -> bytes:
        """The whole body."""
        return b"".join(data for data, _ in self.told("body"))


# What servers write.


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """The data in pieces, cut at these places."""
    ends = [*sorted(place for place in places if 0 < place < len(data)), len(data)]
    return [data[start:end] for start, end in pairwise([0, *ends])]


def response(body: bytes = b"", *fields: str, status: str = "200 OK") -> bytes:
    """A response whose length is told."""
    return head(f"Content-Length: {len(body)}", *fields, status=status) + body


def head(*fields: str, status: str = "200 OK") -> bytes:
    """A status line and fields, with the blank line."""
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    """A chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


STREAM_HEAD = head("Content-Type: text/event-stream", "Transfer-Encoding: chunked")
LAST_CHUNK = b"0\r\n\r\n"


def stream(*events: bytes) -> bytes:
    """A whole event stream, a chunk an event."""
    return STREAM_HEAD + b"".join(map(chunk, events)) + LAST_CHUNK


def event(value: object) -> bytes:
    """An event with this value as JSON."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def delta(finish_reason: str | None = None, **fields: object) -> bytes:
    """An event with one choice."""
    return event({"choices": [{"index": 0, "delta": fields, "finish_reason": finish_reason}]})


def say(text: str) -> bytes:
    """A piece of the answer."""
    return delta(content=text)


def stop(reason: str = "stop") -> bytes:
    """The chunk that tells the finish_reason."""
    return delta(reason)


ROLE = delta(role="assistant", content="")
USAGE = event({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}})
DONE = b"data: [DONE]\n\n"
ANSWER = stream(ROLE, say("One"), say(" two"), stop(), USAGE, DONE)
