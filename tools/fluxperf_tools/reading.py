"""Reads records of public data from files of any kind that they come in; knows nothing of what they mean.

What cannot be read is a value, too: a `Fault`. A file's kind is told by what is in it, not by its name.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import IO

from fluxperf.errors import UsageError
from fluxperf_tools.json_records import read_json
from fluxperf_tools.records import Fault, Place, Record

__all__ = ["SUFFIXES", "Fault", "Place", "Record", "find_files", "read_records"]

SUFFIXES = (".jsonl", ".json", ".parquet", ".zip")
_BUFFER_BYTES = 1 << 18
_ROWS_AT_ONCE = 64
_PARQUET, _GZIP = b"PAR1", b"\x1f\x8b"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # the second one: of a zip without members
_ENCRYPTED = 1  # a flag of a zip's member
_BROKEN_ARCHIVE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


def find_files(folder: Path, suffixes: Collection[str] = SUFFIXES) -> list[Path]:
    """The files in `folder` and below with one of the suffixes (in any case), sorted by path.

    Hidden ones and `__MACOSX` are left out, and so is a folder where a symbolic link leads to again.
    """
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    for here, folders, files in os.walk(folder, followlinks=True):
        status = Path(here).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        paths = (Path(here, name) for name in files if not _is_hidden(name))
        found += [path for path in paths if path.suffix.lower() in suffixes and path.is_file()]
    return sorted(found)


def read_records(
    path: Path, advance: Callable[[int], object] = lambda _: None, member: str | None = None
) -> Iterator[Record | Fault]:
    """All records of a file: JSON lines, an array, `{"data": [...]}`, parquet, or a zip of such files.

    Memory is bounded: one record, or 64 rows of parquet, at a time. A line that is broken is a fault, and
    the next one is read; after a fault in an array it is read on where the next entry can be made out.
    `advance` is told of the bytes read. Of a zip, only `member` is read if that is given. Raises UsageError
    if the file is parquet and pyarrow is not installed.
    """
    try:
        with io.BufferedReader(_Counted(path, advance), _BUFFER_BYTES) as file, _seekable(file) as stream:
            yield from _read(stream, str(path), member)
    except OSError as error:
        yield Fault(Place(str(path)), f"cannot be read: {error.strerror or error}")


class _Counted(io.FileIO):
    """A file that tells how many of its bytes were read, each once."""

    def __init__(self, path: Path, advance: Callable[[int], object]) -> None:
        super().__init__(path)
        self._advance = advance
        self._told = 0

    def readinto(self, buffer: bytearray | memoryview, /) -> int | None:  # type: ignore[override]
        count = super().readinto(buffer)
        if count and self.seekable() and self.tell() > self._told:
            self._advance(self.tell() - self._told)
            self._told = self.tell()
        return count


def _read(file: IO[bytes], path: str, member: str | None = None) -> Iterator[Record | Fault]:
    """What is in the file (seekable, at its start), by its first bytes."""
    head = file.read(4)
    file.seek(0)
    if head == _PARQUET:
        return _read_parquet(file, path)
    if head in _ZIP:
        return _read_zip(file, path, member)
    named = Path(path).suffix.lower()
    if head.startswith(_GZIP):
        return iter([Fault(Place(path), "compressed with gzip: unpack it first (gunzip)")])
    if head and named in (".parquet", ".zip"):
        return iter([Fault(Place(path), f"no {named[1:]} file, or a broken one: it does not begin like one")])
    return read_json(file, path)


def _read_zip(file: IO[bytes], path: str, only: str | None) -> Iterator[Record | Fault]:
    """The records of each member that has them, by name."""
    try:
        archive = zipfile.ZipFile(file)
    except _BROKEN_ARCHIVE as error:
        yield Fault(Place(path), f"a broken zip ({error}); fetch it again")
        return
    with archive:
        inside = sorted(archive.infolist(), key=lambda one: one.filename)
        found = [one for one in inside if (one.filename == only if only else _is_member(one.filename))]
        nested = [] if only else [one for one in inside if _is_member(one.filename, SUFFIXES[3:])]
        if not inside:
            yield Fault(Place(path), "an empty zip: there is nothing in it")
        elif not found and not nested:
            yield Fault(Place(path), f"no member of this zip is one of {', '.join(SUFFIXES[:3])}")
        for one in nested:
            yield Fault(Place(f"{path}/{one.filename}"), "a zip within a zip is not read: unpack the outer one")
        for one in found:
            yield from _read_member(archive, one, f"{path}/{one.filename}")


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: str) -> Iterator[Record | Fault]:
    if member.flag_bits & _ENCRYPTED:
        yield Fault(Place(path), "encrypted: unpack it with its password")
        return
    try:
        with archive.open(member) as packed, _member(packed) as stream:
            yield from _read(stream, path)
    except _BROKEN_ARCHIVE as error:
        yield Fault(Place(path), f"cannot be unpacked from here on ({error}); fetch the zip again")


def _is_member(name: str, suffixes: Collection[str] = SUFFIXES[:3]) -> bool:
    suffix = Path(name).suffix.lower()
    return suffix in suffixes and not any(map(_is_hidden, name.split("/")))


def _member(member: IO[bytes]) -> IO[bytes]:
    """The member as a stream to read lines and places from; parquet, which is read from its end, as a file."""
    is_parquet = member.read(4) == _PARQUET
    member.seek(0)
    return _copy(member) if is_parquet else io.BufferedReader(member, _BUFFER_BYTES)  # type: ignore[type-var]


def _seekable(file: IO[bytes]) -> IO[bytes]:
    """The file; of a pipe a copy, since it is looked into before it is read."""
    return file if file.seekable() else _copy(file)


def _copy(file: IO[bytes]) -> IO[bytes]:
    copy = tempfile.TemporaryFile(prefix="fluxperf-")  # noqa: SIM115 - it lives as long as it is read
    shutil.copyfileobj(file, copy, _BUFFER_BYTES)
    copy.seek(0)
    return copy


def _read_parquet(file: IO[bytes], path: str) -> Iterator[Record | Fault]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{path}: to read parquet, the Python package pyarrow is needed\npip install pyarrow"
        ) from error
    count = 0
    try:
        # One row group of long texts may be larger than memory: its pages are read as they are needed.
        with parquet.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False) as table:
            for batch in table.iter_batches(_ROWS_AT_ONCE, use_threads=False):
                for count, value in enumerate(batch.to_pylist(), count + 1):  # noqa: B020 - see above
                    yield Record(value, Place(path, entry=count))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        said = str(error).partition("\n")[0][:200]
        yield Fault(Place(path, entry=count + 1), f"a broken parquet file ({said}); fetch it again")


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
