from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from fluxperf.analysis.evidence import Evidence
from fluxperf.analysis.load import (
    completeness,
    context,
    cpu,
    in_flight,
    outcome,
    reconnects,
    schedule,
    turnaround,
    waits,
    workers,
)
from fluxperf.model import Audit, Check, Histogram, Outcome, Status, Timeline
from fluxperf.tally import Tally

MS = 1_000_000

EvidenceOf = Callable[..., Evidence]  # of plain requests: latency 201 ms
Build = Callable[..., Histogram]


def found(check: Check | None) -> Check:
    assert check is not None
    return check


def test_a_round_without_a_success_is_no_measurement(evidence_of: EvidenceOf) -> None:
    assert outcome(evidence_of(1)) is None
    assert found(outcome(replace(evidence_of(0), planned=1))).weight is Status.INVALID


def test_a_worker_that_died_took_with_it_what_it_knew(evidence_of: EvidenceOf) -> None:
    assert workers(evidence_of()) is None
    check = found(workers(replace(evidence_of(), lost=(1,))))
    assert check.weight is Status.INVALID
    assert check.text.startswith("worker 1 died: ")
    assert found(workers(replace(evidence_of(), lost=(1, 3)))).text.startswith("workers 1, 3 died: ")


def test_a_round_that_was_stopped_says_how_far_it_came(
    evidence_of: EvidenceOf, a_request: Callable[..., Timeline]
) -> None:
    assert completeness(evidence_of()) is None
    evidence = replace(evidence_of(37), planned=100, stopped=True)
    evidence.tally.add(a_request(outcome=Outcome.CUT_OFF))
    check = found(completeness(evidence))
    assert check.weight is Status.DEGRADED
    assert check.text == (
        "the round was stopped before its end: 37 of 100 requests are counted; "
        "throughput and requests in flight are too low, for what was cut off is not in them"
    )
    assert check.figures == ("throughput", "avg_in_flight")


@pytest.mark.parametrize(("share", "ok"), [(0.9, True), (0.91, False)])
def test_a_core_that_is_all_used_may_be_the_limit(evidence_of: EvidenceOf, share: float, ok: bool) -> None:
    audits = {0: Audit(cpu_ns=20, span_ns=100), 1: Audit(cpu_ns=round(share * 100), span_ns=100), 2: Audit()}
    check = found(cpu(replace(evidence_of(), audits=audits)))
    assert (check.ok, check.weight) == (ok, Status.VALID if ok else Status.DEGRADED)
    assert check.text.startswith(f"worker 1 used {share:.0%} of its core")
    assert check.figures == (() if ok else ("throughput",))


def test_without_a_span_there_is_no_share(evidence_of: EvidenceOf) -> None:
    assert cpu(evidence_of()) is None


@pytest.mark.parametrize(("late_ms", "ok"), [(9, True), (11, False)])
def test_sends_that_are_late_are_a_warning(evidence_of: EvidenceOf, a_histogram: Build, late_ms: int, ok: bool) -> None:
    check = found(schedule(evidence_of(send_lag=a_histogram(*[late_ms * MS] * 2, zeros=98))))
    assert (check.ok, check.weight) == (ok, Status.VALID)
    assert check.text.startswith(f"requests went out at most {late_ms}.00 ms after they were due (p99 {late_ms}.00 ms)")


def test_a_single_late_send_is_not_even_that(evidence_of: EvidenceOf, a_histogram: Build) -> None:
    check = found(schedule(evidence_of(send_lag=a_histogram(50 * MS, zeros=999))))
    assert check.ok
    assert check.text.endswith(" (p99 0.00 ms)")
    assert schedule(evidence_of()) is None


# A lane is idle while nothing of it is in flight: 100 requests of 201 ms are 20.1 s of work.


@pytest.mark.parametrize(
    ("idle_ms", "share"), [(1.0, None), (2.0, None), (2.2, "1.08%"), (20.1, "9.09%"), (201.0, "50.0%")]
)
def test_a_client_that_takes_its_time_asks_less_of_the_server(
    evidence_of: EvidenceOf, a_histogram: Build, idle_ms: float, share: str | None
) -> None:
    check = found(turnaround(evidence_of(turnaround=a_histogram(*[round(idle_ms * MS)] * 100))))
    assert check.text.startswith(f"the next request went out {idle_ms:.2f} ms after an answer on average")
    assert (check.ok, check.weight) == (share is None, Status.VALID if share is None else Status.DEGRADED)
    if share is not None:
        assert f": throughput and requests in flight are lower by {share} than" in check.text
        assert check.figures == ("throughput", "avg_in_flight")


