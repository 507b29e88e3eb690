"""The values that flow through FluxPerf: facts, counts and results. No IO, no clock, no await."""

from fluxperf.model.audit import Audit
from fluxperf.model.cache import (
    CacheCounters,
    CachedTokens,
    CacheFigures,
    CacheReset,
    Hits,
    PromptBytes,
    Reading,
)
from fluxperf.model.histogram import Histogram
from fluxperf.model.outcome import Outcome, Refusal
from fluxperf.model.result import (
    CONTROL,
    AuditSummary,
    Check,
    Comparison,
    Extent,
    Goodput,
    RoundName,
    RoundResult,
    RoundSummary,
    Status,
    Verdict,
    WorkerLoad,
    worst,
)
from fluxperf.model.run import RunResult, StageResult, StageState
from fluxperf.model.slo import Constraint, Slo
from fluxperf.model.stats import Stats
from fluxperf.model.timeline import Timeline
from fluxperf.model.turns import TurnFigures

__all__ = [
    "CONTROL",
    "Audit",
    "AuditSummary",
    "CacheCounters",
    "CacheFigures",
    "CacheReset",
    "CachedTokens",
    "Check",
    "Comparison",
    "Constraint",
    "Extent",
    "Goodput",
    "Histogram",
    "Hits",
    "Outcome",
    "PromptBytes",
    "Reading",
    "Refusal",
    "RoundName",
    "RoundResult",
    "RoundSummary",
    "RunResult",
    "Slo",
    "StageResult",
    "StageState",
    "Stats",
    "Status",
    "Timeline",
    "TurnFigures",
    "Verdict",
    "WorkerLoad",
    "worst",
]
