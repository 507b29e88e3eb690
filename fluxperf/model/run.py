"""`RunResult`: what a whole run found out, as values. Reporters read this and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fluxperf.model.evaluation import CacheEvaluation
from fluxperf.model.result import Comparison, RoundResult, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A whole run: what was asked, where it ran, and what each round gave. `partial`: it was stopped early."""

    started_at: str
    partial: bool
    environment: Mapping[str, Any]
    labels: Mapping[str, str]
    configuration: Mapping[str, Any]
    rounds: tuple[RoundResult, ...]
    comparisons: tuple[Comparison, ...]
    evaluations: tuple[CacheEvaluation, ...] = ()
    verdict: Verdict | None = None
