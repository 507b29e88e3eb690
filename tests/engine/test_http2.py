"""Requests and responses of HTTP/2 in frames as servers write them, and in some that they should not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from h2.events import PingAckReceived, RemoteSettingsChanged, SettingsAcknowledged
from h2.settings import SettingCodes
from hyperframe.frame import ContinuationFrame, HeadersFrame, PingFrame, PriorityFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxperf.engine.http2 import IDLE_LIMIT_NS, MAX_FRAME_BYTES
from tests.engine.scripted import cut
from tests.engine.wire import EVENT_STREAM, Asked, Wire, data_frame, frames, head_frame, names, raw_frame

Answer = Callable[[Wire, Asked], None]


# Answers, each of which says "hello there".


def in_one_frame(wire: Wire, asked: Asked) -> None:
    wire.answer(asked, b"hello there")


def in_many_frames(wire: Wire, asked: Asked) -> None:
    wire.answer(asked, *(bytes([byte]) for byte in b"hello there"))


def ended_by_an_empty_frame(wire: Wire, asked: Asked) -> None:
    wire.answer(asked, b"hello", b" there", b"")


def with_empty_frames(wire: Wire, asked: Asked) -> None:
    wire.answer(asked, b"", b"hello", b"", b"", b" there", b"")


def of_a_told_length(wire: Wire, asked: Asked) -> None:
    wire.head(asked, ("content-length", "11"))
    wire.data(asked, b"hello")
    wire.data(asked, b" there", end=True)


def padded(wire: Wire, asked: Asked) -> None:
    wire.head(asked, EVENT_STREAM)
    wire.data(asked, b"hello", padding=0)
    wire.data(asked, b"", padding=7)
    wire.data(asked, b" the", padding=255)
    wire.data(asked, b"re", padding=3, end=True)


def with_trailers(wire: Wire, asked: Asked) -> None:
    wire.answer(asked, b"hello there", end=False)
    wire.far.send_headers(asked.number, [("server-timing", "1")], end_stream=True)


def after_informational_ones(wire: Wire, asked: Asked) -> None:
    for head in ([(":status", "100")], [(":status", "103"), ("link", "</a>")], [(":status", "103"), ("link", "</b>")]):
        wire.far.send_headers(asked.number, head)
    in_one_frame(wire, asked)


def with_a_long_head(wire: Wire, asked: Asked) -> None:
    """Its head takes several frames."""
    wire.head(asked, EVENT_STREAM, *((f"x-{number}", "v" * 1000) for number in range(50)))
    wire.data(asked, b"hello there", end=True)


ANSWERS = {
    answer.__name__: answer
    for answer in (
        in_one_frame,
        in_many_frames,
        ended_by_an_empty_frame,
        with_empty_frames,
        of_a_told_length,
        padded,
        with_trailers,
        after_informational_ones,
        with_a_long_head,
    )
}


def summary(wire: Wire, asked: Asked) -> tuple[Any, ...]:
    """What must not depend on how the bytes were cut: all but stamps and how the body was cut."""
    ((status, headers, _),) = asked.notes.told("head")
    assert names(asked.notes.names) == ["head", "body", "end"]
    exchange = asked.exchange
    assert (exchange.status, exchange.headers, exchange.started) == (status, headers, True)
    return status, headers, asked.notes.data, wire.outcome(asked)


@pytest.mark.parametrize("name", ANSWERS)
def test_a_whole_answer(name: str) -> None:
    wire = Wire()
    asked = wire.ask()
    ANSWERS[name](wire, asked)
    wire.pump()
    status, headers, body, error = summary(wire, asked)
    assert (status, body, error) == (200, b"hello there", None)
    assert {name for name, _ in headers} >= {b"content-length" if name == "of_a_told_length" else b"content-type"}
    assert wire.session.capacity > 0
    assert wire.session.complaint is None


@pytest.mark.parametrize("name", [*set(ANSWERS) - {"with_a_long_head"}])
def test_a_cut_anywhere_changes_nothing(name: str) -> None:
    def listen(at: int | None) -> tuple[int, Any]:
        wire = Wire()
        asked = wire.ask()
        ANSWERS[name](wire, asked)
        data = wire.said()
        wire.feed(*cut(data, [] if at is None else [at]))
        return len(data), summary(wire, asked)

    length, expected = listen(None)
    for at in range(1, length):
        assert listen(at) == (length, expected)


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_byte_by_byte(name: str) -> None:
    wire = Wire()
    asked = wire.ask()
    ANSWERS[name](wire, asked)
    data = wire.said()
    wire.feed(*(data[at : at + 1] for at in range(len(data))))
    assert summary(wire, asked)[2:] == (b"hello there", None)


@pytest.mark.parametrize("status", [204, 304, 404])
def test_an_answer_without_a_body_ends_with_its_head(status: int) -> None:
    wire = Wire()
    asked = wire.ask()
    wire.head(asked, status=status, end=True)
    wire.pump()
    assert asked.notes.names == ["head", "end"]
    assert (asked.exchange.status, wire.outcome(asked)) == (status, None)


def test_each_call_has_the_stamp_of_the_bytes_that_completed_its_frame() -> None:
    wire = Wire()
    asked = wire.ask()
    before_ns = wire.at_ns
    wire.head(asked, EVENT_STREAM)
    head = wire.said()
    wire.data(asked, b"one")
    one = wire.said()
    wire.data(asked, b"two")
    two = wire.said()
    wire.data(asked, b"three", end=True)
    three = wire.said()
    wire.feed(head + one, two[:4], two[4:-1], two[-1:] + three[:9], three[9:])
    told = [(name, at_ns - before_ns) for name, *_, at_ns in asked.notes.calls]
    assert told == [("head", 100), ("body", 100), ("body", 400), ("body", 500), ("end", 500)]
    assert asked.notes.told("body")[1][0] == b"two"


def test_headers_come_in_order_as_bytes_without_pseudo_fields() -> None:
    wire = Wire()
    asked = wire.ask()
    wire.head(asked, ("set-cookie", "a"), ("x-a", "Größe"), ("set-cookie", "b"), ("empty", ""), end=True)
    wire.pump()
    expected = [(b"set-cookie", b"a"), (b"x-a", "Größe".encode()), (b"set-cookie", b"b"), (b"empty", b"")]
    assert asked.exchange.headers == expected


# Frames beside answers.


def unknown_frames(number: int) -> bytes:
    """Of a kind that nobody knows, on the stream and on none; and an ALTSVC."""
    return (
        raw_frame(0xFA, number, b"whatever", flags=0xFF)
        + raw_frame(0xFB, 0, b"")
        + raw_frame(0x0A, 0, b"\x00\x01xh2=:8000")
    )


def test_what_is_not_known_is_passed_over() -> None:
    wire = Wire()
    asked = wire.ask()
    wire.head(asked, EVENT_STREAM)
    wire.feed(
        unknown_frames(asked.number) + wire.said(),
        data_frame(asked.number, b"hello") + unknown_frames(asked.number),
        raw_frame(0x0, asked.number, b" there", flags=0xF6),  # every flag but END_STREAM and PADDED
        raw_frame(0x0, 1 << 31 | asked.number, b"!", flags=0x40),  # and the reserved bit
        PriorityFrame(asked.number, depends_on=0, stream_weight=7).serialize(),
        data_frame(asked.number, b"", "END_STREAM"),
    )
    assert (asked.notes.data, wire.outcome(asked)) == (b"hello there!", None)


def test_a_ping_is_answered_at_once() -> None:
    wire = Wire()
    wire.far.ping(b"12345678")
    wire.feed(wire.said())
    assert frames(wire.session.pending()) == [PingFrameAck()]
    assert wire.session.pending() == b""


def PingFrameAck() -> Any:  # noqa: N802 - stands for a value that compares by what it holds
    class Same:
        def __eq__(self, frame: object) -> bool:
            return isinstance(frame, PingFrame) and frame.opaque_data == b"12345678" and "ACK" in frame.flags

    return Same()


def test_pings_between_the_frames_of_an_answer() -> None:
    wire = Wire()
    asked = wire.ask()
    wire.head(asked, EVENT_STREAM)
    for number in range(5):
        wire.far.ping(b"%08d" % number)
        wire.data(asked, b"%d" % number, end=number == 4)
    wire.pump()
    assert asked.notes.data == b"01234"
    assert [event.ping_data for event in wire.told(PingAckReceived)] == [b"%08d" % number for number in range(5)]


def test_heads_of_many_streams_share_one_compression() -> None:
    wire = Wire()
    streams = [wire.ask() for _ in range(20)]
    for number, asked in enumerate(streams):
        wire.head(asked, EVENT_STREAM, ("x-server", "the same"), ("x-request", str(number)))
    for asked in reversed(streams):
        wire.data(asked, b"%d" % asked.number, end=True)
    wire.pump()
    assert [asked.notes.data for asked in streams] == [b"%d" % asked.number for asked in streams]
    assert [dict(asked.exchange.headers)[b"x-request"] for asked in streams] == [b"%d" % place for place in range(20)]
    assert [exchange for exchange, _ in wire.endings] == [asked.exchange for asked in reversed(streams)]


# Interleaved streams, cut anywhere: what the sinks get is what was sent.

STREAMS = 4
actions = st.lists(
    st.tuples(
        st.integers(0, STREAMS - 1),
        st.sampled_from(["data", "padded", "empty", "by hand", "ping", "unknown", "settings", "informational"]),
        st.binary(min_size=1, max_size=30),
    ),
    max_size=40,
)
endings = st.lists(st.sampled_from(["data", "empty", "trailers"]), min_size=STREAMS, max_size=STREAMS)


def speak(wire: Wire, asked: Asked, action: str, data: bytes) -> bytes:
    """One thing that the server says; gives the part of the answer's body that was in it."""
    match action:
        case "data":
            wire.data(asked, data)
            return data
        case "padded":
            wire.data(asked, data, padding=len(data) % 5)
            return data
        case "empty":
            wire.data(asked, b"")
        case "ping":
            wire.far.ping(data.ljust(8)[:8])
        case "settings":
            wire.far.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 10 + len(data)})
    return b""


