"""The truth: what was really written, when, since the last reset. Knows stamps, not sockets.

Every value is kept as it is (no buckets), so that a client's figures can be held against it to the nanosecond. All is
in memory that forked processes have in common, so that each of them can tell the truth of all. Nothing is ever set
back, as only its own process may write a number: a reset notes where things stood.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from fluxperf.units import ns_to_ms
from fluxperf_mock.shared import share, share_numbers

_ROOM = 1 << 24  # values a series: 128 MiB
_DIGITS = 6  # of a millisecond: whole nanoseconds


class Series:
    """Durations in ns, as they came since the last reset; the newest `room` of them."""

    __slots__ = ("_base", "_count", "_numbers", "_room")

    def __init__(self, room: int = _ROOM) -> None:
        self._room = room
        self._numbers = share_numbers(room + 2)
        self._base = room + 1  # where it stands how many had come by the last reset; the place before: how many came
        self._count = 0  # known to the writer without a look at the shared one

    def add(self, value_ns: int) -> None:
        """Keeps one duration."""
        count, numbers, room = self._count, self._numbers, self._room
        numbers[count % room] = value_ns
        self._count = numbers[room] = count + 1

    def reset(self) -> None:
        """Starts anew."""
        self._numbers[self._base] = self._numbers[self._room]

    def values(self) -> list[int]:
        """The durations, the oldest first."""
        room, numbers = self._room, self._numbers
        count = numbers[room]
        first = max(numbers[self._base], count - room)
        start = first % room
        end = start + count - first  # beyond the room, they go on at its start
        return [*numbers[start : min(end, room)], *numbers[: max(end - room, 0)]]

    def dropped(self) -> int:
        """How many there was no room for."""
        numbers, room = self._numbers, self._room
        return int(max(numbers[room] - numbers[self._base] - room, 0))


class Counts(ctypes.Structure):
    """What can be counted. `user_stamps` counts reads that the kernel did not stamp: their arrival is their end."""

    requests: int
    streamed: int
    finished: int
    aborted: int
    tokens: int
    connections: int
    prompt_tokens: int
    cached_tokens: int
    user_stamps: int

    _fields_ = tuple((name, ctypes.c_int64) for name in __annotations__)


class Truth:
    """One process's counts, and four series.

    `ttft` and `itl` (each gap) are of streamed answers: write of the first token - arrival, and write - write
    before. `e2e` is the last write - arrival, of every answer. `late` is each streamed token's write - its due time.
    """

    __slots__ = ("_base", "counts", "e2e", "itl", "late", "ttft")

    def __init__(self) -> None:
        self.counts = share(Counts)
        self._base = share(Counts)
        self.ttft, self.itl, self.e2e, self.late = Series(), Series(), Series(), Series()

    def reset(self) -> None:
        """Starts anew; what is running is counted from here on."""
        for name in Counts.__annotations__:
            setattr(self._base, name, getattr(self.counts, name))
        for series in (self.ttft, self.itl, self.e2e, self.late):
            series.reset()

    def count(self, name: str) -> int:
        """One of the counts, since the last reset."""
        return int(getattr(self.counts, name) - getattr(self._base, name))


def describe(truths: Sequence[Truth]) -> dict[str, object]:
    """The truth of so many processes as it goes out at /truth: counts as they are, series in ms."""
    report: dict[str, object] = {"replicas": len(truths)}
    for name in Counts.__annotations__:
        report[name] = sum(truth.count(name) for truth in truths)
    for name in ("ttft", "itl", "e2e", "late"):
        report[f"{name}_ms"] = summarize([getattr(truth, name) for truth in truths])
    return report


def summarize(parts: Sequence[Series]) -> dict[str, int | float | None]:
    """Count, mean, nearest-rank percentiles and maximum in ms (None if there are no values) of series in one."""
    values = sorted(value for part in parts for value in part.values())
    summary: dict[str, int | float | None] = {"n": len(values)}
    if not values:
        return summary | dict.fromkeys(("mean", "p50", "p90", "p99", "max"))
    summary["mean"] = round(ns_to_ms(sum(values) / len(values)), _DIGITS)
    for percent in (50, 90, 99):
        rank = -(-len(values) * percent // 100)
        summary[f"p{percent}"] = round(ns_to_ms(values[rank - 1]), _DIGITS)
    summary["max"] = round(ns_to_ms(values[-1]), _DIGITS)
    dropped = sum(part.dropped() for part in parts)
    return summary | {"dropped": dropped} if dropped else summary


class Trace:
    """One request's writes, entered into the truth as they happen."""

    __slots__ = ("_arrived_ns", "_last_ns", "_truth")

    def __init__(self, truth: Truth, arrived_ns: int) -> None:
        self._truth = truth
        self._arrived_ns = arrived_ns
        self._last_ns: int | None = None

    def token(self, due_ns: int, written_ns: int) -> None:
        """A streamed token, due at `due_ns`, was handed to the kernel at `written_ns`."""
        truth = self._truth
        if self._last_ns is None:
            truth.ttft.add(written_ns - self._arrived_ns)
        else:
            truth.itl.add(written_ns - self._last_ns)
        truth.late.add(written_ns - due_ns)
        truth.counts.tokens += 1
        self._last_ns = written_ns

    def last_token(self, due_ns: int, written_ns: int) -> None:
        """The same of the last one, which goes out with the end of the answer."""
        self.token(due_ns, written_ns)
        self.end(written_ns)

    def whole(self, tokens: int, written_ns: int) -> None:
        """An answer of `tokens` tokens, asked for in one piece, was handed to the kernel."""
        self._truth.counts.tokens += tokens
        self.end(written_ns)

    def end(self, written_ns: int) -> None:
        """The answer's last byte was handed to the kernel."""
        self._truth.counts.finished += 1
        self._truth.e2e.add(written_ns - self._arrived_ns)
