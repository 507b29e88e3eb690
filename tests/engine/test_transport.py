from __future__ import annotations

import errno
import gc
import socket
from contextlib import ExitStack

import httpx
import pytest
import trio

from fluxperf.engine import dial as dial_module
from fluxperf.engine import pool as pool_module
from fluxperf.engine import transport as transport_module
from fluxperf.engine.connection import Address, Connection
from fluxperf.engine.dial import Route
from fluxperf.engine.http1 import IDLE_LIMIT_NS, encode_request
from fluxperf.engine.pace import PATIENT
from fluxperf.engine.pool import LOST_TO_STOP_REUSE, Pool
from fluxperf.engine.reactor import Reactor
from fluxperf.engine.transport import Client, make_request
from fluxperf.units import NS_PER_MS, NS_PER_S
from tests.engine.scripted import (
    STREAM_HEAD,
    Loopback,
    ManualReactor,
    Notes,
    Peer,
    Script,
    chunk,
    has_ipv6,
    head,
    in_trio,
    in_turn,
    loopback,
    replying,
    response,
    stall,
    until,
)

OK = response(b"ok")
BIG = b"x" * 8_000_000


async def ask(there: Loopback, **extensions: object) -> Notes:
    """One request; what its sink was told."""
    notes = Notes()
    await there.get(sink=notes, **extensions)
    return notes


def closing_at(request: int, *, reset: bool, part: bytes = b"") -> Script:
    """A connection that answers requests until the one of this number (from 1), at which it breaks, after a part."""

    async def script(peer: Peer) -> None:
        for _ in range(request - 1):
            await peer.request()
            await peer.send(OK)
        await peer.request()
        if part:
            await peer.send_apart(part)
        if reset:
            peer.reset()

    return script


def connects(notes: Notes) -> list[bool]:
    """For each time the request was sent, whether a connection was opened for it."""
    return [connect_ns > 0 for _, connect_ns in notes.told("opened")]


def count(kind: type) -> int:
    return sum(type(thing) is kind for thing in gc.get_objects())


# Reuse.


@in_trio
async def test_requests_one_after_the_other_share_a_connection() -> None:
    async with loopback(replying(OK)) as there:
        told = [await ask(there) for _ in range(5)]
        assert [connects(notes) for notes in told] == [[True], [False], [False], [False], [False]]
        assert all(notes.names == ["opened", "sent", "head", "body", "end"] for notes in told)
        assert (there.server.connections, there.pool.opened, len(there.pool.idle)) == (1, 1, 1)


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6")
@in_trio
async def test_a_server_on_ipv6() -> None:
    async with loopback(replying(OK), host="::1") as there:
        assert (await ask(there)).data == b"ok"
        assert there.server.requests[0].headers["host"] == str(there.server.address)


@in_trio
async def test_requests_at_once_have_a_connection_each_and_the_last_used_serves_next() -> None:
    async def script(peer: Peer) -> None:
        await until(lambda: peer.server.connections == 3)
        await replying(OK)(peer)

    async with loopback(script) as there:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask, there)
        first, *others = there.pool.idle
        await ask(there)
        assert there.pool.idle == [first, *others]
        assert there.server.connections == 3


@in_trio
async def test_a_connection_that_idled_too_long_is_not_used() -> None:
    async with loopback(replying(OK)) as there:
        await ask(there)
        (connection,) = there.pool.idle
        connection.idle_since_ns -= IDLE_LIMIT_NS
        assert connects(await ask(there)) == [True]
        assert connection.sock.fileno() == -1
        await until(lambda: there.server.open_connections == 1)


@in_trio
async def test_the_keep_alive_timeout_of_the_server_is_the_limit() -> None:
    async with loopback(replying(response(b"", "Keep-Alive: timeout=2"))) as there:
        await ask(there)
        (connection,) = there.pool.idle
        connection.idle_since_ns -= IDLE_LIMIT_NS // 4
        assert connects(await ask(there)) == [True]


