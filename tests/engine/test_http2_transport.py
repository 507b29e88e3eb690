"""Transport, pool and connections over HTTP/2, on real sockets."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import pytest
import trio
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from fluxperf.api import APIS
from fluxperf.engine import dial as dial_module
from fluxperf.engine import pool as pool_module
from fluxperf.engine import transport as transport_module
from fluxperf.engine.connection import Connection
from fluxperf.engine.dial import Route
from fluxperf.engine.exchange import make_template, perform
from fluxperf.engine.gauge import Gauge
from fluxperf.engine.http2 import IDLE_LIMIT_NS, Http2Session
from fluxperf.engine.observer import Observer
from fluxperf.engine.pace import PATIENT, PROMPT
from fluxperf.engine.transport import MOST_DISOWNED
from fluxperf.model.timeline import Timeline
from fluxperf.units import NS_PER_MS, NS_PER_S
from tests.engine.far_end import Arrived, FarEnd, Talk, answering, goaway, http2, listen
from tests.engine.scripted import (
    STREAMS_PER_CONNECTION,
    Loopback,
    ManualReactor,
    Notes,
    Peer,
    in_trio,
    in_turn,
    loopback,
    replying,
    response,
    until,
)
from tests.engine.wire import names

BIG = b"x" * 8_000_000
LAST = (1 << 31) - 1


async def ask(there: Loopback, **extensions: object) -> Notes:
    """One request; what its sink was told."""
    notes = Notes()
    await there.get(sink=notes, **extensions)
    return notes


async def ask_at_once(there: Loopback, count: int) -> list[Notes]:
    """So many requests at once; what their sinks were told. A failure ends with the rest of what it was told."""
    told = [Notes() for _ in range(count)]

    async def ask_one(notes: Notes) -> None:
        try:
            await there.get(sink=notes)
        except httpx.TransportError as error:
            notes.calls.append(("failed", error))

    async with trio.open_nursery() as nursery:
        for notes in told:
            nursery.start_soon(ask_one, notes)
    return told


def opened(notes: Notes) -> list[str]:
    """What each sending of the request took: a place that was there, one that it waited for, or a new connection."""
    return [
        "opened" if connect_ns > 0 else "waited" if wait_ns > 0 else "at once"
        for wait_ns, connect_ns in notes.told("opened")
    ]


@dataclass
class Crowd:
    """Answers once `lanes` requests wait, over all connections, or all that are left. `most` waited at once."""

    lanes: int
    left: int
    most: int = 0
    most_on_one: int = 0
    waiting: list[tuple[FarEnd, Arrived]] = field(default_factory=list)

    async def __call__(self, far: FarEnd) -> None:
        while (asked := await far.request()) is not None:
            self.waiting.append((far, asked))
            self.most = max(self.most, len(self.waiting))
            self.most_on_one = max(self.most_on_one, sum(end is far for end, _ in self.waiting))
            if len(self.waiting) >= min(self.lanes, self.left):
                complete, self.waiting = self.waiting, []
                self.left -= len(complete)
                for end, one in complete:
                    await end.answer(one, b"ok")


# Places.


@pytest.mark.parametrize(
    ("lanes", "streams", "allowed", "connections"),
    [
        (8, 16, 100, 1),
        (16, 16, 100, 1),
        (17, 16, 100, 2),
        (120, 8, 100, 15),
        (20, 16, 5, 4),
        (3, 1, 100, 3),
        (7, 3, 2, 4),
    ],
)
@in_trio
async def test_a_warm_pool_has_a_place_for_every_lane(lanes: int, streams: int, allowed: int, connections: int) -> None:
    crowd = Crowd(lanes, 3 * lanes)
    script = http2(crowd, MAX_CONCURRENT_STREAMS=allowed)
    async with loopback(script, http="2", streams_per_connection=streams) as there:
        await there.pool.warm(lanes)
        assert there.pool.free >= lanes
        assert there.pool.opened == connections

        async def lane() -> None:
            for _ in range(3):
                notes = await ask(there)
                assert (notes.data, opened(notes)) == (b"ok", ["at once"])

        async with trio.open_nursery() as nursery:
            for _ in range(lanes):
                nursery.start_soon(lane)
        assert (crowd.most, there.server.connections) == (lanes, connections)
        assert crowd.most_on_one <= min(streams, allowed)


@in_trio
async def test_requests_go_to_the_connection_that_has_least_to_do() -> None:
    crowd = Crowd(6, 6)
    async with loopback(http2(crowd), http="2", streams_per_connection=4) as there:
        await there.pool.warm(12)
        await ask_at_once(there, 6)
        assert (crowd.most, crowd.most_on_one, there.server.connections) == (6, 2, 3)


@in_trio
async def test_without_warming_one_opens_a_connection_and_those_who_wait_for_it_say_so() -> None:
    async with loopback(http2(answering(b"ok")), http="2") as there:
        await there.pool.warm(1)
        (connection,) = there.pool.idle
        connection.close()
        told = await ask_at_once(there, STREAMS_PER_CONNECTION)
        assert sorted(opened(notes) for notes in told) == [["opened"]] + [["waited"]] * 15
        assert there.pool.opened == 2


@in_trio
async def test_when_a_connection_with_many_streams_breaks_one_other_takes_its_place() -> None:
    async def break_off(far: FarEnd) -> None:
        await far.requests(STREAMS_PER_CONNECTION)
        far.peer.reset()

    async with loopback(in_turn(http2(break_off), http2(answering(b"ok"))), http="2") as there:
        await there.pool.warm(STREAMS_PER_CONNECTION)
        told = await ask_at_once(there, STREAMS_PER_CONNECTION)
        assert {notes.names[-1] for notes in told} == {"failed"}
        told = await ask_at_once(there, STREAMS_PER_CONNECTION)
        assert {notes.data for notes in told} == {b"ok"}
        assert there.server.connections == 2


@in_trio
async def test_more_than_one_connection_holds_are_opened_as_many_as_are_needed() -> None:
    crowd = Crowd(40, 40)
    async with loopback(http2(crowd), http="2", streams_per_connection=16) as there:
        await there.pool.warm(1)
        await ask_at_once(there, 40)
        assert (crowd.most, there.server.connections) == (40, 3)
        assert crowd.most_on_one <= STREAMS_PER_CONNECTION


@in_trio
async def test_who_opens_a_connection_that_others_have_used_up_opens_another() -> None:
    async def serve_some(far: FarEnd) -> None:
        for _ in range(3):
            if (asked := await far.request()) is None:
                return
            await far.answer(asked, b"ok")
        await far.say_goodbye(5)
        await listen(far)

    async with loopback(http2(serve_some), http="2", streams_per_connection=3) as there:
        await there.pool.warm(3)
        for _ in range(20):
            for connection in there.pool.idle:
                connection.close()
            told = await ask_at_once(there, 9)
            assert {notes.names[-1] for notes in told} == {"end"}


@in_trio
async def test_a_server_that_allows_fewer_streams_in_the_middle_gets_more_connections() -> None:
    crowd = Crowd(12, 24)

    async def lower(far: FarEnd) -> None:
        for asked in await far.requests(12):
            await far.answer(asked, b"ok")
        far.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 3})
        await far.say()
        await crowd(far)

    later = http2(crowd, MAX_CONCURRENT_STREAMS=3)
    async with loopback(in_turn(http2(lower), later), http="2", streams_per_connection=12) as there:
        await there.pool.warm(12)
        await ask_at_once(there, 12)
        await until(lambda: there.pool.free == 3)
        for _ in range(2):
            told = await ask_at_once(there, 12)
            assert {notes.data for notes in told} == {b"ok"}
        assert (crowd.most, crowd.most_on_one, there.server.connections) == (12, 3, 4)


@in_trio
async def test_a_server_that_allows_more_streams_in_the_middle_needs_no_more_connections() -> None:
    async def talk(far: FarEnd) -> None:
        first = await far.request()
        assert first is not None
        far.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 100})
        await far.answer(first, b"ok")
        for asked in await far.requests(5):
            await far.answer(asked, b"ok")
        await listen(far)

    async with loopback(http2(talk, MAX_CONCURRENT_STREAMS=1), http="2") as there:
        await ask(there)
        await until(lambda: there.pool.free == STREAMS_PER_CONNECTION)
        await ask_at_once(there, 5)
        assert there.server.connections == 1


@in_trio
async def test_a_server_that_allows_none_for_now_is_asked_on_another_connection() -> None:
    async def close_up(far: FarEnd) -> None:
        first = await far.request()
        assert first is not None
        far.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 0})
        await far.say()
        await until(lambda: there.pool.free == 0)
        await far.answer(first, b"ok")
        await listen(far)

    async with loopback(in_turn(http2(close_up), http2(answering(b"more"))), http="2") as there:
        assert (await ask(there)).data == b"ok"
        again = await ask(there)
        assert (again.data, opened(again)) == (b"more", ["opened"])
        await until(lambda: there.server.open_connections == 1)


@in_trio
async def test_a_server_that_allows_none_at_all_is_named() -> None:
    async with loopback(http2(listen, MAX_CONCURRENT_STREAMS=0), http="2") as there:
        with pytest.raises(httpx.ConnectError, match="allows no request"):
            await there.get()
        await until(lambda: there.server.connections == 1 and there.server.open_connections == 0)


@in_trio
async def test_no_connection_carries_more_than_was_wanted_however_many_wait_for_it() -> None:
    crowd = Crowd(9, 9 * 20)
    async with loopback(http2(crowd), http="2", streams_per_connection=3) as there:
        await there.pool.warm(3)
        for _ in range(20):
            for connection in there.pool.idle:
                connection.close()
            told = await ask_at_once(there, 9)
            assert {notes.data for notes in told} == {b"ok"}
        assert (crowd.most, crowd.most_on_one) == (9, 3)


@pytest.mark.parametrize(("http", "waiting", "opening"), [("1.1", 5, 5), ("2", 1, 1), ("2", 4, 1), ("2", 9, 3)])
@in_trio
async def test_as_many_connections_are_opened_at_once_as_those_who_wait_need(
    monkeypatch: pytest.MonkeyPatch, http: str, waiting: int, opening: int
) -> None:
    begun: list[Route] = []

    async def dial_for_ever(route: Route, *_: object, **__: object) -> Connection:
        begun.append(route)
        await trio.sleep_forever()
        raise AssertionError

    script = http2(answering(b"ok")) if http == "2" else replying(response(b"ok"))
    async with loopback(script, http=http, streams_per_connection=4) as there, trio.open_nursery() as nursery:
        await there.pool.warm(1)
        for connection in there.pool.idle:
            connection.close()
        monkeypatch.setattr(pool_module, "dial", dial_for_ever)
        for _ in range(waiting):
            nursery.start_soon(there.pool.acquire)
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert len(begun) == opening


@in_trio
async def test_a_connection_is_not_used_before_the_server_has_told_what_it_allows() -> None:
    """What comes before its settings are done, here a part of them, is no word to go on."""
    told = trio.Event()

    async def greet_slowly(peer: Peer) -> None:
        far = FarEnd(peer, {SettingCodes.MAX_CONCURRENT_STREAMS: 2})
        far.h2.initiate_connection()
        greeting = far.h2.data_to_send()
        await peer.send_apart(greeting[:12])
        assert there.pool.free == 0
        told.set()
        await peer.send(greeting[12:])
        await answering(b"ok")(far)

    async with loopback(greet_slowly, http="2") as there:
        assert (await ask(there)).data == b"ok"
        assert told.is_set()
        assert there.pool.free == 2


# GOAWAY.


@in_trio
async def test_a_goodbye_in_the_middle_costs_a_connection_but_no_request() -> None:
    """Of six streams the server has looked at four, two of which are under way: the other two are sent again."""

    async def leave(far: FarEnd) -> None:
        asked = await far.requests(6)
        for done in asked[:2]:
            await far.answer(done, b"first")
        for begun in asked[2:4]:
            await far.begin(begun, b"fir")
        await far.say_goodbye(LAST)
        await far.say_goodbye(asked[3].number)
        await until(lambda: len(far.peer.server.requests) == 8)  # the two have come again by now
        for begun in asked[2:4]:
            await far.end(begun, b"st")
        await listen(far)

    async with loopback(in_turn(http2(leave), http2(answering(b"second"))), http="2") as there:
        await there.pool.warm(6)
        told = sorted(await ask_at_once(there, 6), key=lambda notes: notes.data)
        assert [notes.data for notes in told] == [b"first"] * 4 + [b"second"] * 2
        for notes in told[:4]:
            assert notes.names[0:2] == ["opened", "sent"]
            assert "resent" not in notes.names
        for notes in told[4:]:
            assert names(notes.names) == ["opened", "sent", "resent", "opened", "sent", "head", "body", "end"]
        assert there.server.connections == 2
        await until(lambda: there.server.open_connections == 1)  # what said goodbye is closed after its last answer
        assert (await ask(there)).data == b"second"
        assert there.server.connections == 2


@in_trio
async def test_requests_that_are_queued_at_a_goodbye_were_never_sent() -> None:
    leaving = trio.Event()

    async def leave(far: FarEnd) -> None:
        asked = await far.request()
        assert asked is not None
        await leaving.wait()
        await far.say_goodbye(asked.number)
        await far.answer(asked, b"first")
        await listen(far)

    async with loopback(in_turn(http2(leave), http2(answering(b"second"))), http="2") as there:
        await there.pool.warm(1)
        first, queued = Notes(), Notes()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: there.get(sink=first))
            await until(lambda: "sent" in first.names)
            there.reactor.hold()
            nursery.start_soon(lambda: there.get(sink=queued))
            await until(lambda: there.reactor.queued == 1)
            leaving.set()
            await until(lambda: queued.names == ["opened", "opened"])
            there.reactor.release()
        assert (first.data, queued.data) == (b"first", b"second")
        assert "resent" not in queued.names


@in_trio
async def test_a_goodbye_to_an_idle_connection_closes_it() -> None:
    async def leave(far: FarEnd) -> None:
        asked = await far.request()
        assert asked is not None
        await far.answer(asked, b"ok")
        await far.say_goodbye(asked.number)
        await listen(far)

    async with loopback(in_turn(http2(leave), http2(answering(b"ok"))), http="2") as there:
        await ask(there)
        await until(lambda: there.server.open_connections == 0)
        again = await ask(there)
        assert (again.data, opened(again), again.names.count("resent")) == (b"ok", ["opened"], 0)


@in_trio
async def test_a_server_that_disowns_a_request_again_and_again_fails_it_in_the_end() -> None:
    async def leave(far: FarEnd) -> None:
        await far.request()
        await far.say_goodbye(0)
        await listen(far)

    async with loopback(http2(leave), http="2") as there:
        notes = Notes()
        with pytest.raises(httpx.ReadError, match="said goodbye"):
            await there.get(sink=notes)
        assert notes.names.count("resent") == MOST_DISOWNED
        assert there.server.connections == len(there.server.requests) == MOST_DISOWNED + 1


@in_trio
async def test_a_request_may_be_disowned_several_times_and_lose_a_race_once() -> None:
    async def leave(far: FarEnd) -> None:
        await far.request()
        await far.say_goodbye(0)
        await listen(far)

    async def race(far: FarEnd) -> None:
        asked = await far.request()
        assert asked is not None
        await far.answer(asked, b"ok")
        await far.request()

    script = in_turn(http2(race), http2(leave), http2(leave), http2(answering(b"ok")))
    async with loopback(script, http="2") as there:
        await ask(there)
        notes = await ask(there)
        assert (notes.data, notes.names.count("resent")) == (b"ok", 3)


@in_trio
async def test_giving_up_the_last_request_after_a_goodbye_closes_the_connection() -> None:
    async def leave(far: FarEnd) -> None:
        await far.request()
        await far.say_goodbye(LAST)
        await listen(far)

    async with loopback(http2(leave), http="2") as there:
        await there.pool.warm(1)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(there.get)
                await until(lambda: len(there.server.requests) == 1 and there.pool.free == 0)
                scope.cancel()
        await until(lambda: there.server.open_connections == 0)


# Resets, and connections that break.


@pytest.mark.parametrize("code", [ErrorCodes.INTERNAL_ERROR, ErrorCodes.REFUSED_STREAM, ErrorCodes.CANCEL])
@in_trio
async def test_a_reset_is_the_failure_of_the_server_and_is_not_sent_again(code: ErrorCodes) -> None:
    async def refuse_second(far: FarEnd) -> None:
        first = await far.request()
        assert first is not None
        await far.answer(first, b"ok")
        second = await far.request()
        assert second is not None
        await far.reset(second, code)
        await answering(b"ok")(far)

    async with loopback(http2(refuse_second), http="2") as there:
        await ask(there)
        notes = Notes()
        with pytest.raises(httpx.ReadError, match=rf"reset the stream \({code.name}\)"):
            await there.get(sink=notes)
        assert notes.names == ["opened", "sent"]
        assert (await ask(there)).data == b"ok"
        assert (there.server.connections, len(there.server.requests)) == (1, 3)


@pytest.mark.parametrize("reset", [False, True], ids=["close", "reset"])
@in_trio
async def test_a_reused_idle_connection_that_breaks_before_any_answer_is_our_race(reset: bool) -> None:
    async def leave(far: FarEnd) -> None:
        first = await far.request()
        assert first is not None
        await far.answer(first, b"ok")
        await far.request()
        if reset:
            far.peer.reset()

    async with loopback(in_turn(http2(leave), http2(answering(b"ok"))), http="2") as there:
        await ask(there)
        notes = await ask(there)
        assert names(notes.names) == ["opened", "sent", "resent", "opened", "sent", "head", "body", "end"]
        assert len(there.server.requests) == 3


@pytest.mark.parametrize("others", [0, 1])
@in_trio
async def test_a_busy_or_fresh_connection_that_breaks_is_the_failure_of_the_server(others: int) -> None:
    async def leave(far: FarEnd) -> None:
        if others:
            first = await far.request()
            assert first is not None
            await far.answer(first, b"ok")
        await far.requests(1 + others)

    async with loopback(in_turn(http2(leave), http2(answering(b"ok"))), http="2") as there:
        await there.pool.warm(1)
        if others:
            await ask(there)
        told = await ask_at_once(there, 1 + others)
        # The one that found the connection idle may be sent again, those that joined it may not.
        assert sum("resent" in notes.names for notes in told) == others
        (failed,) = [notes for notes in told if "failed" in notes.names]
        assert "closed the connection before the response began" in str(failed.told("failed")[0][0])


@in_trio
async def test_a_connection_that_closes_while_idle_is_dropped() -> None:
    async def leave(far: FarEnd) -> None:
        first = await far.request()
        assert first is not None
        await far.answer(first, b"ok")

    async with loopback(in_turn(http2(leave), http2(answering(b"ok"))), http="2") as there:
        await ask(there)
        await until(lambda: there.pool.idle == [])
        again = await ask(there)
        assert (opened(again), again.names.count("resent")) == (["opened"], 0)


@in_trio
async def test_broken_rules_end_all_that_is_under_way_and_the_connection() -> None:
    async def stumble(far: FarEnd) -> None:
        await far.requests(3)
        await far.peer.send(b"\xff" * 100)
        await listen(far)

    async with loopback(in_turn(http2(stumble), http2(answering(b"ok"))), http="2") as there:
        await there.pool.warm(3)
        told = await ask_at_once(there, 3)
        failures = [notes.told("failed")[0][0] for notes in told]
        assert [type(failure) for failure in failures] == [httpx.RemoteProtocolError] * 3
        assert "broke the rules of HTTP/2" in str(failures[0])
        await until(lambda: there.server.open_connections == 0)
        assert (await ask(there)).data == b"ok"


@in_trio
async def test_a_server_of_http_1_is_named() -> None:
    async with loopback(replying(response(b"no", status="400 Bad Request")), http="2") as there:
        with pytest.raises(httpx.ConnectError, match=r"answers in HTTP/1\.1"):
            await there.get()


@pytest.mark.parametrize("greeted", [False, True])
@in_trio
async def test_a_server_that_says_goodbye_at_once_is_named(greeted: bool) -> None:
    async def refuse(peer: Peer) -> None:
        far = FarEnd(peer, {})
        if greeted:
            far.h2.initiate_connection()
        await peer.send(far.h2.data_to_send() + goaway(0))

    async with loopback(refuse, http="2") as there:
        with pytest.raises(httpx.ConnectError, match=r"said goodbye \(GOAWAY, NO_ERROR\)"):
            await there.get()


@in_trio
async def test_a_server_that_does_not_greet_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (dial_module, pool_module, transport_module):
        monkeypatch.setattr(module, "CONNECT_TIMEOUT_S", 0.01)

    async def say_nothing(peer: Peer) -> None:
        while await peer.stream.receive_some():
            pass

    async with loopback(say_nothing, http="2") as there:
        with pytest.raises(httpx.ConnectTimeout, match=r"no connection within 0\.01 s"):
            await there.get()
        await until(lambda: there.server.open_connections == 0)


# Giving up.


@in_trio
async def test_a_request_that_takes_too_long_resets_its_stream_and_leaves_the_connection() -> None:
    async def stall_first(far: FarEnd) -> None:
        slow, other = await far.requests(2)
        await far.begin(slow, b"half")
        await reactor.fire(reactor.timers[0])
        await far.until(lambda: bool(far.resets))
        assert far.resets == {slow.number: ErrorCodes.CANCEL}
        await far.answer(other, b"ok")
        await answering(b"ok")(far)

    reactor = ManualReactor()
    async with loopback(http2(stall_first), reactor, http="2") as there:
        await there.pool.warm(2)
        slow, other = Notes(), Notes()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: there.get(sink=other))
            with pytest.raises(httpx.ReadTimeout, match="no end of the response within 1 s"):
                await there.get(sink=slow, timeout_ns=NS_PER_S)
        assert (slow.data, other.data) == (b"half", b"ok")
        assert (await ask(there)).data == b"ok"
        assert there.server.connections == 1


@in_trio
async def test_a_cancelled_request_resets_its_stream_and_leaves_the_connection() -> None:
    far_ends: list[FarEnd] = []

    async def talk(far: FarEnd) -> None:
        far_ends.append(far)
        await far.request()
        await answering(b"ok")(far)

    async with loopback(http2(talk), http="2") as there:
        await there.pool.warm(1)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(there.get)
                await until(lambda: len(there.server.requests) == 1)
                scope.cancel()
        assert scope.cancelled_caught
        assert there.pool.free == STREAMS_PER_CONNECTION
        assert (await ask(there)).data == b"ok"
        assert far_ends[0].resets == {1: ErrorCodes.CANCEL}
        assert there.server.connections == 1


@in_trio
async def test_a_request_that_is_cancelled_before_it_goes_out_is_not_sent() -> None:
    async with loopback(http2(answering(b"ok")), http="2") as there:
        await there.pool.warm(1)
        there.reactor.hold()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(there.get)
                await until(lambda: there.reactor.queued == 1)
                scope.cancel()
        there.reactor.release()
        await until(lambda: there.server.open_connections == 0)
        assert there.server.requests == []
        assert (await ask(there)).data == b"ok"


# Large ones, and long lives.


@in_trio
async def test_a_large_request_arrives_whole_and_does_not_stop_others() -> None:
    large, small = Notes(), Notes()
    async with loopback(http2(answering(b"ok")), http="2") as there, trio.open_nursery() as nursery:
        await there.pool.warm(2)
        nursery.start_soon(lambda: there.http.post(there.server.url, content=BIG, extensions={"sink": large}))
        nursery.start_soon(lambda: there.get(sink=small))
        await until(lambda: "end" in large.names and "end" in small.names)
        assert [len(request.body) for request in there.server.requests] == [0, len(BIG)]
        assert there.server.requests[1].body == BIG
        assert there.server.connections == 1


@in_trio
async def test_an_answer_larger_than_the_windows_arrives_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial_module, "Http2Session", lambda: Http2Session(100_000, 150_000))

    async def send_much(far: FarEnd) -> None:
        asked = await far.request()
        assert asked is not None
        await far.begin(asked)
        for _ in range(100):
            await far.until(lambda: far.h2.local_flow_control_window(asked.number) >= 16_384)
            far.h2.send_data(asked.number, bytes(16_384))
            await far.say()
        await far.end(asked)
        await listen(far)

    async with loopback(http2(send_much), http="2") as there:
        assert len((await ask(there)).data) == 100 * 16_384


@in_trio
async def test_a_connection_whose_numbers_have_run_out_is_replaced() -> None:
    async with loopback(http2(answering(b"ok")), http="2") as there:
        await there.pool.warm(1)
        (connection,) = there.pool.idle
        connection._session._last_number = LAST - 4  # type: ignore[attr-defined]
        assert opened(await ask(there)) == ["at once"]
        await until(lambda: there.server.open_connections == 0)
        assert opened(await ask(there)) == ["opened"]


@in_trio
async def test_a_connection_that_idled_too_long_is_not_used() -> None:
    async with loopback(http2(answering(b"ok")), http="2") as there:
        await ask(there)
        (connection,) = there.pool.idle
        connection.idle_since_ns -= IDLE_LIMIT_NS
        assert opened(await ask(there)) == ["opened"]
        await until(lambda: there.server.open_connections == 1)


@in_trio
async def test_closing_says_nothing_and_closes_the_idle_connections() -> None:
    async with loopback(http2(answering(b"ok")), http="2") as there:
        await there.pool.warm(40)
        await there.http.aclose()
        await until(lambda: there.server.connections == 3 and there.server.open_connections == 0)


def talks() -> dict[str, tuple[Callable[[], Talk], int]]:
    """Ways for a request to end, and how often each is tried."""

    async def reset(far: FarEnd) -> None:
        while (asked := await far.request()) is not None:
            await far.begin(asked, b"half")
            await far.reset(asked, ErrorCodes.INTERNAL_ERROR)

    async def leave(far: FarEnd) -> None:
        asked = await far.request()
        assert asked is not None
        await far.say_goodbye(asked.number)
        await far.answer(asked, b"ok")

    async def stumble(far: FarEnd) -> None:
        await far.request()
        await far.peer.send(b"\xff" * 100)

    async def break_off(far: FarEnd) -> None:
        asked = await far.request()
        assert asked is not None
        await far.begin(asked, b"half")

    return {
        "answered": (lambda: answering(b"one", b"two"), 300),
        "reset": (lambda: reset, 100),
        "goodbye": (lambda: leave, 50),
        "malformed": (lambda: stumble, 50),
        "broken off": (lambda: break_off, 50),
        "timeout": (lambda: listen, 20),
    }


@pytest.mark.parametrize("name", talks())
@in_trio
async def test_a_request_leaves_nothing_to_the_collector(name: str) -> None:
    """Automatic collection is off during a round: what only the collector can free is as good as leaked."""

    class Seen(Observer):
        __slots__ = ("__weakref__",)

    make_talk, count = talks()[name]
    timeout_ns = NS_PER_MS if name == "timeout" else NS_PER_S
    gauge, seen = Gauge(), list[weakref.ref[Observer]]()
    async with loopback(http2(make_talk()), http="2") as there:
        template = make_template(there.server.url, {}, timeout_ns)

        async def ask_once() -> None:
            observer = Seen(Timeline(index=0), APIS["chat"], gauge)
            seen.append(weakref.ref(observer))
            await perform(there.http, template.request(b"{}", observer), observer)

        await ask_once()
        gc.collect()
        gc.disable()
        try:
            for _ in range(count):
                await ask_once()
            alive = sum(reference() is not None for reference in seen)
            garbage = gc.collect()
        finally:
            gc.enable()
        assert alive <= 1
        if there.server.connections == 1:  # those that are closed are garbage: h2 is a cycle, on both sides
            assert garbage < 50


@pytest.mark.parametrize("streams", [1, 4])
@in_trio
async def test_the_reactor_looks_often(streams: int) -> None:
    talk, _ = talks()["answered"]
    async with loopback(http2(talk()), http="2", streams_per_connection=streams) as there:
        there.reactor.pace = PATIENT
        await there.get()
        assert there.reactor.pace is PROMPT
