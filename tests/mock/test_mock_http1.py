from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf_mock.http1 import (
    BadRequest,
    Request,
    RequestReader,
    render_chunk,
    render_response,
    render_stream_head,
)
from fluxperf_mock.messages import MAX_BODY_BYTES, MAX_HEADER_BYTES, Response

POST = b"POST /v1/x?y=1&z HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
ABSOLUTE = b"GET http://h:1/b HTTP/1.1\r\nHost: h:1\r\n\r\n"
STREAM = POST + CHUNKED + ABSOLUTE + b"HEAD / HTTP/1.0\r\n\r\n"
REQUESTS = [
    Request("POST", "/v1/x", b"hello", query="y=1&z"),
    Request("POST", "/a", b"hello"),
    Request("GET", "/b"),
    Request("HEAD", "/", b"", keep_alive=False, chunked=False),
]


@given(st.sets(st.integers(1, len(STREAM) - 1)))
def test_requests_are_the_same_wherever_their_bytes_are_split(cuts: set[int]) -> None:
    reader = RequestReader()
    found = []
    edges = [0, *sorted(cuts), len(STREAM)]
    for start, end in itertools.pairwise(edges):
        found += reader.feed(STREAM[start:end])
    assert found == REQUESTS


@pytest.mark.parametrize(
    ("version", "header", "keep_alive"),
    [
        ("1.1", "", True),
        ("1.1", "Connection: close\r\n", False),
        ("1.0", "", False),
        ("1.0", "Connection: keep-alive\r\n", True),
    ],
)
def test_whether_the_connection_stays(version: str, header: str, keep_alive: bool) -> None:
    (request,) = RequestReader().feed(f"GET / HTTP/{version}\r\n{header}\r\n".encode())
    assert request.keep_alive == keep_alive


def test_what_follows_a_request_with_close_is_passed_over() -> None:
    reader = RequestReader()
    close = b"GET /a HTTP/1.1\r\nConnection: close\r\n\r\n"
    assert [request.path for request in reader.feed(close + b"rubbish")] == ["/a"]
    assert reader.feed(POST) == []


@pytest.mark.parametrize(
    "data",
    [
        b"rubbish\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"CONNECT h:1 HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nab",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
def test_what_is_no_request_is_bad(data: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        RequestReader().feed(data)
    assert caught.value.status == 400


@given(st.binary(max_size=200))
def test_no_bytes_do_worse_than_be_bad(data: bytes) -> None:
    with contextlib.suppress(BadRequest):
        RequestReader().feed(data)


def test_a_head_has_its_limit() -> None:
    reader = RequestReader()
    reader.feed(b"GET / HTTP/1.1\r\n")
    with pytest.raises(BadRequest) as caught:
        reader.feed(b"X: " + b"x" * MAX_HEADER_BYTES + b"\r\n\r\n")
    assert caught.value.status == 431


def test_a_body_has_its_limit() -> None:
    reader = RequestReader()
    reader.feed(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1))
    reader.feed(bytes(MAX_BODY_BYTES))
    with pytest.raises(BadRequest) as caught:
        reader.feed(b"x")
    assert caught.value.status == 413


def test_an_expectation_is_reported_once_and_only_before_the_body() -> None:
    head = b"POST / HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n"
    reader = RequestReader()
    assert reader.feed(head) == []
    assert reader.take_expectation()
    assert not reader.take_expectation()
    assert reader.feed(b"ab") == [Request("POST", "/", b"ab")]
    reader.feed(head + b"a")
    assert not reader.take_expectation()


def test_a_response_is_framed_by_its_length() -> None:
    assert render_response(Response(405, b"{}", allow="GET"), Request("PUT", "/")) == (
        b"HTTP/1.1 405 Method Not Allowed\r\n"
        b"content-type: application/json\r\ncontent-length: 2\r\nallow: GET\r\n\r\n{}"
    )


def test_a_response_to_head_has_no_body() -> None:
    rendered = render_response(Response(200, b"text", "text/plain"), Request("HEAD", "/", keep_alive=False))
    head, _, body = rendered.partition(b"\r\n\r\n")
    assert b"content-length: 4" in head
    assert b"connection: close" in head
    assert body == b""


def test_only_a_client_of_1_1_gets_chunks() -> None:
    modern = render_stream_head(Request("POST", "/"))
    assert b"transfer-encoding: chunked" in modern
    assert b"connection" not in modern
    old = render_stream_head(Request("POST", "/", keep_alive=True, chunked=False))
    assert b"chunked" not in old
    assert b"connection: close" in old
    assert b"connection: keep-alive" in render_response(Response(200, b""), Request("GET", "/", chunked=False))


def test_a_chunk_says_its_length_in_hex() -> None:
    assert render_chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
