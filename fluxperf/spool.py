"""Spool files: what a worker appends as requests finish, and the parent reads back in order.

Each record is one write(2), so a worker that is killed loses nothing that was finished. The reader
keeps places, not records, and those in a mapped file: memory does not grow with the requests.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgpack

from fluxperf.errors import RunFailed
from fluxperf.mapped import in_order, mapped

T = TypeVar("T")

# Two numbers that share 64 bits: index and turn of a record, or number and offset of a file.
_TURN_BITS = 20
_OFFSET_BITS = 48
_OFFSET_MASK = (1 << _OFFSET_BITS) - 1
_READ_BYTES = 1 << 16
_PEEK_BYTES = 4096


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

    `decode` makes a T of a record's value. A record that was cut short by a crash is passed over. The
    files are first read when the records are, or their number, is asked for.
    """

    def __init__(self, paths: Sequence[Path], decode: Callable[[Any], T]) -> None:
        self._decode = decode
        self._paths = list(paths)

    @cached_property
    def _places(self) -> Sequence[int]:
        """Where the records are, in order."""
        columns = mapped(_keys_and_places(self._paths))
        keys, places = columns[::2], columns[1::2]
        return mapped(places[at] for at in in_order(range(len(keys)), keys.__getitem__))

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, item: object) -> bool:
        return any(record == item for record in self)

    def __iter__(self) -> Iterator[T]:
        fds = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in self._paths]
        try:
            for place in self._places:
                yield self._decode(read_record(fds[place >> _OFFSET_BITS], place & _OFFSET_MASK))
        finally:
            for fd in fds:
                os.close(fd)


def _keys_and_places(paths: Sequence[Path]) -> Iterator[int]:
    """Of each record a number whose order is that of index and turn, then where it is: number of the file, offset."""
    for number, path in enumerate(paths):
        for offset, index, turn in find_records(path):
            yield index << _TURN_BITS | turn
            yield number << _OFFSET_BITS | offset


def find_records(path: Path) -> Iterator[tuple[int, int, int]]:
    """Offset, index and turn of each record; the end of the file may be in the middle of one."""
    with path.open("rb") as file, suppress(msgpack.OutOfData):
        unpacker = msgpack.Unpacker(file, max_buffer_size=0, read_size=_READ_BYTES)
        while True:
            offset = unpacker.tell()
            unpacker.read_array_header()
            index, turn = unpacker.unpack(), unpacker.unpack()
            unpacker.skip()  # the value
            yield offset, index, turn


def read_record(fd: int, offset: int) -> Any:
    """The value of the record at an offset that `find_records` gave."""
    unpacker = msgpack.Unpacker(use_list=False, max_buffer_size=0, read_size=_PEEK_BYTES)
    while True:
        data = os.pread(fd, _PEEK_BYTES, offset)
        unpacker.feed(data)
        offset += len(data)
        try:
            return unpacker.unpack()[2]
        except msgpack.OutOfData:
            if not data:
                raise
