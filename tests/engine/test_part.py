"""A worker's part in a round of sessions: the turns of each one after the other, on a real connection."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trio

from fluxperf.api import APIS, ChatOptions
from fluxperf.clock import now_ns
from fluxperf.engine.answers import Answers
from fluxperf.engine.board import Board, Column
from fluxperf.engine.bodies import BodyWriter, Prepared, Script, Share, Tickets
from fluxperf.engine.dial import Route
from fluxperf.engine.exchange import make_template
from fluxperf.engine.orders import Client, Outlets, RoundOrder, SessionRules, Shared
from fluxperf.engine.worker import open_worker
from fluxperf.model import Outcome, Timeline
from fluxperf.model.timeline import from_row
from fluxperf.spool import Spooled
from fluxperf.tally import Tally
from fluxperf.units import NS_PER_S, ns_to_s
from tests.engine.scripted import DONE, ROLE, USAGE, Peer, Server, in_trio, response, say, serving, stop, stream

CHAT = APIS["chat"]
OPTIONS = ChatOptions(model="m")


@dataclass
class Ground:
    """Sessions to be sent, and where the worker writes."""

    folder: Path
    shared: Shared
    tickets: list[int]

    def order(self, lanes: int = 2, name: str = "rows", **changes: Any) -> RoundOrder:
        outlets = Outlets(self.folder / name, self.folder / f"{name}.uncounted", answers=changes.pop("answers", None))
        return RoundOrder(lanes, len(self.tickets), lanes, outlets, **changes)


PlanSessions = Callable[..., Ground]


async def alone() -> None:
    """There is no other worker to wait for."""


@pytest.fixture
def plan(tmp_path: Path) -> Iterator[PlanSessions]:
    made: list[Shared] = []

    def plan_sessions(*turns: int) -> Ground:
        writer = BodyWriter()
        tickets = [writer.add(session(index, count)) for index, count in enumerate(turns)]
        shared = Shared(writer.finish(), Tickets(), Board(1), Answers(turns))
        made.append(shared)
        return Ground(tmp_path, shared, tickets)

    yield plan_sessions
    for shared in made:
        shared.bodies.close()
        shared.tickets.close()


def session(index: int, turns: int) -> Prepared:
    before, after = CHAT.split(CHAT.encode((), OPTIONS, None))
    questions = [CHAT.encode_messages([{"role": "user", "content": f"{index}.{turn}"}]) for turn in range(turns)]
    shares = [Share(b"", question, 0, 3) for question in questions]
    return Prepared(index, f"s{index}", 3, before + questions[0] + after, Script(before, after, shares))


def answering(*refused: str) -> Callable[[Peer], Any]:
    """A script that answers the question Q with `about Q`; the refused ones with a status."""

    async def script(peer: Peer) -> None:
        while (request := await peer.request()) is not None:
            question = json.loads(request.body)["messages"][-1]["content"]
            if question in refused:
                await peer.send(response(b"no", status="500 Oh"))
            else:
                await peer.send(stream(ROLE, say("about "), say(question), stop(), USAGE, DONE))

    return script


async def run(
    ground: Ground, order: RoundOrder, script: Callable[[Peer], Any], **changes: Any
) -> tuple[Server, Tally, list[Timeline]]:
    ground.shared.tickets.lay_out(ground.tickets)
    ground.shared.board.clear()

    async def at_once() -> int:
        return now_ns()

    async with serving(script) as server:
        template = make_template(server.url, {}, 60 * NS_PER_S)
        client = replace(Client(template, Route(server.address, "1.1"), CHAT, kernel_stamps=True), **changes)
        async with open_worker(0, client, ground.shared) as worker:
            await worker.warm(order.lanes)
            tally, _ = await worker.run_round(order, at_once, alone)
    return server, tally, list(Spooled([order.outlets.rows], from_row))


def histories(server: Server) -> dict[str, list[str]]:
    """What stood before each question, by the question."""
    bodies = [[message["content"] for message in json.loads(request.body)["messages"]] for request in server.requests]
    return {question: history for *history, question in bodies}


@in_trio
async def test_each_turn_has_the_real_answers_before_it(plan: PlanSessions) -> None:
    server, tally, rows = await run(plan(3, 1, 2), plan(3, 1, 2).order(), answering())
    assert histories(server) == {
        "0.0": [],
        "0.1": ["0.0", "about 0.0"],
        "0.2": ["0.0", "about 0.0", "0.1", "about 0.1"],
        "1.0": [],
        "2.0": [],
        "2.1": ["2.0", "about 2.0"],
    }
    assert [(row.index, row.turn, row.session_id) for row in rows] == [
        *((0, turn, "s0") for turn in range(3)),
        (1, 0, "s1"),
        *((2, turn, "s2") for turn in range(2)),
    ]
    assert tally.outcomes == {Outcome.OK: 6}


@in_trio
async def test_the_turns_of_a_session_do_not_overlap(plan: PlanSessions) -> None:
    ground = plan(4, 4, 4)
    _, _, rows = await run(ground, ground.order(lanes=3), answering())
    for before, after in itertools.pairwise(rows):
        if before.index == after.index:
            assert before.end_ns is not None
            assert after.sent_ns is not None
            assert before.end_ns <= after.sent_ns


@in_trio
async def test_a_session_ends_with_a_failure_and_its_other_turns_are_not_counted(plan: PlanSessions) -> None:
    ground = plan(3, 2)
    server, tally, rows = await run(ground, ground.order(), answering("0.1"))
    assert sorted(histories(server)) == ["0.0", "0.1", "1.0", "1.1"]
    assert [row.outcome for row in rows] == [
        *(Outcome.OK, Outcome.HTTP_STATUS, Outcome.NOT_SENT),
        *(Outcome.OK, Outcome.OK),
    ]
    assert rows[2].error == "turn 1 of the session had no answer to go on from (http_status)"
    assert rows[2].sent_ns is None
    assert (tally.succeeded, tally.outcomes[Outcome.NOT_SENT]) == (3, 1)
    board = ground.shared.board
    assert [board.total(column) for column in (Column.DONE, Column.NOT_SENT)] == [4, 1]
    assert board.count(Outcome.HTTP_STATUS) == 1


@in_trio
async def test_a_later_round_has_the_earlier_answers_in_its_history(plan: PlanSessions) -> None:
    ground = plan(3, 2)
    kept = ground.folder / "answers"
    await run(ground, ground.order(answers=kept), answering("1.0"))
    assert ground.shared.answers is not None
    ground.shared.answers.look_through([kept])

    async def another(peer: Peer) -> None:
        while await peer.request() is not None:
            await peer.send(stream(ROLE, say("something else"), stop(), USAGE, DONE))

    order = ground.order(name="later", replayed=(kept,))
    server, tally, _ = await run(ground, order, another)
    assert histories(server)["0.2"] == ["0.0", "about 0.0", "0.1", "about 0.1"]
    assert histories(server)["1.1"] == ["1.0", "something else"]  # there is none of the earlier round's
    assert tally.succeeded == 5


@in_trio
async def test_with_the_earlier_answers_a_failure_ends_no_session(plan: PlanSessions) -> None:
    ground = plan(3)
    kept = ground.folder / "answers"
    await run(ground, ground.order(1, answers=kept), answering())
    assert ground.shared.answers is not None
    ground.shared.answers.look_through([kept])
    _, _, rows = await run(ground, ground.order(1, name="later", replayed=(kept,)), answering("0.0"))
    assert [row.outcome for row in rows] == [Outcome.HTTP_STATUS, Outcome.OK, Outcome.OK]


@in_trio
async def test_what_was_left_out_in_the_earlier_round_is_left_out_again(plan: PlanSessions) -> None:
    """Although the server counts otherwise now."""
    ground = plan(3)
    kept = ground.folder / "answers"
    rules = SessionRules(most_context_tokens=13)
    first, _, rows = await run(ground, ground.order(1, answers=kept), answering(), sessions=rules)
    assert [row.dropped_turns for row in rows] == [0, 1, 2]
    assert ground.shared.answers is not None
    ground.shared.answers.look_through([kept])
    later, _, _ = await run(ground, ground.order(1, name="later", replayed=(kept,)), answering())
    assert histories(later) == histories(first)


@in_trio
async def test_somebody_thinks_before_each_turn_but_the_first(plan: PlanSessions) -> None:
    ground = plan(3, 3)
    rules = SessionRules(think_time_s=(0.02, 0.03), seed=1)
    pauses = []
    for name in ("rows", "again"):
        _, _, rows = await run(ground, ground.order(name=name), answering(), sessions=rules)
        assert rows[0].sent_ns is not None
        pauses.append(
            [
                ns_to_s((after.sent_ns or 0) - (before.end_ns or 0))
                for before, after in itertools.pairwise(rows)
                if before.index == after.index
            ]
        )
    assert all(pause >= 0.02 for pause in (*pauses[0], *pauses[1]))


@in_trio
async def test_a_stop_while_somebody_thinks_cuts_the_next_turn_off(plan: PlanSessions) -> None:
    ground = plan(2)
    ground.shared.tickets.lay_out(ground.tickets)
    order = ground.order(1)
    async with serving(answering()) as server:
        client = Client(
            make_template(server.url, {}, 60 * NS_PER_S),
            Route(server.address, "1.1"),
            CHAT,
            kernel_stamps=True,
            sessions=SessionRules(think_time_s=(1000, 1000)),
        )
        async with open_worker(0, client, ground.shared) as worker, trio.open_nursery() as nursery:
            await worker.warm(1)

            async def at_once() -> int:
                return now_ns()

            async def give_up() -> None:
                while not ground.shared.board.total(Column.DONE):
                    await trio.sleep(0.001)
                worker.stop()

            nursery.start_soon(give_up)
            tally, _ = await worker.run_round(order, at_once, alone)
    assert tally.outcomes == {Outcome.OK: 1, Outcome.CUT_OFF: 1}
