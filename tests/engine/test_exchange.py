"""Requests over real sockets: every way an answer can go, and the outcome that it is given."""

from __future__ import annotations

import base64
import gc
import gzip
import socket
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import trio

from fluxperf.api import APIS
from fluxperf.engine.connection import Address
from fluxperf.engine.dial import Route
from fluxperf.engine.exchange import make_template, perform
from fluxperf.engine.gauge import Gauge
from fluxperf.engine.observer import Observer
from fluxperf.engine.pool import Pool
from fluxperf.engine.transport import Client
from fluxperf.model import Outcome, Refusal
from fluxperf.model.timeline import Timeline
from fluxperf.units import NS_PER_MS, NS_PER_S
from tests.engine.scripted import (
    ANSWER,
    DONE,
    LAST_CHUNK,
    ROLE,
    STREAM_HEAD,
    USAGE,
    Loopback,
    ManualReactor,
    Peer,
    Script,
    chunk,
    delta,
    event,
    head,
    in_trio,
    in_turn,
    loopback,
    replying,
    response,
    say,
    stall,
    stop,
    stream,
    until,
)

NOT_A_STREAM = Refusal.NOT_A_STREAM
JSON = "Content-Type: application/json"
HTML = "Content-Type: text/html; charset=utf-8"
TEXT = "Content-Type: text/plain"
EVENTS = "Content-Type: text/event-stream"
CODINGS: dict[str, Callable[[bytes], bytes]] = {"identity": bytes, "gzip": gzip.compress, "deflate": zlib.compress}
ERROR = b'{"error": {"message": "out of memory", "code": 500}}'
COMPLETION = b'{"object": "chat.completion", "choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}'
HTML_PAGE = b"<!doctype html><html><head><title>nginx</title></head><body><h1>502 Bad Gateway</h1></body></html>"
GAUGE = Gauge()  # one for all, as a worker has it


@dataclass(frozen=True)
class Case:
    """What the server writes, and what the client makes of it. `error`: the whole message; None: there is none."""

    answer: bytes
    outcome: Outcome
    error: str | None = None
    refusal: int | None = None


def failed(status: str, body: bytes, *fields: str) -> bytes:
    return response(body, *fields, status=status)


