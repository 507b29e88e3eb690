"""Integers by the million: they stand in unlinked temporary files that are mapped, as a `memoryview` of 64-bit numbers.

Such pages are the page cache's: the kernel can write them out and drop them when memory is short, forked
processes share them, and the process itself does not grow. Nothing here ever holds more than a few
thousand integers in memory of its own.
"""

from __future__ import annotations

import mmap
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from heapq import merge
from io import FileIO
from itertools import chain, islice
from typing import Any

from fluxperf.errors import RunFailed

PIECE = 8192  # integers


def mapped(values: Iterable[int]) -> memoryview[int]:
    """The values (0 to 2**64 - 1), to be read and set at their places. A slice is a view, not a copy.

    What is mapped takes one descriptor until its last view is gone. Raises RunFailed if there is no room.
    """
    rest = iter(values)
    count = 0
    with _temporary_file() as file:
        while piece := array("Q", islice(rest, PIECE)):
            _write(file, piece.tobytes())
            count += len(piece)
        if not count:
            _write(file, bytes(array("Q", [0])))  # nothing cannot be mapped
        return _map(file)[:count]


def in_order(values: Iterable[int], key: Callable[[int], Any] | None = None) -> Iterator[int]:
    """The values, sorted as `sorted` would: in pieces, which stand in a mapping until they are merged."""
    rest = iter(values)
    pieces = iter(lambda: sorted(islice(rest, PIECE), key=key), [])
    runs = mapped(chain.from_iterable(pieces))
    return merge(*(runs[start : start + PIECE] for start in range(0, len(runs), PIECE)), key=key)


def _temporary_file() -> FileIO:
    with _told():
        return tempfile.TemporaryFile(prefix="fluxperf-", suffix=".integers", buffering=0)


def _write(file: FileIO, data: bytes) -> None:
    rest = memoryview(data)
    with _told():
        while rest:
            rest = rest[file.write(rest) :]


def _map(file: FileIO) -> memoryview[int]:
    with _told():
        return memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")


@contextmanager
def _told() -> Iterator[None]:
    """Turns what the file system refuses into RunFailed."""
    try:
        yield
    except OSError as error:
        raise RunFailed(
            f"cannot write a temporary file in {tempfile.tempdir or 'any directory'}: {error.strerror or error}; "
            "make room, or name another directory in TMPDIR"
        ) from error
