from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from fluxperf.crew import live_counts, plan_itinerary
from fluxperf.engine.board import Board, Column
from fluxperf.model import Outcome, Timeline
from fluxperf.plan.campaign import StageSpec
from fluxperf.plan.planner import PlanRequest, plan_levels
from fluxperf.units import NS_PER_MS
from fluxperf.watch.counts import Flight, LiveCounts
from fluxperf.watch.itinerary import Leg


def over(outcome: Outcome, **facts: Any) -> Timeline:
    return Timeline(index=0, outcome=outcome, **facts)


def test_nothing_has_been_counted() -> None:
    assert live_counts(Board(2)) == LiveCounts()


def test_what_is_counted_on_the_board() -> None:
    board = Board(2)
    board.start(1000)
    board.add(0, Column.SENT, 9)
    board.add(1, Column.NOT_SENT, 2)
    board.finish(over(Outcome.OK, output_events=10, completion_tokens=30), 5 * NS_PER_MS)
    board.finish(over(Outcome.CUT_OFF), None)
    for status in (429, 503, 429):
        board.finish(over(Outcome.REJECTED, status=status), None)
    board.finish(over(Outcome.TIMEOUT), None)
    board.stop()
    counts = live_counts(board)
    assert (counts.sent, counts.done, counts.not_sent, counts.over, counts.in_flight) == (9, 6, 2, 8, 3)
    assert counts.failures == {"429": 2, "503": 1, Outcome.TIMEOUT: 1}  # what was cut off did not fail
    assert counts.ttft_ns is not None
    assert list(counts.ttft_ns) == [pytest.approx(5 * NS_PER_MS, rel=0.03)] * 2
    assert (counts.started_ns, counts.stopped) == (1000, True)


def test_tokens_on_their_way_are_counted_as_those_that_came() -> None:
    board = Board(1)
    board.tell(0, 7, None)
    assert live_counts(board).output_tokens == 7  # an event each, as long as nobody knows better
    board.finish(over(Outcome.OK, output_events=10, completion_tokens=30), 1)
    assert live_counts(board).output_tokens == 30  # what was told is older than the end of that request
    board.tell(0, 14, None)
    assert live_counts(board).output_tokens == 30 + 4 * 3


def test_the_request_in_flight_longest_is_the_oldest_of_all_workers() -> None:
    board = Board(3)
    board.tell(0, 0, Timeline(index=1, sent_ns=3000))
    board.tell(1, 0, Timeline(index=2, turn=1, sent_ns=2000, last_output_ns=2500, prompt_tokens_estimate=7))
    board.tell(2, 0, Timeline(index=3))
    assert live_counts(board).oldest == Flight(2, 1, 7, 2000, 2500)


def test_an_itinerary_has_all_rounds_of_all_stages_in_order() -> None:
    request = PlanRequest(dataset_size=10, concurrency=(2, 5), num_samples=(4, 6), control_round=True)
    spec = cast(StageSpec, SimpleNamespace(title="A"))
    itinerary = plan_itinerary([(spec, plan_levels(request))])
    assert itinerary.legs == tuple(
        Leg("A", level, name, n) for level, n in ((2, 4), (5, 6)) for name in (1, 2, "control")
    )
