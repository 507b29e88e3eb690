"""HTTP/1.1 for the server, sans-IO: bytes in, requests out; responses and streams in, bytes out (RFC 9112).

httptools parses. Knows neither sockets nor what the requests mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

import httptools

from fluxperf_mock import messages
from fluxperf_mock.messages import MAX_BODY_BYTES, MAX_HEADER_BYTES, STREAM_FIELDS, Fields, Response

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


class BadRequest(Exception):
    """The bytes are no request that can be served; after the answer, `status`, the connection is of no more use."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request(messages.Request):
    """A whole request. `chunked`: its client understands chunked responses (HTTP/1.1)."""

    keep_alive: bool = True
    chunked: bool = True


def render_response(response: Response, request: Request, more: Fields = ()) -> bytes:
    """The response to the request, framed by its length; to a HEAD without its body (RFC 9110, 9.3.2)."""
    fields = _render_fields(more) + _render_fields(response.fields()) + _connection(request, request.keep_alive)
    head = (_status_line(response.status) + fields).encode() + b"\r\n"
    return head if request.method == "HEAD" else head + response.body


def render_stream_head(request: Request, more: Fields = ()) -> bytes:
    """The head of an event stream in answer to the request."""
    framing = "transfer-encoding: chunked\r\n" if request.chunked else ""
    fields = _render_fields(more) + _render_fields(STREAM_FIELDS) + framing + _connection(request, stays_open(request))
    return (_status_line(HTTPStatus.OK) + fields).encode() + b"\r\n"


def render_chunk(data: bytes) -> bytes:
    """A chunk; `data` is not empty (an empty chunk would end the body)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def stays_open(request: Request) -> bool:
    """Whether the connection outlives a stream in answer to the request: without chunks, its end is the stream's."""
    return request.keep_alive and request.chunked


def _status_line(status: int) -> str:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"


def _render_fields(fields: Iterable[tuple[str, str]]) -> str:
    return "".join([f"{name}: {value}\r\n" for name, value in fields])


def _connection(request: Request, keep: bool) -> str:
    """The connection header, where the version's default is not what happens."""
    if not keep:
        return "connection: close\r\n"
    return "" if request.chunked else "connection: keep-alive\r\n"


class RequestReader:
    """Reads one connection's requests out of its bytes."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._finished: list[Request] = []
        self._closing = False
        self._expectation = False
        self.on_message_begin()

    def feed(self, data: bytes) -> list[Request]:
        """The requests that these bytes complete. Raises BadRequest; data after a request with `close` is ignored."""
        if self._closing:
            return []
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise BadRequest(400, "this server speaks HTTP/1.1 only and upgrades to nothing else") from None
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, BadRequest):
                raise error.__context__ from None
            # A well-formed request before it may have asked to close: what follows is not ours to judge.
            if not self._closing:
                raise BadRequest(400, f"the request is not HTTP/1.1: {error}") from None
        finished, self._finished = self._finished, []
        return finished

    def take_expectation(self) -> bool:
        """Whether the client of an unfinished request waits for `100 Continue`; says so once."""
        expected, self._expectation = self._expectation, False
        return expected

    def close(self) -> None:
        """Lets go of the parser, which refers back to this reader."""
        del self._parser

    # What httptools calls, in this order.

    def on_message_begin(self) -> None:
        """A request begins."""
        self._url = b""
        self._header_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._expects = False
        self._expectation = False

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        self._url += url
        self._count_header(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line."""
        self._count_header(len(name) + len(value))
        if name.lower() == b"expect" and value.lower() == b"100-continue":
            self._expects = True

    def on_headers_complete(self) -> None:
        """The head is complete."""
        self._keep_alive = self._parser.should_keep_alive()
        self._chunked = self._parser.get_http_version() == "1.1"
        self._expectation = self._expects and self._chunked

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._expectation = False
        self._body.append(data)
        self._body_bytes += len(data)
        if self._body_bytes > MAX_BODY_BYTES:
            raise BadRequest(413, f"the body is longer than {MAX_BODY_BYTES} bytes")

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._expectation = False
        if self._parser.should_upgrade():
            return
        try:
            url = httptools.parse_url(self._url)
        except httptools.HttpParserInvalidURLError:
            raise BadRequest(400, "the request's target is not a URL") from None
        self._closing = not self._keep_alive
        self._finished.append(
            Request(
                self._parser.get_method().decode("latin-1"),
                (url.path or b"/").decode("latin-1"),
                b"".join(self._body),
                (url.query or b"").decode("latin-1"),
                self._keep_alive,
                self._chunked,
            )
        )

    def _count_header(self, length: int) -> None:
        self._header_bytes += length
        if self._header_bytes > MAX_HEADER_BYTES:
            raise BadRequest(431, f"the request's head is longer than {MAX_HEADER_BYTES} bytes")
