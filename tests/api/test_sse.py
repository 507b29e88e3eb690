"""The event-stream rules of the HTML standard, one by one, then against a reading of its text, then in any pieces."""

from __future__ import annotations

import itertools
import re
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fluxperf.api.sse import EventTooLong, SseDecoder

BOM = b"\xef\xbb\xbf"


def decode(*pieces: bytes) -> list[bytes]:
    decoder = SseDecoder()
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return events + decoder.finish()


def reference(stream: bytes) -> list[bytes]:
    """The standard's algorithm as its text goes, but for the event at the end of the stream, which is dispatched."""
    if stream.startswith(BOM):
        stream = stream[3:]
    events = []
    data = b""
    for line in [*re.split(rb"\r\n|\n|\r", stream), b""]:
        if line == b"":
            if data != b"":
                events.append(data[:-1])
            data = b""
        elif line.startswith(b":"):
            continue
        elif b":" in line:
            field, value = line.split(b":", 1)
            if value.startswith(b" "):
                value = value[1:]
            if field == b"data":
                data += value + b"\n"
        elif line == b"data":
            data += b"\n"
    return events


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_each_line_end_ends_lines_and_events(end: bytes) -> None:
    stream = b"data: a" + end + end + b"data: b" + end + end
    decoder = SseDecoder()
    assert decoder.feed(stream) == [b"a", b"b"]
    assert decoder.feed(stream) == [b"a", b"b"]


def test_line_ends_may_be_mixed() -> None:
    assert decode(b"data: a\r\n\ndata: b\r\rdata: c\n\r\ndata: d\n\r") == [b"a", b"b", b"c", b"d"]


def test_cr_and_lf_in_two_reads_are_one_line_end() -> None:
    assert decode(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == [b"a\nb"]


def test_cr_in_one_read_is_a_line_end_at_once() -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"data: a\r\r") == [b"a"]
    assert decoder.feed(b"\ndata: b\n\r") == [b"b"]
    assert decoder.feed(b"\n") == []
    assert decoder.feed(b"data: c\n\n") == [b"c"]


def test_empty_read_between_cr_and_lf_changes_nothing() -> None:
    assert decode(b"data: a\r", b"", b"\ndata: b\n\n") == [b"a\nb"]


def test_byte_order_mark_is_skipped_at_the_start_only() -> None:
    assert decode(BOM + b"data: a\n\n" + BOM + b"data: b\n\n") == [b"a"]
    assert decode(BOM[:1], BOM[1:2], BOM[2:], b"data: a\n\n") == [b"a"]
    assert decode(BOM + BOM + b"data: a\n\n") == []
    assert decode(b"data: a\n\n", BOM + b"data: b\n\n") == [b"a"]
    assert decode(b"", b"data: a\n\n", BOM + b"data: b\n\n") == [b"a"]


@pytest.mark.parametrize("comment", [b":", b": ping", b": OPENROUTER PROCESSING", b":data: no"])
def test_comments_are_skipped(comment: bytes) -> None:
    assert decode(comment + b"\n\n" + comment + b"\ndata: a\n" + comment + b"\n\n") == [b"a"]


def test_one_space_after_the_colon_is_dropped_and_no_more() -> None:
    assert decode(b"data:a\n\ndata: b\n\ndata:  c\n\ndata:\td\n\n") == [b"a", b"b", b" c", b"\td"]


def test_data_lines_are_joined_by_lf() -> None:
    assert decode(b"data: one\ndata: two\ndata: 3\n\n") == [b"one\ntwo\n3"]
    assert decode(b"data: one\n", b"data: two\n\n", b"data: a\n\n") == [b"one\ntwo", b"a"]


def test_data_without_a_colon_is_an_empty_line() -> None:
    assert decode(b"data\n\ndata\ndata\n\ndata: a\ndata\n\n") == [b"", b"\n", b"a\n"]


def test_events_without_data_are_not_dispatched() -> None:
    assert decode(b"\n\nevent: ping\n\nid: 1\n\nretry: 10\n\n\n\ndata: a\n\n\n\n") == [b"a"]


def test_event_id_retry_and_unknown_fields_are_accepted() -> None:
    assert decode(b"event: delta\nid: 7\nretry: 3000\nmood: good\ndata: a\nid\n\n") == [b"a"]


@pytest.mark.parametrize("line", [b"Data: a", b" data: a", b"data : a", b"datas: a", b"database", b"dat"])
def test_field_names_are_exact(line: bytes) -> None:
    assert decode(line + b"\n\n") == []


def test_other_line_separators_are_text() -> None:
    text = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\x1dh\x1ei".encode()
    assert decode(b"data: " + text + b"\n\n") == [text]
    assert decode(b"data: x\n\n", b"data: " + text + b"\n\n") == [b"x", text]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r", b"\r\n"])