@in_trio
async def test_keep_alive_max_is_obeyed_before_the_next_request() -> None:
    async with loopback(replying(response(b"ok", "Keep-Alive: timeout=5, max=2"))) as there:
        assert connects(await ask(there)) == [True]
        assert connects(await ask(there)) == [False]
        await until(lambda: there.server.open_connections == 0)
        renewed = await ask(there)
        assert connects(renewed) == [True]
        assert renewed.names.count("resent") == 0
        assert there.server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        response(b"ok", "Connection: close"),
        OK.replace(b"HTTP/1.1", b"HTTP/1.0"),
        OK + b"what nobody asked for",
    ],
    ids=["close", "HTTP/1.0", "more than asked for"],
)
@in_trio
async def test_a_connection_that_cannot_serve_again_is_closed(answer: bytes) -> None:
    async with loopback(replying(answer)) as there:
        for _ in range(2):
            assert connects(await ask(there)) == [True]
            await until(lambda: there.server.open_connections == 0)


@in_trio
async def test_a_connection_that_the_server_closes_while_idle_is_dropped() -> None:
    idled = trio.Event()

    async def answer_once(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await idled.wait()

    async with loopback(answer_once) as there:
        await ask(there)
        (connection,) = there.pool.idle
        idled.set()
        await until(lambda: connection.sock.fileno() == -1)
        assert there.pool.idle == []
        again = await ask(there)
        assert (connects(again), again.names.count("resent")) == ([True], 0)


@in_trio
async def test_a_connection_on_which_something_comes_unasked_is_dropped() -> None:
    async def talk_on(peer: Peer) -> None:
        await peer.request()
        await peer.send_apart(OK, head(status="408 Request Timeout"))
        await stall(peer)

    async with loopback(talk_on) as there:
        await ask(there)
        await until(lambda: there.server.open_connections == 0)
        assert there.pool.idle == []


@in_trio
async def test_an_answer_that_comes_before_the_request_has_gone_out_spoils_the_connection() -> None:
    async def refuse_early(peer: Peer) -> None:
        await peer.stream.receive_some(100)
        await peer.send(response(b"too large", status="413 Content Too Large"))
        await trio.sleep_forever()

    async with loopback(refuse_early) as there:
        answer = await there.http.post(there.server.url, content=BIG)
        assert (answer.status_code, answer.text) == (413, "too large")
        assert there.pool.idle == []


@pytest.mark.parametrize("reset", [False, True], ids=["close", "reset"])
@in_trio
async def test_an_answer_before_the_server_breaks_off_the_request_is_kept(reset: bool) -> None:
    async def refuse_early(peer: Peer) -> None:
        await peer.stream.receive_some(100)
        await peer.send_apart(response(b"too large", status="413 Content Too Large"))
        if reset:
            peer.reset()

    async with loopback(refuse_early) as there:
        answer = await there.http.post(there.server.url, content=BIG)
        assert (answer.status_code, answer.text) == (413, "too large")


@in_trio
async def test_a_large_request_arrives_whole() -> None:
    async with loopback(replying(OK)) as there:
        await there.http.post(there.server.url, content=BIG)
        assert there.server.requests[0].body == BIG
        assert len(there.pool.idle) == 1


# The keep-alive race.


@pytest.mark.parametrize("reset", [False, True], ids=["close", "reset"])
@in_trio
async def test_a_reused_connection_that_breaks_before_any_answer_is_our_race(reset: bool) -> None:
    async with loopback(in_turn(closing_at(2, reset=reset), replying(OK))) as there:
        await ask(there)
        notes = await ask(there)
        assert notes.names == ["opened", "sent", "resent", "opened", "sent", "head", "body", "end"]
        assert connects(notes) == [False, True]
        assert len(there.server.requests) == 3


@pytest.mark.parametrize("last_words", [b"", head("Content-Length: 0", status="408 Request Timeout")])
@in_trio
async def test_a_connection_that_closes_while_its_request_waits_is_replaced_and_nothing_was_resent(
    last_words: bytes,
) -> None:
    proceed = trio.Event()

    async def answer_once(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await proceed.wait()
        await peer.send(last_words)

    async with loopback(in_turn(answer_once, replying(OK))) as there:
        await ask(there)
        there.reactor.hold()
        notes = Notes()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: there.get(sink=notes))
            await until(lambda: there.reactor.queued == 1)
            proceed.set()
            await until(lambda: notes.names == ["opened", "opened"])
            there.reactor.release()
        assert notes.names == ["opened", "opened", "sent", "head", "body", "end"]
        assert len(there.server.requests) == 2


@pytest.mark.parametrize("reset", [False, True], ids=["close", "reset"])
@in_trio
async def test_a_fresh_connection_that_breaks_is_the_failure_of_the_server(reset: bool) -> None:
    async with loopback(closing_at(1, reset=reset)) as there:
        with pytest.raises(httpx.ReadError, match="reset the connection" if reset else "before the response began"):
            await there.get()
        assert len(there.server.requests) == 1
        assert there.pool.idle == []


@pytest.mark.parametrize("reset", [False, True], ids=["close", "reset"])
@pytest.mark.parametrize("part", [b"H", STREAM_HEAD + chunk(b"one")], ids=["a byte", "a chunk"])
@in_trio
async def test_nothing_is_sent_again_once_a_byte_of_the_answer_has_come(reset: bool, part: bytes) -> None:
    async with loopback(in_turn(closing_at(2, reset=reset, part=part), replying(OK))) as there:
        await ask(there)
        notes = Notes()
        with pytest.raises(httpx.ReadError):
            await there.get(sink=notes)
        assert "resent" not in notes.names
        assert len(there.server.requests) == 2


@in_trio
async def test_nothing_is_sent_a_third_time() -> None:
    async with loopback(in_turn(closing_at(2, reset=True), closing_at(1, reset=True))) as there:
        await ask(there)
        notes = Notes()
        with pytest.raises(httpx.ReadError, match="reset the connection"):
            await there.get(sink=notes)
        assert notes.names == ["opened", "sent", "resent", "opened", "sent"]
        assert len(there.server.requests) == 3


@in_trio
async def test_nothing_is_sent_a_third_time_though_there_are_more_idle_connections() -> None:
    async def script(peer: Peer) -> None:
        await until(lambda: peer.server.connections == 3)
        await closing_at(2, reset=True)(peer)

    async with loopback(script) as there:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask, there)
        assert len(there.pool.idle) == 3
        notes = Notes()
        with pytest.raises(httpx.ReadError, match="reset the connection"):
            await there.get(sink=notes)
        assert notes.names == ["opened", "sent", "resent", "opened", "sent"]
        assert len(there.server.requests) == 5