CASES: dict[str, Case] = {
    "ok": Case(ANSWER, Outcome.OK),
    "ok without DONE": Case(stream(ROLE, say("Hi"), stop()), Outcome.OK),
    "ok in one chunk": Case(stream(ROLE + say("Hi") + stop() + USAGE + DONE), Outcome.OK),
    "ok of a told length": Case(response(ROLE + say("Hi") + stop() + DONE, EVENTS), Outcome.OK),
    "ok without a content type": Case(response(ROLE + say("Hi") + stop() + DONE), Outcome.OK),
    "ok without the last blank line": Case(response(say("Hi") + stop().rstrip(), EVENTS), Outcome.OK),
    "ok with a BOM and CRLF": Case(
        response(b"\xef\xbb\xbf" + (ROLE + say("Hi") + stop()).replace(b"\n", b"\r\n"), EVENTS), Outcome.OK
    ),
    "ok after a comment": Case(stream(b": ping\n\n", b": PROCESSING\n\n", say("Hi"), stop()), Outcome.OK),
    "ok after 100": Case(head(status="100 Continue") + ANSWER, Outcome.OK),
    "ok with status 201": Case(ANSWER.replace(b"200 OK", b"201 Created"), Outcome.OK),
    "tool call": Case(stream(ROLE, delta(tool_calls=[{"function": {"name": "f"}}]), stop("tool_calls")), Outcome.OK),
    "length": Case(stream(ROLE, say("Hi"), stop("length"), DONE), Outcome.LENGTH),
    "JSON error": Case(failed("500 Internal Server Error", ERROR), Outcome.HTTP_STATUS, "HTTP 500: out of memory"),
    "detail": Case(failed("422 No", b'{"detail": "bad model"}', JSON), Outcome.HTTP_STATUS, "HTTP 422: bad model"),
    "HTML error": Case(
        failed("502 Bad Gateway", HTML_PAGE, HTML), Outcome.HTTP_STATUS, "HTTP 502: nginx 502 Bad Gateway"
    ),
    "text error": Case(
        failed("500 Internal Server Error", b"Internal\r\nServer Error", TEXT),
        Outcome.HTTP_STATUS,
        "HTTP 500: Internal Server Error",
    ),
    "empty error": Case(failed("500 No", b""), Outcome.HTTP_STATUS, "HTTP 500: (empty body)"),
    "error as events": Case(failed("400 No", event("no"), EVENTS), Outcome.HTTP_STATUS, 'HTTP 400: data: "no"'),
    "redirect": Case(
        failed("307 Temporary Redirect", b"", "Location: /v2"), Outcome.HTTP_STATUS, "HTTP 307: (empty body)"
    ),
    "401": Case(failed("401 No", b"no key"), Outcome.HTTP_STATUS, "HTTP 401: no key", 401),
    "403": Case(failed("403 No", b"no access"), Outcome.HTTP_STATUS, "HTTP 403: no access", 403),
    "404": Case(failed("404 No", b"no such model"), Outcome.HTTP_STATUS, "HTTP 404: no such model", 404),
    "405": Case(failed("405 No", b"no POST"), Outcome.HTTP_STATUS, "HTTP 405: no POST", 405),
    "429": Case(failed("429 No", b"slow down", "Retry-After: 0"), Outcome.REJECTED, "HTTP 429: slow down"),
    "503": Case(failed("503 No", b"loading", "Retry-After: 0"), Outcome.REJECTED, "HTTP 503: loading"),
    "error first": Case(stream(b"data: " + ERROR + b"\n\n", DONE), Outcome.ERROR_IN_STREAM, "out of memory"),
    "error midway": Case(
        stream(ROLE, say("Hi"), b"data: " + ERROR + b"\n\n", DONE), Outcome.ERROR_IN_STREAM, "out of memory"
    ),
    "error after the finish": Case(
        stream(say("Hi"), stop(), b"data: " + ERROR + b"\n\n"), Outcome.ERROR_IN_STREAM, "out of memory"
    ),
    "error and status 200": Case(response(ERROR, JSON), Outcome.ERROR_IN_STREAM, "out of memory", NOT_A_STREAM),
    "error and no content type": Case(response(ERROR), Outcome.ERROR_IN_STREAM, "out of memory", NOT_A_STREAM),
    "error called a stream": Case(response(ERROR, EVENTS), Outcome.ERROR_IN_STREAM, "out of memory", NOT_A_STREAM),
    "abort": Case(
        stream(say("Hi"), stop("abort")), Outcome.ERROR_IN_STREAM, "the stream ended with finish_reason 'abort'"
    ),
    "finish error": Case(
        stream(say("Hi"), stop("error")), Outcome.ERROR_IN_STREAM, "the stream ended with finish_reason 'error'"
    ),
    "truncated": Case(stream(ROLE, say("Hi")), Outcome.TRUNCATED, "the stream ended without a finish_reason"),
    "truncated but DONE": Case(
        stream(ROLE, say("Hi"), DONE), Outcome.TRUNCATED, "the stream ended without a finish_reason"
    ),
    "truncated in an event": Case(
        response(say("Hi") + stop()[:-9], EVENTS), Outcome.TRUNCATED, "the stream ended without a finish_reason"
    ),
    "nothing": Case(stream(), Outcome.TRUNCATED, "the stream ended without a finish_reason"),
    "no content": Case(head(status="204 No Content"), Outcome.TRUNCATED, "the stream ended without a finish_reason"),
    "comments only": Case(stream(b": ping\n\n"), Outcome.TRUNCATED, "the stream ended without a finish_reason"),
    "empty": Case(
        stream(ROLE, stop(), USAGE, DONE),
        Outcome.EMPTY,
        "the stream ended with finish_reason 'stop' and held no output",
    ),
    "not JSON": Case(stream(ROLE, b"data: {oops\n\n", stop()), Outcome.MALFORMED, "not JSON: {oops"),
    "not JSON at first": Case(stream(b"data: hello\n\n"), Outcome.MALFORMED, "not JSON: hello", NOT_A_STREAM),
    "no object": Case(stream(ROLE, b"data: [1]\n\n"), Outcome.MALFORMED, "JSON, but not an object: [1]"),
    "HTML and status 200": Case(
        response(HTML_PAGE, HTML),
        Outcome.MALFORMED,
        "not an event stream: nginx 502 Bad Gateway",
        NOT_A_STREAM,
    ),
    "text and status 200": Case(
        response(b"hello", TEXT), Outcome.MALFORMED, "not an event stream: hello", NOT_A_STREAM
    ),
    "a whole completion": Case(
        response(COMPLETION, JSON),
        Outcome.MALFORMED,
        "not an event stream: a whole answer at once",
        NOT_A_STREAM,
    ),
    "a whole completion, untyped": Case(
        response(COMPLETION), Outcome.MALFORMED, "not an event stream: a whole answer at once", NOT_A_STREAM
    ),
    "unknown coding": Case(
        response(b"\x8b\x01", EVENTS, "Content-Encoding: br"),
        Outcome.MALFORMED,
        "the answer is encoded as br, which was not asked for",
        NOT_A_STREAM,
    ),
    "identity coding": Case(response(say("Hi") + stop(), EVENTS, "Content-Encoding: identity"), Outcome.OK),
    "gzip": Case(
        response(gzip.compress(ROLE + say("Hi") + stop()), EVENTS, "Content-Encoding: gzip"),
        Outcome.OK,
    ),
    "deflate": Case(
        response(zlib.compress(ROLE + say("Hi") + stop()), EVENTS, "Content-Encoding: deflate"),
        Outcome.OK,
    ),
    "gzip of an error": Case(
        failed("500 No", gzip.compress(ERROR), JSON, "Content-Encoding: X-GZip"),
        Outcome.HTTP_STATUS,
        "HTTP 500: out of memory",
    ),
    "gzip cut short": Case(
        response(gzip.compress(ROLE + say("Hi") + stop())[:-20], EVENTS, "Content-Encoding: gzip"),
        Outcome.TRUNCATED,
        "the stream ended without a finish_reason",
    ),
}