def end(wire: Wire, asked: Asked, ending: str) -> bytes:
    """The end of an answer; gives the part of the body that was in it."""
    match ending:
        case "data":
            wire.data(asked, b"last", end=True)
            return b"last"
        case "empty":
            wire.data(asked, b"", end=True)
        case "trailers":
            wire.far.send_headers(asked.number, [("x-trailer", "1")], end_stream=True)
    return b""


@given(actions, endings, st.lists(st.integers(1, 4000), max_size=30))
def test_interleaved_streams_cut_anywhere(
    actions: Sequence[tuple[int, str, bytes]], endings: Sequence[str], places: Sequence[int]
) -> None:
    wire = Wire()
    streams = [wire.ask() for _ in range(STREAMS)]
    said, bodies, begun = b"", [b""] * STREAMS, set[int]()
    for place, action, data in [*actions, *((place, "end", b"") for place in range(STREAMS))]:
        asked = streams[place]
        if action == "informational" and place not in begun:
            wire.far.send_headers(asked.number, [(":status", "103"), ("link", "</x>")])
        elif place not in begun:
            wire.head(asked, EVENT_STREAM)
            begun.add(place)
        if action == "unknown":
            said += wire.said() + unknown_frames(asked.number)
        elif action == "by hand":
            said += wire.said() + raw_frame(0x0, asked.number, data, flags=0x20)
            bodies[place] += data
        elif action == "end":
            bodies[place] += end(wire, asked, endings[place])
        else:
            bodies[place] += speak(wire, asked, action, data)
    said += wire.said()
    wire.feed(*cut(said, places))
    for place, asked in enumerate(streams):
        assert asked.notes.data == bodies[place]
        assert asked.notes.names[0] == "head"
        assert asked.notes.names[-1] == "end"
        assert wire.outcome(asked) is None
    assert len(wire.endings) == STREAMS
    wire.pump()  # and the far end is content with what it heard back


