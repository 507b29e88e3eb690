from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.engine.http1 import IDLE_LIMIT_NS, MAX_HEADER_BYTES, Http1Session, Persistence, ResponseReader
from fluxperf.engine.session import BrokenResponse, Exchange, MalformedResponse, Request
from fluxperf.units import NS_PER_S
from tests.engine.scripted import ANSWER, LAST_CHUNK, STREAM_HEAD, Notes, chunk, cut, head, response

# What may come: the bytes, and what is made of them (status, body, whether the connection can serve again).
Read = tuple[int, bytes, bool]
WHOLE: dict[str, tuple[bytes, Read]] = {
    "length": (response(b"hello"), (200, b"hello", True)),
    "no body": (response(b""), (200, b"", True)),
    "chunked": (STREAM_HEAD + chunk(b"one") + chunk(b"two") + LAST_CHUNK, (200, b"onetwo", True)),
    "chunk extensions": (STREAM_HEAD + b"3;name=value\r\none\r\n" + LAST_CHUNK, (200, b"one", True)),
    "chunked, any case": (head("Transfer-Encoding: CHUNKED") + chunk(b"one") + LAST_CHUNK, (200, b"one", True)),
    "trailers": (STREAM_HEAD + chunk(b"one") + b"0\r\nServer-Timing: 1\r\nX: y\r\n\r\n", (200, b"one", True)),
    "continue": (head(status="100 Continue") + response(b"hello"), (200, b"hello", True)),
    "hints": (head("Link: </a>", status="103 Early Hints") * 2 + response(b"hello"), (200, b"hello", True)),
    "no content": (head(status="204 No Content"), (204, b"", True)),
    "not modified": (head("Content-Length: 5", status="304 Not Modified"), (304, b"", True)),
    "failed": (response(b"why", status="500 Internal Server Error"), (500, b"why", True)),
    "no reason": (response(b"x").replace(b" OK", b""), (200, b"x", True)),
    "unknown status": (response(b"x", status="799 Odd"), (799, b"x", True)),
    "upgrade offered": (response(b"x", "Connection: upgrade", "Upgrade: h2c"), (200, b"x", True)),
    "connection close": (response(b"hello", "Connection: close"), (200, b"hello", False)),
    "close among others": (response(b"hello", "connection: X, Close"), (200, b"hello", False)),
    "HTTP/1.0": (response(b"hello").replace(b"HTTP/1.1", b"HTTP/1.0"), (200, b"hello", False)),
    "HTTP/1.0 kept": (
        response(b"hello", "Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"),
        (200, b"hello", True),
    ),
    "a second response": (response(b"hello") + response(b"again"), (200, b"hello", False)),
    "garbage after it": (response(b"hello") + b"\x00\xff!", (200, b"hello", False)),
    "more than its length": (response(b"hello") + b"HT", (200, b"hello", False)),
    "informational after it": (response(b"hello") + head(status="100 Continue"), (200, b"hello", False)),
    "more after close": (response(b"hello", "Connection: close") + b"more", (200, b"hello", False)),
}
# Ended by the end of the connection.
CLOSED: dict[str, tuple[bytes, bytes]] = {
    "HTTP/1.1": (head("Content-Type: text/event-stream") + b"data: 1\n\n", b"data: 1\n\n"),
    "HTTP/1.0": (head().replace(b"1.1", b"1.0") + b"hello", b"hello"),
    "no body": (head("Connection: close"), b""),
}
MALFORMED: dict[str, bytes] = {
    "text": b"hello world\r\n\r\n",
    "HTML": b"<html></html>",
    "TLS alert": b"\x15\x03\x01\x00\x02\x02\x28",
    "HTTP/2 settings": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x80",
    "a request": b"POST / HTTP/1.1\r\n\r\n",
    "status": b"HTTP/1.1 ok\r\n\r\n",
    "header name": b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    "length": head("Content-Length: many"),
    "length overflow": head(f"Content-Length: {10**30}"),
    "two lengths": head("Content-Length: 1", "Content-Length: 2"),
    "length and chunked": head("Content-Length: 1", "Transfer-Encoding: chunked"),
    "chunk size": STREAM_HEAD + b"what\r\n",
    "chunk without its end": STREAM_HEAD + b"1\r\nab",
    "upgrade": head("Connection: upgrade", "Upgrade: h2c", status="101 Switching Protocols"),
    "informational upgrade": head(status="101 Switching Protocols") + response(b"x"),
}


def read(pieces: Sequence[bytes], *, eof: bool = False) -> tuple[Notes, ResponseReader]:
    """Feeds the pieces, at 100, 200, 300, ..."""
    notes = Notes()
    reader = ResponseReader(notes)
    for number, piece in enumerate(pieces, start=1):
        reader.feed(piece, number * 100)
    if eof:
        reader.feed_eof(len(pieces) * 100 + 100)
    return notes, reader


