"""Results on disk, as a run leaves them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fluxperf.model import RunResult, StageState
from fluxperf.report import metrics_summary, round_file_name, round_json, run_json
from tests.report.conftest import make_recipe_run, make_run


def write_run(folder: Path, run: RunResult | None = None) -> Path:
    """The files of the run, and such as a baseline has no use for."""
    run = make_run() if run is None else run
    folders = {stage.name: stage.folder for stage in run.stages}
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("".join(run_json(run)), "utf-8")
    (folder / "metrics_summary.csv").write_text("".join(metrics_summary(run)), "utf-8")
    (folder / "histograms.hlog").write_text("#[Histogram log format version 1.3]\n", "utf-8")
    for result in run.rounds:
        file = folder / folders.get(result.stage or "", "") / round_file_name(result)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(round_json(result)), "utf-8")
        (file.parent / "run.json").touch()
        (file.parent / f"requests_{file.stem}.jsonl").write_text('{"body": "a secret"}\n', "utf-8")
        (file.parent / "server.log").write_text("key\n", "utf-8")
    return folder


def whole_recipe_run() -> RunResult:
    """Two stages that came to their end, one in a suite."""
    plain = make_recipe_run()
    kept = [replace(stage, state=StageState.COMPLETE, error=None) for stage in plain.stages[:2]]
    return replace(plain, stages=tuple(kept))


def files(folder: Path) -> set[str]:
    """What is in a folder, and in those below it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
