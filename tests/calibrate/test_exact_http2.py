"""The exact-schedule server over HTTP/2, with h2 as the client."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from typing import TypeVar

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    PingAckReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    SettingsAcknowledged,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.settings import SettingCodes

from fluxperf.calibrate.server import TestServer
from tests.calibrate.conftest import PATH, Answer, Start, body, connect

GIVEN_BACK_AFTER_BYTES = 4 << 20
Found = TypeVar("Found", bound=Event)
HEADERS = [(":method", "POST"), (":path", PATH), (":scheme", "http"), (":authority", "x")]


class Peer:
    """One connection to the server. What it has sent is in `answers` by stream; `acknowledge`: give windows back."""

    def __init__(self, server: TestServer, *, window: int = 65_535, acknowledge: bool = True) -> None:
        self.sock = connect(server)
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.acknowledge = acknowledge
        self.answers: dict[int, Answer] = {}
        self.headers: dict[int, dict[str, str]] = {}
        self.ended: set[int] = set()
        self.seen: list[Event] = []
        self.flush()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def flush(self) -> None:
        self.sock.sendall(self.h2.data_to_send())

    def post(self, content: bytes) -> int:
        """Sends a request, as fast as the server's windows open; gives its stream."""
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, HEADERS)
        while content:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            self.h2.send_data(stream, content[:room], end_stream=len(content) <= room)
            content = content[room:]
            self.flush()
            if content and not self.h2.local_flow_control_window(stream):
                self.receive()
        return stream

    def receive(self) -> None:
        """Takes what comes with the next read."""
        data = self.sock.recv(65_536)
        if not data:
            raise EOFError
        events = self.h2.receive_data(data)
        for event in events:
            if isinstance(event, ResponseReceived):
                self.headers[event.stream_id] = dict(event.headers)  # type: ignore[arg-type]
            elif isinstance(event, DataReceived):
                self.answers.setdefault(event.stream_id, Answer()).pieces.append(event.data)
                if self.acknowledge and event.flow_controlled_length:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded):
                self.ended.add(event.stream_id)
        self.flush()
        self.seen += events

    def wait_for(self, kind: type[Found]) -> Found:
        """The first event of its kind, which may have come already."""
        while True:
            for event in self.seen:
                if isinstance(event, kind):
                    return event
            self.receive()

    def read_answer(self, stream: int) -> Answer:
        while stream not in self.ended:
            self.receive()
        assert self.headers[stream] == {":status": "200", "content-type": "text/event-stream"}
        return self.answers[stream]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload) << 8 | kind) + struct.pack(">BI", flags, stream) + payload


def raw(server: TestServer, *frames: bytes) -> socket.socket:
    """A connection on which these frames follow the preface and empty settings."""
    sock = connect(server)
    sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + b"".join(frames))
    return sock


def read_frames(sock: socket.socket) -> Iterator[tuple[int, int, int, bytes]]:
    """Kind, flags, stream and payload of each frame until the connection ends."""
    with sock, sock.makefile("rb") as file:
        while head := file.read(9):
            length, kind, flags, stream = int.from_bytes(head[:3], "big"), head[3], head[4], head[5:]
            yield kind, flags, int.from_bytes(stream, "big"), file.read(length)


def test_streams_are_answered_side_by_side_each_token_in_a_frame(start: Start) -> None:
    server = start(tokens=4)
    with Peer(server) as peer:
        streams = [peer.post(body(f"prompt {number}", max_tokens=number)) for number in (1, 2, 9)]
        answers = [peer.read_answer(stream) for stream in streams]
    assert [len(answer.contents) for answer in answers] == [1, 2, 4]
    assert [len(answer.pieces) for answer in answers] == [3, 4, 6]
    truth = server.truth()
    assert (truth["requests"], truth["finished"], truth["tokens"], truth["connections"]) == (3, 3, 7, 1)


def test_the_preface_may_come_byte_by_byte(start: Start) -> None:
    sock = connect(start())
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":
        sock.sendall(bytes([byte]))
    kind, _, stream, payload = next(read_frames(sock))
    assert (kind, stream, payload[:6]) == (4, 0, b"\0\3\0\0\1\0")