@in_trio
async def test_a_server_that_closes_after_each_answer_is_found_out() -> None:
    async with loopback(closing_at(2, reset=False)) as there:
        told = [await ask(there) for _ in range(10)]
        resent = [notes.names.count("resent") for notes in told]
        assert resent == [0] + [1] * LOST_TO_STOP_REUSE + [0] * (9 - LOST_TO_STOP_REUSE)
        assert there.pool.idle == []
        assert there.server.connections == 10


# What goes wrong.


@in_trio
async def test_a_request_that_takes_too_long_fails_and_its_connection_goes() -> None:
    async with loopback(stall) as there:
        with pytest.raises(httpx.ReadTimeout, match=r"within 0\.001 s"):
            await there.get(timeout_ns=NS_PER_MS)
        await until(lambda: there.server.open_connections == 0)
        assert there.pool.idle == []


@in_trio
async def test_the_time_is_from_sent_to_the_end_and_not_between_reads() -> None:
    async def drip(peer: Peer) -> None:
        await peer.request()
        await peer.send_apart(STREAM_HEAD, *[chunk(b"x")] * 10)
        await reactor.fire(reactor.timers[0])
        await stall(peer)

    reactor, notes = ManualReactor(), Notes()
    async with loopback(drip, reactor) as there:
        with pytest.raises(httpx.ReadTimeout):
            await there.get(timeout_ns=NS_PER_S, sink=notes)
    assert notes.data == b"x" * 10
    assert [timer.deadline_ns for timer in reactor.timers] == [notes.told("sent")[0][0] + NS_PER_S]


