from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.engine.bodies import Bodies, BodyWriter, Prepared, Tickets
from tests.engine.forks import forked

prepared = st.builds(
    Prepared,
    index=st.integers(0, 2**63 - 1),
    session_id=st.none() | st.text(),
    prompt_tokens_estimate=st.integers(0, 2**53),
    body=st.binary(max_size=500),
)


def write(entries: list[Prepared]) -> tuple[Bodies, list[int]]:
    writer = BodyWriter()
    tickets = [writer.add(entry) for entry in entries]
    return writer.finish(), tickets


@pytest.fixture
def tickets() -> Iterator[Tickets]:
    made = Tickets()
    yield made
    made.close()


def draw_all(tickets: Tickets) -> list[int]:
    drawn = []
    while (ticket := tickets.draw()) is not None:
        drawn.append(ticket)
    return drawn


# Bodies.


@given(st.lists(prepared, min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_what_was_written_is_read_in_any_order(entries: list[Prepared], random: Random) -> None:
    bodies, tickets = write(entries)
    places = list(range(len(entries))) * 2
    random.shuffle(places)
    assert [bodies[tickets[place]] for place in places] == [entries[place] for place in places]
    bodies.close()


@given(st.lists(prepared, min_size=1, max_size=20))
def test_a_body_can_be_read_where_it_stands(entries: list[Prepared]) -> None:
    writer = BodyWriter()
    places = []
    for entry in entries:
        writer.add(entry)
        places.append((writer.body_start, writer.body_start + len(entry.body)))
    bodies = writer.finish()
    assert [bodies.peek(*place) for place in places] == [entry.body for entry in entries]
    bodies.close()


def test_a_large_body() -> None:
    entry = Prepared(0, "session", 1, bytes(range(256)) * 20_000)
    bodies, (ticket,) = write([entry])
    assert bodies[ticket] == entry
    assert bodies.peek(ticket, ticket + 10**9).endswith(entry.body)
    bodies.close()


def test_forked_processes_read_the_same_bodies() -> None:
    entries = [Prepared(number, f"session {number}", number, b"body %d" % number) for number in range(100)]
    bodies, tickets = write(entries)
    with forked(3, lambda number: bodies[tickets[number * 10]].body) as found:
        pass
    assert found == [b"body 0", b"body 10", b"body 20"]
    bodies.close()


def test_nothing_is_left_in_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    writer = BodyWriter()
    writer.add(Prepared(0, None, 1, b"secret"))
    tickets = Tickets()
    assert list(tmp_path.iterdir()) == []
    writer.finish().close()
    tickets.close()


# Tickets.


def test_tickets_are_drawn_in_order_until_there_are_no_more(tickets: Tickets) -> None:
    tickets.lay_out([7, 0, 2**63, 7])
    assert [tickets.draw() for _ in range(6)] == [7, 0, 2**63, 7, None, None]


def test_before_the_first_round_there_are_none(tickets: Tickets) -> None:
    assert tickets.draw() is None
    assert [*tickets.drawn()] == []


def test_what_was_drawn_is_known(tickets: Tickets) -> None:
    tickets.lay_out(range(10))
    assert [tickets.draw() for _ in range(3)] == [*tickets.drawn()] == [0, 1, 2]
    assert tickets.draw() == 3


@pytest.mark.parametrize("drawn_before", [0, 2, 5])
def test_a_new_round_starts_afresh(tickets: Tickets, drawn_before: int) -> None:
    tickets.lay_out(range(5))
    for _ in range(drawn_before):
        tickets.draw()
    tickets.lay_out(array("Q", [8, 9]))
    assert [*tickets.drawn()] == []
    assert draw_all(tickets) == [8, 9]


def test_processes_draw_each_ticket_once(tickets: Tickets) -> None:
    """The round is laid out once the processes are there, as in a run."""
    order = list(range(0, 80_000, 8))
    Random(1).shuffle(order)
    with forked(4, lambda number: array("Q", draw_all(tickets)).tobytes()) as found:
        tickets.lay_out(order)
    drawn = [array("Q", data).tolist() for data in found]
    assert sorted(chain(*drawn)) == sorted(order)
    assert [*tickets.drawn()] == order
    place = {ticket: number for number, ticket in enumerate(order)}
    for mine in drawn:
        assert [place[ticket] for ticket in mine] == sorted(place[ticket] for ticket in mine)


def test_a_process_that_ends_in_the_middle_takes_only_what_it_drew(tickets: Tickets) -> None:
    with forked(1, lambda number: array("Q", [tickets.draw() or 0, tickets.draw() or 0]).tobytes()) as found:
        tickets.lay_out([5, 6, 7])
    assert array("Q", found[0]).tolist() == [*tickets.drawn()] == [5, 6]
    assert draw_all(tickets) == [7]
