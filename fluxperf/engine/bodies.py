"""The requests of a run, encoded before it starts, in one unlinked file that all workers map.

A *ticket* is the place of a record in that file. `Tickets` hands them out: the order of a round is a
file too, and since all workers share its one file offset, which the kernel moves under a lock
(read(2)), reading the next eight bytes is drawing the next ticket. No worker can hold the lock when it dies.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO, NamedTuple

import msgpack

from fluxperf.mapped import mapped

_LENGTH = struct.Struct("<Q")
_TICKET = struct.Struct("=Q")
_TICKETS_AT_ONCE = 4096


class Share(NamedTuple):
    """What a turn adds to a session's history, as encoded messages: those that always stay, and what was said.

    The first are system messages, and there may be none: no bytes. `standing_tokens` and `spoken_tokens` are our own
    counts.
    """

    standing: bytes
    spoken: bytes
    standing_tokens: int
    spoken_tokens: int


class Script(NamedTuple):
    """A session of several turns: what a body has before and after its messages, and the share of each turn."""

    before: bytes
    after: bytes
    shares: Sequence[Share]


@dataclass(frozen=True, slots=True)
class Prepared:
    """One request, ready to be sent: where it belongs and its encoded body. With a script, the first of a session."""

    index: int
    session_id: str | None
    prompt_tokens_estimate: int
    body: bytes
    script: Script | None = None

    @property
    def turns(self) -> int:
        """How many requests come of it."""
        return 1 if self.script is None else len(self.script.shares)


class BodyWriter:
    """Writes records to an unlinked temporary file."""

    def __init__(self) -> None:
        self._file: BinaryIO = tempfile.TemporaryFile(prefix="fluxperf-", suffix=".bodies")  # noqa: SIM115
        self._end = 0
        self.body_start = 0  # where in the file the newest record has its body

    def add(self, prepared: Prepared) -> int:
        """Writes one record; returns its ticket."""
        parts = (prepared.index, prepared.session_id, prepared.prompt_tokens_estimate, prepared.script, prepared.body)
        record = msgpack.packb(parts, use_bin_type=True)
        ticket = self._end
        self._file.write(_LENGTH.pack(len(record)))
        self._file.write(record)
        self._end += _LENGTH.size + len(record)
        self.body_start = self._end - len(prepared.body)
        return ticket

    def finish(self) -> Bodies:
        """The records, for reading; afterwards nothing can be added."""
        self._file.flush()
        bodies = Bodies(mmap.mmap(self._file.fileno(), self._end, prot=mmap.PROT_READ))
        self._file.close()
        return bodies


class Bodies:
    """The records of a BodyWriter, shared by all processes that were forked after it was made."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data

    def __getitem__(self, ticket: int) -> Prepared:
        (length,) = _LENGTH.unpack_from(self._data, ticket)
        start = ticket + _LENGTH.size
        index, session_id, estimate, script, body = msgpack.unpackb(self._data[start : start + length])
        return Prepared(index, session_id, estimate, body, None if script is None else _read_script(*script))

    def peek(self, start: int, end: int) -> bytes:
        """The bytes from one place in the file to another."""
        return self._data[start:end]

    def close(self) -> None:
        """Unmaps the file."""
        self._data.close()


def _read_script(before: bytes, after: bytes, shares: Sequence[Sequence[Any]]) -> Script:
    return Script(before, after, [Share(*share) for share in shares])


class Tickets:
    """The order of a round, drawn from by all workers that were forked after it was made."""

    def __init__(self) -> None:
        # A file with a place in a file system: the kernel locks the offset of those, but not that of a bare memfd.
        with tempfile.TemporaryFile(prefix="fluxperf-", suffix=".tickets") as file:
            self._fd = os.dup(file.fileno())

    def lay_out(self, tickets: Iterable[int]) -> None:
        """Starts a round: these tickets in this order. Only between rounds."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        ahead = iter(tickets)
        while piece := array("Q", islice(ahead, _TICKETS_AT_ONCE)):
            rest = memoryview(piece).cast("B")
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        os.lseek(self._fd, 0, os.SEEK_SET)

    def draw(self) -> int | None:
        """The next ticket, which nobody else gets; None when there are no more."""
        data = os.read(self._fd, _TICKET.size)
        return _TICKET.unpack(data)[0] if data else None

    def drawn(self) -> Sequence[int]:
        """The tickets drawn so far."""
        end = os.lseek(self._fd, 0, os.SEEK_CUR)
        places = range(0, end, _TICKET.size)
        return mapped(ticket for place in places for ticket in _TICKET.unpack(os.pread(self._fd, _TICKET.size, place)))

    def close(self) -> None:
        """Gives the memory back."""
        os.close(self._fd)
