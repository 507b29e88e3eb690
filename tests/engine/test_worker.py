from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trio

from fluxperf.api import APIS
from fluxperf.clock import now_ns
from fluxperf.engine.board import Board, Column
from fluxperf.engine.bodies import BodyWriter, Prepared, Tickets
from fluxperf.engine.dial import Route
from fluxperf.engine.exchange import make_template
from fluxperf.engine.orders import Client, Outlets, RoundOrder, Shared
from fluxperf.engine.worker import Worker, open_worker
from fluxperf.model import Outcome
from fluxperf.model.timeline import Timeline, from_row
from fluxperf.spool import Spooled
from fluxperf.tally import Tally
from fluxperf.units import NS_PER_MS, NS_PER_S
from tests.engine.far_end import FarEnd, http2, listen
from tests.engine.scripted import (
    ANSWER,
    DONE,
    ROLE,
    STREAM_HEAD,
    USAGE,
    Peer,
    Script,
    Server,
    chunk,
    event,
    in_trio,
    replying,
    response,
    say,
    serving,
    stall,
    stop,
    stream,
    until,
)

NUMBER = 1
REFUSED = response(b"no such key: sk-1234567", status="401 Unauthorized")


@dataclass
class Round:
    """A round with one worker: what it draws from, where it writes, and what it is told."""

    shared: Shared
    tickets: Sequence[int]
    order: RoundOrder

    def lay_out(self) -> None:
        """Makes ready for another round."""
        self.shared.tickets.lay_out(self.tickets)
        self.shared.board.clear()

    def rows(self) -> list[Timeline]:
        return list(Spooled([self.order.outlets.rows], from_row))

    def outcomes(self) -> list[Outcome]:
        return [row.outcome for row in self.rows()]

    def count(self, column: Column) -> int:
        return self.shared.board.total(column)


PlanRound = Callable[..., Round]


@pytest.fixture
def plan(tmp_path: Path) -> Iterator[PlanRound]:
    """Makes rounds of `total` requests with `lanes` at once; further arguments are of the RoundOrder."""
    made: list[Shared] = []

    def plan_round(total: int, lanes: int, **changes: Any) -> Round:
        writer = BodyWriter()
        tickets = [
            writer.add(Prepared(index, f"session {index}", 7, b'{"prompt": %d}' % index)) for index in range(total)
        ]
        shared = Shared(writer.finish(), Tickets(), Board(2))
        made.append(shared)
        outlets = replace(Outlets(tmp_path / "rows", tmp_path / "uncounted"), **changes)
        order = RoundOrder(lanes=lanes, sessions=total, concurrency=lanes, outlets=outlets)
        planned = Round(shared, tickets, order)
        planned.lay_out()
        return planned

    yield plan_round
    for shared in made:
        shared.bodies.close()
        shared.tickets.close()


def client_of(server: Server, http: str = "1.1", **changes: Any) -> Client:
    template = make_template(server.url, {"content-type": "application/json"}, 60 * NS_PER_S)
    return replace(Client(template, Route(server.address, http), APIS["chat"], kernel_stamps=True), **changes)


async def at_once() -> int:
    return now_ns()


async def alone() -> None:
    """There is no other worker to wait for."""


@asynccontextmanager
async def working(planned: Round, script: Script, **changes: Any) -> AsyncIterator[tuple[Server, Worker]]:
    """A server that follows the script, and a worker for the round; changes are of the worker's Client."""
    async with serving(script) as server, open_worker(NUMBER, client_of(server, **changes), planned.shared) as worker:
        yield server, worker


async def run(planned: Round, script: Script, **changes: Any) -> tuple[Server, Tally]:
    """Runs the round from beginning to end."""
    async with working(planned, script, **changes) as (server, worker):
        await worker.warm(planned.order.lanes)
        tally, _ = await worker.run_round(planned.order, at_once, alone)
    return server, tally


class Crowd:
    """A script that answers a request once all lanes wait for an answer, or all requests that are left."""

    def __init__(self, lanes: int, total: int) -> None:
        self.lanes = lanes
        self.left = total
        self.waiting = 0
        self.most = 0

    async def __call__(self, peer: Peer) -> None:
        while await peer.request() is not None:
            self.waiting += 1
            self.most = max(self.most, self.waiting)
            await until(lambda: self.waiting >= min(self.lanes, self.left))
            self.waiting -= 1
            self.left -= 1
            await peer.send(ANSWER)


