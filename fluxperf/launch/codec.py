"""`WorkerReport` to msgpack and back, with a schema version: what a worker sends when its part of a round is over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgpack

from fluxperf.errors import RunFailed
from fluxperf.model import Slo
from fluxperf.tally import Tally

SCHEMA = "fluxperf.worker_report/1"


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """One worker's part of a round. `reads` counts recvmsg calls, `voided_stamps` those whose kernel stamp a step of
    the wall clock made useless, `opened` the connections opened, those before its start included; `cpu_ns` is CPU time.
    """

    worker: int
    tally: Tally
    reads: int = 0
    voided_stamps: int = 0
    opened: int = 0
    cpu_ns: int = 0


def encode_report(report: WorkerReport) -> bytes:
    """The report as msgpack."""
    state: dict[str, Any] = {
        "schema": SCHEMA,
        "worker": report.worker,
        "tally": report.tally.to_state(),
        "reads": report.reads,
        "voided_stamps": report.voided_stamps,
        "opened": report.opened,
        "cpu_ns": report.cpu_ns,
    }
    return bytes(msgpack.packb(state))


def decode_report(data: bytes, slo: Slo | None = None) -> WorkerReport:
    """The report that `encode_report` wrote; raises RunFailed if it is of another version."""
    state = msgpack.unpackb(data)
    schema = state.pop("schema", None) if isinstance(state, dict) else None
    if schema != SCHEMA:
        raise RunFailed(f"a worker sent a report of schema {schema!r}, this is {SCHEMA!r}: use one version everywhere")
    return WorkerReport(tally=Tally.from_state(state.pop("tally"), slo), **state)
