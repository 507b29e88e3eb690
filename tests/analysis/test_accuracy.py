from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fluxperf.analysis.accuracy import chunk_gap_error, collector, itl_error, stalls, stamps, tolerance_ns, ttft_error
from fluxperf.analysis.evidence import Evidence
from fluxperf.model import Audit, Check, Histogram, Status
from fluxperf.tally import Tally

MS = 1_000_000

EvidenceOf = Callable[..., Evidence]  # of plain requests: TTFT 100 ms, chunk gaps and ITL 10 ms
Build = Callable[..., Histogram]
Judge = Callable[[Evidence], Check | None]


def found(check: Check | None) -> Check:
    assert check is not None
    return check


# By how much a figure may be off.


@pytest.mark.parametrize(
    ("figure_ms", "tolerance_ms"),
    [(10_000, 1), (100, 1), (50, 0.5), (10, 0.1), (5, 0.05), (1, 0.05), (0, 0.05)],
)
def test_one_percent_or_one_millisecond_is_tolerated_and_a_twentieth_of_one(
    figure_ms: float, tolerance_ms: float
) -> None:
    assert tolerance_ns(figure_ms * MS) == pytest.approx(tolerance_ms * MS)


@pytest.mark.parametrize(
    ("late_ms", "weight"), [(0.0, Status.VALID), (0.99, Status.VALID), (1.01, Status.DEGRADED), (9.9, Status.DEGRADED)]
)
def test_ttft_is_held_against_the_lateness_of_first_events(
    evidence_of: EvidenceOf, a_histogram: Build, late_ms: float, weight: Status
) -> None:
    slack = a_histogram(*[round(late_ms * MS)] * 100)
    check = found(ttft_error(evidence_of(first_stamp_slack=slack)))
    assert (check.ok, check.weight) == (weight is Status.VALID, weight)


def test_a_ttft_that_may_be_off_says_by_how_much_and_what_to_do(evidence_of: EvidenceOf, a_histogram: Build) -> None:
    check = found(ttft_error(evidence_of(first_stamp_slack=a_histogram(*[5 * MS] * 100))))
    assert check.text.startswith(
        "TTFT p50 may be off by up to 5.00 ms (5.00%), p99 may be off by up to 5.00 ms (5.00%)"
    )
    assert check.text.endswith("; use more --workers or a lower --concurrency")
    assert check.figures == ("ttft_ms.p50", "ttft_ms.p99")


@pytest.mark.parametrize(
    ("facts", "advice"),
    [
        ({}, "use more --workers or a lower --concurrency"),
        (
            {"streams_per_connection": 2},
            "use more --workers or a lower --concurrency, or fewer --streams-per-connection",
        ),
        ({"more_workers": False}, "use a lower --concurrency, and keep other work off this machine"),
        ({"more_workers": False, "less_concurrency": False}, "keep other work off this machine"),
        (
            {"more_workers": False, "streams_per_connection": 2},
            "use a lower --concurrency, or fewer --streams-per-connection, and keep other work off this machine",
        ),
        (
            {"kernel_stamps": False, "streams_per_connection": 2},
            "use --timestamps kernel where the kernel has stamps",
        ),
    ],
)
def test_what_is_advised_can_be_done(
    evidence_of: EvidenceOf, a_histogram: Build, facts: dict[str, Any], advice: str
) -> None:
    late = evidence_of(first_stamp_slack=a_histogram(*[5 * MS] * 100))
    assert found(ttft_error(replace(late, **facts))).text.endswith(f": the client read late; {advice}")


def test_fewer_streams_help_no_collector(evidence_of: EvidenceOf, a_histogram: Build) -> None:
    slow = replace(evidence_of(collections=a_histogram(9 * MS)), streams_per_connection=4, kernel_stamps=False)
    assert found(collector(slow)).text.endswith("; use more --workers or a lower --concurrency")


