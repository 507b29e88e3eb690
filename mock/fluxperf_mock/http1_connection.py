"""One HTTP/1.1 connection: its requests one after another, each with its answer. Knows no socket."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from fluxperf.clock import now_ns
from fluxperf_mock import http1
from fluxperf_mock.api import render_error
from fluxperf_mock.connection import Output
from fluxperf_mock.generation import Cancel, Receipt
from fluxperf_mock.messages import Fields, Response
from fluxperf_mock.service import Service

_MOST_PIPELINED = 64


class Http1Exchange:
    """The answer to one request, framed as HTTP/1.1 asks (a `generation.Exchange`)."""

    __slots__ = ("_end", "_fields", "_output", "_request")

    def __init__(self, request: http1.Request, fields: Fields, output: Output, end: Callable[[bool], None]) -> None:
        self._request = request
        self._fields = fields
        self._output = output
        self._end = end

    def respond(self, response: Response, receipt: Receipt | None = None) -> None:
        """Sends a whole response."""
        self._output.write(http1.render_response(response, self._request, self._fields), receipt)
        self._end(self._request.keep_alive)

    def open_stream(self, events: bytes) -> None:
        """Sends the head of an event stream, with its first events if there are any."""
        head = http1.render_stream_head(self._request, self._fields)
        self._output.write(head + (self._frame(events) if events else b""))

    def send(self, events: bytes, receipt: Receipt) -> None:
        """Sends further events."""
        self._output.write(self._frame(events), receipt)

    def end_stream(self, events: bytes, receipt: Receipt) -> None:
        """Sends the last events and the end of the stream."""
        self._output.write(self._frame(events) + (http1.LAST_CHUNK if self._request.chunked else b""), receipt)
        self._end(http1.stays_open(self._request))

    def _frame(self, events: bytes) -> bytes:
        return http1.render_chunk(events) if self._request.chunked else events


class Http1Connection:
    """Takes a client's bytes, and has each request in them answered before the next."""

    __slots__ = (
        "_advancing",
        "_cancel",
        "_exchange",
        "_free_ns",
        "_output",
        "_queue",
        "_reader",
        "_refused",
        "_service",
    )

    def __init__(self, output: Output, service: Service) -> None:
        self._output = output
        self._service = service
        self._reader = http1.RequestReader()
        self._queue: deque[tuple[http1.Request, int]] = deque()
        self._exchange: Http1Exchange | None = None
        self._cancel: Cancel | None = None
        self._refused: http1.BadRequest | None = None
        self._free_ns = 0
        self._advancing = False

    def receive(self, data: bytes, at_ns: int) -> None:
        """Takes bytes, the last of which came at `at_ns`."""
        if self._refused is not None:
            return
        try:
            self._queue.extend((request, at_ns) for request in self._reader.feed(data))
            if len(self._queue) > _MOST_PIPELINED:
                raise http1.BadRequest(400, f"more than {_MOST_PIPELINED} requests came without waiting for answers")
        except http1.BadRequest as error:
            self._refused = error
        self._advance()

    def lose(self, at_ns: int) -> None:
        """Takes notice that the client is gone."""
        self._reader.close()
        self._queue.clear()
        if self._cancel is not None:
            self._cancel(at_ns)

    def _begin(self, request: http1.Request) -> Http1Exchange:
        self._exchange = Http1Exchange(request, self._service.fields, self._output, self._end)
        return self._exchange

    def _end(self, stays_open: bool) -> None:
        self._exchange = None
        self._cancel = None
        self._free_ns = now_ns()
        if stays_open:
            self._advance()
        else:
            self._queue.clear()
            self._output.finish()

    def _advance(self) -> None:
        """Answers what waits while nothing is being answered."""
        if self._advancing:  # an answer given at once ends within the loop below
            return
        self._advancing = True
        while self._exchange is None and self._queue:
            request, at_ns = self._queue.popleft()
            # A request that was sent ahead arrives for the server when the one before it is done.
            self._cancel = self._service.handle(request, max(at_ns, self._free_ns), self._begin(request))
        self._advancing = False
        if self._exchange is None:
            self._prompt()

    def _prompt(self) -> None:
        """Says what the client of an idle connection waits for: that its bytes were refused, or that it may go on."""
        if self._refused is not None:
            status, message = self._refused.status, str(self._refused)
            exchange = self._begin(http1.Request("GET", "/", keep_alive=False))
            exchange.respond(Response(status, render_error(status, message)))
        elif self._reader.take_expectation():
            self._output.write(http1.CONTINUE)
