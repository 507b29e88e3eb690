"""How much anonymous memory worker and parent take, for few requests and for many."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bench.peer import Load
from bench.rig import AT_ONCE, Rig
from bench.table import Column, Row, Table, ratio
from fluxperf.calibrate.child import child
from fluxperf.calibrate.search import Range
from fluxperf.calibrate.server import Schedule
from fluxperf.calibrate.session import Asked, client_command, write_prompts
from fluxperf.errors import RunFailed

REQUESTS = (2_000, 200_000)
STREAMS = 64
LOOK_EVERY_S = 0.02

COLUMNS = (
    Column("requests", "requests", ","),
    Column("worker_mib", "worker, MiB", ".1f"),
    Column("worker_ratio", "ratio", ".2f"),
    Column("parent_mib", "parent, MiB", ".1f"),
    Column("parent_ratio", "ratio", ".2f"),
)
NOTE = "RssAnon of each process at its highest, looked at 50 times a second. ratio: against the fewer requests."


def measure(rig: Rig) -> Table:
    """The command at both sizes."""
    with rig.server(AT_ONCE) as server:
        peaks = {requests: watch(rig, Load(server.url, "1.1", STREAMS, requests, 1)) for requests in REQUESTS}
    first = peaks[REQUESTS[0]]
    rows: list[Row] = [
        {
            "requests": requests,
            "worker_mib": worker,
            "worker_ratio": ratio(worker, first[0]),
            "parent_mib": parent,
            "parent_ratio": ratio(parent, first[1]),
        }
        for requests, (worker, parent) in peaks.items()
    ]
    return Table("memory", f"Anonymous memory, answers of one token, {STREAMS} streams", COLUMNS, rows, (NOTE,))


def watch(rig: Rig, load: Load) -> tuple[float, float]:
    """The highest RssAnon of the worker and of the parent over a run, MiB. Raises RunFailed."""
    write_prompts(rig.folder / "prompts.jsonl", load.requests)
    asked = Asked(schedule=Schedule(0, 0, load.tokens), loads=Range(load.streams))
    command = client_command(asked, load.streams, load.requests, load.url)
    worker = parent = 0.0
    deadline_s = time.monotonic() + rig.timeout_s
    with child(command, rig.cores.client, rig.folder, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and time.monotonic() < deadline_s:
            parent = max(parent, read_rss_anon_mib(process.pid))
            worker = max([worker, *map(read_rss_anon_mib, children(process.pid))])
            time.sleep(LOOK_EVERY_S)
    if process.returncode != 0:
        raise RunFailed(f"the run of {load.requests:,} requests ended with exit code {process.returncode}")
    return worker, parent


def children(pid: int) -> Iterator[int]:
    """The processes that it has started and that still run."""
    with suppress(OSError):
        yield from map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def read_rss_anon_mib(pid: int) -> float:
    """Its anonymous memory; 0 if it has gone."""
    with suppress(OSError):
        return parse_rss_anon_mib(Path(f"/proc/{pid}/status").read_text())
    return 0.0


def parse_rss_anon_mib(status: str) -> float:
    """RssAnon in the text of /proc/PID/status, MiB; 0 if it is not there."""
    found = re.search(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0
