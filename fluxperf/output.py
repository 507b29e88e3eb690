"""The output directory of a run: claimed before anything is sent, never mixed with an earlier run."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from fluxperf.errors import UsageError
from fluxperf.files import write_whole
from fluxperf.model import RoundResult, RunResult
from fluxperf.report import REPORTERS, round_file_name, round_json

SPOOL = ".spool"
LOCK = "lock"
RUN_FILES = ("run.json", "metrics_summary.csv", "concurrency_*_round_*.json", "requests_concurrency_*_round_*.jsonl")


class OutputDirectory:
    """Where a run's files go. `spool` is a folder for what is still being written; it goes when the run ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spool = path / SPOOL
        self._lock: int | None = None

    def hold(self) -> None:
        """Marks the directory as in use for as long as this process, or a worker of it, lives."""
        self._lock = os.open(self.spool / LOCK, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write_round(self, result: RoundResult) -> Path:
        """Writes the round's JSON file."""
        path = self.path / round_file_name(result)
        write_whole(path, round_json(result))
        return path

    def write_lines(self, name: str, lines: Iterable[str]) -> None:
        """Writes a file of lines."""
        write_whole(self.path / name, (line + "\n" for line in lines))

    def write_run(self, run: RunResult) -> None:
        """Writes the files of the whole run, as far as it is."""
        for name, render in REPORTERS.items():
            write_whole(self.path / name, render(run))

    def clean(self) -> None:
        """Removes the spool."""
        shutil.rmtree(self.spool, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def claim(path: Path, *, overwrite: bool) -> tuple[OutputDirectory, str | None]:
    """Makes the directory, with its parents, and moves an earlier run out of the way.

    Returns it with a sentence about what was moved or removed, if anything was. Raises UsageError if
    it cannot be written to; then nothing was touched.
    """
    # A relative path would follow the working directory, should that be what is renamed; a link would lead nowhere.
    real = Path(os.path.realpath(path))
    try:
        _check_writable(real)
        _check_unused(real)
        said = None
        if _holds_run(real):
            said = _remove_run(real) if overwrite else _move_away(real)
        real.mkdir(parents=True, exist_ok=True)
        output = OutputDirectory(real)
        output.clean()
        output.spool.mkdir()
        output.hold()
    except OSError as error:
        raise UsageError(
            f"--output-dir {path} cannot be written to: {error.strerror or error}; choose another directory"
        ) from error
    return output, said


def check_place(option: str, path: Path) -> None:
    """Raises UsageError unless files can be made in `path`, or `path` can be made. Touches nothing."""
    try:
        _check_writable(path)
    except OSError as error:
        raise UsageError(
            f"{option} {path} cannot be written to: {error.strerror or error}; choose another directory"
        ) from error


def _check_writable(path: Path) -> None:
    """Raises OSError unless files can be made in `path`, or `path` can be made."""
    place = path
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise NotADirectoryError(0, f"{place} is not a directory")
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(0, f"no permission to write in {place}")


def _check_unused(path: Path) -> None:
    """Raises UsageError if another run writes there at this moment."""
    try:
        lock = os.open(path / SPOOL / LOCK, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(f"--output-dir {path} is in use by another run: wait for it or choose another") from None
    finally:
        os.close(lock)


def _holds_run(path: Path) -> bool:
    return path.is_dir() and ((path / SPOOL).exists() or any(any(path.glob(pattern)) for pattern in RUN_FILES))


def _move_away(path: Path) -> str:
    target = _free_name(path.with_name(f"{path.name}.{_started_at(path)}"))
    try:
        path.rename(target)
    except OSError as error:
        raise UsageError(
            f"--output-dir {path} holds an earlier run and cannot be renamed ({error.strerror}): "
            "replace that run with --overwrite, or choose another directory"
        ) from error
    return f"the earlier run in {path} is now {target}"


def _remove_run(path: Path) -> str:
    for pattern in RUN_FILES:
        for file in path.glob(pattern):
            file.unlink()
    shutil.rmtree(path / SPOOL, ignore_errors=True)
    return f"replacing the earlier run in {path}"


def _started_at(path: Path) -> str:
    """When the run in `path` began, as its run.json says."""
    try:
        started_at = json.loads((path / "run.json").read_text(encoding="utf-8"))["started_at"]
        return str(started_at).replace("/", "_")
    except (OSError, ValueError, KeyError, TypeError):
        return "earlier"


def _free_name(path: Path) -> Path:
    candidates = (path.with_name(f"{path.name}.{number}") for number in range(2, 10_000))
    return path if not path.exists() else next(name for name in candidates if not name.exists())