# A whole round.


@pytest.mark.parametrize(("total", "lanes"), [(13, 4), (4, 4), (20, 1), (100, 30)])
@in_trio
async def test_so_many_are_in_flight_as_there_are_lanes_to_the_last_request(
    plan: PlanRound, total: int, lanes: int
) -> None:
    crowd = Crowd(lanes, total)
    planned = plan(total, lanes)
    await run(planned, crowd)
    assert crowd.most == lanes
    assert planned.outcomes() == [Outcome.OK] * total


@in_trio
async def test_every_request_is_sent_once_and_recorded_once(plan: PlanRound) -> None:
    planned = plan(20, 3)
    server, tally = await run(planned, replying(ANSWER))
    assert sorted(json.loads(request.body)["prompt"] for request in server.requests) == list(range(20))
    rows = planned.rows()
    assert [row.index for row in rows] == list(range(20))
    assert {(row.session_id, row.worker, row.prompt_tokens_estimate) for row in rows} == {
        (f"session {index}", NUMBER, 7) for index in range(20)
    }
    assert tally.outcomes == {Outcome.OK: 20}
    assert tally.sums["output_tokens"] == 40
    counts = (Column.SENT, Column.DONE, Column.OUTPUT_TOKENS, Column.OVER_EVENTS, Column.OUTPUT_EVENTS)
    assert [planned.count(column) for column in counts] == [20, 20, 40, 40, 40]
    board = planned.shared.board
    assert [board.count(outcome) for outcome in (Outcome.OK, Outcome.LENGTH)] == [20, 0]
    longest_ns = max((row.first_output_ns or 0) - (row.sent_ns or 0) for row in rows)
    assert board.ttft_percentiles(100) == [pytest.approx(longest_ns, rel=0.025)]
    assert list(board.flights()) == []


@in_trio
async def test_requests_go_in_the_order_of_the_tickets(plan: PlanRound) -> None:
    planned = plan(10, 1)
    planned.tickets = planned.tickets[::-1]
    planned.lay_out()
    server, _ = await run(planned, replying(ANSWER))
    assert [json.loads(request.body)["prompt"] for request in server.requests] == list(range(9, -1, -1))


@in_trio
async def test_there_may_be_more_lanes_than_requests(plan: PlanRound) -> None:
    planned = plan(2, 2)
    planned.order = replace(planned.order, lanes=5)
    await run(planned, replying(ANSWER))
    assert planned.outcomes() == [Outcome.OK] * 2


@in_trio
async def test_a_round_without_requests_ends(plan: PlanRound) -> None:
    planned = plan(1, 1)
    planned.shared.tickets.lay_out([])
    await run(planned, replying(ANSWER))
    assert planned.rows() == []


@in_trio
async def test_a_request_that_fails_is_recorded_and_the_lane_goes_on(plan: PlanRound) -> None:
    async def script(peer: Peer) -> None:
        while (request := await peer.request()) is not None:
            number = json.loads(request.body)["prompt"]
            if number == 1:
                await peer.send(response(b"boom", status="500 No"))
            elif number == 2:
                peer.reset()
                return
            else:
                await peer.send(ANSWER)

    planned = plan(5, 1)
    _, tally = await run(planned, script)
    # The reset came on a connection that had served before, so that request was sent once more.
    assert planned.outcomes() == [Outcome.OK, Outcome.HTTP_STATUS, Outcome.RESET, Outcome.OK, Outcome.OK]
    assert [row.resent for row in planned.rows()] == [0, 0, 1, 0, 0]
    assert tally.examples[Outcome.HTTP_STATUS] == "HTTP 500: boom"
    board = planned.shared.board
    assert planned.count(Column.DONE) == 5
    assert [board.count(outcome) for outcome in (Outcome.OK, Outcome.HTTP_STATUS, Outcome.RESET)] == [3, 1, 1]


