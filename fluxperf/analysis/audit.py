"""From the audits of a round's workers to an `AuditSummary`: arithmetic only, nothing is judged here."""

from __future__ import annotations

from fluxperf.analysis.evidence import LEAST_WAIT_NS, Evidence, count_stalls, cpu_share, longest_ns
from fluxperf.model import AuditSummary, Extent, Histogram, WorkerLoad
from fluxperf.units import ns_to_ms, ns_to_s


def summarise_audit(evidence: Evidence) -> AuditSummary | None:
    """What the client noticed about itself, over all workers; None if none of them reported."""
    if not evidence.audits:
        return None
    audit, tally = evidence.audit, evidence.tally
    workers = tuple(
        WorkerLoad(
            worker=number,
            cpu_share=cpu_share(evidence.audits[number]),
            longest_stall_ms=_ms(longest_ns(lags)),
            stalls=count_stalls(lags),
        )
        for number, lags in evidence.lags.items()
    )
    waits = tally.histograms["wait_ms"]
    return AuditSummary(
        receive_lag_ms=_extent(audit.receive_lag),
        schedule_lag_ms=_extent(audit.send_lag),
        turnaround_ms=_extent(audit.turnaround),
        away_ms=_extent(audit.away),
        chunk_gap_error_ms=_extent(audit.stamp_slack),
        ttft_error_ms=_extent(audit.first_stamp_slack),
        collections=audit.collections.count,
        collection_max_ms=_ms(audit.collections.max),
        collection_total_ms=ns_to_ms(audit.collections.sum),
        cpu_s=ns_to_s(audit.cpu_ns),
        cpu_share=max((load.cpu_share for load in workers if load.cpu_share is not None), default=None),
        workers=workers,
        reads=audit.reads,
        shared_reads=audit.shared_reads,
        shared_read_share=_share(audit.shared_reads, audit.reads),
        unstamped_reads=audit.unstamped_reads,
        voided_reads=audit.voided_stamps,
        connections_opened=audit.opened,
        connections_reopened=audit.reopened,
        waits=waits.count_above(LEAST_WAIT_NS),
        wait_p99_ms=_ms(waits.percentile(99)),
        tokens_per_chunk=_share(tally.sums["output_tokens"], tally.sums["output_events"]),
    )


def _extent(histogram: Histogram) -> Extent:
    p50, p99 = histogram.percentiles(50, 99)
    return Extent(p50=_ms(p50), p99=_ms(p99), max=_ms(histogram.max))


def _ms(ns: float | None) -> float | None:
    return None if ns is None else ns_to_ms(ns)


def _share(amount: int, of: int) -> float | None:
    return amount / of if of else None
