"""`Pool`: the sessions that are kept so far, each once. It knows no dumps, and not what a session is about.

Their texts stand in a temporary file, so that memory holds hashes and places only.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

import msgspec

from fluxperf.errors import RunFailed
from fluxperf_tools.sharegpt.session import Session

_LEFT_OUT = -1


@dataclass(frozen=True, slots=True)
class Choice:
    """Which sessions are kept, and in which order; `max_sessions` None: all.

    Shuffled, both depend on the sessions' content and the seed alone, in whatever order they come.
    Otherwise the first ones are kept, in the order in which they come.
    """

    max_sessions: int | None = None
    seed: int = 42
    shuffle: bool = True

    def rank(self, content: bytes) -> int:
        """A session's place in the shuffled order: the lower, the earlier."""
        return int.from_bytes(blake2b(b"%d:" % self.seed + content, digest_size=16).digest())


class Pool:
    """Sessions by their content. Its file stands in `folder`, without a name; a context manager that removes it.

    Of sessions with the same content one is kept, with the id that is first in the alphabet. Sessions
    of one id, but different contents, get ids of their own: the id, `-`, and 16 digits of the content.
    """

    def __init__(self, folder: Path, choice: Choice) -> None:
        self._choice = choice
        self._file = _temporary_file(folder)
        self._end = 0
        self._places: dict[bytes, int] = {}  # by content, in the order in which they came
        self._worst: list[tuple[int, bytes]] = []  # a heap of ranks, negated, as long as there is a limit to keep
        self._kept = 0
        self._contents_of_ids: dict[int, int] = {}
        self._ambiguous_ids: set[int] = set()
        self.duplicates = 0

    @property
    def is_full(self) -> bool:
        """Whether no further session can get in."""
        return not self._choice.shuffle and self._kept == self._choice.max_sessions

    def __len__(self) -> int:
        """How many sessions are kept."""
        return self._kept

    @property
    def distinct(self) -> int:
        """How many sessions of different content there were."""
        return len(self._places)

    @property
    def ambiguous(self) -> int:
        """How many ids belong to several sessions."""
        return len(self._ambiguous_ids)

    def add(self, session: Session) -> None:
        """Takes the session, unless it is there already or there are enough that come before it."""
        content = session.content
        if session.id is not None:
            self._note_id(session.id, content)
        place = self._places.get(content)
        if place is not None:
            self.duplicates += 1
            if place != _LEFT_OUT and _by_name(session.id) < _by_name(self._read(place)["session_id"]):
                self._places[content] = self._write(session)
        elif self._has_room(content):
            self._places[content] = self._write(session)
            self._kept += 1
        else:
            self._places[content] = _LEFT_OUT

    def rows(self) -> Iterator[dict[str, Any]]:
        """The sessions that were kept, as rows of a dataset, each with an id of its own."""
        contents = [content for content, place in self._places.items() if place != _LEFT_OUT]
        if self._choice.shuffle:
            contents.sort(key=self._choice.rank)
        for content in contents:
            row = self._read(self._places[content])
            name = row["session_id"]
            if name is None:
                row["session_id"] = f"sharegpt-{content.hex()[:16]}"
            elif _digest(name) in self._ambiguous_ids:
                row["session_id"] = f"{name}-{content.hex()[:16]}"
            yield row

    def _has_room(self, content: bytes) -> bool:
        limit = self._choice.max_sessions
        if limit is None or not self._choice.shuffle:
            return not self.is_full
        candidate = (-self._choice.rank(content), content)
        if self._kept < limit:
            heapq.heappush(self._worst, candidate)
            return True
        worst = heapq.heappushpop(self._worst, candidate)
        if worst != candidate:
            self._places[worst[1]] = _LEFT_OUT
            self._kept -= 1
        return worst != candidate

    def _note_id(self, name: str, content: bytes) -> None:
        digest, brief = _digest(name), int.from_bytes(content[:8])
        if self._contents_of_ids.setdefault(digest, brief) != brief:
            self._ambiguous_ids.add(digest)

    def _write(self, session: Session) -> int:
        place = self._end
        record = msgspec.json.encode(session.row()) + b"\n"
        try:
            self._file.seek(place)
            self._file.write(record)
        except OSError as error:
            raise _no_room(error) from error
        self._end += len(record)
        return place

    def _read(self, place: int) -> dict[str, Any]:
        try:
            self._file.seek(place)
            row: dict[str, Any] = json.loads(self._file.readline())
        except OSError as error:
            raise _no_room(error) from error
        return row

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # of what could not be written, which has been told
            self._file.close()


def _by_name(name: str | None) -> tuple[bool, str]:
    """Names in the order of the alphabet, a missing one behind them all."""
    return name is None, name or ""


def _digest(name: str) -> int:
    return int.from_bytes(blake2b(name.encode("utf-8", "replace"), digest_size=8).digest())


def _temporary_file(folder: Path) -> IO[bytes]:
    try:
        return tempfile.TemporaryFile(dir=folder, prefix="fluxperf-", suffix=".sessions")
    except OSError as error:
        raise RunFailed(f"cannot write a temporary file in {folder}: {error.strerror or error}") from error


def _no_room(error: OSError) -> RunFailed:
    return RunFailed(f"cannot write a temporary file: {error.strerror or error}; make room where the output goes")