def test_ttft_is_off_by_no_more_than_itself(evidence_of: EvidenceOf, a_histogram: Build) -> None:
    check = found(ttft_error(evidence_of(first_stamp_slack=a_histogram(*[137 * MS] * 100))))
    assert check.text.startswith("TTFT p50 may be off by up to 100.00 ms (100%), p99")
    assert check.weight is Status.INVALID


def test_what_is_just_above_a_limit_does_not_look_like_it(evidence_of: EvidenceOf, a_histogram: Build) -> None:
    check = found(ttft_error(evidence_of(first_stamp_slack=a_histogram(*[1_040_000] * 100))))
    assert check.text.startswith("TTFT p50 may be off by up to 1.04 ms (1.04%), p99")


def test_a_median_that_may_be_off_by_a_tenth_is_useless(evidence_of: EvidenceOf, a_histogram: Build) -> None:
    assert found(ttft_error(evidence_of(first_stamp_slack=a_histogram(*[11 * MS] * 100)))).weight is Status.INVALID
    few = a_histogram(*[11 * MS] * 5, zeros=95)  # the median is fine
    assert found(ttft_error(evidence_of(first_stamp_slack=few))).weight is Status.VALID


def test_a_tenth_of_little_is_little(a_histogram: Build) -> None:
    """Gaps of 4 ms: 0.9 ms are more than a tenth of that, but only more than a millisecond makes them useless."""

    def off_by(slack: Histogram) -> Status:
        evidence = Evidence(tally=Tally(), audits={0: Audit(stamp_slack=slack)})
        evidence.tally.histograms["chunk_gap_ms"].record(4 * MS, 1000)
        return found(chunk_gap_error(evidence)).weight

    assert off_by(a_histogram(*[900_000] * 1000)) is Status.DEGRADED
    assert off_by(a_histogram(*[1_100_000] * 1000)) is Status.INVALID


def test_only_the_percentile_that_is_reached_is_named(evidence_of: EvidenceOf, a_histogram: Build) -> None:
    evidence = evidence_of(100, stamp_slack=a_histogram(*[3 * MS] * 20, zeros=980))
    evidence.tally.histograms["chunk_gap_ms"].record(13 * MS, 20)
    check = found(chunk_gap_error(evidence))
    assert check.figures == ("chunk_gap_ms.p99",)
    assert check.weight is Status.DEGRADED  # however far p99 may be off, the median stands
    assert check.text.startswith("chunk gap p99 may be off by up to 3.00 ms (23.1%): the client read late")


def test_in_itl_an_error_spreads_over_all_intervals(evidence_of: EvidenceOf, a_histogram: Build) -> None:
    late = a_histogram(*[MS - 1000] * 100)
    assert found(itl_error(evidence_of(first_stamp_slack=late))).ok  # a tenth of that, for there are ten intervals
    later = a_histogram(*[2 * MS] * 100)
    assert found(itl_error(evidence_of(first_stamp_slack=later))).figures == ("itl_ms.p50", "itl_ms.p99")


@pytest.mark.parametrize("judge", [ttft_error, chunk_gap_error, itl_error])
def test_a_figure_that_is_right_says_so(evidence_of: EvidenceOf, a_histogram: Build, judge: Judge) -> None:
    never = a_histogram(zeros=1000)
    check = found(judge(evidence_of(stamp_slack=never, first_stamp_slack=never)))
    assert check.ok
    assert check.text.endswith("is off by at most 0.00 ms at p50 and 0.00 ms at p99")


@pytest.mark.parametrize("judge", [ttft_error, chunk_gap_error, itl_error])
def test_what_nobody_measured_or_noted_is_not_judged(evidence_of: EvidenceOf, a_histogram: Build, judge: Judge) -> None:
    assert judge(evidence_of()) is None
    assert judge(evidence_of(0, stamp_slack=a_histogram(MS), first_stamp_slack=a_histogram(MS))) is None


# Stamps.


