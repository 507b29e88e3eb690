"""How long it takes until the command answers, and for a run of one request."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

from bench.peer import Load
from bench.rig import AT_ONCE, Rig
from bench.table import Column, Table, ratio
from fluxperf.calibrate.child import child
from fluxperf.errors import RunFailed

TRIES = 5

COLUMNS = (Column("what", "what"), Column("ms", "ms", ".0f"), Column("ratio", "ratio", ".1f"))


def measure(rig: Rig) -> Table:
    """The best of some tries each."""
    python = [sys.executable]
    with rig.server(AT_ONCE) as server:
        times = {
            "python -c pass": best_ms(rig, [*python, "-c", "pass"]),
            "fluxperf --help": best_ms(rig, [*python, "-m", "fluxperf", "--help"]),
        }
        load = Load(server.url, "1.1", 1, 1, 1)
        took_ms = []
        for _ in range(TRIES):
            began_s = time.perf_counter()
            rig.run_ours(load)
            took_ms.append((time.perf_counter() - began_s) * 1000)
        times["a run of one request"] = min(took_ms)
    first = next(iter(times.values()))
    rows = [{"what": what, "ms": ms, "ratio": ratio(ms, first)} for what, ms in times.items()]
    return Table("startup", "Start-up", COLUMNS, rows, (f"Best of {TRIES}. ratio: against python itself.",))


def best_ms(rig: Rig, command: Sequence[str]) -> float:
    """The best wall time of the command, ms. Raises RunFailed if it fails."""
    took_ms = []
    for _ in range(TRIES):
        began_s = time.perf_counter()
        with child(command, rig.cores.client, rig.folder, stdout=subprocess.DEVNULL) as process:
            code = process.wait(rig.timeout_s)
        took_ms.append((time.perf_counter() - began_s) * 1000)
        if code != 0:
            raise RunFailed(f"{' '.join(command)} ended with exit code {code}")
    return min(took_ms)
