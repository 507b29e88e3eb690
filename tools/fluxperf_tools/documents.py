"""Records of one JSON document: an array, a list in an object, or objects one after another. Knows streams, no files.

ijson reads it in pieces, so of a document that is larger than memory one entry is held at a time.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import IO, Any

from fluxperf_tools.records import Fault, Place, Record

ARRAY, WRAPPED, OBJECTS = "item", "data.item", ""
"""Where the entries are, as ijson names it."""

_PIECE_BYTES = 1 << 16
_KEPT_BYTES = 256
_DEPTH = 500
_OPENINGS = {ARRAY: b"[", WRAPPED: b'{"data":[', OBJECTS: b""}
_STEPS = {"start_map": 1, "start_array": 1, "end_map": -1, "end_array": -1}
# The first entry, up to its first key; all others are taken to begin with the same.
_FIRST = {
    where: re.compile(rb'%b\s*\{\s*("(?:[^"\\]|\\.)*")\s*:' % before)
    for where, before in {ARRAY: rb"\A\s*\[", WRAPPED: rb'"data"\s*:\s*\[', OBJECTS: rb"\A"}.items()
}
# ijson notes the path of every level, so that memory would grow with the square of the depth.
_TOO_DEEP = re.compile(rb'(?:\[\s*|\{\s*"[^"\\]{0,64}"\s*:\s*){%d}' % _DEPTH)


def probe_object(stream: IO[bytes]) -> str | None:
    """Reads the object that `stream` begins with: WRAPPED if it has a list `data`, else OBJECTS; None: it is broken."""
    import ijson

    events = ijson.sendable_list()
    parser = ijson.basic_parse_coro(events, use_float=True, multiple_values=True)
    depth, key, found, error = 0, "", None, ""
    while found is None and not error and (piece := stream.read(_PIECE_BYTES)):
        error = _send(parser, piece)  # which may be in what follows the object
        for event, value in events:
            depth += _STEPS.get(event, 0)
            if event == "map_key" and depth == 1:
                key = value
            elif event == "start_array" and depth == 2 and key == "data":
                found = WRAPPED
            elif depth == 0:
                found = OBJECTS
            if found is not None:
                break
        events.clear()
    _close(parser)
    return found


def read_document(stream: IO[bytes], path: str, where: str) -> Iterator[Record | Fault]:
    """The records of a document whose entries are at `where`; their places are numbers of entries.

    After a fault it is read on where something begins that has the same first key as the first entry:
    one entry is lost, or what was meant to be several.
    """
    document = _Document(path, where)
    while piece := stream.read(_PIECE_BYTES):
        yield from document.take(piece)
    yield from document.end()


class _Document:
    """A document as far as it has come. Without a parser it looks for an entry to go on with."""

    def __init__(self, path: str, where: str) -> None:
        self._path = path
        self._where = where
        self._count = 0
        self._line = 1
        self._first: re.Pattern[bytes] | None = None  # the beginning of an entry, once that is known
        self._end: re.Pattern[bytes] | None = None  # the end of one, before the beginning of the next
        self._tail = b""
        self._values: list[Any]
        self._parser: Any = None
        self._begin()

    def _begin(self) -> None:
        """Starts to parse, as if nothing had been before."""
        import ijson

        self._values = ijson.sendable_list()
        self._parser = ijson.items_coro(self._values, self._where, use_float=True, multiple_values=True)
        self._is_between = True

    def take(self, piece: bytes) -> Iterator[Record | Fault]:
        """What ends in the next piece of the document."""
        if self._first is None and (found := _FIRST[self._where].search(piece)):
            # Quotes within texts are escaped, so that no text has this in it.
            first = rb"\{\s*%b\s*:" % re.escape(found[1])
            self._first, self._end = re.compile(first), re.compile(rb"\}(?=\s*,?\s*%b)" % first)
        place = 0
        while place < len(piece):
            if self._parser is None:
                place = self._resume(piece, place)
                continue
            # One entry at a time, so that it is known where each ends.
            found = self._end.search(piece, place) if self._end else None
            end = found.end() if found else len(piece)
            was_between, before = self._is_between, self._count
            error = _find_depth(piece, place, end) or _send(self._parser, piece[place:end])
            yield from self._records()
            if error:
                end = self._pass_over(piece, place, was_between, self._count - before)
            self._line += piece.count(b"\n", place, end)
            if error:
                yield self._fault(f"{error}, near line {self._line:,}")
            place = end

    def end(self) -> Iterator[Record | Fault]:
        """What becomes apparent at the end of the document."""
        error = _close(self._parser) if self._parser else ""
        yield from self._records()
        if error:
            yield self._fault(error)

    def _records(self) -> Iterator[Record]:
        self._is_between = bool(self._values)
        for self._count, value in enumerate(self._values, self._count + 1):  # noqa: B020 - read once, at the start
            yield Record(value, Place(self._path, entry=self._count))
        self._values.clear()

    def _pass_over(self, piece: bytes, place: int, was_between: bool, read: int) -> int:
        """A place behind the beginnings of what was read, or of the broken entry, so that none is found again."""
        for _ in range(max(read, 1) if was_between else read - 1):
            found = self._first.search(piece, place) if self._first else None
            place = found.end() if found else place
        return place

    def _fault(self, what: str) -> Fault:
        _close(self._parser)
        self._parser = None
        self._tail = b""
        self._count += 1
        return Fault(Place(self._path, entry=self._count), what)

    def _resume(self, piece: bytes, place: int) -> int:
        """Where in the piece an entry begins that can be parsed, or its end."""
        known = self._tail + piece[place:]
        found = self._first.search(known) if self._first else None
        if found:
            start = found.start() - len(self._tail)
            self._begin()
            if opening := _OPENINGS[self._where] + (self._tail[start:] if start < 0 else b""):
                self._parser.send(opening)
            resumed = place + max(start, 0)
        else:
            self._tail = known[-_KEPT_BYTES:]
            resumed = len(piece)
        self._line += piece.count(b"\n", place, resumed)
        return resumed


def _find_depth(piece: bytes, place: int, end: int) -> str:
    """What is wrong with this part of a piece, if it would be nested too deeply."""
    # Nearly always it is enough to count, which is much faster.
    openings = piece.count(b"[", place, end) + piece.count(b'{"', place, end)
    deep = openings >= _DEPTH and _TOO_DEEP.search(piece, place, end)
    return f"lists or objects nested more than {_DEPTH} deep" if deep else ""


def _send(parser: Any, piece: bytes) -> str:
    """Gives the piece to an ijson parser; returns what is wrong, if anything."""
    import ijson

    try:
        parser.send(piece)
    except (ijson.JSONError, UnicodeDecodeError) as error:
        # A message of several lines, which draw the place; or the repr of such bytes.
        said = str(error).removeprefix("b'").replace("\\n", "\n").partition("\n")[0]
        return f"not JSON ({said.strip().rstrip('.')})"
    return ""


def _close(parser: Any) -> str:
    """Ends an ijson parser; returns what is wrong, if anything."""
    import ijson

    with contextlib.suppress(StopIteration):
        try:
            parser.close()
        except (ijson.JSONError, UnicodeDecodeError):
            return "incomplete: the file ends before its JSON value does; is it cut off?"
    return ""
