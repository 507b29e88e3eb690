"""From checks to a `Verdict`: of a round, and of a run over its rounds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fluxperf.model import CONTROL, Check, RoundResult, Status, Verdict, worst
from fluxperf.model.evaluation import CacheEvaluation


def judge(checks: Iterable[Check]) -> Verdict:
    """What a round's figures are worth: what its weightiest check says they are. Reasons begin with the worst."""
    weighing = sorted((check for check in checks if check.weight.rank), key=lambda check: -check.weight.rank)
    return Verdict(
        status=worst(check.weight for check in weighing),
        reasons=tuple(check.text for check in weighing),
        figures=tuple(dict.fromkeys(figure for check in weighing for figure in check.figures)),
    )


def judge_run(rounds: Sequence[RoundResult], evaluations: Sequence[CacheEvaluation], *, partial: bool) -> Verdict:
    """What a run is worth: as much as its worst round, and the evidence on its cache.

    Each reason begins with the round or the level that it is of.
    """
    verdicts = [(place(result), result.summary.verdict) for result in rounds if result.summary.verdict is not None]
    statuses = [verdict.status for _, verdict in verdicts]
    reasons = [f"{where}: {reason}" for where, verdict in verdicts for reason in verdict.reasons]
    for found in evaluations:
        statuses.append(found.verdict.status)
        new = (f"{level_place(found)}: {reason}" for reason in found.verdict.reasons)
        reasons += [reason for reason in new if reason not in reasons]
    if not rounds:
        statuses.append(Status.INVALID)
        reasons.append("no round was measured")
    elif partial:
        statuses.append(Status.DEGRADED)
        reasons.append("the run was stopped before its end")
    return Verdict(status=worst(statuses), reasons=tuple(reasons))


def place(result: RoundResult) -> str:
    """How a round is named in a sentence."""
    stage = "" if result.stage is None else f"stage {result.stage}, "
    name = f"{CONTROL} round" if result.round == CONTROL else f"round {result.round}"
    return f"{stage}concurrency {result.concurrency}, {name}"


def level_place(found: CacheEvaluation) -> str:
    """How a level is named in a sentence."""
    stage = "" if found.stage is None else f"stage {found.stage}, "
    return f"{stage}concurrency {found.concurrency}"
