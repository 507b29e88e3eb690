"""`Stream`: the answer to one request of an HTTP/2 connection, in frames, as far as the client's windows reach.

h2 owns the protocol. Only the frames of single tokens go around it, because an h2 call would cost as much as all the
rest of a token; they are taken off h2's own count of the windows, so that there is one count.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from h2.connection import H2Connection
from h2.errors import ErrorCodes

from fluxperf_mock.connection import Output
from fluxperf_mock.generation import Cancel, Receipt
from fluxperf_mock.messages import STREAM_FIELDS, Fields, Response

_LENGTH_BYTES = 3
_PLAIN_DATA = b"\x00\x00"  # type DATA, no flags (RFC 9113, 6.1)


class StreamOwner(Protocol):
    """What a stream tells its connection."""

    def on_end(self, stream: Stream) -> None:
        """All of the answer is in frames."""

    def on_wait(self, stream: Stream) -> None:
        """The stream has something that the windows have no room for."""


@dataclass(slots=True)
class Piece:
    """What still is to be sent, in one or more frames; `ends`: with it the stream ends."""

    data: memoryview
    receipt: Receipt | None
    ends: bool


class Stream:
    """One request's way back (a `generation.Exchange`).

    `bare`: the request was a HEAD, its response has no body. `fields` go with every response. `cancel` is for when its
    client goes away before its end. `waiting_bytes`: what the windows have had no room for.
    """

    __slots__ = (
        "_frame_tail",
        "_h2",
        "_output",
        "_owner",
        "_pieces",
        "_windows",
        "bare",
        "cancel",
        "fields",
        "number",
        "waiting_bytes",
    )

    def __init__(self, number: int, h2: H2Connection, output: Output, owner: StreamOwner) -> None:
        self.number = number
        self.bare = False
        self.waiting_bytes = 0
        self.fields: Fields = ()
        self.cancel: Cancel | None = None
        self._h2 = h2
        self._windows = h2.streams[number]
        self._output = output
        self._owner = owner
        self._pieces: deque[Piece] = deque()
        self._frame_tail = _PLAIN_DATA + number.to_bytes(4, "big")

    def respond(self, response: Response, receipt: Receipt | None = None) -> None:
        """Sends a whole response."""
        self._send_head(response.status, response.fields())
        self._send_piece(b"" if self.bare else response.body, receipt, ends=True)

    def open_stream(self, events: bytes) -> None:
        """Sends the head of an event stream, with its first events if there are any."""
        self._send_head(200, STREAM_FIELDS)
        head = self._h2.data_to_send()
        frame = self._render_frame(events) if events else b""
        self._output.write(head + (frame or b""))
        if frame is None:
            self._send_piece(events, None, ends=False)

    def send(self, events: bytes, receipt: Receipt) -> None:
        """Sends further events: in one frame and one write, if the windows have room."""
        frame = self._render_frame(events)
        if frame is None:
            self._send_piece(events, receipt, ends=False)
        else:
            self._output.write(frame, receipt)

    def end_stream(self, events: bytes, receipt: Receipt) -> None:
        """Sends the last events and the end of the stream."""
        self._send_piece(events, receipt, ends=True)

    def go_on(self) -> None:
        """Tells a client that waits for it that it may send the body (RFC 9110, 10.1.1)."""
        self._h2.send_headers(self.number, [(b":status", b"100")])
        self._output.write(self._h2.data_to_send())

    def abort(self, code: ErrorCodes) -> None:
        """Ends the stream with an error code."""
        self._pieces.clear()
        self._h2.reset_stream(self.number, code)
        self._output.write(self._h2.data_to_send())

    def flush(self) -> None:
        """Sends as much of what waits as the windows have room for, in one write."""
        h2, receipts, ended = self._h2, [], False
        while self._pieces:
            piece = self._pieces[0]
            room = min(h2.local_flow_control_window(self.number), h2.max_outbound_frame_size)
            if piece.data and room <= 0:
                break
            data, piece.data = piece.data[:room], piece.data[room:]
            self.waiting_bytes -= len(data)
            ended = piece.ends and not piece.data
            if data or ended:
                h2.send_data(self.number, data, end_stream=ended)
            if not piece.data:
                receipts.append(piece.receipt)
                self._pieces.popleft()
        frames = h2.data_to_send()
        if frames:
            self._output.write(frames, _join([receipt for receipt in receipts if receipt is not None]))
        if ended:
            self._owner.on_end(self)
        elif self._pieces:
            self._owner.on_wait(self)

    def _render_frame(self, data: bytes) -> bytes | None:
        """One plain frame, taken off the windows; None if they have no room for it, or other data waits for that."""
        size, h2, windows = len(data), self._h2, self._windows
        if (
            self._pieces
            or size > windows.outbound_flow_control_window
            or size > h2.outbound_flow_control_window
            or size > h2.max_outbound_frame_size
        ):
            return None
        windows.outbound_flow_control_window -= size
        h2.outbound_flow_control_window -= size
        return size.to_bytes(_LENGTH_BYTES, "big") + self._frame_tail + data

    def _send_head(self, status: int, fields: Iterable[tuple[str, str]]) -> None:
        self._h2.send_headers(self.number, [(":status", str(status)), *self.fields, *fields])

    def _send_piece(self, data: bytes, receipt: Receipt | None, *, ends: bool) -> None:
        self._pieces.append(Piece(memoryview(data), receipt, ends))
        self.waiting_bytes += len(data)
        self.flush()


def _join(receipts: Sequence[Receipt]) -> Receipt | None:
    """One receipt for several."""
    if len(receipts) <= 1:
        return receipts[0] if receipts else None

    def receive(at_ns: int) -> None:
        for receipt in receipts:
            receipt(at_ns)

    return receive