# Whatever comes.


def junk(number: int) -> st.SearchStrategy[bytes]:
    """A frame of some kind on some stream with anything in it."""
    numbers = st.sampled_from([0, 1, 2, number, number + 2, 1 << 31 | number])
    flags = st.integers(0, 255)
    payloads = st.binary(max_size=24) | st.just(bytes(8)) | st.just(b"\x88")
    return st.builds(raw_frame, st.integers(0, 11), numbers, payloads, flags)


@settings(max_examples=300)
@given(st.lists(junk(3), min_size=1, max_size=6), st.lists(st.integers(1, 60), max_size=4), st.booleans())
def test_whatever_comes_every_exchange_ends_once_and_nothing_is_raised(
    sent: list[bytes], places: list[int], answered: bool
) -> None:
    wire = Wire()
    streams = [wire.ask() for _ in range(2)]
    if answered:
        wire.head(streams[0], EVENT_STREAM)
    wire.feed(*cut(wire.said() + b"".join(sent), places))
    wire.session.pending()
    wire.endings += wire.session.feed_eof(wire.at_ns)
    assert sorted(exchange is streams[0].exchange for exchange, _ in wire.endings) == [False, True]
    for asked in streams:
        assert names(asked.notes.names) in ([], ["head"], ["head", "body"], ["head", "body", "end"], ["head", "end"])
    assert wire.session.capacity == 0


