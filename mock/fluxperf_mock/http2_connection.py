"""One HTTP/2 connection (RFC 9113): many requests at once, each with its own answer. Knows no socket."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from fluxperf.clock import now_ns
from fluxperf_mock.api import render_error
from fluxperf_mock.connection import Output
from fluxperf_mock.http2_frames import FrameCutter
from fluxperf_mock.http2_stream import Stream
from fluxperf_mock.messages import MAX_BODY_BYTES, MAX_HEADER_BYTES, Request, Response
from fluxperf_mock.service import Service

# Bodies are taken as they come, so wide windows cost nothing, and no prompt waits for one to open.
_WINDOW_BYTES = 16 * 1024 * 1024
_DEFAULT_WINDOW_BYTES = 65_535


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one client may have: requests at once, and bytes of answers that its windows have no room for."""

    streams: int
    waiting_bytes: int = 64 * 1024 * 1024


@dataclass(slots=True)
class Upload:
    """A request that is still coming in."""

    stream: Stream
    method: str
    path: str
    query: str
    body: list[bytes] = field(default_factory=list)
    body_bytes: int = 0


class Http2Connection:
    """Takes a client's bytes, and has each request in them answered on its own stream.

    `breathe` is called after each frame, so that a burst of requests holds up no token.
    """

    def __init__(self, output: Output, service: Service, allowance: Allowance, breathe: Callable[[], None]) -> None:
        self._output = output
        self._service = service
        self._allowance = allowance
        self._breathe = breathe
        self._cutter = FrameCutter()
        self._uploads: dict[int, Upload] = {}
        self._streams: dict[int, Stream] = {}
        self._waiting: dict[int, Stream] = {}
        self._leaving = False
        self._over = False
        self._acts: dict[type[Event], Callable[[Any, int], None]] = {
            RequestReceived: self._begin,
            DataReceived: self._collect,
            StreamEnded: self._answer,
            StreamReset: self._cancel,
            WindowUpdated: self._flush,
            RemoteSettingsChanged: self._flush,
            ConnectionTerminated: self._leave,
        }
        self._h2 = _open(allowance.streams)
        self._write_pending()

    def receive(self, data: bytes, at_ns: int) -> None:
        """Takes bytes, the last of which came at `at_ns`."""
        for frame in self._cutter.feed(data):
            if self._over:
                return
            self._take(frame, at_ns)
            self._breathe()

    def lose(self, at_ns: int) -> None:
        """Takes notice that the client is gone."""
        self._over = True
        self._uploads.clear()
        for stream in self._streams.values():
            self._drop(stream, at_ns)
        self._streams.clear()
        self._waiting.clear()

    def on_end(self, stream: Stream) -> None:
        """A stream is done with."""
        stream.cancel = None  # which refers back to the stream
        self._streams.pop(stream.number, None)
        self._uploads.pop(stream.number, None)
        self._waiting.pop(stream.number, None)
        self._finish_if_idle()

    def on_wait(self, stream: Stream) -> None:
        """A stream has something that the windows have no room for."""
        self._waiting[stream.number] = stream
        if sum(each.waiting_bytes for each in self._waiting.values()) > self._allowance.waiting_bytes:
            self._abort(stream, ErrorCodes.ENHANCE_YOUR_CALM, now_ns())

    def _take(self, frame: bytes, at_ns: int) -> None:
        try:
            events = self._h2.receive_data(frame)
        except ProtocolError:
            self._write_pending()  # a GOAWAY that says why
            self.lose(at_ns)
            self._output.finish()
            return
        for event in events:
            act = self._acts.get(type(event))
            if act is not None:
                act(event, at_ns)
        self._write_pending()

    def _begin(self, event: RequestReceived, at_ns: int) -> None:
        stream = Stream(event.stream_id, self._h2, self._output, self)
        if len(self._streams) >= self._allowance.streams:
            stream.abort(ErrorCodes.REFUSED_STREAM)
            return
        fields = dict(event.headers)
        method = fields[b":method"].decode("latin-1")
        path, _, query = fields.get(b":path", b"/").decode("latin-1").partition("?")
        stream.bare = method == "HEAD"
        stream.fields = self._service.fields
        self._streams[stream.number] = stream
        self._uploads[stream.number] = Upload(stream, method, path, query)
        if fields.get(b"expect", b"").lower() == b"100-continue" and event.stream_ended is None:
            stream.go_on()

    def _collect(self, event: DataReceived, at_ns: int) -> None:
        # Data for a stream that is no more takes from the connection's window too.
        self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        upload = self._uploads.get(event.stream_id)
        if upload is None:
            return
        upload.body.append(event.data)
        upload.body_bytes += len(event.data)
        if upload.body_bytes > MAX_BODY_BYTES:
            message = f"the body is longer than {MAX_BODY_BYTES} bytes"
            upload.stream.respond(Response(413, render_error(413, message)))
            self._abort(upload.stream, ErrorCodes.NO_ERROR, at_ns)

    def _answer(self, event: StreamEnded, at_ns: int) -> None:
        upload = self._uploads.pop(event.stream_id, None)
        if upload is not None:
            request = Request(upload.method, upload.path, b"".join(upload.body), upload.query)
            upload.stream.cancel = self._service.handle(request, at_ns, upload.stream)

    def _cancel(self, event: StreamReset, at_ns: int) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            self._drop(stream, at_ns)
            self.on_end(stream)

    def _flush(self, event: WindowUpdated | RemoteSettingsChanged, at_ns: int) -> None:
        number = event.stream_id if isinstance(event, WindowUpdated) else 0
        for stream in list(self._waiting.values()):
            if number in (0, stream.number):
                self._waiting.pop(stream.number, None)
                stream.flush()

    def _leave(self, event: ConnectionTerminated, at_ns: int) -> None:
        # For h2 the connection is over. What a client's GOAWAY says is that it opens nothing new: what it has begun
        # is answered (RFC 9113, 6.8).
        self._h2.state_machine.state = ConnectionState.SERVER_OPEN
        self._leaving = True
        self._finish_if_idle()

    def _abort(self, stream: Stream, code: ErrorCodes, at_ns: int) -> None:
        stream.abort(code)
        self._drop(stream, at_ns)
        self.on_end(stream)

    def _drop(self, stream: Stream, at_ns: int) -> None:
        if stream.cancel is not None:
            stream.cancel(at_ns)

    def _finish_if_idle(self) -> None:
        if self._leaving and not self._streams:
            self._over = True
            self._output.finish()

    def _write_pending(self) -> None:
        """Sends what h2 has to say by itself: settings, acknowledgements, windows."""
        frames = self._h2.data_to_send()
        if frames and not self._over:
            self._output.write(frames)


def _open(most_streams: int) -> H2Connection:
    """A server's side of a connection that has announced its settings."""
    # What we send ourselves needs no check.
    connection = H2Connection(
        H2Configuration(client_side=False, validate_outbound_headers=False, normalize_outbound_headers=False)
    )
    announced = {
        SettingCodes.MAX_CONCURRENT_STREAMS: most_streams,
        SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW_BYTES,
        SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADER_BYTES,
    }
    connection.local_settings = Settings(client=False, initial_values=announced)
    connection.initiate_connection()
    # h2 would end the connection over a stream too many, which a client may open before it has read the settings: we
    # refuse that one stream (RFC 9113, 5.1.2).
    del connection.local_settings[SettingCodes.MAX_CONCURRENT_STREAMS]
    connection.increment_flow_control_window(_WINDOW_BYTES - _DEFAULT_WINDOW_BYTES)
    return connection
