"""What of a run belongs into a baseline, and whether it is worth keeping. Reads results, and copies nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fluxperf.errors import UsageError
from fluxperf.model import RunResult, StageState, Status
from fluxperf.stored import StoredRequests, find_problem

_OF_EACH_FOLDER = ("run.json", "metrics_summary.csv", "histograms.hlog")
_MOST_REASONS = 3


def check_worth_keeping(run: RunResult, source: Path) -> None:
    """Raises UsageError for a run that nothing should be compared with."""
    reasons = []
    if run.partial:
        reasons.append("it is partial: it was stopped before its end")
    reasons += [
        f"stage {stage.name} is {stage.state.value}{f': {stage.error.splitlines()[0]}' if stage.error else ''}"
        for stage in run.stages
        if stage.state is not StageState.COMPLETE
    ]
    if run.verdict is not None and run.verdict.status is Status.INVALID:
        reasons.append(f"its measurement is invalid: {'; '.join(run.verdict.reasons)}")
    reasons += [
        f"no request succeeded at concurrency {result.concurrency}, round {result.round}"
        for result in run.rounds
        if not result.summary.successful_requests
    ]
    if reasons:
        raise UsageError(
            f"{source} is no good as a baseline; --force saves it all the same:\n"
            + "\n".join(f"  {reason}" for reason in reasons[:_MOST_REASONS])
            + (f"\n  and {len(reasons) - _MOST_REASONS} more" if len(reasons) > _MOST_REASONS else "")
        )


def find_files(run: RunResult, folder: Path, *, force: bool) -> list[str]:
    """The paths of the run's result files below `folder`: figures, and no bodies, answers or logs.

    Raises UsageError if a round's file is missing or broken (`force`: that it is missing is no fault), or outside.
    """
    rounds = [result.requests.path for result in run.rounds if isinstance(result.requests, StoredRequests)]
    if not rounds:
        raise UsageError(f"{folder}: no round of it is there, so that nothing can be compared with it")
    if not force:
        for result in run.rounds:
            if (problem := find_problem(result)) is not None:
                raise UsageError(f"{problem}; --force saves the others")
    folders = [folder, *(folder / stage.folder for stage in run.stages)]
    wanted = [place / name for place in dict.fromkeys(folders) for name in _OF_EACH_FOLDER] + rounds
    real = folder.resolve()
    found = []
    for path in wanted:
        if not path.resolve().is_relative_to(real):
            raise UsageError(f"{folder / 'run.json'}: names {path}, which is outside of it: is it a run of FluxPerf?")
        if path.is_file():
            found.append(str(path.relative_to(folder)))
    return list(dict.fromkeys(found))


def describe_run(run: RunResult) -> Mapping[str, Any]:
    """Where the run is from, by its own account; nothing of variables or hosts."""
    configuration = run.configuration if "model" in run.configuration else {}
    if not configuration and run.stages:
        configuration = run.stages[0].configuration
    return {
        "started_at": run.started_at,
        "fluxperf": run.environment.get("fluxperf"),
        "revision": run.environment.get("revision"),
        "model": configuration.get("model"),
        "dataset": configuration.get("dataset"),
        "dataset_sha256": configuration.get("dataset_sha256"),
        "recipe_sha256": None if run.recipe is None else run.recipe.get("sha256"),
        "verdict": None if run.verdict is None else run.verdict.status.value,
        "partial": run.partial,
        "rounds": len(run.rounds),
        "repeats": len({stage.repeat for stage in run.stages if stage.repeat is not None}) or 1,
        "labels": dict(run.labels),
    }