def summary(notes: Notes, reader: ResponseReader) -> tuple[Any, ...]:
    """What must not depend on how the response was cut: all but stamps and how the body was cut."""
    ((status, headers, _),) = notes.told("head")
    names = notes.names
    assert names == ["head", *["body"] * names.count("body"), "end"]
    assert (reader.status, reader.headers) == (status, headers)
    return status, headers, notes.data, reader.complete, reader.reusable


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_response(name: str) -> None:
    data, expected = WHOLE[name]
    notes, reader = read([data])
    status, _, body, complete, reusable = summary(notes, reader)
    assert complete
    assert (status, body, reusable) == expected


@pytest.mark.parametrize("name", WHOLE)
def test_a_cut_anywhere_changes_nothing(name: str) -> None:
    data, _ = WHOLE[name]
    expected = summary(*read([data]))
    for at in range(1, len(data)):
        assert summary(*read(cut(data, [at]))) == expected


@given(st.sampled_from([*WHOLE.values()]), st.data())
def test_cuts_anywhere_change_nothing(whole: tuple[bytes, Read], data: st.DataObject) -> None:
    wire, _ = whole
    cuts = data.draw(st.sets(st.integers(1, len(wire) - 1)))
    assert summary(*read(cut(wire, cuts))) == summary(*read([wire]))


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.sets(st.integers(0, 400)))
def test_any_body_in_any_chunks(chunks: list[bytes], cuts: set[int]) -> None:
    wire = STREAM_HEAD + b"".join(map(chunk, chunks)) + LAST_CHUNK
    notes, reader = read(cut(wire, cuts))
    assert notes.data == b"".join(chunks)
    assert reader.reusable


def test_headers_come_in_order_with_names_in_lower_case() -> None:
    notes, _ = read([response(b"", "X-A: One", "SET-COOKIE: a", "Set-Cookie: b", "Empty:")])
    ((_, headers, _),) = notes.told("head")
    assert headers == [
        (b"content-length", b"0"),
        (b"x-a", b"One"),
        (b"set-cookie", b"a"),
        (b"set-cookie", b"b"),
        (b"empty", b""),
    ]


@pytest.mark.parametrize("name", ["hints", "trailers", "informational after it"])
def test_only_the_head_of_the_response_has_headers(name: str) -> None:
    wire, _ = WHOLE[name]
    _, reader = read([wire])
    assert {name for name, _ in reader.headers} <= {b"content-length", b"content-type", b"transfer-encoding"}
    assert reader.headers


def test_each_call_has_the_stamp_of_the_read_that_brought_it() -> None:
    notes, _ = read([STREAM_HEAD, chunk(b"one") + chunk(b"two"), chunk(b"three"), LAST_CHUNK])
    assert notes.calls[1:] == [
        ("body", b"one", 200),
        ("body", b"two", 200),
        ("body", b"three", 300),
        ("end", 400),
    ]
    assert notes.told("head")[0][-1] == 100


@pytest.mark.parametrize("cut", [1, 20, -1])
def test_the_head_has_the_stamp_of_its_first_byte(cut: int) -> None:
    wire = head("Content-Length: 1")
    notes, _ = read([head(status="100 Continue"), wire[:cut], wire[cut:], b"x"])
    assert notes.told("head")[0][-1] == 200
    assert notes.told("end") == [[400]]


@pytest.mark.parametrize("name", CLOSED)
def test_the_end_of_the_connection_ends_a_response_of_no_told_length(name: str) -> None:
    wire, body = CLOSED[name]
    notes, reader = read([wire], eof=True)
    assert notes.data == body
    assert notes.calls[-1] == ("end", 200)
    assert (reader.complete, reader.reusable) == (True, False)


@pytest.mark.parametrize("name", WHOLE)
def test_the_end_of_the_connection_after_the_response_changes_nothing(name: str) -> None:
    wire, _ = WHOLE[name]
    notes, reader = read([wire], eof=True)
    assert notes.names.count("end") == 1
    assert reader.complete


def test_an_end_before_the_first_byte_leaves_the_response_untouched() -> None:
    with pytest.raises(BrokenResponse, match="before the response began") as caught:
        read([], eof=True)
    assert caught.value.untouched


