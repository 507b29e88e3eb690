"""`Generation`: one request that is being answered, and how each step of it is told to its client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from fluxperf_mock.answers import AnswerBook
from fluxperf_mock.api import Api, GenerationRequest, Identity, StreamText, Usage, render_whole
from fluxperf_mock.messages import Response
from fluxperf_mock.scheduler import Sequence
from fluxperf_mock.truth import Trace

Receipt = Callable[[int], None]
"""Called with the instant (ns) of the write that handed the last byte of what was sent to the kernel."""

Cancel = Callable[[int], None]
"""Called with the instant (ns) at which a client went away before its answer was complete."""


class Exchange(Protocol):
    """The way back to one request's client: either `respond`, or `open_stream`, any number of `send`, `end_stream`."""

    def respond(self, response: Response, receipt: Receipt | None = None) -> None:
        """Sends a whole response."""

    def open_stream(self, events: bytes) -> None:
        """Sends the head of an event stream, with its first events if there are any."""

    def send(self, events: bytes, receipt: Receipt) -> None:
        """Sends further events."""

    def end_stream(self, events: bytes, receipt: Receipt) -> None:
        """Sends the last events and the end of the stream."""


@dataclass(frozen=True, slots=True)
class Call:
    """A generation request as it came: by which API, what, and the way back."""

    api: Api
    request: GenerationRequest
    identity: Identity
    exchange: Exchange


class Generation:
    """A sequence of the model on its way to a client. `token_ns`: when its newest token was produced."""

    __slots__ = ("_book", "_call", "_text", "_trace", "sequence", "streams", "token_ns")

    def __init__(self, call: Call, sequence: Sequence, book: AnswerBook, trace: Trace) -> None:
        self.sequence = sequence
        self.streams = bool(call.request.stream)
        self.token_ns = sequence.arrived_ns
        self._call = call
        self._book = book
        self._trace = trace
        self._text = StreamText(call.api, call.identity)

    def open(self) -> None:
        """Tells a streaming client that its request was accepted: the stream begins before its first token."""
        if self.streams:
            self._call.exchange.open_stream(self._text.opening())

    def send_token(self) -> None:
        """Sends the newest token, which is not the last, if the client wants a stream."""
        if self.streams:
            self._call.exchange.send(self._newest(), partial(self._trace.token, self.sequence.due_ns))

    def send_end(self, usage: Usage) -> None:
        """Sends the last token and the end with the usage, in one write; or the whole answer."""
        sequence, call = self.sequence, self._call
        answer = sequence.answer
        if self.streams:
            ending = self._text.ending(answer.finish_reason, usage if call.request.include_usage else None)
            call.exchange.end_stream(self._newest() + ending, partial(self._trace.last_token, sequence.due_ns))
        else:
            text = self._book.text(answer, sequence.produced)
            body = render_whole(call.api, call.identity, text, answer.finish_reason, usage)
            call.exchange.respond(Response(200, body), partial(self._trace.whole, sequence.produced))

    def _newest(self) -> bytes:
        return self._text.token(self._book.word(self.sequence.answer, self.sequence.produced - 1))
