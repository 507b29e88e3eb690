"""How long the parent takes to make one result of its workers' reports."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import fields

from bench.rig import Rig
from bench.table import Column, Table, ratio
from fluxperf.analysis.merge import merge_tallies
from fluxperf.launch.codec import WorkerReport, decode_report, encode_report
from fluxperf.model import Audit, Histogram, Outcome, Timeline
from fluxperf.tally import Tally
from fluxperf.units import NS_PER_MS

WORKERS = (4, 16, 64)
REQUESTS = 1_000
TOKENS = 64
TRIES = 5

COLUMNS = (
    Column("workers", "workers", ","),
    Column("report_kb", "kB a report", ".1f"),
    Column("encode_ms", "encoding one, ms", ".2f"),
    Column("merge_ms", "decoding and merging all, ms", ".1f"),
    Column("each_ms", "each, ms", ".2f"),
    Column("ratio", "ratio", ".2f"),
)


def measure(rig: Rig) -> Table:
    """In this process; no server is needed."""
    del rig
    reports = [make_report(number) for number in range(max(WORKERS))]
    began_ns = time.perf_counter_ns()
    encoded = [encode_report(report) for report in reports]
    encode_ms = (time.perf_counter_ns() - began_ns) / len(reports) / NS_PER_MS
    rows = []
    for count in WORKERS:
        merge_ms = min(time_merge_ms(encoded[:count]) for _ in range(TRIES))
        rows.append(
            {
                "workers": count,
                "report_kb": sum(map(len, encoded[:count])) / count / 1000,
                "encode_ms": encode_ms,
                "merge_ms": merge_ms,
                "each_ms": merge_ms / count,
            }
        )
    compared = [{**row, "ratio": ratio(row["merge_ms"], rows[0]["merge_ms"])} for row in rows]
    title = f"Merging the reports of workers, {REQUESTS:,} requests of {TOKENS} tokens each"
    note = f"Best of {TRIES}. ratio: against {WORKERS[0]} workers."
    return Table("merge", title, COLUMNS, compared, (note,))


def time_merge_ms(encoded: Sequence[bytes]) -> float:
    """From bytes to one tally and one audit, ms."""
    began_ns = time.perf_counter_ns()
    reports = [decode_report(data) for data in encoded]
    merge_tallies(report.tally for report in reports)
    audit = Audit()
    for report in reports:
        audit.merge(report.audit)
    return (time.perf_counter_ns() - began_ns) / NS_PER_MS


def make_report(number: int) -> WorkerReport:
    """What a worker might report: times spread as real ones are."""
    draw = random.Random(number)
    tally, audit = Tally(), Audit()
    for index in range(REQUESTS):
        request, gaps = make_request(draw, index)
        tally.add(request, gaps)
    for field in fields(audit):
        value = getattr(audit, field.name)
        if isinstance(value, Histogram):
            value.record_all(round(draw.lognormvariate(10, 1.5)) for _ in range(REQUESTS))
        else:
            setattr(audit, field.name, draw.randrange(1, 10**9))
    return WorkerReport(worker=number, tally=tally, audit=audit)


def make_request(draw: random.Random, index: int) -> tuple[Timeline, list[int]]:
    """A success, and the gaps between its tokens, ns."""
    gaps = [round(draw.lognormvariate(16.1, 0.2)) for _ in range(TOKENS - 1)]
    sent = draw.randrange(10**9, 10**11)
    first = sent + round(draw.lognormvariate(18, 0.5))
    last = first + sum(gaps)
    request = Timeline(
        index=index,
        outcome=Outcome.OK,
        status=200,
        finish_reason="stop",
        sent_ns=sent,
        first_byte_ns=first,
        first_output_ns=first,
        first_answer_ns=first,
        last_output_ns=last,
        end_ns=last,
        done_ns=last,
        output_events=TOKENS,
        prompt_tokens=50,
        completion_tokens=TOKENS,
        max_gap_ns=max(gaps),
    )
    return request, gaps
