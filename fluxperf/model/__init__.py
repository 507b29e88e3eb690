"""The values that flow through FluxPerf: facts, counts and results. No IO, no clock, no await."""

from fluxperf.model.histogram import Histogram
from fluxperf.model.outcome import Outcome, Refusal
from fluxperf.model.result import (
    CachedTokens,
    Check,
    Comparison,
    Goodput,
    RoundResult,
    RoundSummary,
    RunResult,
    Stats,
)
from fluxperf.model.slo import Constraint, Slo
from fluxperf.model.timeline import Timeline

__all__ = [
    "CachedTokens",
    "Check",
    "Comparison",
    "Constraint",
    "Goodput",
    "Histogram",
    "Outcome",
    "Refusal",
    "RoundResult",
    "RoundSummary",
    "RunResult",
    "Slo",
    "Stats",
    "Timeline",
]