@pytest.mark.parametrize("size", [500_000, 20_000_000])
def test_large_bodies_get_the_window_they_need(start: Start, size: int) -> None:
    with Peer(start(tokens=3)) as peer:
        for _ in range(2):
            answer = peer.read_answer(peer.post(body("x" * size)))
            assert answer.usage["prompt_tokens"] == len(body("x" * size)) // 4
        given_back = [event for event in peer.seen if isinstance(event, WindowUpdated) and event.stream_id == 0]
        assert len(given_back) - 1 == 2 * size // GIVEN_BACK_AFTER_BYTES


def test_settings_are_told_and_acknowledged(start: Start) -> None:
    with Peer(start("--max-streams", "7")) as peer:
        changed = peer.wait_for(RemoteSettingsChanged)
        assert changed.changed_settings[SettingCodes.MAX_CONCURRENT_STREAMS].new_value == 7
        peer.wait_for(SettingsAcknowledged)


def test_streams_beyond_the_most_are_refused(start: Start) -> None:
    server = start("--max-streams", "1", ttft_ms=50)
    request = frame(1, 4, 1, b"\x82") + frame(0, 0, 1, body()), frame(1, 4, 3, b"\x82") + frame(0, 1, 3, body())
    frames = read_frames(raw(server, *request, frame(0, 1, 1)))
    refused = next(entry for entry in frames if entry[0] == 3)
    assert refused == (3, 0, 3, b"\0\0\0\7")
    assert next(entry for entry in frames if entry[0] == 0 and entry[1] & 1)[2] == 1  # the first one is answered
    frames.close()  # type: ignore[attr-defined]
    assert server.truth()["requests"] == 1


def test_a_ping_is_answered(start: Start) -> None:
    with Peer(start()) as peer:
        peer.h2.ping(b"12345678")
        peer.flush()
        answer = peer.wait_for(PingAckReceived)
        assert answer.ping_data == b"12345678"


def test_a_stream_that_is_reset_is_dropped(start: Start) -> None:
    server = start(ttft_ms=0, itl_ms=10_000, tokens=2)
    with Peer(server) as peer:
        stream = peer.post(body())
        peer.wait_for(DataReceived)
        peer.h2.reset_stream(stream, ErrorCodes.CANCEL)
        peer.h2.ping(b"12345678")
        peer.flush()
        peer.wait_for(PingAckReceived)
        assert (server.truth()["aborted"], server.truth()["finished"]) == (1, 0)


@pytest.mark.parametrize("window", [1, 100, 1000])
def test_small_windows_are_honoured_and_nothing_is_lost(start: Start, window: int) -> None:
    """h2 raises an error if the server sends more than it may."""
    server = start(ttft_ms=0, itl_ms=0, tokens=6)
    with Peer(server, window=window) as peer:
        assert len(peer.read_answer(peer.post(body())).contents) == 6
    assert server.truth()["held"] > 0


def test_the_window_of_the_connection_is_honoured_too(start: Start) -> None:
    server = start(ttft_ms=0, itl_ms=0, tokens=1000)
    with Peer(server, window=2**31 - 1, acknowledge=False) as peer:
        streams = [peer.post(body()) for _ in range(2)]
        while sum(len(piece) for answer in peer.answers.values() for piece in answer.pieces) < 65_535:
            peer.receive()
        peer.h2.increment_flow_control_window(2**30)
        peer.flush()
        assert [len(peer.read_answer(stream).contents) for stream in streams] == [1000, 1000]


def test_settings_change_the_windows_of_open_streams(start: Start) -> None:
    with Peer(start(ttft_ms=0, itl_ms=0, tokens=10), window=0) as peer:
        stream = peer.post(body())
        peer.wait_for(ResponseReceived)
        assert stream not in peer.answers
        peer.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 10_000})
        peer.flush()
        assert len(peer.read_answer(stream).contents) == 10


def test_padding_priority_and_continuations_are_taken(start: Start) -> None:
    content = body(max_tokens=2)
    half = len(content) // 2
    sock = raw(
        start(),
        frame(2, 0, 1, bytes(5)),
        frame(1, 0, 1, b"\x83\x84"),
        frame(9, 0, 1, b"\x86"),
        frame(9, 4, 1, b"\x41\x01x"),
        frame(0, 8, 1, b"\x03" + content[:half] + bytes(3)),
        frame(250, 0, 1, b"what is this?"),
        frame(0, 0, 1, content[half:]),
        frame(0, 0x9, 1, b"\x01\x00"),
    )
    pieces = []
    for kind, flags, stream, payload in read_frames(sock):
        if kind == 0:
            assert stream == 1
            pieces.append(payload)
            if flags & 1:
                break
    assert len(Answer(pieces).contents) == 2


