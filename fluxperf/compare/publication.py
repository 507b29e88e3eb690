"""What came of a comparison, or of gates alone, where people and programs look for it: stdout, files, an exit code."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from fluxperf.compare.asked import Asked
from fluxperf.compare.comparison import Comparison
from fluxperf.compare.record import comparison_json
from fluxperf.errors import FluxPerfError, GateFailed, MeasurementInvalid, RunFailed
from fluxperf.files import write_stream, write_whole
from fluxperf.model.shown import show_place
from fluxperf.report.contrasts import render_contrasts
from fluxperf.report.gates import render_gates
from fluxperf.report.github import render_github
from fluxperf.report.junit import render_junit


def publish(asked: Asked, found: Comparison) -> None:
    """Writes the files that were asked for, then the tables to stdout. Raises what the command ends with."""
    _write_files(asked, found)
    _show(asked, found)
    if (failure := find_failure(asked, found)) is not None:
        raise failure


def _write_files(asked: Asked, found: Comparison) -> None:
    for path in (asked.json, asked.junit, asked.markdown):
        if path is not None:
            _make_room(path)
    if asked.json is not None:
        write_whole(asked.json, comparison_json(found))
    if asked.junit is not None:
        write_whole(asked.junit, [render_junit(found.findings)])
    if asked.markdown is not None:
        _append(asked.markdown, found.markdown)


def _make_room(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFailed(f"cannot make {path.parent}: {error.strerror or error}; choose another file") from error


def _append(path: Path, text: str) -> None:
    """Adds the text to the file: others write to a job's summary, too."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise RunFailed(f"cannot write {path}: {error}; make room or choose another file") from error


def _show(asked: Asked, found: Comparison) -> None:
    """The tables, and annotations, which GitHub reads from stdout whatever else is there."""
    if not asked.quiet:
        columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        write_stream(sys.stdout, "".join(f"{text}\n" for text in _tables(found, columns)))
    if asked.github:
        write_stream(sys.stdout, render_github(found.findings))


def _tables(found: Comparison, columns: int | None) -> Iterator[str]:
    if found.header is not None:
        yield render_contrasts(found.contrasts, found.header, columns)
    if gates := render_gates(found.findings, columns):
        yield f"\n{gates}"


def find_failure(asked: Asked, found: Comparison) -> FluxPerfError | None:
    """What is invalid says nothing on the server, so that comes first."""
    if asked.strict and found.invalid:
        return MeasurementInvalid("\n".join(["the measurement is invalid (--strict):", *found.invalid]))
    failed = [result for result in found.gates if result.failed]
    if not failed:
        return None
    lines = [f"  {one.gate.text} ({show_place(one.stage, one.concurrency, one.round)}): {one.text}" for one in failed]
    return GateFailed("\n".join([f"{found.findings.summary}:", *lines]))
