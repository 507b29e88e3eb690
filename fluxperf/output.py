"""The output directory of a run: claimed before anything is sent, never mixed with an earlier run."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fluxperf.errors import RunFailed, UsageError
from fluxperf.files import TEMPORARY, write_whole
from fluxperf.model import RoundName, RoundResult, RunResult
from fluxperf.report import REPORTERS, round_file_name, round_json

SPOOL = ".spool"
LOCK = "lock"
RUN_FILES = (
    *("run.json", "metrics_summary.csv", "concurrency_*_round_*.json", "requests_concurrency_*_round_*.jsonl"),
    *("histograms.hlog", "report.html", "server.log", "hooks.log", TEMPORARY),
)
_COMMON = ("histograms.hlog", "report.html")


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

    def part(self, folder: str) -> OutputDirectory:
        """The place of a stage in it; "" is the directory itself. Raises RunFailed."""
        if not folder:
            return self
        part = OutputDirectory(self.path / folder)
        try:
            part.spool.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFailed(f"cannot make {part.path}: {error.strerror or error}; choose another directory") from error
        return part

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

    def round_files(self, concurrency: int, name: RoundName) -> RoundFiles:
        """Where the workers of a round write."""
        return RoundFiles(self.spool, f"concurrency_{concurrency}_round_{name}")

    def forget_rows(self, concurrency: int) -> None:
        """Removes what is spooled of a level that is finished."""
        for path in self.spool.glob(f"concurrency_{concurrency}_round_*"):
            path.unlink(missing_ok=True)

    def clean(self) -> None:
        """Removes the spool."""
        shutil.rmtree(self.spool, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """The directory is no longer in use; what is spooled stays, for whoever resumes the run."""
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
        if _run_files(real):
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


def reclaim(path: Path) -> OutputDirectory:
    """The directory of a run that was interrupted, with all that it left. Raises UsageError if it cannot be written."""
    output = OutputDirectory(Path(os.path.realpath(path)))
    try:
        _check_writable(output.path)
        _check_unused(output.path)
        output.spool.mkdir(exist_ok=True)
        output.hold()
        for place in (output.path, output.spool, *_stage_folders(output.path)):
            for half_written in place.glob(TEMPORARY):
                half_written.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"--output-dir {path} cannot be written to: {error.strerror or error}") from error
    return output


def write_copy(path: str | None, run: RunResult) -> None:
    """A further copy of run.json, where one was asked for. Raises RunFailed."""
    if path is None:
        return
    place = Path(path)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFailed(f"output: cannot make {place.parent}: {error.strerror or error}") from error
    write_whole(place, REPORTERS["run.json"](run))


def check_free(option: str, path: Path) -> None:
    """Raises UsageError unless files can be made in `path` and no other run makes some there. Touches nothing."""
    real = Path(os.path.realpath(path))
    check_place(option, real)
    _check_unused(real)


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


def _run_files(path: Path) -> list[Path]:
    """What a run leaves in its directory, as far as it is there; of a recipe's also what is in its stages' folders."""
    return [file for place in (path, *_stage_folders(path)) for file in _files_in(place)]


def _files_in(place: Path) -> list[Path]:
    """Names that others use too are a run's only where the run itself is seen."""
    sure = [file for name in (SPOOL, *RUN_FILES) if name not in _COMMON for file in place.glob(name)]
    return [*sure, *(file for name in _COMMON for file in place.glob(name) if sure)]


def _stage_folders(path: Path) -> list[Path]:
    """Where the stages of the recipe that was run there have their files, as its run.json says."""
    try:
        stages = json.loads((path / "run.json").read_text(encoding="utf-8"))["stages"]
        folders = [(path / str(stage["folder"])).resolve() for stage in stages]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [folder for folder in folders if folder != path and folder.is_relative_to(path)]


def _move_away(path: Path) -> str:
    """Renames the directory. Of one that we stand in, with who knows what else in it, only the run's files move."""
    target = _free_name(path.with_name(f"{path.name}.{_started_at(path)}"))
    try:
        if Path.cwd().is_relative_to(path):
            target.mkdir()
            for file in _run_files(path):
                place = target / file.relative_to(path)
                place.parent.mkdir(parents=True, exist_ok=True)
                file.rename(place)
        else:
            path.rename(target)
    except OSError as error:
        raise UsageError(
            f"--output-dir {path} holds an earlier run and cannot be renamed ({error.strerror}): "
            "replace that run with --overwrite, or choose another directory"
        ) from error
    return f"the earlier run in {path} is now {target}"


def _remove_run(path: Path) -> str:
    for file in _run_files(path):
        if file.is_dir():
            shutil.rmtree(file)
        else:
            file.unlink()
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


@dataclass(frozen=True, slots=True)
class RoundFiles:
    """Where the workers of a round write."""

    folder: Path
    name: str

    def rows(self, worker: int) -> Path:
        """The spool of rows of one worker."""
        return self.folder / f"{self.name}.worker_{worker}.rows"

    def uncounted(self, worker: int) -> Path:
        """The spool of requests of one worker whose output tokens nobody has counted yet."""
        return self.folder / f"{self.name}.worker_{worker}.uncounted"

    def lost(self) -> Path:
        """A spool of rows for the requests that were with a worker when it died."""
        return self.folder / f"{self.name}.lost.rows"

    def rescued(self, worker: int) -> Path:
        """A spool of rows for what is `uncounted` and will stay so, since the worker is dead."""
        return self.folder / f"{self.name}.worker_{worker}.rescued.rows"

    def answers(self, worker: int) -> Path:
        """The spool of what one worker's sessions were answered, for rounds that repeat it."""
        return self.folder / f"{self.name}.worker_{worker}.answers"

    def transcripts(self, worker: int) -> Path:
        """The spool of kept requests of one worker."""
        return self.folder / f"{self.name}.worker_{worker}.transcripts"

    def clear(self) -> None:
        """Removes what a run that was interrupted in the round has left."""
        for path in self.folder.glob(f"{self.name}.*"):
            path.unlink()

    def all_rows(self) -> Sequence[Path]:
        """The spools of rows that there are."""
        return sorted(self.folder.glob(f"{self.name}.*.rows"))

    def all_answers(self) -> Sequence[Path]:
        """The spools of answers that there are."""
        return sorted(self.folder.glob(f"{self.name}.*.answers"))

    def all_transcripts(self) -> Sequence[Path]:
        """The spools of kept requests that there are."""
        return sorted(self.folder.glob(f"{self.name}.*.transcripts"))


def fresh_log(path: Path) -> Path:
    """An empty debug log, and no folder of payloads beside it. Raises UsageError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        shutil.rmtree(path.with_suffix(""), ignore_errors=True)
    except OSError as error:
        raise UsageError(f"--debug-log-dir {path.parent} cannot be written to: {error.strerror or error}") from error
    return path.absolute()
