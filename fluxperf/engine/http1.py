"""HTTP/1.1 without IO: bytes of a response in, calls to a `Sink` out (RFC 9110, RFC 9112). httptools parses.

Knows framing, keep-alive and what breaks them; knows no socket and no clock.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import httptools

from fluxperf.engine.session import BrokenResponse, Ending, Exchange, MalformedResponse, Request
from fluxperf.engine.sink import Headers, Sink
from fluxperf.units import NS_PER_S, s_to_ns

MAX_HEADER_BYTES = 256 * 1024

# vLLM, SGLang and llama.cpp close an idle connection after 5 s: let go of it sooner.
IDLE_LIMIT_NS = 4 * NS_PER_S

_KEEP_ALIVE_PARAMETER = re.compile(rb"(timeout|max)\s*=\s*(\d{1,9})", re.IGNORECASE)


class Persistence:
    """How long, and for how many more requests, a server keeps a connection (`Keep-Alive`, RFC 2068 19.7.1)."""

    __slots__ = ("_most", "_served", "idle_limit_ns")

    def __init__(self) -> None:
        self.idle_limit_ns = IDLE_LIMIT_NS
        self._served = 0
        self._most: int | None = None

    @property
    def served(self) -> int:
        """Responses that were read whole on this connection."""
        return self._served

    @property
    def exhausted(self) -> bool:
        """Whether the server has said that it closes after this many requests."""
        return self._most is not None and self._served >= self._most

    def learn(self, headers: Headers) -> None:
        """Counts one response and takes in its Keep-Alive header.

        Some servers send the requests that remain in `max`, others always the same total: the lowest
        bound that follows from any response holds for both.
        """
        for name, value in headers:
            if name == b"keep-alive":
                for parameter, number in _KEEP_ALIVE_PARAMETER.findall(value):
                    if parameter.lower() == b"max":
                        most = self._served + int(number)
                        self._most = most if self._most is None else min(self._most, most)
                    else:
                        self.idle_limit_ns = min(IDLE_LIMIT_NS, max(s_to_ns(int(number)) - NS_PER_S, 0))
        self._served += 1


class ResponseReader:
    """Reads one response. `feed` and `feed_eof` call the sink; afterwards look at `complete` and `reusable`."""

    __slots__ = (
        "_at_ns",
        "_began_ns",
        "_bytes_beside_body",
        "_framed",
        "_parser",
        "_sink",
        "complete",
        "headers",
        "reusable",
        "started",
        "status",
    )

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._at_ns = 0
        self._began_ns = 0
        self._bytes_beside_body = 0
        self._framed = False
        self.headers: Headers = []
        self.status: int | None = None
        self.started = False
        self.complete = False
        self.reusable = False

    def feed(self, data: bytes, at_ns: int) -> None:
        """Takes bytes that arrived at `at_ns`; raises MalformedResponse."""
        self._at_ns = at_ns
        self.started = True
        self._bytes_beside_body += len(data)
        if self._parser is None:
            raise MalformedResponse("the response was over")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            raise MalformedResponse("the server switched protocols (status 101), which was not asked for") from error
        except httptools.HttpParserError as error:
            # An exception of a callback arrives as the context of the parser's own.
            cause = error.__context__
            if isinstance(cause, MalformedResponse):
                raise cause from None
            if cause is not None and not isinstance(cause, httptools.HttpParserError):
                raise cause from None
            if self.complete:  # what follows a response that nobody asked for spoils the connection, not the response
                self.reusable = False
                return
            raise MalformedResponse(f"not an HTTP/1.1 response: {_guess(data) or error}") from error
        if self._bytes_beside_body > MAX_HEADER_BYTES and not self.complete:
            raise MalformedResponse(f"the response's headers are longer than {MAX_HEADER_BYTES} bytes")

    def feed_eof(self, at_ns: int) -> None:
        """Takes the end of the connection; raises BrokenResponse unless it is what ends the response."""
        if self.complete:
            return
        if self.status is None or self._framed:
            what = "before the response began" if not self.started else "in the middle of the response"
            raise BrokenResponse(f"the server closed the connection {what}", untouched=not self.started)
        self.complete = True
        self._sink.end(at_ns)

    def release(self) -> None:
        """Lets go of the parser, which holds this reader's methods: a cycle that only the collector could free."""
        self._parser = None

    # What httptools calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header field; a trailer field after the head is left alone."""
        if self.status is None:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The blank line after the head."""
        if self.complete:
            return
        status = self._parser.get_status_code() if self._parser else 0
        if 100 <= status < 200:
            self.headers = []
            return
        self.status = status
        fields = dict(self.headers)
        self._framed = b"content-length" in fields or b"chunked" in fields.get(b"transfer-encoding", b"").lower()
        self._sink.head(status, self.headers, self._began_ns)

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._bytes_beside_body = 0
        if not self.complete:
            self._sink.body(data, self._at_ns)

    def on_message_complete(self) -> None:
        """The end of a response, or of an informational one before it."""
        if self.status is None:
            return
        self.reusable = not self.complete and self._parser is not None and self._parser.should_keep_alive()
        if not self.complete:
            self.complete = True
            self._sink.end(self._at_ns)

    def on_message_begin(self) -> None:
        """The first byte of a response, or of a further one after its end, which nobody asked for."""
        self._began_ns = self._at_ns
        if self.complete:
            self.reusable = False


def _guess(data: bytes) -> str | None:
    """What bytes that are no HTTP/1.1 seem to be."""
    if data[:2] == b"\x15\x03":  # an alert (RFC 8446 5.1)
        return "it is TLS; must the endpoint be https://?"
    if data[3:5] == b"\x04\x00" and data[5:9] == bytes(4):  # a SETTINGS frame (RFC 9113 6.5)
        return "it is HTTP/2; try --http 2"
    return None


class Http1Session:
    """One exchange at a time on one connection. See `Session`."""

    __slots__ = ("_exchange", "_over", "_persistence", "_reader", "complaint", "news", "settled", "version")

    def __init__(self) -> None:
        self.version = "1.1"
        self.settled = True
        self.news = False
        self.complaint: str | None = None
        self._persistence = Persistence()
        self._exchange: Exchange | None = None
        self._reader: ResponseReader | None = None
        self._over = False

    @property
    def capacity(self) -> int:
        """See `Session`."""
        return 0 if self._over or self._persistence.exhausted else 1

    @property
    def idle_limit_ns(self) -> int:
        """See `Session`."""
        return self._persistence.idle_limit_ns

    def begin(self, exchange: Exchange, request: Request) -> bytes:
        """See `Session`."""
        self._exchange = exchange
        self._reader = ResponseReader(exchange.sink)
        return encode_request(request)

    def begun(self, exchange: Exchange) -> None:
        """See `Session`."""

    def feed(self, data: bytes, at_ns: int) -> Sequence[Ending]:
        """See `Session`."""
        reader, exchange = self._reader, self._exchange
        if reader is None or exchange is None:  # an idle connection has nothing to receive but its end
            self._over = True
            if not data.startswith(b"HTTP/"):
                self.complaint = "the server speaks before it is asked, and not HTTP"
            return ()
        try:
            if not exchange.begun:
                raise BrokenResponse("the server said something before the request was sent", untouched=True)
            reader.feed(data, at_ns)
        except (BrokenResponse, MalformedResponse) as error:
            return self._end(error)
        return self._end(None) if reader.complete else ()

    def feed_eof(self, at_ns: int) -> Sequence[Ending]:
        """See `Session`."""
        self._over = True
        if self._reader is None:
            return ()
        try:
            self._reader.feed_eof(at_ns)
        except BrokenResponse as error:
            return self._end(error)
        return self._end(None)

    def break_off(self, message: str) -> Sequence[Ending]:
        """See `Session`."""
        self._over = True
        if self._reader is None:
            return ()
        return self._end(BrokenResponse(message, untouched=not self._reader.started))

    def abandon(self, exchange: Exchange) -> bool:
        """See `Session`."""
        self._end(BrokenResponse("abandoned", untouched=False))
        return False

    def pending(self) -> bytes:
        """See `Session`."""
        return b""

    def _end(self, error: Exception | None) -> Sequence[Ending]:
        exchange, self._exchange = self._exchange, None
        reader, self._reader = self._reader, None
        if exchange is None or reader is None:
            return ()
        exchange.status, exchange.headers = reader.status, reader.headers
        if error is None:
            self._persistence.learn(reader.headers)
        self._over = self._over or error is not None or not reader.reusable
        reader.release()
        return ((exchange, error),)


def encode_request(request: Request) -> bytes:
    """The request as HTTP/1.1 bytes (RFC 9112)."""
    head = [b"%s %s HTTP/1.1" % (request.method, request.path)]
    head += [b"%s: %s" % field for field in request.headers]
    return b"\r\n".join([*head, b"", request.body])
