"""`Board`: live counters in memory that all processes of a run share. Each worker writes its own row only.

Also how workers agree, without asking the parent, that the server refuses everything (`all_refused`).
"""

from __future__ import annotations

import mmap
from enum import IntEnum, auto

from fluxperf.model import Refusal

REFUSALS = tuple(Refusal)


class Column(IntEnum):
    """What a worker counts, since the start of the round."""

    SENT = 0
    DONE = auto()
    SUCCEEDED = auto()
    FAILED = auto()
    NOT_SENT = auto()
    OUTPUT_TOKENS = auto()
    TTFT_NS_SUM = auto()
    FIRST_REFUSAL = auto()  # and one column for each further entry of REFUSALS


_COLUMNS = Column.FIRST_REFUSAL + len(REFUSALS)
_BYTES = 8


class Board:
    """Rows of 64-bit counters, and one flag: `stopped`, after which nobody draws another ticket."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._memory = mmap.mmap(-1, (1 + workers * _COLUMNS) * _BYTES)
        self._cells = memoryview(self._memory).cast("q")

    @property
    def stopped(self) -> bool:
        """Whether the round is to end as it stands."""
        return self._cells[0] != 0

    def stop(self) -> None:
        """Ends the round as it stands."""
        self._cells[0] = 1

    def clear(self) -> None:
        """Starts a round. Only between rounds."""
        for cell in range(len(self._cells)):
            self._cells[cell] = 0

    def add(self, worker: int, column: Column | int, amount: int = 1) -> None:
        """Counts something, in the worker's own row."""
        self._cells[1 + worker * _COLUMNS + column] += amount

    def total(self, column: Column | int) -> int:
        """The sum over all workers."""
        return sum(self._cells[1 + column :: _COLUMNS])

    def refuse(self, worker: int, refusal: Refusal) -> None:
        """Counts an answer that refuses."""
        self.add(worker, Column.FIRST_REFUSAL + REFUSALS.index(refusal))

    def all_refused(self, at_least: int) -> Refusal | None:
        """The kind of refusal, if there were `at_least` answers so far and each was of that one kind."""
        answers = self.total(Column.DONE)
        if answers < at_least:
            return None
        for place, kind in enumerate(REFUSALS):
            if self.total(Column.FIRST_REFUSAL + place) == answers:
                return kind
        return None

    def most_refused(self) -> Refusal:
        """The kind of refusal that came most often."""
        return max(REFUSALS, key=lambda kind: self.total(Column.FIRST_REFUSAL + REFUSALS.index(kind)))
