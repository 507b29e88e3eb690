"""Datasets: a file of prompts, checked once from end to end, then read again entry by entry.

Where each entry stands in the file is all that is kept, and that not in memory, so a file may be larger than
memory (a JSON array or `{"data": [...]}` is held whole while it is checked, JSONL line by line).
What an entry looks like is `fluxperf.plan.forms`' business.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import IO, NamedTuple, Protocol

import msgspec

from fluxperf.errors import DatasetError
from fluxperf.mapped import mapped
from fluxperf.plan.entry import Entry
from fluxperf.plan.forms import Line, Mode, decode_line, read_entry
from fluxperf.plan.syntax import explain, find_foreign, is_incomplete

_BOM = b"\xef\xbb\xbf"
_HEAD_BYTES = 32
_GAP = re.compile(rb"[\s,]*")


class Dataset:
    """The entries of a file, by index; each is read from the file when it is asked for.

    `sha256` is the hex digest of the file's bytes. It can be read by forked processes at once,
    since no read moves a file position. Close it, or use it as a context manager.
    """

    def __init__(self, path: Path, mode: Mode, file: IO[bytes], advance: Callable[[int], None]) -> None:
        """Checks every entry in `file` (seekable); `open_dataset` is the way in."""
        self.path = path
        self._advance = advance
        self.mode: Mode = mode
        self._file = file
        digest = sha256()
        bounds = mapped(self._check(pieces(path, file, digest)))
        self._starts, self._ends = bounds[::2], bounds[1::2]
        if not len(self):
            raise DatasetError(f"{path}: no entries: give a file with one prompt or session a line")
        self.sha256 = digest.hexdigest()

    def _check(self, found: Iterator[Piece]) -> Iterator[int]:
        """The start and the end of each."""
        for index, piece in enumerate(found):
            self._advance(len(piece.data))
            try:
                read_entry(piece.data, index, self.mode)
            except DatasetError as error:
                raise DatasetError(f"{self.path}:{piece.line}: {piece.label}{error}") from None
            yield piece.start
            yield piece.start + len(piece.data)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> Entry:
        """The entry at `index` (0-based; IndexError outside); DatasetError if the file has changed since."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = self._starts[index]
        try:
            data = os.pread(self._file.fileno(), self._ends[index] - start, start)
            return read_entry(data, index, self.mode)
        except (OSError, DatasetError) as error:
            raise DatasetError(
                f"{self.path}: the entry with index {index} cannot be read again, "
                f"the file has changed since it was checked: {error}"
            ) from None

    def __iter__(self) -> Iterator[Entry]:
        return (self[index] for index in range(len(self)))

    def close(self) -> None:
        """Closes the file; entries cannot be read afterwards."""
        self._file.close()

    def __enter__(self) -> Dataset:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_dataset(path: str | os.PathLike[str], mode: Mode, advance: Callable[[int], None] = lambda _: None) -> Dataset:
    """The dataset in the file `path`: JSONL, a JSON array or `{"data": [...]}`, told apart by what is in it.

    Every entry is checked as far as `mode` would send it; `advance` is told the bytes of each. Raises DatasetError
    with the file, the line and what to do, if the file cannot be read, one entry is bad, or there is none.
    """
    path = Path(path)
    with ExitStack() as stack:
        try:
            dataset = Dataset(path, mode, open_seekable(path, stack), advance)
        except OSError as error:
            raise DatasetError(
                f"{path}: the dataset cannot be read: {error.strerror or error}; give a file that can be"
            ) from None
        stack.pop_all()
        return dataset


def open_seekable(path: Path, stack: ExitStack) -> IO[bytes]:
    """The file; of a pipe a copy without a name, since it is to be read more than once."""
    file = stack.enter_context(path.open("rb"))
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    copy = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 (the stack closes it)
    with file:
        shutil.copyfileobj(file, copy)
    copy.seek(0)
    return copy


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...


class Piece(NamedTuple):
    """One entry's JSON text, its offset in the file and line there (from 1), and its name if a line is not enough."""

    start: int
    line: int
    data: bytes
    label: str = ""


def pieces(path: Path, file: IO[bytes], digest: _Digest) -> Iterator[Piece]:
    """All entries' texts, in order; every byte of the file goes through `digest`. Raises DatasetError."""
    if (what := find_foreign(file.read(_HEAD_BYTES))) is not None:
        raise DatasetError(f"{path}:1: {what}")
    file.seek(0)
    start = len(_BOM) if file.read(len(_BOM)) == _BOM else 0
    file.seek(start)
    is_document = _is_document(file)
    file.seek(0)
    digest.update(file.read(start))
    return _document_pieces(path, file, start, digest) if is_document else _line_pieces(file, start, digest)


def _is_document(file: IO[bytes]) -> bool:
    """Whether the file is one JSON document rather than one a line, by its first line that is not blank."""
    head = next((line for line in file if not line.isspace()), b"").lstrip()
    if head[:1] != b"{":
        return head[:1] == b"["
    try:
        line = decode_line(head)
    except DatasetError:
        return is_incomplete(head)
    return isinstance(line, Line) and line.wraps_entries


def _line_pieces(file: IO[bytes], start: int, digest: _Digest) -> Iterator[Piece]:
    for number, line in enumerate(file, 1):
        digest.update(line)
        if not line.isspace():
            yield Piece(start, number, line)
        start += len(line)


def _document_pieces(path: Path, file: IO[bytes], start: int, digest: _Digest) -> Iterator[Piece]:
    """The elements of the array that the document is or wraps; any other object is a dataset of one."""
    text = file.read()
    digest.update(text)
    try:
        text.decode()  # Here rather than entry by entry, so that the byte is told within its line.
        elements, place = _elements(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        line, what = explain(text)
        raise DatasetError(f"{path}:{line}: {what}") from None
    line, counted = 1, 0
    for number, element in enumerate(elements, 1):
        data = bytes(memoryview(element))
        place = _skip_gap(text, place)
        line += text.count(b"\n", counted, place)
        counted = place
        yield Piece(start + place, line, data, f"entry {number} of {len(elements)}: ")
        place += len(data)


def _elements(text: bytes) -> tuple[list[msgspec.Raw], int]:
    """The texts of a document's entries, and a place in it with only a gap between there and the first."""
    if text.lstrip()[:1] == b"[":
        return msgspec.json.decode(text, type=list[msgspec.Raw]), text.index(b"[") + 1
    document = msgspec.json.decode(text, type=Line)
    if not document.wraps_entries:
        return [msgspec.Raw(text.strip())], 0
    wrapped = memoryview(document.data)
    return msgspec.json.decode(wrapped, type=list[msgspec.Raw]), text.index(wrapped) + 1


def _skip_gap(text: bytes, place: int) -> int:
    gap = _GAP.match(text, place)
    return gap.end() if gap else place
