"""`StoredRequests`: the rows of a round file as `Timeline`s, read when they are looked at. Knows no other file.

Our own files have a row on each line, so a round may have more requests than memory; a file that was written anew by
something else is decoded whole.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from fluxperf.errors import UsageError
from fluxperf.model import Outcome, RoundResult, Timeline
from fluxperf.units import NS_PER_MS, NS_PER_S

_HEAD = '"configuration": '
_FIRST_LINE = '{"schema": "fluxperf.round/'
_ROWS = '"requests": ['
# Fields of a timeline by their keys in a row: stamps in milliseconds since the request was sent, times in milliseconds,
# and what is taken as it stands.
_STAMPS = {
    "first_byte_ms": "first_byte_ns",
    "ttft_ms": "first_output_ns",
    "ttfo_ms": "first_answer_ns",
    "last_output_ms": "last_output_ns",
    "end_ms": "end_ns",
    "first_silent_ms": "first_silent_ns",
    "last_silent_ms": "last_silent_ns",
    "first_blank_ms": "first_blank_ns",
    "last_blank_ms": "last_blank_ns",
    "last_event_ms": "last_event_ns",
}
_TIMES = {"max_gap_ms": "max_gap_ns", "connect_ms": "connect_ns", "wait_ms": "wait_ns"}
_PLAIN = (
    *("index", "session_id", "turn", "worker", "status", "finish_reason", "error", "output_events"),
    *("coalesced_events", "cached_tokens", "resent", "dropped_turns", "silent_events", "blank_events"),
)
_MOST_NS = 2**62


class StoredRequests(Collection[Timeline]):
    """The requests of a stored round, in the order of its file; stamps count from the round's first send.

    Iterating raises UsageError where the file is missing or broken; `find_problem` says so beforehand.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[Timeline]:
        for number, row in enumerate(self._rows()):
            yield self._timeline(number, row)

    def __len__(self) -> int:
        return self._count

    def __contains__(self, item: object) -> bool:
        return any(request == item for request in self)

    @cached_property
    def _count(self) -> int:
        return sum(1 for _ in self._rows())

    @cached_property
    def configuration(self) -> Mapping[str, Any]:
        """How the round was set up; empty where the file does not say."""
        return self._head("configuration")

    @cached_property
    def series(self) -> dict[str, tuple[tuple[float, float], ...]]:
        """Samples of server metrics: seconds since the first send, and the value."""
        found = self._head("series")
        try:
            return msgspec.convert(found, dict[str, tuple[tuple[float, float], ...]])
        except msgspec.ValidationError:
            return {}

    def _head(self, key: str) -> dict[str, Any]:
        """An object of the file beside its rows."""
        start = f'"{key}": '
        try:
            with self.path.open(encoding="utf-8") as file:
                if file.readline().startswith(_FIRST_LINE):
                    for line in file:
                        if line.startswith(start):
                            found = msgspec.json.decode(line.removeprefix(start).rstrip().rstrip(","))
                            return found if isinstance(found, dict) else {}
                        if line.startswith(_ROWS):
                            return {}
            found = self._whole().get(key)
        except (OSError, UnicodeDecodeError, msgspec.DecodeError, UsageError):
            return {}
        return found if isinstance(found, dict) else {}

    def _rows(self) -> Iterator[dict[str, Any]]:
        try:
            with self.path.open(encoding="utf-8") as file:
                ours = file.readline().startswith(_FIRST_LINE)
                if ours:
                    yield from self._rows_by_line(file)
                    return
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be read: {error.strerror or error}") from None
        except UnicodeDecodeError as error:
            raise UsageError(f"{self.path}: is not UTF-8 at byte {error.start + 1}") from None
        rows = self._whole().get("requests")
        if not isinstance(rows, list):
            raise UsageError(f"{self.path}: has no requests in it: is it a round file of FluxPerf?")
        yield from rows

    def _rows_by_line(self, file: Iterator[str]) -> Iterator[dict[str, Any]]:
        decode = msgspec.json.Decoder().decode
        inside = False
        for number, line in enumerate(file, 2):
            if not inside:
                inside = line.startswith(_ROWS)
                if inside and line.startswith(f"{_ROWS}]"):
                    return
                continue
            if line.startswith("]"):
                return
            try:
                yield decode(line.rstrip().rstrip(","))
            except (msgspec.DecodeError, ValueError) as error:
                raise UsageError(f"{self.path}:{number}: is broken ({error}): was it cut short?") from None
        raise UsageError(f"{self.path}: ends in the middle: was it cut short?")

    def _whole(self) -> dict[str, Any]:
        """The file, decoded in one piece."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be read: {error.strerror or error}") from None
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{self.path}: is no JSON ({error})") from None
        if not isinstance(found, dict):
            raise UsageError(f"{self.path}: is no round file of FluxPerf")
        return found

    def _timeline(self, number: int, row: Any) -> Timeline:
        try:
            return read_row(row)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise UsageError(
                f"{self.path}: request {number} cannot be understood ({type(error).__name__}: {error})"
            ) from None


def read_row(row: Mapping[str, Any]) -> Timeline:
    """The timeline that a row was made of, as far as it tells. Raises KeyError, TypeError or ValueError.

    Whose counts the tokens are is lost: they stand as the server's.
    """
    facts = {name: row[name] for name in _PLAIN if row.get(name) is not None}
    facts["outcome"] = Outcome(row["outcome"])
    facts["prompt_tokens"] = row["input_tokens"]
    facts["completion_tokens"] = row["output_tokens"] or None
    facts |= {field: _to_ns(row[key], NS_PER_MS) for key, field in _TIMES.items() if row.get(key) is not None}
    if row["sent_s"] is not None:
        sent_ns = _to_ns(row["sent_s"], NS_PER_S)
        facts["sent_ns"] = sent_ns
        stamps = {
            field: sent_ns + _to_ns(row[key], NS_PER_MS) for key, field in _STAMPS.items() if row.get(key) is not None
        }
        facts |= stamps
        facts["done_ns"] = max((sent_ns, *stamps.values()))
    return Timeline(**facts)


def _to_ns(value: float, per_unit: int) -> int:
    found = round(value * per_unit)
    if abs(found) > _MOST_NS:
        raise ValueError(f"{value} is out of range")
    return found


def find_problem(result: RoundResult) -> str | None:
    """What keeps the requests of a stored round from being read, in a sentence; None: nothing. Reads them."""
    try:
        for _ in result.requests:
            pass
    except UsageError as error:
        return str(error)
    return None
