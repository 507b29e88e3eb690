"""Flow control over HTTP/2: large requests wait for the server's windows, and ours never run low."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from h2.connection import H2Connection
from h2.events import WindowUpdated
from h2.settings import SettingCodes
from hyperframe.frame import DataFrame, WindowUpdateFrame
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.engine.http2 import MAX_FRAME_BYTES, STREAM_WINDOW_BYTES, Http2Session
from tests.engine.wire import EVENT_STREAM, Asked, Wire, data_frame, frames

FIRST_WINDOW = 65_535  # what a connection starts with
BODY = bytes(range(256)) * 256


# Requests.


def give_room(wire: Wire, number: int, size_bytes: int) -> None:
    """The server widens the window of a stream, or of the connection (0)."""
    wire.far.increment_flow_control_window(size_bytes, number or None)
    wire.pump()


def test_a_large_request_goes_out_as_the_window_of_its_stream_allows() -> None:
    wire = Wire({SettingCodes.INITIAL_WINDOW_SIZE: 1000})
    asked = wire.ask(BODY[:5000])
    for sent in range(1000, 5000, 700):
        assert len(wire.bodies()[asked.number]) == sent
        assert wire.whole() == set()
        give_room(wire, asked.number, 700)
    assert wire.bodies() == {asked.number: BODY[:5000]}
    assert wire.whole() == {asked.number}


def test_several_streams_share_the_window_of_the_connection() -> None:
    wire = Wire({SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20})
    bodies = [BODY[place : place + 50_000] for place in (1, 2, 3)]
    streams = [wire.ask(body) for body in bodies]
    assert sum(map(len, wire.bodies().values())) == FIRST_WINDOW
    room = 150_000 - FIRST_WINDOW
    while room:
        give_room(wire, 0, min(room, 9000))
        room -= min(room, 9000)
    assert [wire.bodies()[asked.number] for asked in streams] == bodies
    assert wire.whole() == {asked.number for asked in streams}


def test_a_window_that_takes_nothing_but_the_head() -> None:
    wire = Wire({SettingCodes.INITIAL_WINDOW_SIZE: 0})
    asked = wire.ask(b"hello")
    assert wire.requests().keys() == {asked.number}
    assert wire.bodies() == {}
    give_room(wire, asked.number, 5)
    assert (wire.bodies(), wire.whole()) == ({asked.number: b"hello"}, {asked.number})


@pytest.mark.parametrize("size", [3000, 10_000])
def test_the_settings_may_widen_the_windows_of_requests_that_wait(size: int) -> None:
    wire = Wire({SettingCodes.INITIAL_WINDOW_SIZE: 1000})
    asked = wire.ask(BODY[:5000])
    wire.far.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: size})
    wire.pump()
    assert len(wire.bodies()[asked.number]) == min(size, 5000)
    assert bool(wire.whole()) == (size > 5000)


def test_the_settings_may_narrow_the_windows_below_nothing() -> None:
    wire = Wire({SettingCodes.INITIAL_WINDOW_SIZE: 1000})
    asked = wire.ask(BODY[:5000])
    wire.far.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 200})
    wire.pump()
    give_room(wire, asked.number, 700)  # the window was at -800
    assert len(wire.bodies()[asked.number]) == 1000
    give_room(wire, asked.number, 4100)
    assert wire.bodies()[asked.number] == BODY[:5000]


def test_the_body_of_a_request_that_is_still_queued_does_not_overtake_its_head() -> None:
    wire = Wire({SettingCodes.INITIAL_WINDOW_SIZE: 1000})
    first = wire.ask(BODY[:1500])
    queued, data = wire.begin(BODY[:2000])
    wire.far.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1_500})
    wire.pump()  # what is blocked goes on, but the second head has not been sent
    assert wire.whole() == {first.number}
    assert wire.requests().keys() == {first.number}
    wire.send(queued, data)
    assert len(wire.bodies()[queued.number]) == 1500
    give_room(wire, queued.number, 500)
    assert wire.bodies()[queued.number] == BODY[:2000]


def test_a_request_that_is_given_up_leaves_the_window_of_the_connection_to_others() -> None:
    wire = Wire({SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20})
    blocked = wire.ask(BODY + BODY)
    waiting = wire.ask(BODY[:1000])
    assert waiting.number not in wire.bodies()
    assert wire.session.abandon(blocked.exchange)
    wire.pump()
    give_room(wire, 0, 1000)
    assert wire.bodies()[waiting.number] == BODY[:1000]


def test_an_answer_that_comes_before_the_whole_request_ends_both() -> None:
    wire = Wire({SettingCodes.INITIAL_WINDOW_SIZE: 1000})
    asked = wire.ask(BODY)
    wire.head(asked, status=413)
    wire.data(asked, b"too large", end=True)
    wire.pump()
    assert (asked.exchange.status, asked.notes.data, wire.outcome(asked)) == (413, b"too large", None)
    give_room(wire, 0, 100_000)
    assert len(wire.bodies()[asked.number]) == 1000
    wire.answer(wire.ask(b"next"), b"and another")
    wire.pump()
    assert [error for _, error in wire.endings] == [None, None]


@given(
    st.lists(st.integers(0, 9000), min_size=1, max_size=5),
    st.integers(0, 3000),
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5000)), max_size=30),
)
def test_whatever_the_windows_the_bodies_arrive_whole(
    sizes: list[int], first_window: int, steps: list[tuple[int, int]]
) -> None:
    wire = Wire({SettingCodes.INITIAL_WINDOW_SIZE: first_window})
    streams = [wire.ask(BODY[:size]) for size in sizes]
    for place, room in steps:
        asked = streams[place % len(streams)]
        if asked.number in wire.whole():
            continue
        give_room(wire, asked.number, room)
    for asked, size in zip(streams, sizes, strict=True):
        assert BODY[:size].startswith(wire.bodies().get(asked.number, b""))
        if asked.number not in wire.whole():
            give_room(wire, asked.number, size)
    assert wire.whole() == {asked.number for asked in streams}
    assert wire.bodies() == {asked.number: BODY[:size] for asked, size in zip(streams, sizes, strict=True) if size}


# Answers.


def pieces(total: int, size: int) -> Iterator[bytes]:
    """A body of so many bytes in pieces."""
    for start in range(0, total, size):
        yield bytes([start // size % 251]) * min(size, total - start)


def windows(far: H2Connection, asked: Asked) -> tuple[int, int]:
    """How much the server may send on the stream, and on the whole connection."""
    stream = far.streams[asked.number]
    return stream.outbound_flow_control_window, far.outbound_flow_control_window


@pytest.mark.parametrize("fields", [[EVENT_STREAM], [("content-length", "500000")]], ids=["short way", "long way"])
@pytest.mark.parametrize("padding", [None, 100], ids=["plain", "padded"])
def test_an_answer_larger_than_all_windows_comes_without_a_stop(
    fields: list[tuple[str, str]], padding: int | None
) -> None:
    """h2 counts for the server, and refuses to send beyond a window."""
    wire = Wire(session=Http2Session(stream_window_bytes=40_000, connection_window_bytes=70_000))
    asked = wire.ask()
    wire.head(asked, *fields)
    lowest = [40_000, 70_000]
    for piece in pieces(500_000, 1000):
        wire.data(asked, piece, padding=padding)
        lowest = [min(pair) for pair in zip(lowest, windows(wire.far, asked), strict=True)]
        wire.pump()
    wire.data(asked, b"", end=True)
    wire.pump()
    assert asked.notes.data == b"".join(pieces(500_000, 1000))
    assert wire.outcome(asked) is None
    assert lowest[0] >= 40_000 // 2 - 1200
    assert lowest[1] >= 70_000 // 2 - 1200


def test_an_answer_larger_than_the_real_window_of_its_stream() -> None:
    wire = Wire()
    asked = wire.ask()
    wire.head(asked, EVENT_STREAM)
    total = 2 * STREAM_WINDOW_BYTES + 1
    received = 0
    for piece in pieces(total, MAX_FRAME_BYTES):
        wire.data(asked, piece)
        wire.feed(wire.said())
        received += len(asked.notes.data)
        asked.notes.calls.clear()
        if wire.session._updates:
            wire.pump()
    wire.data(asked, b"", end=True)
    wire.pump()
    assert (received, wire.outcome(asked)) == (total, None)


def test_many_streams_that_are_larger_than_the_window_of_the_connection_together() -> None:
    wire = Wire(session=Http2Session(stream_window_bytes=60_000, connection_window_bytes=70_000))
    streams = [wire.ask() for _ in range(10)]
    for asked in streams:
        wire.head(asked, EVENT_STREAM)
    for piece in pieces(50_000, 500):
        for asked in streams:
            wire.data(asked, piece)
        wire.pump()
    for asked in streams:
        wire.data(asked, b"!", end=True)
    wire.pump()
    assert {asked.notes.data for asked in streams} == {b"".join(pieces(50_000, 500)) + b"!"}


def test_windows_are_widened_by_exactly_what_was_used() -> None:
    """Short way, long way, padding, what came for a stream that was given up: all of it is given back in the end."""
    window = 80_000
    wire = Wire(session=Http2Session(stream_window_bytes=40_000, connection_window_bytes=window))
    used, lowest = 0, window
    for _ in range(60):
        asked, left = wire.ask(), wire.ask()
        for one in (asked, left):
            wire.head(one, EVENT_STREAM)
        wire.data(asked, b"x" * 3000)
        wire.data(asked, b"x" * 1500, padding=200)
        wire.data(left, b"x" * 1000)
        wire.pump()
        wire.session.abandon(left.exchange)
        wire.data(left, b"x" * 2000)  # on its way when it was given up
        wire.data(left, b"x" * 300, padding=9)
        wire.pump()
        wire.data(asked, b"x" * 2700, end=True)
        lowest = min(lowest, wire.far.outbound_flow_control_window)
        wire.pump()
        used += 3000 + 1701 + 1000 + 2000 + 310 + 2700
    given = sum(event.delta or 0 for event in wire.told(WindowUpdated) if event.stream_id == 0)
    open_now = FIRST_WINDOW + given - used
    assert wire.far.outbound_flow_control_window == open_now
    assert used > 8 * window
    assert window // 4 - 3000 <= lowest <= open_now <= window


def test_a_window_is_widened_in_the_same_turn_that_used_a_quarter_of_it() -> None:
    wire = Wire(session=Http2Session(stream_window_bytes=40_000, connection_window_bytes=70_000))
    asked = wire.ask()
    wire.head(asked, EVENT_STREAM)
    wire.feed(wire.said() + data_frame(asked.number, b"x" * 9999))
    assert wire.session.pending() == b""
    wire.feed(data_frame(asked.number, b"x"))
    (update,) = frames(wire.session.pending())
    assert isinstance(update, WindowUpdateFrame)
    assert (update.stream_id, update.window_increment) == (asked.number, 10_000)
    assert wire.session.pending() == b""


def test_a_stream_that_has_ended_gets_no_more_window() -> None:
    wire = Wire(session=Http2Session(stream_window_bytes=20_000, connection_window_bytes=70_000))
    asked = wire.ask()
    wire.head(asked, EVENT_STREAM)
    wire.feed(wire.said() + b"".join(data_frame(asked.number, b"x" * 9000) for _ in range(2)))
    wire.session.pending()
    wire.feed(data_frame(asked.number, b"x" * 16_000), data_frame(asked.number, b"x" * 2000, "END_STREAM"))
    updated = {frame.stream_id for frame in frames(wire.session.pending())}
    assert updated <= {0, asked.number}
    wire.feed(*(DataFrame(asked.number, b"x" * 9000).serialize() for _ in range(8)))
    assert {frame.stream_id for frame in frames(wire.session.pending())} == {0}
