"""Keeps a tool from writing over what it reads, and from reading what it wrote. Knows no format of data."""

from __future__ import annotations

from collections.abc import Sequence, Set
from pathlib import Path

from fluxperf.errors import UsageError
from fluxperf_tools.reading import Record, read_records


def spare_file(source: Path, output: Path) -> None:
    """Raises UsageError if the only source is the output."""
    if output.exists() and source.samefile(output):
        raise UsageError(f"{output} is the source itself, and would be lost: name another")


def spare_files(sources: Sequence[Path], output: Path, own_keys: Set[str]) -> list[Path]:
    """The sources of a folder, without the output of an earlier run: a file whose first row has just the `own_keys`.

    Raises UsageError if the output is a source of another form, or if nothing else is there.
    """
    if not output.exists():
        return list(sources)
    others = [path for path in sources if not path.samefile(output)]
    if len(others) < len(sources) and not _is_own(output, own_keys):
        raise UsageError(f"{output} is one of the sources and would be lost: name another")
    if not others:
        raise UsageError(f"there is nothing to read: {output} was left out as the output, and no other file is there")
    return others


def _is_own(path: Path, own_keys: Set[str]) -> bool:
    first = next(read_records(path), None)
    if first is None:
        return True  # nothing is in it that could be lost
    return isinstance(first, Record) and isinstance(first.value, dict) and first.value.keys() == own_keys
