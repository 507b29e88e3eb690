"""HTTP/2 without IO (RFC 9113): requests out, frames of their responses in, calls to a `Sink` out.

h2 owns the connection: settings, header compression, stream states. What makes up nearly all of an
event stream, DATA frames without padding that do not end their stream, takes a short way around it, a tenth
of the time; their flow control is accounted for here. GOAWAY is read here too: after it h2 refuses
what streams that may still finish receive.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    InformationalResponseReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from fluxperf.engine.http2_words import complaint_of, error_name, head_fields, quote, reset_error
from fluxperf.engine.session import BrokenResponse, Ending, Exchange, MalformedResponse, Request
from fluxperf.engine.sink import Headers, Sink
from fluxperf.units import NS_PER_S

STREAM_WINDOW_BYTES = 1 << 24
CONNECTION_WINDOW_BYTES = 1 << 30
MAX_FRAME_BYTES = 1 << 14  # what RFC 9113 4.2 grants a peer that was not told of more
IDLE_LIMIT_NS = 4 * NS_PER_S
_FIRST_WINDOW_BYTES = 65_535  # of a connection, until it is widened (RFC 9113 6.9.2)
_LAST_NUMBER = (1 << 31) - 1  # of a stream

_HEADER_BYTES = 9
_HEADER = struct.Struct(">IBI")  # length and kind, flags, stream
_GOAWAY_PAYLOAD = struct.Struct(">II")
_WINDOW_UPDATE = struct.Struct(">HBBBII")
_DATA, _GOAWAY, _WINDOW_UPDATE_KIND = 0x0, 0x7, 0x8
_END_STREAM_OR_PADDED = 0x1 | 0x8


class _H2(H2Connection):
    MAX_CLOSED_STREAMS = 256  # for late frames of streams that we reset; 65,536 would be some MB a connection


class _Stream:
    """One exchange on its stream."""

    __slots__ = ("body", "exchange", "number", "plain", "sink", "unacknowledged")

    def __init__(self, number: int, exchange: Exchange, body: memoryview) -> None:
        self.number = number
        self.exchange = exchange
        self.sink: Sink = exchange.sink
        self.body = body  # what has yet to be sent
        self.plain = False  # its DATA frames may go around h2: the head has come, and no length that h2 would check
        self.unacknowledged = 0


class Http2Session:
    """The streams of one connection. See `Session`. It is settled once the server has told its settings."""

    def __init__(
        self, stream_window_bytes: int = STREAM_WINDOW_BYTES, connection_window_bytes: int = CONNECTION_WINDOW_BYTES
    ) -> None:
        self.version = "2"
        self.settled = False
        self.news = False
        self.complaint: str | None = None
        self._h2 = _H2(
            H2Configuration(
                client_side=True,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._h2.local_settings = Settings(
            client=True,
            initial_values={SettingCodes.ENABLE_PUSH: 0, SettingCodes.INITIAL_WINDOW_SIZE: stream_window_bytes},
        )
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(connection_window_bytes - _FIRST_WINDOW_BYTES)
        self._streams: dict[int, _Stream] = {}
        self._numbers: dict[Exchange, int] = {}
        self._blocked: dict[int, _Stream] = {}  # those whose request waits for a window
        self._rest = b""
        self._updates: list[bytes] = []
        self._endings: list[Ending] = []
        self._unacknowledged = 0
        # h2 gives back what came the long way once it is half a window: so at least a quarter is always open.
        self._stream_share = stream_window_bytes // 4
        self._connection_share = connection_window_bytes // 4
        self._last_number = -1
        self._farewell: str | None = None
        self._over = False

    @property
    def capacity(self) -> int:
        """See `Session`."""
        if self._over or self._last_number >= _LAST_NUMBER - 2:
            return 0
        return int(self._h2.remote_settings.max_concurrent_streams)

    @property
    def idle_limit_ns(self) -> int:
        """See `Session`."""
        return IDLE_LIMIT_NS

    # Requests.

    def begin(self, exchange: Exchange, request: Request) -> bytes:
        """See `Session`."""
        number = self._last_number = self._last_number + 2
        stream = _Stream(number, exchange, memoryview(request.body))
        self._streams[number] = stream
        self._numbers[exchange] = number
        self._h2.send_headers(number, head_fields(request), end_stream=not request.body)
        self._send_body(stream)
        return self._h2.data_to_send()

    def begun(self, exchange: Exchange) -> None:
        """See `Session`."""
        if self._blocked:
            self._send_blocked()

    def _send_body(self, stream: _Stream) -> None:
        """Sends as much of the body as the server's windows allow."""
        connection, number = self._h2, stream.number
        while stream.body:
            allowed = min(connection.local_flow_control_window(number), connection.max_outbound_frame_size)
            if allowed <= 0:
                self._blocked[number] = stream
                return
            piece, stream.body = stream.body[:allowed], stream.body[allowed:]
            connection.send_data(number, bytes(piece), end_stream=not stream.body)
        self._blocked.pop(number, None)

    def _send_blocked(self) -> None:
        for stream in list(self._blocked.values()):
            if stream.exchange.begun:  # the head of one that has not begun is still queued, and its body comes after it
                self._send_body(stream)

    # Responses.

    def feed(self, data: bytes, at_ns: int) -> Sequence[Ending]:
        """See `Session`."""
        buffer = self._rest + data if self._rest else data
        streams, unpack, position, end = self._streams, _HEADER.unpack_from, 0, len(buffer)
        try:
            while end - position >= _HEADER_BYTES:
                word, flags, number = unpack(buffer, position)
                length, kind = word >> 8, word & 0xFF
                if length > MAX_FRAME_BYTES:
                    raise ProtocolError(f"a frame of {length} bytes, where {MAX_FRAME_BYTES} are allowed")
                stop = position + _HEADER_BYTES + length
                if stop > end:
                    break
                stream = streams.get(number)
                if kind == _DATA and not flags & _END_STREAM_OR_PADDED and stream is not None and stream.plain:
                    stream.sink.body(buffer[position + _HEADER_BYTES : stop], at_ns)
                    stream.unacknowledged += length
                    self._unacknowledged += length
                    if stream.unacknowledged >= self._stream_share:
                        self._widen(number, stream.unacknowledged)
                        stream.unacknowledged = 0
                else:
                    self._read_frame(kind, number, buffer[position:stop], at_ns)
                position = stop
        except ProtocolError as error:
            self.complaint = complaint_of(buffer, error, settled=self.settled)
            return self._end_all(self.complaint)
        self._rest = buffer[position:]
        if self._unacknowledged >= self._connection_share:
            self._widen(0, self._unacknowledged)
            self._unacknowledged = 0
        return self._take_endings()

    def _widen(self, number: int, size_bytes: int) -> None:
        """Gives the server as much window as what came on the short way has used (RFC 9113 6.9)."""
        self.news = True
        self._updates.append(_WINDOW_UPDATE.pack(0, 4, _WINDOW_UPDATE_KIND, 0, number, size_bytes))

    def _read_frame(self, kind: int, number: int, frame: bytes, at_ns: int) -> None:
        self.news = True
        if kind == _GOAWAY:
            self._part(frame[_HEADER_BYTES:])
        elif kind == _DATA and number % 2 and number not in self._streams and number <= self._last_number:
            self._unacknowledged += len(frame) - _HEADER_BYTES  # of a stream that was given up
        else:
            for event in self._h2.receive_data(frame):
                if isinstance(event, RemoteSettingsChanged):
                    self.settled = True
                    if self.capacity == 0:
                        self.complaint = "the server allows no request on the connection (MAX_CONCURRENT_STREAMS is 0)"
                self._take(event, at_ns)
            if self._blocked:
                self._send_blocked()

    def _take(self, event: Event, at_ns: int) -> None:
        stream = self._streams.get(getattr(event, "stream_id", None) or 0)
        if stream is None:
            return
        if isinstance(event, ResponseReceived):
            _take_head(stream, event, at_ns)
        elif isinstance(event, InformationalResponseReceived):
            stream.exchange.started = True
        elif isinstance(event, DataReceived):
            stream.sink.body(bytes(event.data or b""), at_ns)
            if event.flow_controlled_length:
                self._h2.acknowledge_received_data(event.flow_controlled_length, stream.number)
        elif isinstance(event, StreamEnded):
            stream.sink.end(at_ns)
            if stream.body:  # the answer came before the whole request had gone out
                self._h2.reset_stream(stream.number, ErrorCodes.NO_ERROR)
            self._end(stream, None)
        elif isinstance(event, StreamReset):
            self._end(stream, reset_error(event))

    def _part(self, payload: bytes) -> None:
        """The server takes no further streams, and will not look at those beyond the last one that it names."""
        if len(payload) < _GOAWAY_PAYLOAD.size:
            raise ProtocolError("a GOAWAY frame that is too short")
        last, code = _GOAWAY_PAYLOAD.unpack_from(payload)
        self._over = True
        self._farewell = f"the server said goodbye (GOAWAY, {error_name(code)}{quote(payload[_GOAWAY_PAYLOAD.size :])})"
        self.complaint = self._farewell
        for stream in list(self._streams.values()):
            beyond = stream.number > last & _LAST_NUMBER and not stream.exchange.started
            if beyond or not stream.exchange.begun:
                what = f"{self._farewell} before it looked at the request"
                self._end(stream, BrokenResponse(what, untouched=True, disowned=True))

    def feed_eof(self, at_ns: int) -> Sequence[Ending]:
        """See `Session`."""
        return self.break_off("the server closed the connection")

    def break_off(self, message: str) -> Sequence[Ending]:
        """See `Session`."""
        said = f"{message}, after {self._farewell}" if self._farewell else message
        self._over = True
        for stream in list(self._streams.values()):
            where = "in the middle of the response" if stream.exchange.started else "before the response began"
            self._end(stream, BrokenResponse(f"{said} {where}", untouched=not stream.exchange.started))
        return self._take_endings()

    def abandon(self, exchange: Exchange) -> bool:
        """See `Session`."""
        number = self._numbers.pop(exchange, None)
        if number is None:
            return True
        del self._streams[number]
        self._blocked.pop(number, None)
        if not exchange.begun:  # the server would miss the part of the header compression that is queued with it
            self._over = True
            return False
        self._h2.reset_stream(number, ErrorCodes.CANCEL)
        return True

    def pending(self) -> bytes:
        """See `Session`."""
        data = self._h2.data_to_send()
        if self._updates:
            data += b"".join(self._updates)
            self._updates.clear()
        return data

    def _end(self, stream: _Stream, error: Exception | None) -> None:
        del self._streams[stream.number]
        del self._numbers[stream.exchange]
        self._blocked.pop(stream.number, None)
        self._endings.append((stream.exchange, error))

    def _end_all(self, complaint: str) -> Sequence[Ending]:
        self._over = True
        for stream in list(self._streams.values()):
            self._end(stream, MalformedResponse(complaint))
        return self._take_endings()

    def _take_endings(self) -> Sequence[Ending]:
        if not self._endings:
            return ()
        endings, self._endings = self._endings, []
        return endings


def _take_head(stream: _Stream, event: ResponseReceived, at_ns: int) -> None:
    exchange = stream.exchange
    fields: Headers = [(bytes(name), bytes(value)) for name, value in event.headers or ()]
    status = dict(fields)[b":status"]
    if not exchange.begun:
        raise ProtocolError("an answer to a request that has not been sent")
    if not re.fullmatch(rb"[2-9]\d\d", status):
        raise ProtocolError(f"{status[:20]!r} is no status")
    exchange.headers = [(name, value) for name, value in fields if not name.startswith(b":")]
    exchange.status = int(status)
    exchange.started = True
    stream.plain = all(name != b"content-length" for name, _ in exchange.headers)
    stream.sink.head(exchange.status, exchange.headers, at_ns)