def observe() -> Observer:
    return Observer(Timeline(index=0), APIS["chat"], GAUGE)


async def ask(there: Loopback, *, observer: Observer | None = None, timeout_ns: int = 60 * NS_PER_S) -> Observer:
    """One request; the observer of its answer."""
    observer = observer or observe()
    template = make_template(there.server.url, {"content-type": "application/json"}, timeout_ns)
    await perform(there.http, template.request(b"{}", observer), observer)
    return observer


@pytest.mark.parametrize("name", CASES)
@in_trio
async def test_the_outcome_of_an_answer(name: str) -> None:
    case = CASES[name]
    async with loopback(replying(case.answer)) as there:
        observer = await ask(there)
        assert len(there.server.requests) == 1
    timeline = observer.timeline
    assert (timeline.outcome, timeline.error) == (case.outcome, case.error)
    assert observer.refusal == case.refusal
    assert timeline.success is (timeline.error is None)
    assert_in_order(timeline)


@pytest.mark.parametrize("name", CASES)
@in_trio
async def test_the_outcome_is_the_same_byte_by_byte(name: str) -> None:
    case = CASES[name]

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send_apart(*(case.answer[at : at + 1] for at in range(len(case.answer))))
        await peer.request()

    async with loopback(script) as there:
        observer = await ask(there)
    assert (observer.timeline.outcome, observer.timeline.error) == (case.outcome, case.error)
    assert observer.refusal == case.refusal


def assert_in_order(timeline: Timeline) -> None:
    stamps = [
        timeline.sent_ns,
        timeline.first_byte_ns,
        timeline.first_output_ns,
        timeline.first_answer_ns,
        timeline.last_output_ns,
        timeline.end_ns,
        timeline.done_ns,
    ]
    known = [stamp for stamp in stamps if stamp is not None]
    assert known == sorted(known)


