"""From checks to a `Verdict`: of a round, and of a run over its rounds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fluxperf.model import Check, RoundResult, Status, Verdict, worst


def judge(checks: Iterable[Check]) -> Verdict:
    """What a round's figures are worth: what its weightiest check says they are. Reasons begin with the worst."""
    weighing = sorted((check for check in checks if check.weight.rank), key=lambda check: -check.weight.rank)
    return Verdict(
        status=worst(check.weight for check in weighing),
        reasons=tuple(check.text for check in weighing),
        figures=tuple(dict.fromkeys(figure for check in weighing for figure in check.figures)),
    )


def judge_run(rounds: Sequence[RoundResult], *, partial: bool) -> Verdict:
    """What a run is worth: as much as its worst round. Each reason begins with the round that it is of."""
    verdicts = [(place(result), result.summary.verdict) for result in rounds if result.summary.verdict is not None]
    statuses = [verdict.status for _, verdict in verdicts]
    reasons = [f"{where}: {reason}" for where, verdict in verdicts for reason in verdict.reasons]
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
    return f"{stage}concurrency {result.concurrency}, round {result.round}"