@pytest.mark.parametrize(
    ("facts", "weight"),
    [
        ({}, Status.VALID),
        ({"voided_stamps": 10}, Status.VALID),
        ({"voided_stamps": 6, "unstamped_reads": 5}, Status.DEGRADED),
        ({"unstamped_reads": 500}, Status.DEGRADED),
        ({"voided_stamps": 501}, Status.INVALID),
    ],
)
def test_reads_without_a_usable_stamp(evidence_of: EvidenceOf, facts: dict[str, int], weight: Status) -> None:
    check = found(stamps(evidence_of(reads=1000, **facts)))
    assert (check.ok, check.weight) == (weight is Status.VALID, weight)


def test_the_clients_own_stamps_are_late_by_nobody_knows_how_much(evidence_of: EvidenceOf) -> None:
    check = found(stamps(replace(evidence_of(reads=10, unstamped_reads=10), kernel_stamps=False)))
    assert check.weight is Status.DEGRADED
    assert "--timestamps kernel" in check.text


def test_without_reads_there_are_no_stamps(evidence_of: EvidenceOf) -> None:
    assert stamps(evidence_of()) is None


# Standstills.


def workers(*audits: Audit, kernel_stamps: bool = True) -> Evidence:
    return Evidence(tally=Tally(), audits=dict(enumerate(audits)), kernel_stamps=kernel_stamps)


def test_a_client_that_keeps_up_says_how_long_it_was_away_at_most(a_histogram: Build) -> None:
    check = found(stalls(workers(Audit(receive_lag=a_histogram(9 * MS, 2 * MS), away=a_histogram(MS)))))
    assert check == Check(name="stalls", ok=True, text="no worker stood still for longer than 9.00 ms")


def test_one_worker_that_stands_still_does_not_drown_among_many(a_histogram: Build) -> None:
    quick = [Audit(away=a_histogram(*[MS] * 100_000)) for _ in range(3)]
    check = found(stalls(workers(*quick, Audit(away=a_histogram(*[20_700_000] * 3, zeros=100)))))
    assert check.weight is Status.DEGRADED
    assert check.text.startswith("worker 3 stood still for up to 21 ms (3 times over 10 ms): ")


def test_a_standstill_shows_in_what_came_or_in_the_clients_own_clock_and_counts_once(a_histogram: Build) -> None:
    both = Audit(receive_lag=a_histogram(12 * MS, 30 * MS), away=a_histogram(19 * MS))
    text = "worker 0 stood still for up to 30 ms (2 times over 10 ms)"
    assert found(stalls(workers(both))).text.startswith(text)
    only = Audit(receive_lag=a_histogram(15 * MS))
    assert found(stalls(workers(only))).text.startswith("worker 0 stood still for up to 15 ms (once over 10 ms)")


def test_a_lag_by_the_clients_own_stamps_is_none(a_histogram: Build) -> None:
    audit = Audit(receive_lag=a_histogram(0, 0))
    assert stalls(workers(audit, kernel_stamps=False)) is None


def test_many_workers_that_tell_the_same_are_told_in_short(a_histogram: Build) -> None:
    check = found(stalls(workers(*[Audit(away=a_histogram(20 * MS)) for _ in range(64)])))
    assert "worker 2 stood still" in check.text
    assert "and 61 more: " in check.text
    assert "worker 3 " not in check.text


def test_nobody_who_looked_saw_a_standstill() -> None:
    assert stalls(workers(Audit())) is None
    assert stalls(workers()) is None


# The collector.


def test_a_long_collection_is_told_of_its_worker(a_histogram: Build) -> None:
    audits = (Audit(collections=a_histogram(MS)), Audit(collections=a_histogram(6 * MS, 7 * MS, MS)), Audit())
    check = found(collector(workers(*audits)))
    assert check.weight is Status.DEGRADED
    assert check.text.startswith("worker 1 was held up by its garbage collector for up to 7 ms (2 times over 5 ms): ")


def test_short_collections_are_fine(a_histogram: Build) -> None:
    check = found(collector(workers(Audit(collections=a_histogram(4 * MS)))))
    assert check == Check(name="collector", ok=True, text="no garbage collection took longer than 4.00 ms")
    assert collector(workers(Audit())) is None