def test_the_stream_may_end_without_a_blank_line(end: bytes) -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"data: a\n\ndata: b\ndata: [DONE]" + end) == [b"a"]
    assert decoder.finish() == [b"b\n[DONE]"]
    assert decoder.finish() == []


def test_nothing_is_left_after_a_whole_event() -> None:
    decoder = SseDecoder()
    decoder.feed(b"data: a\n\n: bye\nevent: end\n")
    assert decoder.finish() == []


RICH = (
    BOM + b": hello\r\ndata: one\r\n\r\ndata: two\n\nevent: x\rid: 1\rdata:three\rdata\rdata:  end\r\r"
    b"data: {\xe2\x80\xa8}\n\n\n\nretry: 5\n\ndata: four\n\r\ndata: five"
)
RICH_EVENTS = [b"one", b"two", b"three\n\n end", b"{\xe2\x80\xa8}", b"four", b"five"]


def test_every_split_in_two_gives_the_same_events() -> None:
    assert decode(RICH) == RICH_EVENTS
    for cut in range(len(RICH) + 1):
        assert decode(RICH[:cut], RICH[cut:]) == RICH_EVENTS, cut


def test_byte_by_byte_gives_the_same_events() -> None:
    assert decode(*(bytes([byte]) for byte in RICH)) == RICH_EVENTS


WORDS = [b"\r", b"\n", b"\r\n", b"\n\n", b":", b" ", b"data", b"data: ", b"data:x", b"event: y", b"d", b"\xe2\x80\xa8"]
WORDS += [BOM, BOM[:1], b"\x0b", b"\x00", b"\xff", b"data: {}\n\n", b"data: {}\r\n\r\n", b"data: z\n\r", b"data: w\r\r"]
streams = st.lists(st.sampled_from(WORDS), max_size=24).map(b"".join)


@settings(max_examples=500, deadline=None)
@given(streams | st.binary(max_size=40), st.lists(st.integers(0, 200), max_size=8))
@example(b"data: a\n\ndata: b\n\r\ndata: c\n\n", [9, 18])
def test_any_pieces_of_any_bytes_give_what_the_standard_says(stream: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    pieces = [stream[start:end] for start, end in itertools.pairwise(edges)]
    assert decode(*pieces) == reference(stream)
    assert decode(b"data: first\n\n", *pieces) == reference(b"data: first\n\n" + stream)


def test_an_event_of_the_longest_length_passes() -> None:
    line = b"data: " + b"x" * 94
    for pieces in ([line + b"\n\n"], [b"\n\n", line + b"\n\n"], [line, b"\n", b"\n"], [line[:50], line[50:] + b"\n\n"]):
        decoder = SseDecoder(max_event_bytes=100)
        assert [event for piece in pieces for event in decoder.feed(piece)] == [b"x" * 94]


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([b"data: " + b"x" * 95 + b"\n\n"], id="in the first read"),
        pytest.param([b"\n\n", b"data: " + b"x" * 95 + b"\n\n"], id="in a later read"),
        pytest.param([b"data: " + b"x" * 95], id="unfinished"),
        pytest.param([b"data: x\n\n", *[b"x" * 10] * 11], id="a line without end"),
        pytest.param([b"data: x\n\n", *[b": xxxxxxxx"] * 11], id="a comment without end"),
        pytest.param([b"data: x\n"] * 15, id="data lines without end"),
        pytest.param([b"data\n"] * 26, id="empty data lines without end"),
    ],
)
def test_too_long_an_event_is_an_error(pieces: list[bytes]) -> None:
    decoder = SseDecoder(max_event_bytes=100)
    with pytest.raises(EventTooLong, match="longer than 100 bytes"):
        list(map(decoder.feed, pieces))


def test_endless_events_and_comments_hold_nothing_back() -> None:
    decoder = SseDecoder(max_event_bytes=100)
    for _ in range(100):
        assert decoder.feed(b"data: aa\n\n: comment\n\nevent: x\n") == [b"aa"]


def test_work_on_a_huge_event_in_small_pieces_is_linear() -> None:
    pieces = [b"data: ", *[b"x" * 64] * 8192, b"\n\n"]
    decoder = SseDecoder()
    allocated_bytes = 0
    tracemalloc.start()
    for piece in pieces:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        events = decoder.feed(piece)
        _, peak = tracemalloc.get_traced_memory()
        allocated_bytes += peak - before
    tracemalloc.stop()
    assert [len(event) for event in events] == [64 * 8192]
    # Copying what is held at each piece would allocate 4096 times the event.
    assert allocated_bytes < 30 * 64 * 8192
