"""How far each client is from the truth at an exact schedule, and what a token costs it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.peer import Load
from bench.rig import AIOHTTP, HTTPX, OURS, PACE, Measured, Rig, why_not
from bench.table import Column, Row, Table, ratio
from fluxperf.calibrate.server import COMPILED, TestServer

STREAMS = (64, 256, 512)
LEAST_REQUESTS = 512
WAVES = 4
# Stock httpx takes the better part of a minute for 256 streams.
MOST_STREAMS = {HTTPX: 64}
CLIENTS = {"1.1": (AIOHTTP, HTTPX, OURS), "2": (HTTPX, OURS)}  # the baseline first
MOCK_STREAMS = 64

COLUMNS = (
    Column("client", "client"),
    Column("http", "HTTP"),
    Column("streams", "streams", ","),
    Column("ttft_p50", "TTFT p50", ".3f"),
    Column("ttft_p99", "p99", ".3f"),
    Column("gap_p50", "gap p50", ".3f"),
    Column("gap_p99", "p99", ".3f"),
    Column("us_per_token", "us/tok", ".1f"),
    Column("whole_us_per_token", "whole", ".1f"),
    Column("cpu_ratio", "ratio", ".2f"),
    Column("late_p99", "late", ".2f"),
)
NOTES = (
    "aiohttp on uvloop and httpx on trio, as they come. Errors in ms: what the client said less what the server really "
    "did. us/tok: CPU time a token under load (ours: the worker's); whole: of the whole process, from its start to its "
    "last report. ratio: us/tok against the first client of the same protocol and streams. late: the server's own at "
    "p99, against its schedule.",
)


@dataclass(frozen=True, slots=True)
class Case:
    """One row to be."""

    client: str
    http: str
    streams: int

    def load(self, server: TestServer) -> Load:
        """Some waves of requests."""
        requests = self.streams * max(WAVES, -(-LEAST_REQUESTS // self.streams))
        return Load(server.url, self.http, self.streams, requests, PACE.tokens)


def measure(rig: Rig) -> Table:
    """Every client at every load against the best server, and ours against the mock."""
    rows: list[Row] = []
    remarks = []
    with rig.server(PACE) as server:
        kind = "the compiled server" if server.kind == COMPILED else "the mock server"
        for http, clients in CLIENTS.items():
            reasons = [why_not(rig, client, server, http) for client in clients]
            remarks += [reason for reason in reasons if reason is not None]
            able = [client for client, reason in zip(clients, reasons, strict=True) if reason is None]
            for streams in STREAMS:
                rows += compare(rig, server, [Case(client, http, streams) for client in able])
    with rig.server(PACE, mock=True) as server:
        for row in compare(rig, server, [Case(OURS, "1.1", MOCK_STREAMS)]):
            rows.append({**row, "client": f"{row['client']}, mock"})
    remarks += [describe_lost(row) for row in rows if row["lost"]]
    title = f"Accuracy and cost against {kind}: {PACE.tokens} tokens, TTFT {PACE.ttft_ms:g} ms, ITL {PACE.itl_ms:g} ms"
    return Table("accuracy", title, COLUMNS, rows, (*NOTES, *remarks))


def describe_lost(row: Row) -> str:
    """That a client and the server do not agree about what there was."""
    case = f"{row['client']} over HTTP/{row['http']} with {row['streams']} streams"
    return f"{case}: {row['lost']} requests and tokens are known to one side only"


def compare(rig: Rig, server: TestServer, cases: list[Case]) -> Iterator[Row]:
    """Cases of one load, one right after the other; the first one that is not ours is the baseline of all."""
    baseline: Measured | None = None
    for case in cases:
        if case.streams > MOST_STREAMS.get(case.client, case.streams):
            continue
        measured = rig.best(case.client, server, case.load(server))
        if case.client != OURS:
            baseline = baseline or measured
        yield to_row(case, measured, baseline)


def to_row(case: Case, measured: Measured, baseline: Measured | None) -> Row:
    """The figures of a case."""
    step = measured.step
    cost = step.cpu_us_per_token
    return {
        "client": case.client,
        "http": case.http,
        "streams": case.streams,
        **{name: figure.error_ms for name, figure in step.figures.items()},
        "us_per_token": cost,
        "whole_us_per_token": measured.whole_us_per_token,
        "cpu_ratio": None if baseline is None else ratio(cost, baseline.step.cpu_us_per_token),
        "late_p99": step.late_p99_ms,
        "lost": step.lost,
    }
