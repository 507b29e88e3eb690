"""`RunResult`: what a whole run found out, as values. Reporters read this and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from fluxperf.model.evaluation import CacheEvaluation
from fluxperf.model.gate import GateResult
from fluxperf.model.result import Comparison, RoundResult, Verdict


class StageState(StrEnum):
    """How far a stage of a recipe came."""

    COMPLETE = "complete"
    FAILED = "failed"  # something kept it from its end; what it had finished is there
    PARTIAL = "partial"  # it runs, or the run was stopped in it
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """One stage of a recipe. `folder` is where its files are, below the run's own directory.

    `name` is its title, as rounds have it in `stage`; `repeat` says which repetition of the plan it belongs to (from
    1). `error` says why it failed. `env` are the variables that were set for it, and None where one was unset, secrets
    masked; `server` is what is known of the server under test.
    """

    name: str
    folder: str
    repeat: int | None = None
    state: StageState = StageState.NOT_RUN
    error: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    env: Mapping[str, str | None] = field(default_factory=dict)
    configuration: Mapping[str, Any] = field(default_factory=dict)
    server: Mapping[str, Any] | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A whole run: what was asked, where it ran, and what each round gave. `partial`: it was stopped early.

    `stages` are those of a recipe, in its order, whether they have run or not; `recipe` is its path, hash and text.
    `resumed_at` are the times at which an interrupted run was taken up again. `gates`: what became of conditions under
    which a build fails.
    """

    started_at: str
    partial: bool
    environment: Mapping[str, Any]
    labels: Mapping[str, str]
    configuration: Mapping[str, Any]
    rounds: tuple[RoundResult, ...]
    comparisons: tuple[Comparison, ...]
    evaluations: tuple[CacheEvaluation, ...] = ()
    verdict: Verdict | None = None
    ended_at: str | None = None
    server: Mapping[str, Any] | None = None
    stages: tuple[StageResult, ...] = ()
    recipe: Mapping[str, Any] | None = None
    resumed_at: tuple[str, ...] = ()
    gates: tuple[GateResult, ...] = ()