def test_trailers_end_a_request(start: Start) -> None:
    frames = read_frames(raw(start(), frame(1, 4, 1, b"\x83"), frame(0, 0, 1, body()), frame(1, 5, 1, b"\x83")))
    assert any(kind == 0 and flags & 1 for kind, flags, _, _ in frames)


def test_a_request_without_a_body_gets_the_models(start: Start) -> None:
    with Peer(start()) as peer:
        peer.h2.send_headers(1, [(":method", "GET"), *HEADERS[1:]], end_stream=True)
        peer.flush()
        while 1 not in peer.ended:
            peer.receive()
    assert peer.headers[1] == {":status": "200", "content-type": "application/json"}
    assert json.loads(b"".join(peer.answers[1].pieces))["data"][0]["id"] == "exact"


def test_answers_under_way_outlive_a_goaway(start: Start) -> None:
    with Peer(start()) as peer:
        stream = peer.post(body())
        peer.sock.sendall(frame(7, 0, 0, bytes(8)))
        assert len(peer.read_answer(stream).contents) == 5


@pytest.mark.parametrize(
    ("frames", "error"),
    [
        ([frame(1, 4, 2, b"\x83")], ErrorCodes.PROTOCOL_ERROR),  # an even stream
        ([frame(1, 4, 3, b"\x83"), frame(1, 4, 1, b"\x83")], ErrorCodes.PROTOCOL_ERROR),  # an older one
        ([frame(1, 0, 1, b"\x83"), frame(0, 1, 1, b"{}")], ErrorCodes.PROTOCOL_ERROR),  # in a header block
        ([frame(9, 4, 1, b"\x83")], ErrorCodes.PROTOCOL_ERROR),  # outside of one
        ([frame(0, 0, 1, b"{}")], ErrorCodes.PROTOCOL_ERROR),  # of a stream that is not open
        ([frame(0, 0, 0, b"{}")], ErrorCodes.PROTOCOL_ERROR),
        ([frame(1, 4, 1, b"\x83"), frame(0, 8, 1, b"\x05abc")], ErrorCodes.PROTOCOL_ERROR),  # too much padding
        ([frame(5, 4, 1, bytes(4))], ErrorCodes.PROTOCOL_ERROR),  # a push
        ([frame(6, 0, 0, b"1234")], ErrorCodes.FRAME_SIZE_ERROR),
        ([frame(4, 0, 0, b"1234")], ErrorCodes.FRAME_SIZE_ERROR),
        ([frame(0, 0, 1, bytes(16_385))[:9]], ErrorCodes.FRAME_SIZE_ERROR),
        ([frame(8, 0, 0, bytes(4))], ErrorCodes.PROTOCOL_ERROR),
        ([frame(8, 0, 0, struct.pack(">I", 2**31 - 1))], ErrorCodes.FLOW_CONTROL_ERROR),
        ([frame(4, 0, 0, struct.pack(">HI", 4, 2**31))], ErrorCodes.FLOW_CONTROL_ERROR),
    ],
)
def test_what_breaks_the_protocol_ends_the_connection(start: Start, frames: list[bytes], error: ErrorCodes) -> None:
    server = start()
    *_, (kind, _, _, payload) = read_frames(raw(server, *frames))
    assert (kind, int.from_bytes(payload[4:], "big")) == (7, error)
    assert server.truth()["requests"] == 0  # and it still serves


def test_both_protocols_are_served_on_one_port(start: Start) -> None:
    server = start(tokens=2)
    with Peer(server) as peer:
        stream = peer.post(body())
        assert server.truth()["finished"] in (0, 1)  # over HTTP/1.1, meanwhile
        assert len(peer.read_answer(stream).contents) == 2
    assert server.truth()["finished"] == 1


def test_nothing_of_what_it_sends_upsets_h2(start: Start) -> None:
    with Peer(start(ttft_ms=0, itl_ms=0, tokens=50)) as peer:
        streams = [peer.post(body(f"prompt {number}")) for number in range(50)]
        assert all(len(peer.read_answer(stream).contents) == 50 for stream in streams)
        assert not [event for event in peer.seen if isinstance(event, ConnectionTerminated | StreamReset)]