def test_every_outcome_of_an_answer_has_a_case() -> None:
    elsewhere = {Outcome.RESET, Outcome.TIMEOUT, Outcome.CONNECT, Outcome.CUT_OFF, Outcome.NOT_SENT}
    assert {case.outcome for case in CASES.values()} | elsewhere == set(Outcome)


# Broken connections.


def breaking_off(*pieces: bytes, reset: bool) -> Script:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send_apart(*pieces)
        if reset:
            peer.reset()

    return script


@pytest.mark.parametrize("reset", [False, True], ids=["close", "reset"])
@pytest.mark.parametrize(
    "pieces",
    [[], [STREAM_HEAD], [STREAM_HEAD, chunk(ROLE), chunk(say("Hi"))], [STREAM_HEAD, chunk(say("Hi"))[:-5]]],
    ids=["at once", "after the head", "after a token", "in a token"],
)
@in_trio
async def test_a_connection_that_breaks_is_a_reset(pieces: Sequence[bytes], reset: bool) -> None:
    async with loopback(breaking_off(*pieces, reset=reset)) as there:
        timeline = (await ask(there)).timeline
    assert timeline.outcome is Outcome.RESET
    assert "reset the connection" in str(timeline.error) if reset else "closed the connection" in str(timeline.error)
    assert timeline.end_ns is None
    assert timeline.done_ns is not None
    assert_in_order(timeline)


@pytest.mark.parametrize("reset", [False, True], ids=["close", "reset"])
@pytest.mark.parametrize("reason", ["stop", "length"])
@in_trio
async def test_a_connection_that_breaks_after_everything_was_said_is_a_success(reason: str, reset: bool) -> None:
    script = breaking_off(STREAM_HEAD, chunk(say("Hi")), chunk(stop(reason)), reset=reset)
    async with loopback(script) as there:
        timeline = (await ask(there)).timeline
    assert timeline.success
    assert timeline.error is None
    assert timeline.finish_reason == reason
    assert timeline.end_ns is not None
    assert_in_order(timeline)


@in_trio
async def test_a_connection_that_breaks_after_an_error_is_that_error() -> None:
    script = breaking_off(STREAM_HEAD, chunk(b"data: " + ERROR + b"\n\n"), reset=True)
    async with loopback(script) as there:
        timeline = (await ask(there)).timeline
    assert (timeline.outcome, timeline.error) == (Outcome.ERROR_IN_STREAM, "out of memory")


@pytest.mark.parametrize("reset", [False, True], ids=["close", "reset"])
@in_trio
async def test_a_failed_status_is_told_though_its_body_breaks_off(reset: bool) -> None:
    script = breaking_off(head("Content-Length: 100", status="500 No") + b"out of", reset=reset)
    async with loopback(script) as there:
        timeline = (await ask(there)).timeline
    assert (timeline.outcome, timeline.error) == (Outcome.HTTP_STATUS, "HTTP 500: out of")


@pytest.mark.parametrize(
    ("events", "outcome"),
    [([say("Hi"), stop()], Outcome.OK), ([say("Hi")], Outcome.TRUNCATED), ([stop().strip()], Outcome.EMPTY)],
)
@in_trio
async def test_a_stream_that_the_end_of_the_connection_ends(events: list[bytes], outcome: Outcome) -> None:
    async with loopback(breaking_off(head(EVENTS), *events, reset=False)) as there:
        timeline = (await ask(there)).timeline
    assert timeline.outcome is outcome
    assert timeline.end_ns is not None


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "not an HTTP/1.1 response"),
        (b"\x15\x03\x03\x00\x02\x02\x16", "not an HTTP/1.1 response"),
        (head("Content-Length: -1"), "not an HTTP/1.1 response"),
        (STREAM_HEAD + chunk(say("Hi")) + b"oops\r\n", "not an HTTP/1.1 response"),
        (head("Connection: upgrade", "Upgrade: h2c", status="101 Switching Protocols"), "switched protocols"),
    ],
)
@in_trio
async def test_what_is_no_http_is_malformed(answer: bytes, message: str) -> None:
    async with loopback(replying(answer)) as there:
        timeline = (await ask(there)).timeline
    assert timeline.outcome is Outcome.MALFORMED
    assert message in str(timeline.error)


