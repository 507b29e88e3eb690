from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.engine.board import BUCKETS, REFUSALS, Board, Column, Flight, find_bucket
from fluxperf.model import Outcome, Refusal, Timeline
from fluxperf.units import NS_PER_MS, NS_PER_S
from tests.engine.forks import forked


def test_a_total_is_over_all_workers() -> None:
    board = Board(3)
    board.add(0, Column.SENT)
    board.add(2, Column.SENT, 5)
    board.add(1, Column.DONE, 7)
    assert [board.total(column) for column in (Column.SENT, Column.DONE, Column.NOT_SENT)] == [6, 7, 0]


def test_every_counter_is_its_own() -> None:
    workers, columns = 4, Column.FIRST_REFUSAL + len(REFUSALS)
    board = Board(workers)
    for worker in range(workers):
        for column in range(columns):
            board.add(worker, column, 1000**worker * (column + 1))
    for column in range(columns):
        assert board.total(column) == (column + 1) * sum(1000**worker for worker in range(workers))
    assert [board.count(outcome) for outcome in Outcome] == [0] * len(Outcome)
    assert board.ttft_percentiles(50) == [None]
    assert (board.stopped, board.started_ns) == (False, None)


def over(worker: int, outcome: Outcome = Outcome.OK, **facts: Any) -> Timeline:
    return Timeline(index=0, worker=worker, outcome=outcome, **facts)


def test_requests_that_are_over_are_counted_by_outcome() -> None:
    board = Board(2)
    board.finish(over(0, output_events=3, completion_tokens=9), 5 * NS_PER_MS)
    board.finish(over(1, Outcome.LENGTH, output_events=1), 5 * NS_PER_MS)
    board.finish(over(1, Outcome.RESET, output_events=2), 7 * NS_PER_MS)
    for status in (429, 503, 429):
        board.finish(over(0, Outcome.REJECTED, status=status), None)
    outcomes = (Outcome.OK, Outcome.LENGTH, Outcome.RESET, Outcome.REJECTED, Outcome.TIMEOUT)
    assert [board.count(outcome) for outcome in outcomes] == [1, 1, 1, 3, 0]
    counted = (Column.DONE, Column.OUTPUT_TOKENS, Column.OVER_EVENTS, Column.REJECTED_429)
    assert [board.total(column) for column in counted] == [6, 10, 6, 2]
    assert board.ttft_percentiles(0, 100) == [pytest.approx(5 * NS_PER_MS, rel=0.025)] * 2  # of successes alone


@given(ns=st.integers(10_000, 3_600 * NS_PER_S))
def test_a_time_is_at_most_two_and_a_half_percent_from_the_middle_of_its_bucket(ns: int) -> None:
    board = Board(1)
    board.finish(over(0), ns)
    assert board.ttft_percentiles(50) == [pytest.approx(ns, rel=0.0251)]


@given(
    values=st.lists(st.integers(10_000, NS_PER_S), min_size=1, max_size=50), percent=st.sampled_from([1, 50, 90, 99])
)
def test_percentiles_are_of_nearest_rank_over_all_workers(values: list[int], percent: int) -> None:
    board = Board(3)
    for number, ns in enumerate(values):
        board.finish(over(number % 3), ns)
    rank = max(math.ceil(percent * len(values) / 100), 1)
    assert board.ttft_percentiles(percent) == [pytest.approx(sorted(values)[rank - 1], rel=0.0251)]


@pytest.mark.parametrize(("ns", "bucket"), [(-5, 0), (0, 0), (1, 0), (10**18, BUCKETS - 1)])
def test_times_beyond_the_buckets_are_counted_at_their_ends(ns: int, bucket: int) -> None:
    assert find_bucket(ns) == bucket


def test_a_flight_is_told_as_far_as_it_has_come() -> None:
    board = Board(3)
    assert list(board.flights()) == []
    board.tell(2, 5, Timeline(index=0, prompt_tokens_estimate=12))
    board.tell(0, 7, Timeline(index=4, turn=2, sent_ns=1000, last_output_ns=2000))
    assert list(board.flights()) == [Flight(4, 2, 0, 1000, 2000), Flight(0, 0, 12, None, None)]
    assert board.total(Column.OUTPUT_EVENTS) == 12
    board.tell(0, 9, None)
    assert list(board.flights()) == [Flight(0, 0, 12, None, None)]
    assert board.total(Column.OUTPUT_EVENTS) == 14


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
    board.finish(over(1), 1000)
    board.tell(1, 5, over(1))
    board.start(5)
    board.stop()
    board.clear()
    assert (list(board.flights()), board.started_ns, board.ttft_percentiles(50)) == ([], None, [None])
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
