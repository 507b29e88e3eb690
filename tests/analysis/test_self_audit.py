from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fluxperf.analysis.audit import summarise_audit
from fluxperf.analysis.evidence import Evidence
from fluxperf.model import Audit, Extent, Histogram, Timeline, WorkerLoad
from fluxperf.tally import Tally

MS = 1_000_000

Build = Callable[..., Histogram]


def test_workers_are_summed_up_and_each_is_told_by_itself(
    a_histogram: Build, a_request: Callable[..., Timeline]
) -> None:
    tally = Tally()
    tally.add(a_request(completion_tokens=22, wait_ns=3 * MS))
    tally.add(a_request(completion_tokens=22, wait_ns=0))
    one = Audit(
        receive_lag=a_histogram(2 * MS),
        send_lag=a_histogram(4 * MS),
        turnaround=a_histogram(5 * MS),
        away=a_histogram(30 * MS),
        stamp_slack=a_histogram(6 * MS, zeros=9),
        first_stamp_slack=a_histogram(7 * MS),
        collections=a_histogram(MS, 3 * MS),
        reads=10,
        shared_reads=1,
        unstamped_reads=2,
        voided_stamps=3,
        opened=4,
        reopened=5,
        cpu_ns=250 * MS,
        span_ns=1000 * MS,
    )
    other = Audit(receive_lag=a_histogram(9 * MS), reads=30, shared_reads=3, cpu_ns=500 * MS, span_ns=1000 * MS)
    summary = summarise_audit(Evidence(tally=tally, audits={3: one, 1: other}))
    assert summary is not None
    assert summary.receive_lag_ms == Extent(p50=2, p99=9, max=9)
    assert summary.schedule_lag_ms == Extent(p50=4, p99=4, max=4)
    assert summary.turnaround_ms == Extent(p50=5, p99=5, max=5)
    assert summary.away_ms == Extent(p50=30, p99=30, max=30)
    assert summary.chunk_gap_error_ms == Extent(p50=0, p99=6, max=6)
    assert summary.ttft_error_ms == Extent(p50=7, p99=7, max=7)
    assert (summary.collections, summary.collection_max_ms, summary.collection_total_ms) == (2, 3, 4)
    assert (summary.cpu_s, summary.cpu_share) == (0.75, 0.5)
    assert summary.workers == (
        WorkerLoad(worker=1, cpu_share=0.5, longest_stall_ms=9, stalls=0),
        WorkerLoad(worker=3, cpu_share=0.25, longest_stall_ms=30, stalls=1),
    )
    assert (summary.reads, summary.shared_reads, summary.shared_read_share) == (40, 4, 0.1)
    assert (summary.unstamped_reads, summary.voided_reads) == (2, 3)
    assert (summary.connections_opened, summary.connections_reopened) == (4, 5)
    assert (summary.waits, summary.wait_p99_ms) == (1, 3)
    assert summary.tokens_per_chunk == 2


def test_what_did_not_happen_is_null() -> None:
    summary = summarise_audit(Evidence(tally=Tally(), audits={0: Audit()}))
    assert summary is not None
    assert summary.receive_lag_ms == Extent()
    assert summary.workers == (WorkerLoad(worker=0, cpu_share=None, longest_stall_ms=None, stalls=0),)
    assert summary.cpu_share is summary.shared_read_share is summary.tokens_per_chunk is summary.wait_p99_ms is None


def test_the_lag_behind_ones_own_stamps_is_no_standstill(a_histogram: Build) -> None:
    evidence = Evidence(tally=Tally(), audits={0: Audit(receive_lag=a_histogram(50 * MS), away=a_histogram(MS))})
    with_kernel, without = summarise_audit(evidence), summarise_audit(replace(evidence, kernel_stamps=False))
    assert with_kernel is not None
    assert without is not None
    assert with_kernel.workers[0].longest_stall_ms == 50
    assert without.workers[0].longest_stall_ms == 1


def test_no_worker_that_reported_no_audit() -> None:
    assert summarise_audit(Evidence(tally=Tally())) is None