# Requests.


def test_a_request_in_the_terms_of_http_2() -> None:
    wire = Wire()
    fields = [
        (b"Host", b"host:8000"),
        (b"Accept", b"*/*"),
        (b"CONNECTION", b"keep-alive"),
        (b"Keep-Alive", b"timeout=5"),
        (b"Proxy-Connection", b"keep-alive"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Upgrade", b"h2c"),
        (b"Authorization", b"Bearer Key"),
        (b"Content-Length", b"2"),
    ]
    asked = wire.ask(b"{}", path=b"/v1/ch%C3%A4t?key=a%20b", headers=fields)
    assert wire.requests()[asked.number] == [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "host:8000"),
        (":path", "/v1/ch%C3%A4t?key=a%20b"),
        ("accept", "*/*"),
        ("authorization", "Bearer Key"),
        ("content-length", "2"),
    ]
    assert wire.bodies() == {asked.number: b"{}"}
    assert wire.whole() == {asked.number}


def test_a_request_without_a_body_ends_with_its_head() -> None:
    wire = Wire()
    asked, data = wire.begin()
    (frame,) = frames(data)
    assert isinstance(frame, HeadersFrame)
    assert set(frame.flags) == {"END_HEADERS", "END_STREAM"}
    wire.send(asked, data)
    assert wire.whole() == {asked.number}


def test_a_long_head_of_a_request_goes_in_several_frames() -> None:
    wire = Wire()
    fields = [(b"Host", b"h"), *((b"x-%d" % number, bytes([65 + number]) * 1000) for number in range(30))]
    asked, data = wire.begin(headers=fields)
    assert [type(frame) for frame in frames(data)] == [HeadersFrame, ContinuationFrame]
    wire.send(asked, data)
    assert len(wire.requests()[asked.number]) == 4 + 30


def test_requests_have_odd_numbers_that_grow() -> None:
    wire = Wire()
    assert [wire.ask().number for _ in range(4)] == [1, 3, 5, 7]


# Settings.