@pytest.mark.parametrize(
    "begun",
    [
        b"H",
        head("Content-Length: 5")[:-1],
        head("Content-Length: 5"),
        head("Content-Length: 5") + b"hell",
        STREAM_HEAD,
        STREAM_HEAD + chunk(b"one"),
        STREAM_HEAD + chunk(b"one") + b"0\r\n",
        head(status="100 Continue"),
    ],
)
def test_an_end_in_the_middle_breaks_the_response(begun: bytes) -> None:
    notes = Notes()
    reader = ResponseReader(notes)
    reader.feed(begun, 100)
    with pytest.raises(BrokenResponse, match="in the middle") as caught:
        reader.feed_eof(200)
    assert not caught.value.untouched
    assert "end" not in notes.names
    assert not reader.complete


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_response_is_malformed_wherever_it_is_cut(name: str) -> None:
    wire = MALFORMED[name]
    with pytest.raises(MalformedResponse):
        read([wire])
    with pytest.raises(MalformedResponse):
        read(cut(wire, range(1, len(wire))))


@pytest.mark.parametrize(
    ("start", "flood"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-Flood: " + b"a" * 1000 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-Flood: ", b"a" * 1000),
        (b"HTTP/1.1 200 ", b"a" * 1000),
        (b"HTTP/1.1 200 OK\r\n", b"a" * 1000),
        (b"", head(status="100 Continue") * 40),
        (STREAM_HEAD + b"0\r\n", b"X-Flood: " + b"a" * 1000 + b"\r\n"),
        (STREAM_HEAD + b"0\r\nX-Flood: ", b"a" * 1000),
        (STREAM_HEAD + b"1;", b"a" * 1000),
    ],
    ids=["headers", "one header", "reason", "one name", "informational", "trailers", "one trailer", "extension"],
)
def test_what_is_no_body_is_bounded(start: bytes, flood: bytes) -> None:
    with pytest.raises(MalformedResponse, match="longer than"):
        read([start, *[flood] * (MAX_HEADER_BYTES // len(flood) + 1)])


def test_a_long_head_and_a_long_body_are_read() -> None:
    fields = [f"X-{number}: {'a' * 1000}" for number in range(200)]
    body = [chunk(b"a" * 10_000)] * 100
    notes, _ = read([head(*fields, "Transfer-Encoding: chunked"), *body, LAST_CHUNK])
    assert len(notes.data) == 1_000_000
    assert notes.names[-1] == "end"


def test_an_exception_of_the_sink_is_not_taken_for_a_malformed_response() -> None:
    class Broken(Notes):
        def body(self, data: bytes, at_ns: int) -> None:
            raise ZeroDivisionError("in the sink")

    with pytest.raises(ZeroDivisionError, match="in the sink"):
        ResponseReader(Broken()).feed(response(b"hello"), 100)


# Persistence.


def learn_all(values: Iterable[str | None]) -> tuple[Persistence, list[bool]]:
    """Learns from responses with these Keep-Alive fields; after each, whether the connection is exhausted."""
    persistence = Persistence()
    after = []
    for value in values:
        persistence.learn([] if value is None else [(b"keep-alive", value.encode())])
        after.append(persistence.exhausted)
    return persistence, after


def test_without_a_word_of_the_server_a_connection_lasts() -> None:
    persistence, after = learn_all([None] * 1000)
    assert not any(after)
    assert persistence.served == 1000
    assert persistence.idle_limit_ns == IDLE_LIMIT_NS < 5 * NS_PER_S


@given(st.integers(1, 200))
def test_a_constant_max_is_the_number_of_requests(most: int) -> None:
    _, after = learn_all([f"timeout=5, max={most}"] * most)
    assert after == [False] * (most - 1) + [True]


@given(st.integers(1, 200), st.integers(0, 50))
def test_a_max_that_counts_down_is_the_number_that_remains(most: int, missed: int) -> None:
    silent = min(missed, most - 1)
    fields = [None if served < silent else f"timeout=5, max={most - served}" for served in range(most)]
    _, after = learn_all(fields)
    assert after == [False] * (most - 1) + [True]


@pytest.mark.parametrize(
    ("value", "idle_limit_s"),
    [
        ("timeout=5", 4),
        ("timeout=3, max=100", 2),
        ("max=100, Timeout = 2", 1),
        ("timeout=1", 0),
        ("timeout=0", 0),
        ("timeout=600", 4),
        ("timeout=99999999999999", 4),
        ("timeout=soon", 4),
        ("", 4),
    ],
)
def test_the_timeout_is_kept_with_a_second_to_spare(value: str, idle_limit_s: int) -> None:
    persistence, _ = learn_all([value])
    assert persistence.idle_limit_ns == idle_limit_s * NS_PER_S


@pytest.mark.parametrize("value", ["max=", "max=-1", "max=few", "maximum=1", "xmax 1"])
def test_a_max_that_is_no_number_says_nothing(value: str) -> None:
    _, after = learn_all([value] * 3)
    assert after == [False] * 3


@pytest.mark.parametrize("value", ["max=0", "MAX = 1", "timeout=5,max=1", 'max=1, timeout="5"'])
def test_a_max_that_is_reached(value: str) -> None:
    _, after = learn_all([value])
    assert after == [True]


# The session.


def begun(session: Http1Session) -> Exchange:
    """An exchange whose request has been sent."""
    exchange = Exchange(Notes(), None)
    wire = session.begin(exchange, Request(b"POST", b"http", b"/v1", [(b"Host", b"h")], b"{}"))
    assert wire == b"POST /v1 HTTP/1.1\r\nHost: h\r\n\r\n{}"
    exchange.begun = True
    session.begun(exchange)
    return exchange


def outcome(endings: Sequence[tuple[Exchange, Exception | None]], exchange: Exchange) -> Exception | None:
    """How the exchange ended, which must have been the only one."""
    ((ended, error),) = endings
    assert ended is exchange
    return error


def test_a_session_carries_one_exchange_after_the_other() -> None:
    session = Http1Session()
    for _ in range(3):
        assert (session.settled, session.capacity) == (True, 1)
        exchange = begun(session)
        assert session.feed(response(b"hello")[:-1], 1) == ()
        assert outcome(session.feed(b"o", 2), exchange) is None
        assert (exchange.status, exchange.headers) == (200, [(b"content-length", b"5")])
    assert session.pending() == b""


@pytest.mark.parametrize(
    "answer", [response(b"", "Connection: close"), response(b"", "Keep-Alive: max=1"), response(b"") + b"more"]
)
def test_a_session_that_serves_no_more_says_so(answer: bytes) -> None:
    session = Http1Session()
    exchange = begun(session)
    assert outcome(session.feed(answer, 1), exchange) is None
    assert session.capacity == 0


@pytest.mark.parametrize("started", [False, True])
def test_a_session_that_breaks_ends_its_exchange(started: bool) -> None:
    for breaking in ("closed", "reset"):
        session = Http1Session()
        exchange = begun(session)
        if started:
            session.feed(STREAM_HEAD, 1)
        endings = session.feed_eof(2) if breaking == "closed" else session.break_off("reset")
        error = outcome(endings, exchange)
        assert isinstance(error, BrokenResponse)
        assert error.untouched is not started
        assert session.capacity == 0
        assert session.feed_eof(3) == session.break_off("again") == ()


def test_a_session_that_hears_what_is_no_http_ends_its_exchange() -> None:
    session = Http1Session()
    exchange = begun(session)
    assert isinstance(outcome(session.feed(b"hello", 1), exchange), MalformedResponse)
    assert session.capacity == 0


def test_a_session_that_is_spoken_to_while_it_is_idle_is_over() -> None:
    session = Http1Session()
    assert session.feed(head(status="408 Request Timeout"), 1) == ()
    assert session.capacity == 0


def test_what_comes_before_the_request_has_gone_out_is_no_answer_to_it() -> None:
    session = Http1Session()
    exchange = Exchange(Notes(), None)
    session.begin(exchange, Request(b"POST", b"http", b"/", [], b""))
    error = outcome(session.feed(head(status="408 Request Timeout"), 1), exchange)
    assert isinstance(error, BrokenResponse)
    assert error.untouched


def test_giving_up_an_exchange_leaves_nothing_of_the_session() -> None:
    session = Http1Session()
    assert not session.abandon(begun(session))
    assert session.capacity == 0
    assert session.feed(response(b"late"), 1) == ()


def test_a_whole_answer_is_read_by_the_reader_of_these_tests() -> None:
    notes, reader = read([ANSWER])
    assert notes.data.endswith(b"data: [DONE]\n\n")
    assert reader.reusable


@pytest.mark.parametrize(
    ("said", "guess"),
    [
        (b"\x15\x03\x01\x00\x02\x02\x28", "it is TLS; must the endpoint be https://?"),
        (b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64", "it is HTTP/2; try --http 2"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "Expected HTTP/"),
    ],
)
def test_what_is_no_http_is_named_where_it_can_be_guessed(said: bytes, guess: str) -> None:
    with pytest.raises(MalformedResponse, match=r"not an HTTP/1\.1 response: ") as caught:
        ResponseReader(Notes()).feed(said, 1)
    assert guess in str(caught.value)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "the server speaks before it is asked, and not HTTP"),
        (b"HTTP/1.1 408 Request Timeout\r\n\r\n", None),
    ],
)
def test_a_server_that_speaks_unasked(data: bytes, complaint: str | None) -> None:
    session = Http1Session()
    assert session.feed(data, 1) == ()
    assert (session.capacity, session.complaint) == (0, complaint)