@in_trio
async def test_a_timeout_keeps_the_stamps_it_got() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send_apart(STREAM_HEAD, chunk(ROLE), chunk(say("One")), chunk(say(" two")))
        await reactor.fire(reactor.timers[0])
        await peer.request()

    reactor = ManualReactor()
    async with loopback(script, reactor) as there:
        timeline = (await ask(there, timeout_ns=50 * NS_PER_MS)).timeline
    assert (timeline.outcome, timeline.error) == (Outcome.TIMEOUT, "no end of the response within 0.05 s")
    assert (timeline.output_events, timeline.end_ns) == (2, None)
    assert None not in (timeline.sent_ns, timeline.first_byte_ns, timeline.first_output_ns, timeline.last_output_ns)
    assert timeline.max_gap_ns == (timeline.last_output_ns or 0) - (timeline.first_output_ns or 0)
    assert [timer.deadline_ns for timer in reactor.timers] == [(timeline.sent_ns or 0) + 50 * NS_PER_MS]
    assert_in_order(timeline)


@in_trio
async def test_no_connection() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        async with loopback(replying(ANSWER)) as there:
            pool = Pool(there.reactor, Route(Address(socket.AF_INET, closed.getsockname())), kernel_stamps=True)
            async with Client(pool) as http:
                observer = await ask(Loopback(there.server, there.reactor, pool, http))
    timeline = observer.timeline
    assert (timeline.outcome, timeline.error) == (Outcome.CONNECT, "connection refused")
    assert timeline.sent_ns is None


@in_trio
async def test_a_request_that_is_cancelled_stays_cut_off_with_what_it_got() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send_apart(STREAM_HEAD, chunk(say("One")))
        await peer.request()

    observer = observe()
    async with loopback(script) as there, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: ask(there, observer=observer))
        await until(lambda: observer.timeline.output_events == 1)
        nursery.cancel_scope.cancel()
    timeline = observer.timeline
    assert (timeline.outcome, timeline.error, timeline.output_events) == (Outcome.CUT_OFF, None, 1)
    assert timeline.done_ns is not None
    assert_in_order(timeline)


# What is measured.


@in_trio
async def test_tokens_that_come_apart_have_stamps_of_their_own() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send_apart(STREAM_HEAD, chunk(ROLE), *(chunk(say(word)) for word in "abcd"))
        await peer.send_apart(chunk(stop()), LAST_CHUNK)
        await peer.request()

    async with loopback(script) as there:
        observer = await ask(there)
    timeline = observer.timeline
    assert (timeline.output_events, timeline.coalesced_events) == (4, 0)
    assert len(observer.gaps) == 3
    assert min(observer.gaps) > 0
    assert sum(observer.gaps) == (timeline.last_output_ns or 0) - (timeline.first_output_ns or 0)
    assert (timeline.first_byte_ns or 0) < (timeline.first_output_ns or 0)


@pytest.mark.parametrize("coding", CODINGS)
@in_trio
async def test_a_whole_answer_in_one_write_is_coalesced(coding: str) -> None:
    answer = CODINGS[coding](ROLE + b"".join(map(say, "abcd")) + stop() + DONE)
    async with loopback(replying(response(answer, EVENTS, f"Content-Encoding: {coding}"))) as there:
        observer = await ask(there)
    assert (observer.timeline.output_events, observer.timeline.coalesced_events) == (4, 3)
    assert observer.gaps == [0, 0, 0]
    assert observer.timeline.first_output_ns == observer.timeline.last_output_ns


