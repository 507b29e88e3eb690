"""How exchanges over HTTP/2 end badly: resets, GOAWAY, broken rules, broken connections; and what is left of them."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
from h2.errors import ErrorCodes
from h2.events import StreamReset
from h2.settings import SettingCodes
from hyperframe.frame import ContinuationFrame, PushPromiseFrame, RstStreamFrame, WindowUpdateFrame

from fluxperf.engine.http2 import Http2Session
from fluxperf.engine.session import BrokenResponse, MalformedResponse
from tests.engine.far_end import goaway
from tests.engine.scripted import response
from tests.engine.wire import EVENT_STREAM, Asked, Wire, data_frame, frames, head_frame, raw_frame

LAST = (1 << 31) - 1
CODES = [ErrorCodes.NO_ERROR, ErrorCodes.INTERNAL_ERROR, ErrorCodes.REFUSED_STREAM, ErrorCodes.CANCEL, 0xBEEF]


def broken(wire: Wire, asked: Asked) -> BrokenResponse:
    """What broke the exchange."""
    error = wire.outcome(asked)
    assert isinstance(error, BrokenResponse)
    return error


def finish(wire: Wire, asked: Asked) -> None:
    """The rest of an answer, by hand, for a server that has said goodbye."""
    wire.feed(data_frame(asked.number, b" and the rest"), data_frame(asked.number, b".", "END_STREAM"))


# RST_STREAM.


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("begun", [False, True], ids=["before the head", "after the head"])
def test_a_stream_that_the_server_resets(code: int, begun: bool) -> None:
    wire = Wire()
    asked, other = wire.ask(), wire.ask()
    for one in (asked, other):
        if begun:
            wire.answer(one, b"half", end=False)
    wire.feed(wire.said() + RstStreamFrame(asked.number, code).serialize())
    name = ErrorCodes(code).name if code in [*ErrorCodes] else f"error {code}"
    error = broken(wire, asked)
    assert str(error) == f"the server reset the stream ({name})"
    # It is the server's answer, never a race of ours: that would be sent again.
    assert (error.untouched, error.disowned) == (False, False)
    assert asked.notes.names == (["head", "body"] if begun else [])
    assert not wire.is_over(other)
    if not begun:
        wire.answer(other, b"half", end=False)
        wire.feed(wire.said())
    finish(wire, other)
    assert (other.notes.data, wire.outcome(other)) == (b"half and the rest.", None)


@pytest.mark.parametrize("code", CODES)
def test_a_reset_after_the_end_changes_nothing(code: int) -> None:
    """Servers say NO_ERROR where they do not care for the rest of the request (RFC 9113 8.1)."""
    wire = Wire({SettingCodes.INITIAL_WINDOW_SIZE: 100})
    for body in (b"", b"x" * 1000):
        asked = wire.ask(body)
        wire.answer(asked, b"done")
        wire.feed(wire.said() + RstStreamFrame(asked.number, code).serialize())
        wire.feed(RstStreamFrame(asked.number, code).serialize())
        assert wire.outcome(asked) is None
    wire.answer(wire.ask(), b"and on it goes")
    wire.pump()
    assert [error for _, error in wire.endings] == [None] * 3


def test_a_stream_that_ended_early_is_reset_without_an_error() -> None:
    wire = Wire({SettingCodes.INITIAL_WINDOW_SIZE: 100})
    asked = wire.ask(b"x" * 1000)
    wire.answer(asked, b"enough")
    wire.pump()
    (event,) = wire.told(StreamReset)
    assert (event.stream_id, event.error_code) == (asked.number, ErrorCodes.NO_ERROR)


# GOAWAY.


def test_a_graceful_goodbye_lets_what_is_below_finish_and_disowns_what_is_above() -> None:
    wire = Wire()
    first, second, third = (wire.ask() for _ in range(3))
    wire.answer(first, b"half", end=False)
    wire.pump()
    wire.feed(goaway(LAST))
    assert (wire.session.capacity, wire.session.news) == (0, True)
    assert wire.endings == []
    wire.feed(goaway(second.number, 0, b"restart \xf0\x9f"))
    error = broken(wire, third)
    assert (error.untouched, error.disowned) == (True, True)
    assert str(error) == (
        "the server said goodbye (GOAWAY, NO_ERROR, 'restart \ufffd') before it looked at the request"
    )
    finish(wire, first)
    block = wire.packed([(":status", "200")])
    wire.feed(head_frame(second.number, block, "END_HEADERS") + data_frame(second.number, b"late"))
    wire.far.ping(b"12345678")  # the connection is as good as before for what is left
    wire.feed(wire.said())
    assert len(frames(wire.session.pending())) == 1
    wire.feed(WindowUpdateFrame(second.number, 10).serialize() + data_frame(second.number, b"", "END_STREAM"))
    assert (first.notes.data, second.notes.data) == (b"half and the rest.", b"late")
    assert (wire.outcome(first), wire.outcome(second)) == (None, None)


def test_an_answer_that_has_begun_is_never_disowned() -> None:
    """Some servers name stream 0 in every goodbye."""
    wire = Wire()
    begun, silent = wire.ask(), wire.ask()
    wire.answer(begun, b"half", end=False)
    wire.pump()
    wire.feed(goaway(0))
    assert broken(wire, silent).disowned
    assert not wire.is_over(begun)


def test_an_informational_answer_is_a_beginning() -> None:
    wire = Wire()
    asked = wire.ask()
    wire.head(asked, status=103)
    wire.pump()
    wire.endings += wire.session.feed_eof(1)
    assert not broken(wire, asked).untouched


def test_after_a_goodbye_large_requests_and_answers_go_on() -> None:
    wire = Wire({SettingCodes.INITIAL_WINDOW_SIZE: 100}, Http2Session(1000, 70_000))
    asked = wire.ask(b"x" * 300)
    wire.feed(goaway(asked.number))
    wire.far.increment_flow_control_window(1000, asked.number)
    wire.pump()
    assert wire.bodies()[asked.number] == b"x" * 300
    wire.head(asked, EVENT_STREAM)
    for _ in range(30):
        wire.data(asked, b"y" * 200)
        wire.pump()
    wire.data(asked, b"", end=True)
    wire.pump()
    assert (asked.notes.data, wire.outcome(asked)) == (b"y" * 6000, None)


def test_what_has_not_been_sent_is_disowned_whatever_its_number() -> None:
    wire = Wire()
    sent = wire.ask()
    queued, _ = wire.begin()
    wire.feed(goaway(LAST))
    assert broken(wire, queued).disowned
    assert not wire.is_over(sent)


@pytest.mark.parametrize(
    ("code", "debug", "text"),
    [
        (0, b"", "GOAWAY, NO_ERROR"),
        (0xB, b"too many pings", "GOAWAY, ENHANCE_YOUR_CALM, 'too many pings'"),
        (0xABC, b"x" * 500, f"GOAWAY, error 2748, '{'x' * 200}'"),
        (1, b"line\nend\x00", r"GOAWAY, PROTOCOL_ERROR, 'line\nend\x00'"),
    ],
)
def test_a_goodbye_says_why(code: int, debug: bytes, text: str) -> None:
    wire = Wire()
    above, below = wire.ask(), wire.ask()
    wire.feed(goaway(0, code, debug))
    assert f"({text})" in str(broken(wire, above))
    assert below.exchange in dict(wire.endings)
    wire = Wire()
    asked = wire.ask()
    wire.feed(goaway(asked.number, code, debug))
    wire.endings += wire.session.feed_eof(1)
    error = broken(wire, asked)
    assert str(error) == (
        f"the server closed the connection, after the server said goodbye ({text}) before the response began"
    )
    assert (error.untouched, error.disowned) == (True, False)


def test_a_goodbye_to_an_idle_connection_leaves_no_room_on_it() -> None:
    wire = Wire()
    wire.feed(goaway(0))
    assert (wire.session.capacity, wire.endings) == (0, [])


@pytest.mark.parametrize("greeted", [False, True])
def test_a_goodbye_instead_of_a_greeting_or_with_it_is_told(greeted: bool) -> None:
    wire = Wire(greet=False)
    wire.feed((wire.said() if greeted else b"") + goaway(0, 0xB, b"go away"))
    assert wire.session.settled is greeted
    assert wire.session.complaint == "the server said goodbye (GOAWAY, ENHANCE_YOUR_CALM, 'go away')"


# Broken rules.

Make = Callable[[Wire, Asked], bytes]
RULES: dict[str, Make] = {
    "DATA before the head": lambda wire, asked: data_frame(asked.number, b"x"),
    "END_STREAM before the head": lambda wire, asked: data_frame(asked.number, b"x", "END_STREAM"),
    "a frame that is too large": lambda wire, asked: raw_frame(0, asked.number, bytes(16_385)),
    "the start of a frame that is too large": lambda wire, asked: raw_frame(0, asked.number, bytes(16_385))[:9],
    "HPACK garbage": lambda wire, asked: head_frame(asked.number, b"\xff" * 9, "END_HEADERS"),
    "PUSH_PROMISE": lambda wire, asked: PushPromiseFrame(
        asked.number, 2, wire.packed([(":method", "GET"), (":path", "/")]), flags=["END_HEADERS"]
    ).serialize(),
    "a stream of the server's": lambda wire, asked: head_frame(2, wire.packed([(":status", "200")]), "END_HEADERS"),
    "DATA on a stream that is not open": lambda wire, asked: data_frame(asked.number + 20, b"x"),
    "a head on a stream that is not open": lambda wire, asked: head_frame(asked.number + 20, b"\x88", "END_HEADERS"),
    "DATA on no stream": lambda wire, asked: raw_frame(0, 0, b"x"),
    "a head without a status": lambda wire, asked: head_frame(asked.number, wire.packed([("a", "b")]), "END_HEADERS"),
    "a status that is none": lambda wire, asked: head_frame(
        asked.number, wire.packed([(":status", "abc")]), "END_HEADERS"
    ),
    "an empty status": lambda wire, asked: head_frame(asked.number, wire.packed([(":status", "")]), "END_HEADERS"),
    "a status of two digits": lambda wire, asked: head_frame(
        asked.number, wire.packed([(":status", "99")]), "END_HEADERS"
    ),
    "CONTINUATION alone": lambda wire, asked: ContinuationFrame(asked.number, b"\x88").serialize(),
    "a frame within a head": lambda wire, asked: head_frame(asked.number, b"\x88") + data_frame(asked.number, b"x"),
    "a second head": lambda wire, asked: head_frame(asked.number, b"\x88", "END_HEADERS") * 2,
    "WINDOW_UPDATE by nothing": lambda wire, asked: raw_frame(8, 0, bytes(4)),
    "a window that overflows": lambda wire, asked: WindowUpdateFrame(0, LAST).serialize(),
    "SETTINGS cut short": lambda wire, asked: raw_frame(4, 0, b"12345"),
    "SETTINGS that allow pushes": lambda wire, asked: raw_frame(4, 0, b"\x00\x02\x00\x00\x00\x01"),
    "SETTINGS with too large a window": lambda wire, asked: raw_frame(4, 0, b"\x00\x04\xff\xff\xff\xff"),
    "PING cut short": lambda wire, asked: raw_frame(6, 0, b"1234"),
    "GOAWAY cut short": lambda wire, asked: raw_frame(7, 0, b"1234567"),
    "RST_STREAM on no stream": lambda wire, asked: raw_frame(3, 0, bytes(4)),
    "padding longer than its frame": lambda wire, asked: raw_frame(0, asked.number, b"\x09x", flags=0x8),
}


@pytest.mark.parametrize("name", RULES)
def test_a_server_that_breaks_the_rules_is_left(name: str) -> None:
    wire = Wire()
    done = wire.ask()
    wire.answer(done, b"done")
    wire.pump()
    asked, other = wire.ask(), wire.ask()
    wire.feed(RULES[name](wire, asked))
    assert len(wire.endings) == 3
    for one in (asked, other):
        error = wire.outcome(one)
        assert isinstance(error, MalformedResponse)
        assert str(error) == wire.session.complaint
    assert str(wire.session.complaint).startswith("the server broke the rules of HTTP/2: ")
    assert len(str(wire.session.complaint)) > 50  # and it says which
    assert wire.outcome(done) is None
    assert wire.session.capacity == 0
    assert wire.outcome(asked) is not wire.outcome(other)  # raised by tasks of their own


def test_a_rule_that_is_broken_on_one_stream_ends_that_stream_alone() -> None:
    wire = Wire()
    asked, other = wire.ask(), wire.ask()
    wire.feed(WindowUpdateFrame(asked.number, LAST).serialize())
    assert "FLOW_CONTROL_ERROR" in str(wire.outcome(asked))
    assert isinstance(wire.outcome(asked), MalformedResponse)
    wire.pump()
    (event,) = wire.told(StreamReset)
    assert event.stream_id == asked.number
    wire.answer(other, b"fine")
    wire.pump()
    assert wire.outcome(other) is None


def test_an_answer_of_another_length_than_was_told_is_malformed() -> None:
    for body in (b"short", b"much too long"):
        wire = Wire()
        asked = wire.ask()
        block = wire.packed([(":status", "200"), ("content-length", "8")])
        wire.feed(head_frame(asked.number, block, "END_HEADERS"), data_frame(asked.number, body, "END_STREAM"))
        assert isinstance(wire.outcome(asked), MalformedResponse)


def test_an_answer_to_a_request_that_is_still_queued_is_malformed() -> None:
    wire = Wire()
    queued, _ = wire.begin()
    wire.feed(head_frame(queued.number, b"\x88", "END_HEADERS"))
    assert "has not been sent" in str(wire.outcome(queued))
    assert isinstance(wire.outcome(queued), MalformedResponse)
    assert queued.notes.calls == []


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (response(b"no", status="400 Bad Request"), "the server answers in HTTP/1.1"),
        (b"HTTP/1.0 505 ", "the server answers in HTTP/1.1"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "the server answers, but not in HTTP/2: use --http 1.1"),
        (b"\x15\x03\x01\x00\x02\x02\x28\x00\x00", "the server does not speak HTTP/2: a frame of "),
        (raw_frame(0, 0, b"x"), "the server does not speak HTTP/2: "),
        (raw_frame(1, 1, b"\x88", 0x4), "the server does not speak HTTP/2: "),
    ],
)
def test_what_does_not_speak_http_2_is_named(said: bytes, complaint: str) -> None:
    for pieces in ([said], [said[:5], said[5:]]):
        wire = Wire(greet=False)
        wire.feed(*pieces)
        assert str(wire.session.complaint).startswith(complaint)
        assert (wire.session.settled, wire.session.capacity) == (False, 0)


# Broken connections.


@pytest.mark.parametrize("begun", [False, True], ids=["before the head", "after the head"])
def test_the_end_of_the_connection_breaks_what_is_under_way(begun: bool) -> None:
    wire = Wire()
    done, asked = wire.ask(), wire.ask()
    wire.answer(done, b"done")
    if begun:
        wire.answer(asked, b"half", end=False)
    wire.pump()
    wire.feed(wire.said() + data_frame(asked.number, b"xxx")[:-1] if begun else b"")
    wire.endings += wire.session.feed_eof(99)
    where = "in the middle of the response" if begun else "before the response began"
    error = broken(wire, asked)
    assert (str(error), error.untouched) == (f"the server closed the connection {where}", not begun)
    assert wire.outcome(done) is None
    assert wire.session.capacity == 0
    assert wire.session.feed_eof(100) == ()


def test_a_broken_connection_breaks_what_is_under_way_in_its_own_words() -> None:
    wire = Wire()
    asked = wire.ask()
    wire.endings += wire.session.break_off("the server reset the connection")
    assert str(broken(wire, asked)) == "the server reset the connection before the response began"
    assert wire.session.capacity == 0


# Giving up.


def test_a_request_that_is_given_up_is_cancelled_and_late_frames_are_passed_over() -> None:
    wire = Wire()
    asked, other = wire.ask(), wire.ask()
    wire.answer(asked, b"half", end=False)
    wire.pump()
    assert wire.session.abandon(asked.exchange)
    assert wire.session.abandon(asked.exchange)  # once more does no harm
    ours = wire.session.pending()
    wire.data(asked, b"late")
    wire.data(asked, b"later", padding=9)
    wire.far.send_headers(asked.number, [("x-trailer", "new to the compression")], end_stream=True)
    wire.head(other, ("x-trailer", "new to the compression"))
    wire.data(other, b"fine", end=True)
    wire.feed(wire.said())
    (frame,) = frames(ours)
    assert isinstance(frame, RstStreamFrame)
    assert (frame.stream_id, frame.error_code) == (asked.number, ErrorCodes.CANCEL)
    assert asked.notes.data == b"half"
    assert not wire.is_over(asked)  # it is the connection that tells of it
    assert (other.notes.data, wire.outcome(other)) == (b"fine", None)
    assert dict(other.exchange.headers)[b"x-trailer"] == b"new to the compression"


def test_the_head_of_an_answer_may_come_after_its_request_was_given_up() -> None:
    wire = Wire()
    asked, other = wire.ask(), wire.ask()
    wire.session.abandon(asked.exchange)
    wire.answer(asked, b"late")
    wire.answer(other, b"fine")
    wire.feed(wire.said() + RstStreamFrame(asked.number, 0).serialize())
    wire.feed(WindowUpdateFrame(asked.number, 10).serialize())
    assert (asked.notes.calls, other.notes.data) == ([], b"fine")
    assert wire.session.capacity > 0


def test_a_request_that_is_given_up_before_it_was_sent_takes_the_connection_with_it() -> None:
    """Its head is part of the compression: those that follow would not be understood without it."""
    wire = Wire()
    queued, _ = wire.begin()
    assert not wire.session.abandon(queued.exchange)
    assert wire.session.capacity == 0


# Long lives.


def test_stream_numbers_run_out() -> None:
    wire = Wire()
    wire.session._last_number = LAST - 6
    asked = wire.ask()
    assert (asked.number, wire.session.capacity > 0) == (LAST - 4, True)
    last = wire.ask()
    assert (last.number, wire.session.capacity) == (LAST - 2, 0)
    for one in (asked, last):
        wire.answer(one, b"done")
    wire.pump()
    assert [error for _, error in wire.endings] == [None, None]


def test_streams_that_are_over_are_forgotten() -> None:
    wire = Wire()

    def serve(count: int) -> None:
        for number in range(count):
            asked = wire.ask(b"x")
            wire.head(asked, EVENT_STREAM)
            wire.data(asked, b"done", end=number % 3 > 0)
            wire.pump()
            if number % 3 == 0:
                wire.session.abandon(asked.exchange)
        wire.pump()
        for kept in (wire.heard, wire.endings):
            kept.clear()
        wire.far.streams.clear()
        wire.far._closed_streams.clear()

    serve(600)  # h2 remembers some that it has closed
    gc.collect()
    before = len(gc.get_objects())
    serve(3000)
    gc.collect()
    assert len(gc.get_objects()) - before < 100
    session = wire.session
    held = (session._streams, session._numbers, session._blocked, session._endings, session._updates)
    assert [len(kept) for kept in held] == [0] * 5
    assert len(session._h2._closed_streams) <= 256
