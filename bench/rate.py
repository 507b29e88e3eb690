"""How many requests a client on one core gets done in a second, where answers have one token and come at once."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

from bench.peer import Load
from bench.rig import AIOHTTP, AT_ONCE, HTTPX, OURS, Measured, Rig, why_not
from bench.table import Column, Row, Table, ratio
from fluxperf.api import APIS, ChatOptions
from fluxperf.calibrate.session import write_prompts
from fluxperf.engine.preparation import Encoding, prepare
from fluxperf.plan.editions import Edition
from fluxperf.plan.planner import PLAIN
from fluxperf.plan.workload import open_dataset

STREAMS = 32
REQUESTS = {AIOHTTP: 10_000, HTTPX: 2_000, OURS: 20_000}  # the baseline first
HTTP = "1.1"

COLUMNS = (
    Column("client", "client"),
    Column("requests", "requests", ","),
    Column("requests_per_s", "requests/s", ",.0f"),
    Column("building_us", "building before, us", ".1f"),
    Column("with_building_per_s", "with building", ",.0f"),
    Column("ratio", "ratio", ".2f"),
    Column("cpu_us", "CPU us/request", ".0f"),
)
NOTES = (
    "aiohttp on uvloop and httpx on trio, as they come. Ours encodes bodies before the round, the others each when it "
    "is sent; `with building` counts that time in. ratio: with building, against the first client.",
)


def measure(rig: Rig) -> Table:
    """Each client, one right after the other."""
    rows: list[Row] = []
    remarks = []
    with rig.server(AT_ONCE) as server:
        for client, requests in REQUESTS.items():
            if (reason := why_not(rig, client, server, HTTP)) is not None:
                remarks.append(reason)
                continue
            load = Load(server.url, HTTP, STREAMS, requests, AT_ONCE.tokens)
            measured = [rig.measure(client, server, load) for _ in range(rig.repeats)]
            best = max(measured, key=lambda one: one.requests_per_s)
            building_s = time_building(rig, requests) if client == OURS else 0.0
            rows.append(to_row(client, best, building_s / requests))
    first = rows[0]["with_building_per_s"] if rows else None
    compared = [{**row, "ratio": ratio(row["with_building_per_s"], first)} for row in rows]  # type: ignore[arg-type]
    return Table(
        "rate",
        f"Requests of one token a second, {STREAMS} streams, one core",
        COLUMNS,
        compared,
        (*NOTES, *remarks),
    )


def to_row(client: str, measured: Measured, building_s: float) -> Row:
    """The figures of a client that takes `building_s` before the round for each request."""
    per_s = measured.requests_per_s
    return {
        "client": client,
        "requests": measured.step.requests,
        "requests_per_s": per_s,
        "building_us": building_s * 1e6,
        "with_building_per_s": 1 / (1 / per_s + building_s) if per_s else None,
        "cpu_us": measured.step.cpu_s * 1e6 / measured.step.requests,
    }


def time_building(rig: Rig, requests: int) -> float:
    """How long our client encodes so many requests before a round, on the core that clients have, s."""
    write_prompts(rig.folder / "prompts.jsonl", requests)
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {rig.cores.client})
    try:
        return statistics.median(encode_all(rig.folder / "prompts.jsonl") for _ in range(3))
    finally:
        os.sched_setaffinity(0, allowed)


def encode_all(path: Path) -> float:
    """Reads a dataset and encodes it as a run does; gives the time it took, s."""
    options = ChatOptions(model="exact", max_output_tokens=1, min_output_tokens=1)
    began_s = time.perf_counter()
    with open_dataset(str(path), "dual_round") as dataset:
        prepare(dataset, [Edition(PLAIN, range(len(dataset)))], Encoding(APIS["chat"], options))
    return time.perf_counter() - began_s