@pytest.mark.parametrize("wbits", [15, 31], ids=["deflate", "gzip"])
@in_trio
async def test_a_compressed_stream_that_is_flushed_after_each_event_is_not_coalesced(wbits: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        squeeze = zlib.compressobj(wbits=wbits)
        await peer.send_apart(STREAM_HEAD[:-2] + b"Content-Encoding: gzip\r\n\r\n")
        for piece in (ROLE, say("a"), say("b"), stop()):
            await peer.send_apart(chunk(squeeze.compress(piece) + squeeze.flush(zlib.Z_SYNC_FLUSH)))
        await peer.send_apart(chunk(squeeze.flush()), LAST_CHUNK)
        await peer.request()

    async with loopback(script) as there:
        observer = await ask(there)
    assert observer.timeline.outcome is Outcome.OK
    assert (observer.timeline.output_events, observer.timeline.coalesced_events) == (2, 0)


@in_trio
async def test_only_the_first_request_pays_for_the_connection() -> None:
    async with loopback(replying(ANSWER)) as there:
        first, second = (await ask(there)).timeline, (await ask(there)).timeline
    assert first.connect_ns > 0
    assert second.connect_ns == 0
    assert first.resent == second.resent == 0


@in_trio
async def test_a_request_that_is_sent_again_counts_from_the_second_time() -> None:
    async def close_at_second(peer: Peer) -> None:
        await peer.request()
        await peer.send(ANSWER)
        await peer.request()

    async with loopback(in_turn(close_at_second, replying(ANSWER))) as there:
        first, again = (await ask(there)).timeline, (await ask(there)).timeline
        assert there.server.requests[1].body == there.server.requests[2].body
    assert (again.outcome, again.resent) == (Outcome.OK, 1)
    assert again.connect_ns > 0
    assert (again.sent_ns or 0) > (first.done_ns or 0)
    assert_in_order(again)


# What is left.


@pytest.mark.parametrize(
    ("script", "requests", "outcome"),
    [
        (replying(ANSWER), 1000, Outcome.OK),
        (replying(failed("500 No", b"no")), 100, Outcome.HTTP_STATUS),
        (replying(b"garbage"), 100, Outcome.MALFORMED),
        (breaking_off(STREAM_HEAD, reset=False), 100, Outcome.RESET),
        (breaking_off(STREAM_HEAD, reset=True), 100, Outcome.RESET),
        (stall, 20, Outcome.TIMEOUT),
    ],
    ids=["answered", "failed", "malformed", "broken off", "reset", "timeout"],
)
@in_trio
async def test_a_request_leaves_nothing_to_the_collector(script: Script, requests: int, outcome: Outcome) -> None:
    """Automatic collection is off during a round: what only the collector can free is as good as leaked."""
    timeout_ns = NS_PER_MS if script is stall else NS_PER_S
    async with loopback(script) as there:
        assert (await ask(there, timeout_ns=timeout_ns)).timeline.outcome is outcome
        gc.collect()
        gc.disable()
        try:
            for _ in range(requests):
                await ask(there, timeout_ns=timeout_ns)
            assert gc.collect() < 50
        finally:
            gc.enable()


# What is sent.


@in_trio
async def test_what_a_request_carries() -> None:
    async with loopback(replying(ANSWER)) as there:
        template = make_template(
            there.server.url + "?version=1", {"accept": "*/*", "authorization": "Bearer key"}, NS_PER_S
        )
        for body in (b'{"a": 1}', b"{}"):
            observer = observe()
            await perform(there.http, template.request(body, observer), observer)
        first, second = there.server.requests
    assert first.line == second.line == "POST /v1/chat/completions?version=1 HTTP/1.1"
    assert first.headers == {
        "host": str(there.server.address),
        "accept": "*/*",
        "authorization": "Bearer key",
        "content-length": "8",
    }
    assert (first.body, second.body) == (b'{"a": 1}', b"{}")
    assert second.headers["content-length"] == "2"


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer key"}], ids=["no key", "a key"])
@in_trio
async def test_the_user_and_password_in_the_url_are_sent_in_place_of_a_key(headers: dict[str, str]) -> None:
    async with loopback(replying(ANSWER)) as there:
        url = there.server.url.replace("://", "://joe:pass%20word@")
        observer = observe()
        await perform(there.http, make_template(url, headers, NS_PER_S).request(b"{}", observer), observer)
        (request,) = there.server.requests
    assert request.headers["authorization"] == f"Basic {base64.b64encode(b'joe:pass word').decode()}"
    assert request.headers["host"] == str(there.server.address)
