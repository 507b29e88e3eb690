"""`Answers`: what the sessions of a round were answered, so that a later round can send the same history.

Each worker writes its sessions' answers to a spool; the parent looks through these between two rounds and notes where
each stands, in a table that the workers share.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain, repeat
from pathlib import Path

from fluxperf.engine.conversation import Answer
from fluxperf.mapped import mapped
from fluxperf.spool import SpoolWriter, find_records, read_record

_OFFSET_BITS = 48
_OFFSET_MASK = (1 << _OFFSET_BITS) - 1


class Answers:
    """Where answers stand, for all processes that are forked after it was made.

    `turns`: how many each session has, by dataset index; 0 for those that are not drawn.
    """

    def __init__(self, turns: Iterable[int]) -> None:
        self._first = mapped(accumulate(chain([0], turns)))
        self._places = mapped(repeat(0, self._first[-1]))  # a number of a file from 1, and an offset; 0: not there

    def look_through(self, paths: Sequence[Path]) -> None:
        """Notes what is in these files, and forgets what was noted before. Only between rounds."""
        for place in range(len(self._places)):
            self._places[place] = 0
        for number, path in enumerate(paths, 1):
            for offset, index, turn in find_records(path):
                if turn < self._first[index + 1] - self._first[index]:
                    self._places[self._first[index] + turn] = number << _OFFSET_BITS | offset

    def place(self, index: int, turn: int) -> tuple[int, int] | None:
        """The file (a place in `paths`) and the offset of an answer; None: there is none."""
        found = self._places[self._first[index] + turn]
        return ((found >> _OFFSET_BITS) - 1, found & _OFFSET_MASK) if found else None


class AnswerReader:
    """Reads what `look_through` found, in whichever process. `paths` are the same, in the same order."""

    def __init__(self, answers: Answers, paths: Sequence[Path]) -> None:
        self._answers = answers
        self._fds = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in paths]

    def read(self, index: int, turn: int) -> Answer | None:
        """What the turn was answered; None: it was not, or not with success."""
        place = self._answers.place(index, turn)
        if place is None:
            return None
        number, offset = place
        return Answer(*read_record(self._fds[number], offset))

    def close(self) -> None:
        """Closes the files."""
        for fd in self._fds:
            os.close(fd)


class AnswerWriter:
    """Writes down what one worker's sessions are answered."""

    def __init__(self, path: Path) -> None:
        self._spool = SpoolWriter(path)

    def write(self, index: int, turn: int, answer: Answer) -> None:
        """Keeps an answer."""
        self._spool.append(index, turn, answer)

    def close(self) -> None:
        """Closes the file."""
        self._spool.close()
