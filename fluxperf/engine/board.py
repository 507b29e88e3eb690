"""`Board`: live counters in memory that all processes of a run share. Each worker writes its own row only.

Also how workers agree, without asking the parent, that the server refuses everything (`all_refused`). Nothing is
locked: who reads may see a row half written, which is good enough to look at and is no part of any result.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, auto
from itertools import accumulate
from math import ceil, exp, log

from fluxperf.model import Outcome, Refusal, Timeline

REFUSALS = tuple(Refusal)
OUTCOMES = tuple(Outcome)
TOO_MANY_REQUESTS = 429

# TTFT so far, in buckets of 5 % from 10 us to an hour: the middle of one is at most 2.5 % from any value in it.
_BUCKETS_PER_E = 1 / log(1.05)
_FIRST_BUCKET = int(log(10_000) * _BUCKETS_PER_E)
BUCKETS = int(log(3_600_000_000_000) * _BUCKETS_PER_E) - _FIRST_BUCKET + 1


class Column(IntEnum):
    """What a worker counts since the start of the round; and the request that it has had in flight for longest."""

    SENT = 0
    DONE = auto()
    REJECTED_429 = auto()  # of the rejected requests, the others are 503
    NOT_SENT = auto()
    OUTPUT_TOKENS = auto()  # of successes
    OVER_EVENTS = auto()  # output events of the requests that are over
    OUTPUT_EVENTS = auto()  # of all; told now and then
    FLIGHT = auto()  # five columns of the oldest request in flight: index + 1, or 0 where there is none; its turn,
    FLIGHT_TURN = auto()
    FLIGHT_TOKENS = auto()  # the prompt's by our own count,
    FLIGHT_SENT_NS = auto()  # 0: not yet,
    FLIGHT_OUTPUT_NS = auto()  # when the last output came; 0: none has
    FIRST_REFUSAL = auto()  # and one column for each further entry of REFUSALS


_FIRST_OUTCOME = Column.FIRST_REFUSAL + len(REFUSALS)
_FIRST_TTFT = _FIRST_OUTCOME + len(OUTCOMES)
_PLACES = {outcome: _FIRST_OUTCOME + place for place, outcome in enumerate(OUTCOMES)}
_COLUMNS = _FIRST_TTFT + BUCKETS
_BYTES = 8
_STOPPED, _STARTED_NS, _FIRST_ROW = range(3)


@dataclass(frozen=True, slots=True)
class Flight:
    """A request in flight. Stamps (monotonic, ns) are None where it has not come to that yet."""

    index: int
    turn: int
    input_tokens: int
    sent_ns: int | None
    last_output_ns: int | None


class Board:
    """Rows of 64-bit counters, and two cells for all: whether the round is to end as it stands, and when it began."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._memory = mmap.mmap(-1, (_FIRST_ROW + workers * _COLUMNS) * _BYTES)
        self._cells = memoryview(self._memory).cast("q")

    @property
    def stopped(self) -> bool:
        """Whether the round is to end as it stands: nobody draws another ticket."""
        return self._cells[_STOPPED] != 0

    def stop(self) -> None:
        """Ends the round as it stands."""
        self._cells[_STOPPED] = 1

    @property
    def started_ns(self) -> int | None:
        """The instant (monotonic) at which the workers let go; None: they have not."""
        return self._cells[_STARTED_NS] or None

    def start(self, at_ns: int) -> None:
        """The workers let go at that instant, which all of them know."""
        self._cells[_STARTED_NS] = at_ns

    def clear(self) -> None:
        """Starts a round. Only between rounds."""
        self._memory[:] = bytes(len(self._memory))

    def add(self, worker: int, column: Column | int, amount: int = 1) -> None:
        """Counts something, in the worker's own row."""
        self._cells[_FIRST_ROW + worker * _COLUMNS + column] += amount

    def finish(self, request: Timeline, ttft_ns: int | None) -> None:
        """Counts a request that is over, in its worker's row."""
        cells, row = self._cells, _FIRST_ROW + request.worker * _COLUMNS
        cells[row + _DONE] += 1
        cells[row + _PLACES[request.outcome]] += 1
        cells[row + _OVER_EVENTS] += request.output_events
        if request.success:
            cells[row + _OUTPUT_TOKENS] += request.output_tokens
            if ttft_ns is not None:
                cells[row + _FIRST_TTFT + find_bucket(ttft_ns)] += 1
        elif request.status == TOO_MANY_REQUESTS:
            cells[row + Column.REJECTED_429] += 1

    def tell(self, worker: int, output_events: int, oldest: Timeline | None) -> None:
        """Now and then: how many output events a worker has seen, and its oldest request in flight."""
        cells, row = self._cells, _FIRST_ROW + worker * _COLUMNS
        cells[row + Column.OUTPUT_EVENTS] = output_events
        if oldest is None:
            cells[row + Column.FLIGHT] = 0
            return
        cells[row + Column.FLIGHT] = oldest.index + 1
        cells[row + Column.FLIGHT_TURN] = oldest.turn
        cells[row + Column.FLIGHT_TOKENS] = oldest.prompt_tokens_estimate
        cells[row + Column.FLIGHT_SENT_NS] = oldest.sent_ns or 0
        cells[row + Column.FLIGHT_OUTPUT_NS] = oldest.last_output_ns or 0

    def total(self, column: Column | int) -> int:
        """The sum over all workers."""
        return sum(self._cells[_FIRST_ROW + column :: _COLUMNS])

    def count(self, outcome: Outcome) -> int:
        """How many requests ended that way."""
        return self.total(_PLACES[outcome])

    def flights(self) -> Iterator[Flight]:
        """The oldest request in flight of each worker that has some."""
        for worker in range(self._workers):
            row = _FIRST_ROW + worker * _COLUMNS + Column.FLIGHT
            place, turn, tokens, sent_ns, output_ns = self._cells[row : row + 5]
            if place:
                yield Flight(place - 1, turn, tokens, sent_ns or None, output_ns or None)

    def ttft_percentiles(self, *percents: float) -> list[float | None]:
        """Nearest-rank percentiles of TTFT (ns) over the successes so far, 2.5 % off at most; None: there are none."""
        rows = range(_FIRST_ROW + _FIRST_TTFT, len(self._cells), _COLUMNS)
        counts = list(map(sum, zip(*(self._cells[row : row + BUCKETS].tolist() for row in rows), strict=True)))
        below = list(accumulate(counts))
        return [_find(below, percent) for percent in percents]

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


# An enum's member costs as much as the rest of what `finish` does with it.
_DONE, _OVER_EVENTS, _OUTPUT_TOKENS = int(Column.DONE), int(Column.OVER_EVENTS), int(Column.OUTPUT_TOKENS)


def find_bucket(ns: int) -> int:
    """Which of the `BUCKETS` a time is counted in; what is beyond them in the first or the last."""
    return min(max(int(log(max(ns, 1)) * _BUCKETS_PER_E) - _FIRST_BUCKET, 0), BUCKETS - 1)


def _find(below: list[int], percent: float) -> float | None:
    """The middle of the bucket at that rank; `below`: how many values are in each bucket or before it."""
    rank = max(ceil(round(percent * below[-1] / 100, 9)), 1)
    for bucket, count in enumerate(below):
        if count >= rank:
            return exp((bucket + _FIRST_BUCKET + 0.5) / _BUCKETS_PER_E)
    return None