@in_trio
async def test_the_limit_of_one_request_does_not_end_the_next() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await reactor.fire(reactor.timers[0])
        await peer.send(OK)
        await stall(peer)

    reactor = ManualReactor()
    async with loopback(script, reactor) as there:
        for _ in range(2):
            assert (await ask(there, timeout_ns=NS_PER_S)).data == b"ok"
        assert (there.server.connections, len(reactor.timers)) == (1, 2)


@in_trio
async def test_a_cancelled_request_takes_its_connection_with_it() -> None:
    async with loopback(stall) as there:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(there.get)
                await until(lambda: len(there.server.requests) == 1)
                scope.cancel()
        assert scope.cancelled_caught
        await until(lambda: there.server.open_connections == 0)
        assert there.pool.idle == []


@in_trio
async def test_a_request_that_is_cancelled_before_it_goes_out_is_not_sent() -> None:
    async with loopback(stall) as there:
        there.reactor.hold()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(there.get)
                await until(lambda: there.reactor.queued == 1)
                scope.cancel()
        there.reactor.release()
        await until(lambda: there.server.connections == 1 and there.server.open_connections == 0)
        assert there.server.requests == []


@in_trio
async def test_giving_up_a_request_that_is_over_leaves_its_connection_to_the_next() -> None:
    """Its answer is complete, but so are those of a crowd, and its task is not woken before those of theirs."""

    class OneOfACrowd(Notes):
        def end(self, at_ns: int) -> None:
            super().end(at_ns)
            for _ in range(100 * PATIENT.wake_ups):
                there.reactor.wake(trio.Event())

    async def give_up(scope: trio.CancelScope, notes: Notes) -> None:
        with scope:
            await there.get(sink=notes)

    async with loopback(replying(OK)) as there, trio.open_nursery() as nursery:
        scope, over, notes = trio.CancelScope(), OneOfACrowd(), Notes()
        nursery.start_soon(give_up, scope, over)
        await until(lambda: "end" in over.names)
        there.reactor.hold()
        nursery.start_soon(lambda: there.get(sink=notes))
        await until(lambda: there.reactor.queued == 1)
        scope.cancel()
        await until(lambda: scope.cancelled_caught)
        there.reactor.release()
        await until(lambda: "end" in notes.names)
        assert there.server.connections == 1


@in_trio
async def test_a_refused_connection_is_named() -> None:
    async with loopback(stall) as there:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            pool = Pool(there.reactor, Route(Address(socket.AF_INET, closed.getsockname())), kernel_stamps=False)
            async with Client(pool) as http:
                with pytest.raises(httpx.ConnectError, match="connection refused"):
                    await http.get("http://127.0.0.1/")
                with pytest.raises(ConnectionRefusedError):
                    await pool.warm(3)
            assert pool.opened == 0


@in_trio
async def test_a_connection_that_the_kernel_gives_up_is_no_timeout_of_the_request() -> None:
    class Unreachable(Pool):
        async def acquire(self) -> tuple[Connection, int, int]:
            raise OSError(errno.ETIMEDOUT, "Connection timed out")

    async with loopback(stall) as there:
        pool = Unreachable(there.reactor, Route(there.server.address), kernel_stamps=False)
        async with Client(pool) as http:
            with pytest.raises(httpx.ConnectError, match="no answer in time"):
                await http.get("http://127.0.0.1/")


@in_trio
async def test_a_server_that_does_not_take_connections_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (dial_module, pool_module, transport_module):
        monkeypatch.setattr(module, "CONNECT_TIMEOUT_S", 0.01)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as stack:
        address = full.getsockname()
        for _ in range(2):  # more than the kernel lets wait
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        async with loopback(stall) as there:
            pool = Pool(there.reactor, Route(Address(socket.AF_INET, address)), kernel_stamps=False)
            async with Client(pool) as http:
                with pytest.raises(httpx.ConnectTimeout, match=r"within 0\.01 s"):
                    await http.get("http://127.0.0.1/")
            with pytest.raises(trio.TooSlowError):
                await pool.warm(1)


