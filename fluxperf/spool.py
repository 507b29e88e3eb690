"""Spool files: what a worker appends as requests finish, and the parent reads back in order.

Each record is one write(2), so a worker that is killed loses nothing that was finished. The reader
keeps places, not records: memory grows by a few bytes a request.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgpack

from fluxperf.errors import RunFailed

T = TypeVar("T")


class SpoolWriter:
    """Appends records (index, turn, value) to a new file; `value` is anything msgpack carries."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise self._failed(error) from error

    def append(self, index: int, turn: int, value: Any) -> None:
        """Writes one record, whole."""
        rest = memoryview(msgpack.packb((index, turn, value)))
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> RunFailed:
        return RunFailed(f"cannot write {self._path}: {error.strerror}; make room or choose another directory")

    def close(self) -> None:
        """Closes the file."""
        os.close(self._fd)


class Spooled(Collection[T], Generic[T]):
    """The records of several spool files in order of index, then turn. Can be iterated again and again.

    `decode` makes a T of a record's value. A record that was cut short by a crash is passed over.
    """

    def __init__(self, paths: Sequence[Path], decode: Callable[[Any], T]) -> None:
        self._decode = decode
        self._paths = list(paths)
        self._files = array("H")
        self._places = array("Q")
        self._order = array("L")
        # One integer a record, of index, turn and number: small to hold, and its order is the order wanted.
        keys: list[int] = []
        for number, path in enumerate(paths):
            for place, (index, turn, _) in _records(path):
                keys.append(((index << 32 | turn) << 32) | len(keys))
                self._files.append(number)
                self._places.append(place)
        keys.sort()
        self._order.extend(key & 0xFFFFFFFF for key in keys)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, item: object) -> bool:
        return any(record == item for record in self)

    def __iter__(self) -> Iterator[T]:
        fds = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in self._paths]
        try:
            for at in self._order:
                yield self._decode(_read_record(fds[self._files[at]], self._places[at]))
        finally:
            for fd in fds:
                os.close(fd)


def _records(path: Path) -> Iterator[tuple[int, tuple[int, int, Any]]]:
    with path.open("rb") as file:
        unpacker = msgpack.Unpacker(file, use_list=False, max_buffer_size=0)
        place = 0
        # Iteration ends at the end of the file, also in the middle of a record.
        for record in unpacker:
            yield place, record
            place = unpacker.tell()


def _read_record(fd: int, place: int) -> Any:
    unpacker = msgpack.Unpacker(use_list=False, max_buffer_size=0)
    while True:
        data = os.pread(fd, 4096, place)
        unpacker.feed(data)
        place += len(data)
        try:
            return unpacker.unpack()[2]
        except msgpack.OutOfData:
            if not data:
                raise