def test_the_greeting_opens_the_windows_and_refuses_pushes() -> None:
    wire = Wire(greet=False)
    assert not wire.session.settled
    wire.pump()
    assert wire.session.settled
    told = wire.told(RemoteSettingsChanged)[0].changed_settings
    assert told[SettingCodes.ENABLE_PUSH].new_value == 0
    assert told[SettingCodes.INITIAL_WINDOW_SIZE].new_value == 1 << 24
    assert wire.far.outbound_flow_control_window == 1 << 30


def test_a_session_is_settled_by_the_first_settings_and_says_so_once() -> None:
    wire = Wire({SettingCodes.MAX_CONCURRENT_STREAMS: 7}, greet=False)
    session, said = wire.session, wire.said()
    wire.feed(said[:-1])
    assert (session.settled, session.news) == (False, False)
    wire.feed(said[-1:])
    assert (session.settled, session.news, session.capacity) == (True, True, 7)
    session.news = False
    wire.pump()
    assert len(wire.told(SettingsAcknowledged)) == 1


def test_an_event_stream_is_no_news() -> None:
    wire = Wire()
    asked = wire.ask()
    wire.answer(asked, b"one", end=False)
    wire.pump()
    wire.session.news = False
    wire.feed(data_frame(asked.number, b"two"))
    assert not wire.session.news


@pytest.mark.parametrize("most", [0, 1, 5, 1000])
def test_the_server_may_change_how_many_streams_it_takes(most: int) -> None:
    wire = Wire({SettingCodes.MAX_CONCURRENT_STREAMS: 4})
    streams = [wire.ask() for _ in range(4)]
    wire.session.news = False
    wire.far.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: most})
    wire.pump()
    assert (wire.session.capacity, wire.session.news) == (most, True)
    for asked in streams:  # those under way are not affected
        wire.answer(asked, b"done")
    wire.pump()
    assert [wire.outcome(asked) for asked in streams] == [None] * 4
    for _ in range(min(most, 10)):
        wire.ask()
    assert len(wire.requests()) == 4 + min(most, 10)
    wire.far.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 100})
    wire.pump()
    assert wire.session.capacity == 100


@pytest.mark.parametrize("size", [0, 100, 65_536])
def test_the_server_may_change_its_header_table(size: int) -> None:
    wire = Wire()
    fields = [(b"Host", b"h"), (b"authorization", b"Bearer key"), (b"x-long", b"v" * 50)]
    expected = wire.requests().get(wire.ask(headers=fields).number)
    wire.far.update_settings({SettingCodes.HEADER_TABLE_SIZE: size})
    wire.pump()
    numbers = [wire.ask(headers=fields).number for _ in range(3)]
    assert [wire.requests()[number] for number in numbers] == [wire.requests()[1]] * 3
    assert expected in (None, wire.requests()[1])


def test_the_server_may_allow_larger_frames() -> None:
    wire = Wire({SettingCodes.MAX_FRAME_SIZE: 50_000, SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20})
    _, data = wire.begin(b"x" * 60_000)
    assert [frame.body_len for frame in frames(data)[1:]] == [50_000, 10_000]


def test_without_a_word_of_the_server_frames_are_no_larger_than_allowed() -> None:
    _, data = Wire().begin(b"x" * 60_000)
    assert max(frame.body_len for frame in frames(data)) == MAX_FRAME_BYTES


def test_an_idle_connection_lasts_as_long_as_without_a_word_over_http_1() -> None:
    assert Wire().session.idle_limit_ns == IDLE_LIMIT_NS


def test_a_head_may_be_cut_into_frames_anywhere() -> None:
    block = Wire().packed([(":status", "200"), EVENT_STREAM, ("x-a", "b")])
    for place in range(1, len(block)):
        wire = Wire()
        asked = wire.ask()
        rest = ContinuationFrame(asked.number, block[place:], flags=["END_HEADERS"]).serialize()
        wire.feed(head_frame(asked.number, block[:place]), rest, data_frame(asked.number, b"hi", "END_STREAM"))
        assert (asked.exchange.status, asked.notes.data, wire.outcome(asked)) == (200, b"hi", None)
