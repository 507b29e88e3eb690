"""`WorkerReport` to msgpack and back, with a schema version: what a worker sends when its part of a round is over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgpack

from fluxperf.errors import RunFailed
from fluxperf.model import Audit, Slo
from fluxperf.tally import Tally

SCHEMA = "fluxperf.worker_report/2"


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """One worker's part of a round: what its requests added up to, and what it noticed about its own work."""

    worker: int
    tally: Tally
    audit: Audit = field(default_factory=Audit)


def encode_report(report: WorkerReport) -> bytes:
    """The report as msgpack."""
    state: dict[str, Any] = {
        "schema": SCHEMA,
        "worker": report.worker,
        "tally": report.tally.to_state(),
        "audit": report.audit.to_state(),
    }
    return bytes(msgpack.packb(state))


def decode_report(data: bytes, slo: Slo | None = None) -> WorkerReport:
    """The report that `encode_report` wrote; raises RunFailed if it is of another version."""
    state = msgpack.unpackb(data)
    schema = state.get("schema") if isinstance(state, dict) else None
    if schema != SCHEMA:
        raise RunFailed(f"a worker sent a report of schema {schema!r}, this is {SCHEMA!r}: use one version everywhere")
    return WorkerReport(state["worker"], Tally.from_state(state["tally"], slo), Audit.from_state(state["audit"]))
