"""Where the rows come from: files of this disk, or of the hub. Knows not what a row becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fluxperf.errors import UsageError
from fluxperf_tools.longbench.tasks import LONGBENCH_V2, Task, name_task, read_dataset_name
from fluxperf_tools.originals import spare_file, spare_files
from fluxperf_tools.reading import SUFFIXES, find_files

# Of what this tool writes; rows of LongBench have others.
_OWN_KEYS = frozenset({"text"})


@dataclass(frozen=True, slots=True)
class Source:
    """A file of rows; of a zip, only `member` if that is given. `origin` says where on the hub it came from.

    Then `task` and `label` are known beforehand; the name of any other file tells them.
    """

    path: Path
    task: Task | None = None
    label: str | None = None
    member: str | None = None
    origin: str | None = None

    @property
    def size_bytes(self) -> int | None:
        """None where it is not known, of a pipe."""
        return self.path.stat().st_size if self.path.is_file() else None

    def name_task(self, path: str) -> tuple[Task | None, str]:
        """The task of a row that stands in the file `path` (that of a zip's member is longer than its own)."""
        return name_task(path) if self.label is None else (self.task, self.label)


def total_bytes(sources: Sequence[Source]) -> int | None:
    """The size of all; None if there is a pipe among them."""
    sizes = [source.size_bytes for source in sources]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def list_file(path: Path, output: Path) -> list[Source]:
    """The one file. Raises UsageError if it is none, or is the output."""
    if path.is_dir():
        raise UsageError(f"--input-file: {path} is a directory; --input-dir reads all files in it")
    if not path.exists():
        raise UsageError(f"--input-file: there is no {path}")
    spare_file(path, output)
    return [Source(path)]


def list_folder(folder: Path, output: Path) -> list[Source]:
    """The files in the folder and below, sorted by path, without what an earlier run wrote to `output`.

    Raises UsageError if there is none, or if the output is one of them.
    """
    if not folder.is_dir():
        hint = "; --input-file reads a file" if folder.exists() else ""
        raise UsageError(f"--input-dir: {folder} is no directory{hint}")
    found = find_files(folder)
    if not found:
        raise UsageError(f"--input-dir: in {folder} and below is no file named {', '.join(f'*{s}' for s in SUFFIXES)}")
    return [Source(path) for path in spare_files(found, output, _OWN_KEYS)]


def fetch(names: Sequence[str]) -> list[Source]:
    """The files of datasets of the hub, in the order of `names`. Raises UsageError before any is fetched, RunFailed."""
    asked = dict.fromkeys(map(read_dataset_name, names))
    from fluxperf_tools.longbench.hub import Hub, check_library
    from fluxperf_tools.longbench.ways import list_ways

    check_library()
    hub = Hub()
    sources = []
    for task, name in asked:
        fetched = hub.fetch(name, list_ways(name, edition=2 if task is LONGBENCH_V2 else 1))
        sources += [
            Source(path, task, task.name, fetched.member, f"{name}: {fetched.origin}") for path in fetched.paths
        ]
    return sources
