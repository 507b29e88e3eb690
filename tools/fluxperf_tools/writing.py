"""Datasets as files: JSON lines, whole or not at all. What is in a row is the tool's business."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from fluxperf.errors import RunFailed, UsageError
from fluxperf.files import write_whole

_PIECE_BYTES = 1 << 20
_DEVICES = ("/dev", "/proc")
_MEMORY = "/dev/shm"  # noqa: S108 - where files are kept in memory: the one place in /dev that is for them
_MOST_LINKS = 40
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a file. `replaced`: there was one by that name before."""

    rows: int
    size_bytes: int
    replaced: bool


def check_output(path: Path, no_clobber: bool = False) -> None:
    """Raises UsageError if `write_jsonl` could not write there; to be asked before any work."""
    if str(path) == "-":
        raise UsageError("a dataset is written to a file, whole or not at all, not to stdout: name the file")
    if _is_device(path):
        raise UsageError(f"{path} is no place for a file: name one that is not in {' or '.join(_DEVICES)}")
    if path.is_dir():
        raise UsageError(f"{path} is a directory: name a file in it")
    if no_clobber and os.path.lexists(path):
        raise UsageError(f"{path} exists, and --no-clobber was given: choose another name or leave the option out")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is no regular file, and so cannot be replaced by one: name another")
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir():
        raise UsageError(f"{above} is a file, so {path} cannot be in it: choose another name")
    if not os.access(above, os.W_OK | os.X_OK):
        raise UsageError(f"{path} cannot be written: no permission in {above}")


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]], *, no_clobber: bool = False) -> Written:
    """Writes each row as a line of JSON (UTF-8, nothing escaped that need not be); makes the folder.

    Half a surrogate pair, which UTF-8 cannot hold, becomes U+FFFD. A file of that name (of a symbolic link,
    what it points to) is replaced once all rows are there; whatever `rows` raises leaves it as it was, and so
    does the want of any row. Raises UsageError for that and as `check_output`, RunFailed where the disk says no.
    """
    check_output(path, no_clobber)
    target = path.resolve() if path.is_symlink() else path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFailed(f"cannot make the directory {target.parent}: {error.strerror or error}") from error
    count = 0
    replaced = False

    def pieces() -> Iterator[bytes]:
        nonlocal count, replaced
        piece = bytearray()
        for row in rows:
            piece += _encode(row)
            piece += b"\n"
            count += 1
            if len(piece) >= _PIECE_BYTES:
                yield bytes(piece)
                piece.clear()
        yield bytes(piece)
        if not count:
            raise UsageError(f"there is nothing to write: {path} is left as it was")
        check_output(path, no_clobber)  # somebody else may have made it since
        replaced = target.exists()

    write_whole(target, pieces())
    return Written(count, target.stat().st_size, replaced)


def _is_device(path: Path) -> bool:
    """Whether it is in /dev or /proc, or a link to there: what stands behind (a redirected stdout) is not ours."""
    for _ in range(_MOST_LINKS):
        here = Path(os.path.realpath(path.parent), path.name)
        if any(map(here.is_relative_to, _DEVICES)) and not here.is_relative_to(_MEMORY):
            return True
        if not here.is_symlink():
            return False
        path = here.parent / here.readlink()
    return False


def _encode(row: Mapping[str, Any]) -> bytes:
    try:
        return _encoder.encode(row)
    except UnicodeEncodeError:
        return _encoder.encode(_repair(row))


def _repair(row: Mapping[str, Any]) -> Any:
    """The row with lone surrogates replaced; two that make a pair become the character that they stand for."""
    text = json.dumps(row, ensure_ascii=False)
    return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
