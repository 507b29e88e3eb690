"""A round over time: what flows, how much of it, and where it failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fluxperf.model import Outcome, RoundResult, Timeline
from fluxperf.report.html.chart import Chart, Missing
from fluxperf.report.html.columns import read_columns
from fluxperf.report.html.timeline import Course, follow, timeline_rows

MS = 1_000_000


def course_of(result: RoundResult) -> Course:
    found = follow(result, read_columns(result))
    assert found is not None
    return found


def many(plain: RoundResult, amount: int, **facts: Any) -> RoundResult:
    """One request each 10 ms, which lasts 100 ms and brings 9 tokens from its 20th millisecond to its 90th."""

    def one(nth: int) -> Timeline:
        sent = 10 * MS * nth
        return Timeline(
            index=nth,
            outcome=Outcome.OK,
            sent_ns=sent,
            first_output_ns=sent + 20 * MS,
            last_output_ns=sent + 90 * MS,
            end_ns=sent + 100 * MS,
            done_ns=sent + 100 * MS,
            output_events=9,
        )

    return replace(plain, requests=tuple(one(nth) for nth in range(amount)), first_sent_ns=0, **facts)


@pytest.mark.parametrize("amount", [50, 1000])  # exactly, and as averages
def test_requests_in_flight_and_tokens(a_round: Callable[..., RoundResult], amount: int) -> None:
    course = course_of(many(a_round(), amount))
    instants, flying = course.in_flight
    middle = (instants > 0.2) & (instants < 0.4)
    assert flying[middle] == pytest.approx(10, abs=1)
    assert flying.max() <= 10.01
    width = np.diff(course.edges_s)
    assert float((course.tokens_per_s * width).sum()) == pytest.approx(9 * amount, rel=1e-6)


def test_tokens_that_come_at_once_are_counted_too(
    a_round: Callable[..., RoundResult], a_request: Callable[..., Timeline]
) -> None:
    result = replace(a_round(), requests=(a_request(last_output_ns=1100 * MS),), first_sent_ns=1000 * MS)
    course = course_of(result)
    assert float((course.tokens_per_s * np.diff(course.edges_s)).sum()) == pytest.approx(11, rel=1e-6)


def test_failures_are_counted_by_kind(a_round: Callable[..., RoundResult], a_request: Callable[..., Timeline]) -> None:
    failed = [
        a_request(index=nth, outcome=kind) for nth, kind in enumerate([Outcome.RESET, Outcome.RESET, Outcome.TIMEOUT])
    ]
    course = course_of(replace(a_round(), requests=(a_request(index=9), *failed), first_sent_ns=1000 * MS))
    assert [kinds for _, kinds in course.failures] == ["reset 2, timeout 1"]
    chart = timeline_rows([course], [])[0][0]
    assert isinstance(chart, Chart)
    assert [mark.shape for mark in chart.marks] == ["step", "crosses"]


def test_a_round_in_which_nothing_was_sent_has_no_course(a_round: Callable[..., RoundResult]) -> None:
    empty = replace(a_round(), requests=(), first_sent_ns=None)
    assert follow(empty, read_columns(empty)) is None


def test_rounds_stand_beside_each_other_on_the_same_scale(a_round: Callable[..., RoundResult]) -> None:
    first = course_of(many(a_round(), 50, series={"queue": ((0.0, 1.0), (0.2, float("nan")), (0.3, 7.0))}))
    second = course_of(many(a_round(round=2), 5))
    rows = timeline_rows([first, second], ["queue"])
    flights = [chart for chart in rows[0] if isinstance(chart, Chart)]
    assert len(flights) == 2
    assert flights[0].y.most == flights[1].y.most
    queue, nothing = rows[2]
    assert isinstance(queue, Chart)
    assert list(queue.marks[0].columns["y"]) == [1, 7]
    assert isinstance(nothing, Missing)
