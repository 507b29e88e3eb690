"""Numbers in memory that processes forked later have in common. One of them writes a number, all may read it."""

from __future__ import annotations

import ctypes
import mmap
from typing import TypeVar

_BYTES = 8

Kind = TypeVar("Kind", bound=ctypes.Structure)


def share(kind: type[Kind]) -> Kind:
    """A structure of zeros."""
    return kind.from_buffer(mmap.mmap(-1, ctypes.sizeof(kind)))


def share_numbers(count: int) -> memoryview:
    """So many 64-bit integers, all zero. Memory is taken as they are written."""
    return memoryview(mmap.mmap(-1, count * _BYTES)).cast("q")