@in_trio
async def test_what_is_no_http_is_a_protocol_error() -> None:
    async with loopback(replying(b"SSH-2.0-OpenSSH_9.6\r\n")) as there:
        with pytest.raises(httpx.RemoteProtocolError, match=r"not an HTTP/1\.1 response"):
            await there.get()
        await until(lambda: there.server.open_connections == 0)


# Answers.


@in_trio
async def test_without_a_sink_the_answer_can_be_read() -> None:
    missing = response(b'{"a": 1}', "Content-Type: application/json", status="404 Not Found")
    async with loopback(replying(missing)) as there:
        answer = await there.get()
        assert (answer.status_code, answer.json()) == (404, {"a": 1})
        assert answer.headers["content-type"] == "application/json"


@in_trio
async def test_without_a_sink_the_answer_is_bounded() -> None:
    async with loopback(replying(response(BIG))) as there:
        assert (await there.get()).content == BIG[: 1 << 20]
        assert len(there.pool.idle) == 1


@in_trio
async def test_an_answer_that_the_end_of_the_connection_ends() -> None:
    async def answer(peer: Peer) -> None:
        await peer.request()
        await peer.send_apart(head("Content-Type: text/plain"), b"hello", b" there")

    async with loopback(answer) as there:
        assert (await there.get()).text == "hello there"
        assert there.pool.idle == []


# The pool.


@in_trio
async def test_warming_opens_what_is_missing_and_renews_what_is_stale() -> None:
    async with loopback(replying(OK)) as there:
        await there.pool.warm(70)
        assert (there.pool.opened, len(there.pool.idle)) == (70, 70)
        await there.pool.warm(70)
        assert there.pool.opened == 70
        stale = there.pool.idle[:5]
        for connection in stale:
            connection.idle_since_ns -= IDLE_LIMIT_NS // 2
        await there.pool.warm(71)
        assert (there.pool.opened, len(there.pool.idle)) == (76, 71)
        assert {connection.sock.fileno() for connection in stale} == {-1}
        assert connects(await ask(there)) == [False]


@in_trio
async def test_closing_closes_the_idle_connections() -> None:
    async with loopback(replying(OK)) as there:
        await there.pool.warm(3)
        await there.http.aclose()
        await until(lambda: there.server.connections == 3 and there.server.open_connections == 0)


@in_trio
async def test_the_pool_holds_the_idle_connections_and_nothing_else() -> None:
    async with loopback(replying(OK)) as there:
        before = count(Connection)
        for _ in range(50):
            await ask(there)
            (connection,) = there.pool.idle
            connection.idle_since_ns -= IDLE_LIMIT_NS
            del connection
        assert there.pool.opened == 50
        assert count(Connection) - before == 1


# The wire.


def test_a_request_on_the_wire() -> None:
    request = httpx.Request(
        "POST", "http://host:8000/v1/ch%C3%A4t?key=a%20b", headers={"X-One": "1", "x-two": "2"}, content=b"{}"
    )
    assert encode_request(make_request(request, b"{}")) == (
        b"POST /v1/ch%C3%A4t?key=a%20b HTTP/1.1\r\n"
        b"Host: host:8000\r\nX-One: 1\r\nx-two: 2\r\nContent-Length: 2\r\n\r\n{}"
    )


def test_an_address_is_shown_as_in_a_url() -> None:
    assert str(Address(socket.AF_INET, ("127.0.0.1", 80))) == "127.0.0.1:80"
    assert str(Address(socket.AF_INET6, ("::1", 80, 0, 0))) == "[::1]:80"


def test_a_pool_needs_no_server_until_it_opens() -> None:
    reactor = Reactor()
    pool = Pool(reactor, Route(Address(socket.AF_INET, ("127.0.0.1", 1))), kernel_stamps=True)
    assert pool.take() is None
    pool.close()
    reactor.close()
