"""Writes report.html: reads results, finds the knees, and puts the page together. What is on it `report.html` knows."""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fluxperf.errors import UsageError
from fluxperf.files import write_whole
from fluxperf.presentation.again import page_command, run_commands
from fluxperf.stored import read_run

if TYPE_CHECKING:
    from fluxperf.model import RoundName, RunResult
    from fluxperf.report.html import Assets, Knee

NAME = "report.html"


def write_page(directories: Sequence[Path], output: Path) -> None:
    """Writes the page of the run in the one directory, or of the runs in several, whole or not at all.

    Raises UsageError where there are no results or Bokeh is not installed, RunFailed where the page cannot be written.
    """
    runs = [read_run(directory) for directory in directories]
    check_library()
    pieces = _page_of_one(runs[0], directories[0]) if len(runs) == 1 else _page_of_all(runs, directories)
    write_whole(output, pieces)


def check_library() -> None:
    """Raises UsageError unless the plotting library is installed."""
    try:
        import bokeh.plotting  # noqa: F401
    except ModuleNotFoundError as error:
        raise UsageError(f"{NAME} needs the Python package {error.name}: pip install 'fluxperf[report]'") from None


def _page_of_one(run: RunResult, directory: Path) -> Iterator[str]:
    from fluxperf.presentation.rows import read_rows
    from fluxperf.report.html import Beside, document, run_page, title_of

    beside = Beside(
        read=read_rows,
        knees=_find_knees(run),
        commands=(*run_commands(run), page_command([directory])),
        pages=_find_pages(run, directory),
    )
    return document(f"{title_of(run)}: FluxPerf", run_page(run, beside), _assets())


def _page_of_all(runs: Sequence[RunResult], directories: Sequence[Path]) -> Iterator[str]:
    from fluxperf.presentation.names import name_runs
    from fluxperf.presentation.rows import read_rows
    from fluxperf.report.html import Named, document, runs_page

    named = [Named(name, run, _find_knees(run)) for name, run in zip(name_runs(runs, directories), runs, strict=True)]
    return document(f"{len(runs)} runs: FluxPerf", runs_page(named, [page_command(directories)], read_rows), _assets())


def _find_pages(run: RunResult, directory: Path) -> Mapping[str, str]:
    """The stages that have a page of their own, and its address from here."""
    return {stage.name: f"{stage.folder}/{NAME}" for stage in run.stages if (directory / stage.folder / NAME).is_file()}


def _find_knees(run: RunResult) -> dict[tuple[str | None, RoundName], Knee]:
    from fluxperf.analysis.knee import Operation, find_knee
    from fluxperf.report.html import Knee

    operations: dict[tuple[str | None, RoundName], list[Operation]] = {}
    for one in run.rounds:
        throughput, latency_ms = one.summary.tokens_per_s, one.summary.stats["latency_ms"].avg
        if throughput is not None and latency_ms is not None:
            place = (one.stage, one.round)
            operations.setdefault(place, []).append(Operation(one.concurrency, throughput, latency_ms))
    knees = {}
    for place, found in operations.items():
        knee = find_knee(found)
        if knee is not None:
            edge = " or below, where nothing was run" if knee.is_first else ""
            edge = " or above, where nothing was run" if knee.is_last else edge
            knees[place] = Knee(concurrency=knee.concurrency, says=f"{knee.concurrency:,}{edge}")
    return knees


def _assets() -> Assets:
    from bokeh.resources import Resources

    from fluxperf.report.html import Assets

    here = importlib.resources.files("fluxperf.presentation")
    library = Resources(mode="inline", components=["bokeh"], minified=True).js_raw
    return Assets(
        library="\n".join(library),
        script=here.joinpath("page.js").read_text("utf-8"),
        style=here.joinpath("page.css").read_text("utf-8"),
    )
