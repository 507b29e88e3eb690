from __future__ import annotations

import pytest

from fluxperf.engine.board import REFUSALS, Board, Column
from fluxperf.model import Refusal
from tests.engine.forks import forked


def test_a_total_is_over_all_workers() -> None:
    board = Board(3)
    board.add(0, Column.SENT)
    board.add(2, Column.SENT, 5)
    board.add(1, Column.DONE, 7)
    assert [board.total(column) for column in (Column.SENT, Column.DONE, Column.FAILED)] == [6, 7, 0]


def test_every_counter_is_its_own() -> None:
    workers, columns = 4, Column.FIRST_REFUSAL + len(REFUSALS)
    board = Board(workers)
    for worker in range(workers):
        for column in range(columns):
            board.add(worker, column, 1000**worker * (column + 1))
    for column in range(columns):
        assert board.total(column) == (column + 1) * sum(1000**worker for worker in range(workers))
    assert not board.stopped


def test_counters_hold_sums_of_nanoseconds() -> None:
    board = Board(1)
    board.add(0, Column.TTFT_NS_SUM, 10**18)
    assert board.total(Column.TTFT_NS_SUM) == 10**18


def test_processes_count_on_one_board() -> None:
    board = Board(4)

    def work(number: int) -> bytes:
        for _ in range(1000):
            board.add(number, Column.DONE)
            board.add(number, Column.OUTPUT_TOKENS, number)
        return b""

    with forked(4, work):
        pass
    assert board.total(Column.DONE) == 4000
    assert board.total(Column.OUTPUT_TOKENS) == 6000


def test_a_stop_is_seen_by_all_and_lasts_until_the_next_round() -> None:
    board = Board(2)
    with forked(2, lambda number: b"stopped" if board.stopped else b"going on") as seen:
        board.stop()
    assert seen == [b"stopped"] * 2
    board.clear()
    assert not board.stopped


def test_a_process_can_stop_the_round() -> None:
    board = Board(1)

    def work(number: int) -> bytes:
        board.stop()
        return b""

    with forked(1, work):
        pass
    assert board.stopped


def test_a_round_starts_with_nothing_counted() -> None:
    board = Board(2)
    board.add(1, Column.DONE, 5)
    board.refuse(1, Refusal(404))
    board.stop()
    board.clear()
    assert [board.total(column) for column in range(Column.FIRST_REFUSAL + len(REFUSALS))] == [0] * (
        Column.FIRST_REFUSAL + len(REFUSALS)
    )
    assert not board.stopped


@pytest.mark.parametrize("kind", REFUSALS)
def test_the_round_is_refused_when_all_first_answers_are_of_one_kind(kind: Refusal) -> None:
    board = Board(2)
    for number in range(4):
        assert board.all_refused(4) is None
        board.add(number % 2, Column.DONE)
        board.refuse(number % 2, kind)
    assert board.all_refused(4) == kind
    assert board.all_refused(5) is None


@pytest.mark.parametrize(
    "answers",
    [
        [401, 401, 401, None],
        [None, 401, 401, 401],
        [401, 401, 403, 401],
        [200, 404, 404, 404],
        [None, None, None, None],
    ],
)
def test_one_answer_of_another_kind_is_enough_to_go_on(answers: list[int | None]) -> None:
    board = Board(1)
    for kind in answers:
        board.add(0, Column.DONE)
        if kind is not None:
            board.refuse(0, Refusal(kind))
    assert board.all_refused(4) is None


def test_a_refusal_that_is_counted_late_does_not_hide_the_others() -> None:
    """Another worker has counted its answer, but not yet that it was a refusal."""
    board = Board(2)
    board.add(0, Column.DONE)
    board.add(1, Column.DONE)
    board.refuse(0, Refusal(401))
    assert board.all_refused(2) is None
    board.refuse(1, Refusal(401))
    assert board.all_refused(2) == 401