@in_trio
async def test_who_looks_on_sees_what_is_in_flight_for_longest(plan: PlanRound) -> None:
    """Told now and then, as long as the round lasts, from before its start on."""
    planned = plan(3, 2)
    board = planned.shared.board
    answering = trio.Event()

    async def script(peer: Peer) -> None:
        while (request := await peer.request()) is not None:
            if json.loads(request.body)["prompt"] == 0:
                await peer.send(STREAM_HEAD + chunk(say("One")))
                await answering.wait()
                await peer.send(chunk(stop() + DONE) + chunk(b""))
            else:
                await peer.send(ANSWER)

    async def look_on() -> None:
        await until(lambda: any(flight.last_output_ns for flight in board.flights()))
        (flight,) = board.flights()
        assert (flight.index, flight.turn, flight.input_tokens) == (0, 0, 7)
        assert board.started_ns is not None
        assert board.started_ns <= (flight.sent_ns or 0) <= (flight.last_output_ns or 0)
        await until(lambda: board.total(Column.OUTPUT_EVENTS) == 5)
        answering.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look_on)
        await run(planned, script)
    assert list(board.flights()) == []


@in_trio
async def test_a_request_that_takes_too_long_is_a_timeout(plan: PlanRound) -> None:
    planned = plan(2, 2)
    async with serving(stall) as server:
        template = make_template(server.url, {}, NS_PER_MS)
        async with open_worker(NUMBER, client_of(server, template=template), planned.shared) as worker:
            await worker.run_round(planned.order, at_once, alone)
    assert planned.outcomes() == [Outcome.TIMEOUT] * 2


# The start.


@in_trio
async def test_the_first_wave_waits_with_everything_prepared_until_the_start(plan: PlanRound) -> None:
    planned = plan(5, 3)
    starts: list[int] = []

    async def start() -> int:
        assert planned.count(Column.SENT) == 3
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        assert server.requests == []
        starts.append(now_ns() + 2 * NS_PER_MS)
        return starts[0]

    async with working(planned, replying(ANSWER)) as (server, worker):
        await worker.warm(3)
        await worker.run_round(planned.order, start, alone)
    assert len(starts) == 1
    assert all((row.sent_ns or 0) >= starts[0] for row in planned.rows())


@in_trio
async def test_a_start_that_is_past_lets_go_at_once(plan: PlanRound) -> None:
    planned = plan(3, 3)

    async def start() -> int:
        return 1

    async with working(planned, replying(ANSWER)) as (_, worker):
        await worker.run_round(planned.order, start, alone)
    assert planned.outcomes() == [Outcome.OK] * 3


@in_trio
async def test_connections_are_opened_before_the_round_and_kept_for_the_next(plan: PlanRound) -> None:
    planned = plan(8, 4)
    async with working(planned, replying(ANSWER)) as (server, worker):
        for opened in (4, 0):
            planned.lay_out()
            await worker.warm(4)
            await until(lambda: server.connections == 4)
            _, audit = await worker.run_round(planned.order, at_once, alone)
            assert [row.connect_ns for row in planned.rows()] == [0] * 8
            assert (audit.opened, audit.reopened) == (opened, 0)
            assert audit.reads >= 8
            assert (audit.voided_stamps, audit.unstamped_reads) == (0, 0)
        assert server.connections == 4


@in_trio
async def test_a_server_that_says_when_it_closes_costs_connections_but_no_request(plan: PlanRound) -> None:
    """As llama.cpp does: it tells the same `max` each time and closes after so many."""

    async def close_after_three(peer: Peer) -> None:
        for _ in range(3):
            await peer.request()
            await peer.send(ANSWER.replace(b"\r\n", b"\r\nKeep-Alive: timeout=5, max=3\r\n", 1))

    planned = plan(10, 1)
    server, _ = await run(planned, close_after_three)
    assert planned.outcomes() == [Outcome.OK] * 10
    assert [row.connect_ns > 0 for row in planned.rows()] == [index in (3, 6, 9) for index in range(10)]
    assert {row.resent for row in planned.rows()} == {0}
    assert (server.connections, len(server.requests)) == (4, 10)


@in_trio
async def test_over_http_2_a_server_that_says_goodbye_costs_connections_but_no_request(plan: PlanRound) -> None:
    async def leave_after_three(far: FarEnd) -> None:
        for number in (1, 3, 5):
            if (asked := await far.request()) is None:
                return
            assert asked.number == number
            await far.answer(asked, ROLE, say("One"), say(" two"), stop(), USAGE, DONE)
        await far.say_goodbye(5)
        await listen(far)

    planned = plan(10, 1)
    async with working(planned, http2(leave_after_three), http="2") as (server, worker):
        await worker.warm(1)
        _, audit = await worker.run_round(planned.order, at_once, alone)
    assert planned.outcomes() == [Outcome.OK] * 10
    assert {row.resent for row in planned.rows()} == {0}
    assert (audit.opened, audit.reopened, server.connections) == (1, 3, 4)
    assert (audit.stamp_slack.count, audit.first_stamp_slack.count) == (20, 10)


