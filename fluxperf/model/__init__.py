"""The values that flow through FluxPerf: facts, counts and results. No IO, no clock, no await."""

from fluxperf.model.audit import Audit
from fluxperf.model.histogram import Histogram
from fluxperf.model.outcome import Outcome, Refusal
from fluxperf.model.result import (
    AuditSummary,
    CachedTokens,
    Check,
    Comparison,
    Extent,
    Goodput,
    RoundResult,
    RoundSummary,
    RunResult,
    Stats,
    Status,
    Verdict,
    WorkerLoad,
    worst,
)
from fluxperf.model.slo import Constraint, Slo
from fluxperf.model.timeline import Timeline

__all__ = [
    "Audit",
    "AuditSummary",
    "CachedTokens",
    "Check",
    "Comparison",
    "Constraint",
    "Extent",
    "Goodput",
    "Histogram",
    "Outcome",
    "Refusal",
    "RoundResult",
    "RoundSummary",
    "RunResult",
    "Slo",
    "Stats",
    "Status",
    "Timeline",
    "Verdict",
    "WorkerLoad",
    "worst",
]
