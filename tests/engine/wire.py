"""HTTP/2 in memory: a session of ours, and h2 as the server at the far end.

h2 makes most of the server's frames; those that it would not make are built by hand, with hyperframe.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, RequestReceived, StreamEnded
from h2.settings import SettingCodes, Settings
from hpack import NeverIndexedHeaderTuple
from hyperframe.frame import DataFrame, Frame, HeadersFrame

from fluxperf.engine.http2 import Http2Session
from fluxperf.engine.session import Exchange, Request
from fluxperf.engine.sink import Headers
from tests.engine.scripted import Notes

EVENT_STREAM = ("content-type", "text/event-stream")
Fields = Sequence[tuple[str, str]]
E = TypeVar("E", bound=Event)


@dataclass(frozen=True)
class Asked:
    """A request under way: its stream's number, and what its sink was told."""

    number: int
    exchange: Exchange
    notes: Notes


def make_request(
    body: bytes = b"", *, path: bytes = b"/v1/chat/completions", headers: Headers | None = None
) -> Request:
    """A request as the transport makes it."""
    fields = [(b"Host", b"host:8000"), (b"Connection", b"keep-alive")] if headers is None else headers
    return Request(b"POST", b"http", path, fields, body)


@dataclass
class Wire:
    """`session` and `far` talk to each other. What is fed to the session arrives at 100, 200, 300, ...

    `heard`: what the far end made of the session's bytes. `endings`: the exchanges that have ended, in order.
    """

    settings: Mapping[SettingCodes, int] = field(default_factory=dict)
    session: Http2Session = field(default_factory=Http2Session)
    greet: bool = True
    heard: list[Event] = field(default_factory=list)
    endings: list[tuple[Exchange, Exception | None]] = field(default_factory=list)
    at_ns: int = 0

    def __post_init__(self) -> None:
        self.far = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.far.local_settings = Settings(client=False, initial_values={**self.settings})
        self.far.initiate_connection()
        if self.greet:
            self.pump()

    # The client's side.

    def begin(self, body: bytes = b"", **request: bytes | Headers) -> tuple[Asked, bytes]:
        """A request that has been given to the session but not sent; its bytes."""
        exchange = Exchange(Notes(), None)
        data = self.session.begin(exchange, make_request(body, **request))  # type: ignore[arg-type]
        notes = exchange.sink
        assert isinstance(notes, Notes)
        return Asked(self.session._last_number, exchange, notes), data

    def send(self, asked: Asked, data: bytes) -> None:
        """Sends what `begin` gave, as a connection does."""
        self.heard += self.far.receive_data(data)
        asked.exchange.begun = True
        self.session.begun(asked.exchange)
        self.pump()

    def ask(self, body: bytes = b"", **request: bytes | Headers) -> Asked:
        """A request that is sent."""
        asked, data = self.begin(body, **request)
        self.send(asked, data)
        return asked

    def feed(self, *pieces: bytes) -> None:
        """Gives the session what the server has sent, piece by piece."""
        for piece in pieces:
            self.at_ns += 100
            self.endings += self.session.feed(piece, self.at_ns)

    def pump(self) -> None:
        """Lets both ends say what they have to say, until both are silent."""
        silent = False
        while not silent:
            ours = self.session.pending()
            if ours:
                self.heard += self.far.receive_data(ours)
            theirs = self.far.data_to_send()
            if theirs:
                self.feed(theirs)
            silent = not ours and not theirs

    # The server's side.

    def head(self, asked: Asked, *fields: tuple[str, str], status: int = 200, end: bool = False) -> None:
        """The head of the answer."""
        self.far.send_headers(asked.number, [(":status", str(status)), *fields], end_stream=end)

    def data(self, asked: Asked, data: bytes, *, end: bool = False, padding: int | None = None) -> None:
        """A DATA frame of the answer."""
        self.far.send_data(asked.number, data, end_stream=end, pad_length=padding)

    def answer(self, asked: Asked, *pieces: bytes, end: bool = True) -> None:
        """A whole answer; the last piece ends it."""
        self.head(asked, EVENT_STREAM)
        for place, piece in enumerate(pieces, start=1):
            self.data(asked, piece, end=end and place == len(pieces))

    def said(self) -> bytes:
        """The bytes that the server has to send, which do not reach the session by themselves."""
        return self.far.data_to_send()

    def packed(self, fields: Fields) -> bytes:
        """Header fields as this connection's compression has them at this point, without leaving a trace in it."""
        return self.far.encoder.encode([NeverIndexedHeaderTuple(name, value) for name, value in fields])

    # What has become of it.

    def told(self, kind: type[E]) -> list[E]:
        """What the far end has heard of this kind."""
        return [event for event in self.heard if isinstance(event, kind)]

    def requests(self) -> dict[int, list[tuple[str, str]]]:
        """The heads of the requests by stream."""
        return {
            event.stream_id or 0: [(str(name), str(value)) for name, value in event.headers or ()]
            for event in self.told(RequestReceived)
        }

    def bodies(self) -> dict[int, bytes]:
        """What has come of the bodies of the requests."""
        bodies: dict[int, bytes] = {}
        for event in self.told(DataReceived):
            number = event.stream_id or 0
            bodies[number] = bodies.get(number, b"") + (event.data or b"")
        return bodies

    def whole(self) -> set[int | None]:
        """The requests that have come whole."""
        return {event.stream_id for event in self.told(StreamEnded)}

    def outcome(self, asked: Asked) -> Exception | None:
        """How the exchange ended: the one time that it did."""
        ((_, error),) = [ending for ending in self.endings if ending[0] is asked.exchange]
        return error

    def is_over(self, asked: Asked) -> bool:
        """Whether the session has ended the exchange."""
        return any(exchange is asked.exchange for exchange, _ in self.endings)


def frames(data: bytes) -> list[Frame]:
    """The frames of some bytes that hold whole ones."""
    found = []
    rest = memoryview(data)
    while rest:
        frame, length = Frame.parse_frame_header(rest[:9])
        frame.parse_body(rest[9 : 9 + length])
        found.append(frame)
        rest = rest[9 + length :]
    return found


def data_frame(number: int, data: bytes, *flags: str, padding: int = 0) -> bytes:
    """A DATA frame by hand."""
    return DataFrame(number, data, flags=flags, pad_length=padding).serialize()


def head_frame(number: int, block: bytes, *flags: str) -> bytes:
    """A HEADERS frame by hand, with this header block."""
    return HeadersFrame(number, block, flags=flags).serialize()


def raw_frame(kind: int, number: int, payload: bytes, flags: int = 0) -> bytes:
    """A frame of any kind, however wrong."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + number.to_bytes(4, "big") + payload


def names(notes: Iterable[str]) -> list[str]:
    """The calls with repetitions left out, since a body comes in however many pieces."""
    found: list[str] = []
    for name in notes:
        if not found or found[-1] != name:
            found.append(name)
    return found