@in_trio
async def test_over_http_2_requests_share_connections_and_a_stop_cuts_them_off(plan: PlanRound) -> None:
    async def answer_some(far: FarEnd) -> None:
        for asked in await far.requests(40):
            if asked.number < 20:
                await far.answer(asked, say("One"), stop())
            else:
                await far.begin(asked, say("One"))
        await far.until(lambda: len(far.peer.server.requests) == 50)
        worker.stop()
        await listen(far)

    planned = plan(100, 40)
    async with serving(http2(answer_some)) as server:
        client = client_of(server, route=Route(server.address, "2", streams_per_connection=40))
        async with open_worker(NUMBER, client, planned.shared) as worker:
            await worker.warm(40)
            tally, audit = await worker.run_round(planned.order, at_once, alone)
    assert tally.outcomes == {Outcome.OK: 10, Outcome.CUT_OFF: 40}
    assert (audit.opened, audit.reopened, server.connections) == (1, 0, 1)


@in_trio
async def test_a_round_that_was_stopped_before_it_began_opens_nothing(plan: PlanRound) -> None:
    planned = plan(3, 3)
    planned.shared.board.stop()
    server, _ = await run(planned, replying(ANSWER))
    assert (server.connections, planned.rows()) == (0, [])


@in_trio
async def test_a_server_that_cannot_be_reached_is_an_error_of_warming(plan: PlanRound) -> None:
    planned = plan(1, 1)
    async with serving(stall) as server:
        client = client_of(server)
    async with open_worker(NUMBER, client, planned.shared) as worker:
        with pytest.raises(ConnectionRefusedError):
            await worker.warm(1)


# The stop.


@in_trio
async def test_a_stop_cuts_off_what_is_in_flight(plan: PlanRound) -> None:
    async def answer_three(peer: Peer) -> None:
        while await peer.request() is not None:
            if len(peer.server.requests) <= 3:
                await peer.send(ANSWER)
            else:
                await peer.send(STREAM_HEAD + chunk(say("One")))

    planned = plan(20, 2)

    async def stop(worker: Worker) -> None:
        await until(lambda: len(server.requests) == 5)
        worker.stop()

    async with working(planned, answer_three) as (server, worker), trio.open_nursery() as nursery:
        nursery.start_soon(stop, worker)
        tally, _ = await worker.run_round(planned.order, at_once, alone)
    assert Counter(planned.outcomes()) == tally.outcomes == {Outcome.OK: 3, Outcome.CUT_OFF: 2}
    assert len([*planned.shared.tickets.drawn()]) == len(server.requests) == 5
    assert all(row.sent_ns is not None and row.done_ns is not None for row in planned.rows())


@in_trio
async def test_a_stop_before_the_start_sends_nothing(plan: PlanRound) -> None:
    planned = plan(5, 2)

    async def start() -> int:
        worker.stop()
        await trio.sleep_forever()
        raise AssertionError

    async with working(planned, stall) as (server, worker):
        await worker.run_round(planned.order, start, alone)
    assert server.requests == []
    assert [(row.outcome, row.sent_ns) for row in planned.rows()] == [(Outcome.CUT_OFF, None)] * 2


@in_trio
async def test_a_stop_between_rounds_does_nothing(plan: PlanRound) -> None:
    planned = plan(2, 1)
    async with working(planned, replying(ANSWER)) as (_, worker):
        worker.stop()
        await worker.run_round(planned.order, at_once, alone)
        worker.stop()
    assert planned.outcomes() == [Outcome.OK] * 2


@in_trio
async def test_once_the_board_says_stop_nobody_draws_but_what_is_in_flight_is_finished(plan: PlanRound) -> None:
    async def stop_at_fourth(peer: Peer) -> None:
        while await peer.request() is not None:
            if len(peer.server.requests) == 4:
                planned.shared.board.stop()
            await until(lambda: len(peer.server.requests) >= 4)
            await peer.send(ANSWER)

    planned = plan(20, 4)
    await run(planned, stop_at_fourth)
    assert planned.outcomes() == [Outcome.OK] * 4


