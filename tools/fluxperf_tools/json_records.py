"""Records of JSON text: lines, an array, or `{"data": [...]}`, told apart by what is in it. Knows streams, no files.

No file is ever held whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO

import msgspec

from fluxperf.plan.syntax import explain, find_foreign, is_incomplete
from fluxperf_tools.documents import ARRAY, OBJECTS, probe_object, read_document
from fluxperf_tools.records import Fault, Place, Record

LINE_BYTES = 1 << 28
"""What is longer is no line of JSON, but a file of another kind."""
PROBED_BYTES = 1 << 16
_BOM = b"\xef\xbb\xbf"


def read_json(stream: IO[bytes], path: str) -> Iterator[Record | Fault]:
    """The records in `stream` (seekable, at its start), whose name is `path`.

    A broken line is a fault, and the next one is read. In an array it is read on where an entry can be made out.
    """
    head = stream.read(PROBED_BYTES)
    if (what := find_foreign(head)) is not None:
        yield Fault(Place(path, 1), what)
        return
    start = len(_BOM) if head.startswith(_BOM) else 0
    entries = _find_entries(stream, start)
    stream.seek(start)
    yield from _read_lines(stream, path) if entries is None else read_document(stream, path, entries)


def _find_entries(stream: IO[bytes], start: int) -> str | None:
    """Where the entries of a document are; None: it is none, but has an entry in each line."""
    stream.seek(start)
    first = b" "
    while first.isspace():
        first = stream.readline(PROBED_BYTES)
    first = first.lstrip()[:1]
    if first != b"{":
        return ARRAY if first == b"[" else None
    stream.seek(start)
    found = probe_object(stream)
    if found != OBJECTS:
        return found
    # A whole object: the line may be its end, or only its beginning.
    stream.seek(start)
    line = next(line for line in iter(lambda: stream.readline(LINE_BYTES), b"") if not line.isspace())
    return OBJECTS if is_incomplete(line) else None


def _read_lines(stream: IO[bytes], path: str) -> Iterator[Record | Fault]:
    number = 0
    while line := stream.readline(LINE_BYTES):
        number += 1
        place = Place(path, number)
        if len(line) == LINE_BYTES and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = stream.readline(LINE_BYTES)
            yield Fault(place, f"a line of more than {LINE_BYTES >> 20} MiB; write one entry a line")
            continue
        data = line.strip().removeprefix(_BOM)
        if data:
            yield _decode(data, place)


def _decode(data: bytes, place: Place) -> Record | Fault:
    try:
        return Record(msgspec.json.decode(data), place)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:  # It lets pass what dumps have though it is not quite JSON: NaN, half a surrogate pair.
        return Record(json.loads(data.decode()), place)
    except (ValueError, RecursionError):
        return Fault(place, explain(data)[1].partition("; an entry looks like")[0])