def test_less_than_a_millisecond_is_not_held_against_it(a_histogram: Build, a_request: Callable[..., Timeline]) -> None:
    tally = Tally()
    for _ in range(100):
        tally.add(a_request(done_ns=1002 * MS, end_ns=1002 * MS))  # the server takes 2 ms
    evidence = Evidence(tally=tally, audits={0: Audit(turnaround=a_histogram(*[900_000] * 100))})
    assert found(turnaround(evidence)).ok
    slower = Evidence(tally=tally, audits={0: Audit(turnaround=a_histogram(*[1_100_000] * 100))})
    assert found(turnaround(slower)).weight is Status.DEGRADED


def test_one_request_a_lane_has_none_after_it(evidence_of: EvidenceOf) -> None:
    assert turnaround(evidence_of()) is None


def waiting(evidence: Evidence, a_request: Callable[..., Timeline], count: int, wait_ms: float) -> Evidence:
    for _ in range(count):
        evidence.tally.add(a_request(wait_ns=round(wait_ms * MS)))
    return evidence


@pytest.mark.parametrize(
    ("count", "wait_ms", "ok", "weight"),
    [
        (1, 5, True, Status.VALID),  # one of a hundred
        (2, 5, False, Status.VALID),
        (50, 10, False, Status.DEGRADED),
    ],
)
def test_requests_that_wait_are_told_and_weigh_if_they_wait_long(
    evidence_of: EvidenceOf,
    a_request: Callable[..., Timeline],
    count: int,
    wait_ms: float,
    ok: bool,
    weight: Status,
) -> None:
    check = found(waits(waiting(evidence_of(100 - count), a_request, count, wait_ms)))
    assert check.text.startswith(f"{count} of 100 requests waited for a connection or a stream (p99 ")
    assert (check.ok, check.weight) == (ok, weight)


def test_picking_a_connection_is_no_wait(evidence_of: EvidenceOf, a_request: Callable[..., Timeline]) -> None:
    assert waits(waiting(evidence_of(0), a_request, 10, 0.09)) is None


@pytest.mark.parametrize(
    ("reopened", "connect_ms", "ok", "weight"),
    [(1, 1, True, Status.VALID), (2, 1, False, Status.VALID), (100, 10, False, Status.DEGRADED)],
)
def test_connections_opened_during_the_round(
    a_request: Callable[..., Timeline], reopened: int, connect_ms: int, ok: bool, weight: Status
) -> None:
    tally = Tally()
    for number in range(100):
        tally.add(a_request(connect_ns=connect_ms * MS if number < reopened else 0))
    check = found(reconnects(Evidence(tally=tally, audits={0: Audit(reopened=reopened)})))
    assert (check.ok, check.weight) == (ok, weight)
    was = "connection was" if reopened == 1 else "connections were"
    assert check.text.startswith(f"{reopened} {was} opened during the round")


def test_without_one_there_is_nothing_to_say(evidence_of: EvidenceOf) -> None:
    assert reconnects(evidence_of()) is None
    assert waits(evidence_of()) is None


def test_sessions_that_leave_places_empty_are_told(evidence_of: EvidenceOf) -> None:
    one = replace(evidence_of(4), sessions=True, concurrency=1)
    assert found(in_flight(one)).ok
    assert in_flight(replace(one, sessions=False)) is None
    assert in_flight(replace(one, stopped=True)) is None
    check = found(in_flight(replace(one, concurrency=10)))
    assert not check.ok
    assert "at a concurrency of 10" in check.text


def test_prompts_beyond_the_context_are_counted(evidence_of: EvidenceOf, a_request: Callable[..., Timeline]) -> None:
    requests = [a_request(index=index, prompt_tokens=tokens) for index, tokens in enumerate((100, 150, 200))]
    evidence = replace(evidence_of(3), sessions=True, requests=requests, most_context_tokens=149)
    assert context(replace(evidence, most_context_tokens=None)) is None
    assert found(context(replace(evidence, most_context_tokens=200))).ok
    check = found(context(evidence))
    assert check.text.startswith("2 of 3 prompts were longer than --max-context-tokens 149, the longest 200")
