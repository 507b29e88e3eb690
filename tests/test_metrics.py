from __future__ import annotations

from collections.abc import Callable

import pytest

from fluxperf.metrics import BY_NAME, METRICS, Metric, came_at_once, missed, value
from fluxperf.model import Constraint, Slo, Timeline

Build = Callable[..., Timeline]
MS = 1_000_000
FORMULAS = [metric for metric in METRICS if metric.formula]


def values(request_: Timeline) -> dict[str, float | None]:
    return {metric.name: value(metric, request_) for metric in METRICS}


def test_table_has_every_metric_that_reports_promise() -> None:
    promised = "ttft_ms ttfo_ms itl_ms chunk_gap_ms latency_ms connect_ms wait_ms output_token_throughput"
    assert set(BY_NAME) == set(promised.split())
    assert len(BY_NAME) == len(METRICS)
    assert [name for name, metric in BY_NAME.items() if not metric.lower_is_better] == ["output_token_throughput"]


def test_every_metric_of_a_plain_success(a_request: Build) -> None:
    assert values(a_request(connect_ns=3 * MS, wait_ns=2 * MS)) == {
        "ttft_ms": 100,
        "ttfo_ms": 100,
        "itl_ms": 10,
        "latency_ms": 201,
        "chunk_gap_ms": None,  # pooled over events, and no value of one request
        "output_token_throughput": 54.726,  # 11 / 0.201 s
        "connect_ms": 3,
        "wait_ms": 2,
    }


def test_reasoning_counts_for_ttft_and_not_for_ttfo(a_request: Build) -> None:
    found = values(a_request(first_answer_ns=1150 * MS))
    assert (found["ttft_ms"], found["ttfo_ms"]) == (100, 150)


def test_nothing_but_reasoning_has_no_ttfo(a_request: Build) -> None:
    found = values(a_request(first_answer_ns=None))
    assert (found["ttft_ms"], found["ttfo_ms"]) == (100, None)


def test_without_output_only_the_end_is_known(a_request: Build) -> None:
    nothing = a_request(
        first_output_ns=None, first_answer_ns=None, last_output_ns=None, output_events=0, completion_tokens=None
    )
    assert {name for name, found in values(nothing).items() if found is not None} == {
        "latency_ms",
        "connect_ms",
        "wait_ms",
    }


def test_what_was_never_sent_has_no_times(a_request: Build) -> None:
    unsent = a_request(sent_ns=None)
    names = ("ttft_ms", "ttfo_ms", "latency_ms", "output_token_throughput")
    assert [values(unsent)[name] for name in names] == [None] * 4


@pytest.mark.parametrize(
    ("facts", "itl_ms"),
    [
        ({"completion_tokens": 1}, None),
        ({"completion_tokens": None, "output_events": 1}, None),
        ({"completion_tokens": 2}, 100),
        ({"completion_tokens": 51}, 2),  # several tokens an event
        ({"completion_tokens": 0}, 10),  # no count: the events'
        ({"completion_tokens": None}, 10),
        ({"completion_tokens": 8}, 14.285714),  # to the nanosecond
        ({"last_output_ns": 1100 * MS}, None),  # all in one write: nobody could see how long a token took
        ({"last_output_ns": 1100 * MS, "output_events": 1}, None),  # all in one event
        ({"last_output_ns": None}, None),
    ],
)
def test_itl_is_by_output_tokens(a_request: Build, facts: dict[str, int | None], itl_ms: float | None) -> None:
    assert values(a_request(**facts))["itl_ms"] == itl_ms


@pytest.mark.parametrize(
    "facts",
    [{"end_ns": None}, {"end_ns": 1000 * MS}, {"completion_tokens": None, "output_events": 0}],
)
def test_no_throughput_without_tokens_or_time(a_request: Build, facts: dict[str, int | None]) -> None:
    assert values(a_request(**facts))["output_token_throughput"] is None


@pytest.mark.parametrize(
    ("facts", "at_once"),
    [
        ({}, False),
        ({"last_output_ns": 1100 * MS}, True),
        ({"last_output_ns": 1100 * MS, "completion_tokens": None, "output_events": 2}, True),
        ({"last_output_ns": 1100 * MS, "completion_tokens": 1, "output_events": 1}, False),
        ({"first_output_ns": None, "last_output_ns": None}, False),
    ],
)
def test_two_tokens_of_one_stamp_came_at_once(a_request: Build, facts: dict[str, int | None], at_once: bool) -> None:
    assert came_at_once(a_request(**facts)) is at_once


@pytest.mark.parametrize("metric", FORMULAS, ids=lambda metric: metric.name)
def test_formulas_give_whole_raw_units(a_request: Build, metric: Metric) -> None:
    assert metric.formula is not None
    assert isinstance(metric.formula(a_request()), int)


@pytest.mark.parametrize(
    ("constraint", "is_missed"),
    [
        (Constraint("ttft_ms", below=100), True),  # strictly below
        (Constraint("ttft_ms", below=100.000001), False),
        (Constraint("ttft_ms", max=100), False),  # inclusive
        (Constraint("ttft_ms", max=99.999999), True),
        (Constraint("ttft_ms", min=100), False),  # inclusive
        (Constraint("ttft_ms", min=100.000001), True),
        (Constraint("ttft_ms", min=50, max=150), False),
        (Constraint("ttft_ms", below=150, min=120), True),
        (Constraint("output_token_throughput", min=54.726), False),
        (Constraint("output_token_throughput", min=55), True),
    ],
)
def test_constraints_are_strict_below_and_inclusive_otherwise(
    a_request: Build, constraint: Constraint, is_missed: bool
) -> None:
    assert missed(Slo((constraint,)), a_request()) == ((constraint.metric,) if is_missed else ())


def test_a_value_that_does_not_exist_counts_as_met(a_request: Build) -> None:
    slo = Slo((Constraint("itl_ms", below=1), Constraint("ttfo_ms", min=10**9), Constraint("chunk_gap_ms", max=0)))
    assert missed(slo, a_request(completion_tokens=1, first_answer_ns=None)) == ()


def test_every_missed_constraint_is_named_in_order(a_request: Build) -> None:
    slo = Slo((Constraint("latency_ms", below=1), Constraint("wait_ms", max=0), Constraint("ttft_ms", below=1)))
    assert missed(slo, a_request()) == ("latency_ms", "ttft_ms")