# Refusals.


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (REFUSED, 401),
        (response(b"", status="404 Not Found"), 404),
        (response(b"<html></html>", "Content-Type: text/html"), 200),
    ],
)
@in_trio
async def test_a_round_in_which_the_first_answers_all_refuse_stops(plan: PlanRound, answer: bytes, kind: int) -> None:
    planned = plan(100, 4)
    server, _ = await run(planned, replying(answer))
    assert planned.shared.board.stopped
    assert planned.shared.board.all_refused(4) == kind
    # Those of the other three lanes were in flight when the fourth answer came.
    assert 4 <= len(server.requests) == planned.count(Column.DONE) <= 7


@in_trio
async def test_a_small_round_is_refused_by_all_its_answers(plan: PlanRound) -> None:
    planned = plan(2, 2)
    planned.order = replace(planned.order, concurrency=10)
    await run(planned, replying(REFUSED))
    assert planned.shared.board.stopped


@pytest.mark.parametrize("first", [ANSWER, response(b"busy", status="429 No"), response(b"", status="404 No")])
@in_trio
async def test_one_answer_that_is_no_such_refusal_is_enough_to_go_on(plan: PlanRound, first: bytes) -> None:
    planned = plan(12, 4)
    server, _ = await run(planned, replying(first, REFUSED))
    assert not planned.shared.board.stopped
    assert len(server.requests) == 12


# What is kept.


@in_trio
async def test_transcripts_are_kept_if_asked_for(plan: PlanRound, tmp_path: Path) -> None:
    planned = plan(3, 1, transcripts=tmp_path / "transcripts")
    await run(planned, replying(ANSWER), keep_transcripts=True)
    lines = [json.loads(line) for line in Spooled([tmp_path / "transcripts"], str)]
    assert [(line["index"], line["body"], line["text"]) for line in lines] == [
        (index, {"prompt": index}, "One two") for index in range(3)
    ]


@pytest.mark.parametrize("debug", ["lines", "payloads"])
@in_trio
async def test_a_debug_log_has_a_line_for_each_request(plan: PlanRound, tmp_path: Path, debug: str) -> None:
    planned = plan(3, 2, debug_log=tmp_path / "round.log")
    await run(planned, replying(ANSWER), debug=debug)
    lines = (tmp_path / "round.log").read_text().splitlines()
    assert sorted(line.split()[0] for line in lines) == ["index=0", "index=1", "index=2"]
    folder = tmp_path / "round"
    assert folder.exists() == (debug == "payloads")
    if folder.exists():
        assert sorted(path.name for path in folder.iterdir()) == [f"session_{index}.log" for index in range(3)]
        assert "[DONE]" in (folder / "session_0.log").read_text()


@pytest.mark.parametrize("debug", ["lines", "payloads"])
@pytest.mark.parametrize(
    "answer",
    [REFUSED, stream(say("key: "), say("sk-1234567"), event({"error": {"message": "no such key: sk-1234567"}}))],
    ids=["status", "stream"],
)
@in_trio
async def test_secrets_that_the_server_repeats_are_nowhere(
    plan: PlanRound, tmp_path: Path, answer: bytes, debug: str
) -> None:
    planned = plan(1, 1, transcripts=tmp_path / "transcripts", debug_log=tmp_path / "round.log")
    secrets = ("sk-1234567", "other")
    _, tally = await run(planned, replying(answer), keep_transcripts=True, debug=debug, secrets=secrets)
    messages = [*tally.examples.values(), *(str(row.error) for row in planned.rows())]
    assert all(message.endswith("no such key: ****") for message in messages)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == (3 if debug == "lines" else 4)
    assert not any(b"sk-1234567" in path.read_bytes() for path in files)


# Housekeeping.


@in_trio
async def test_automatic_collection_is_off_during_a_round_only(plan: PlanRound) -> None:
    during: list[bool] = []

    async def look(peer: Peer) -> None:
        while await peer.request() is not None:
            during.append(gc.isenabled())
            await peer.send(ANSWER)

    await run(plan(2, 1), look)
    assert during == [False, False]
    assert gc.isenabled()


@in_trio
async def test_a_worker_leaves_no_descriptor_behind(plan: PlanRound) -> None:
    planned = plan(20, 5)
    async with serving(replying(ANSWER)) as server:
        before = count_descriptors()
        async with open_worker(NUMBER, client_of(server), planned.shared) as worker:
            await worker.warm(5)
            await worker.run_round(planned.order, at_once, alone)
        await until(lambda: server.open_connections == 0)
        assert count_descriptors() == before


def count_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
