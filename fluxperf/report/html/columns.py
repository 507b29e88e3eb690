"""The requests of a round as columns of numbers, read once, and pairs of them. Knows what a request is, and no plot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fluxperf.errors import UsageError
from fluxperf.model import Outcome, RoundResult, Timeline
from fluxperf.report.html.chart import Flags, Floats, Ints
from fluxperf.units import NS_PER_MS, NS_PER_S

# No stamp and no count: below anything that is one.
_NONE = -(1 << 62)
# The key of a request is its place in the dataset and its turn.
_MOST_TURNS = 1 << 20
_OUTCOMES = tuple(Outcome)
NUMBERS = {outcome: number for number, outcome in enumerate(_OUTCOMES)}
"""The numbers that stand for outcomes in a column."""
_FAILED = [number for number, outcome in enumerate(_OUTCOMES) if outcome.counted and not outcome.success]
_FIELDS = ("index", "turn", "sent", "first", "last", "end", "done", "input", "output", "cached", "outcome")
_ROW = np.dtype([(name, np.int64) for name in _FIELDS])


@dataclass(frozen=True, slots=True)
class Columns:
    """A value for each request that was sent. Seconds count from the round's first send; NaN: it did not happen.

    `done_s` is when the client was done with it, whichever way it ended. `ttft_ms`, `itl_ms` and `latency_ms` are of
    successes only.
    """

    index: Ints
    turn: Ints
    outcome: Ints
    sent_s: Floats
    first_s: Floats
    last_s: Floats
    done_s: Floats
    ttft_ms: Floats
    itl_ms: Floats
    latency_ms: Floats
    input_tokens: Ints
    output_tokens: Ints
    cached_tokens: Floats

    def __len__(self) -> int:
        return len(self.index)

    @property
    def succeeded(self) -> Flags:
        """Which of them count as successful."""
        return np.isfinite(self.ttft_ms)

    def failures(self) -> list[tuple[float, Outcome]]:
        """When requests failed, and how."""
        places = np.flatnonzero(np.isin(self.outcome, _FAILED) & np.isfinite(self.done_s))
        return [(float(self.done_s[place]), _OUTCOMES[self.outcome[place]]) for place in places]


def read_columns(result: RoundResult) -> Columns:
    """The columns of a round. Raises UsageError where its requests cannot be read, or are not numbers."""
    try:
        rows = np.fromiter(_rows(result.requests), dtype=_ROW)
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"a request cannot be understood ({error}): was its file written by FluxPerf?") from None
    start = int(rows["sent"].min()) if result.first_sent_ns is None and len(rows) else result.first_sent_ns or 0
    success = np.isin(rows["outcome"], [number for number, outcome in enumerate(_OUTCOMES) if outcome.success])
    itl = _since(rows, "last", "first") / np.maximum(rows["output"] - 1, 1)
    has_itl = success & (rows["output"] >= 2) & (rows["last"] != rows["first"])
    return Columns(
        index=rows["index"].copy(),
        turn=rows["turn"].copy(),
        outcome=rows["outcome"].copy(),
        sent_s=_seconds(rows["sent"], start),
        first_s=_seconds(rows["first"], start),
        last_s=_seconds(rows["last"], start),
        done_s=_seconds(np.maximum(rows["done"], rows["end"]), start),
        ttft_ms=np.where(success, _since(rows, "first", "sent"), np.nan),
        itl_ms=np.where(has_itl, itl, np.nan),
        latency_ms=np.where(success, _since(rows, "end", "sent"), np.nan),
        input_tokens=rows["input"].copy(),
        output_tokens=rows["output"].copy(),
        cached_tokens=np.where(rows["cached"] == _NONE, np.nan, rows["cached"]),
    )


def _rows(requests: Iterable[Timeline]) -> Iterator[tuple[int, ...]]:
    """In the order of the fields; a hundred thousand of them are nothing out of the ordinary."""
    for one in requests:
        sent = one.sent_ns
        if sent is None:
            continue
        stamps = (one.first_output_ns, one.last_output_ns, one.end_ns, one.done_ns)
        first, last, end, done = (_NONE if stamp is None else stamp for stamp in stamps)
        cached = one.believed_cached_tokens
        yield (
            *(one.index, one.turn, sent, first, last, end, done, one.input_tokens, one.output_tokens),
            *(_NONE if cached is None else cached, NUMBERS[one.outcome]),
        )


def _seconds(stamps: Ints, start: int) -> Floats:
    found: Floats = np.where(stamps == _NONE, np.nan, (stamps - start) / NS_PER_S)
    return found


def _since(rows: Any, later: str, earlier: str) -> Floats:
    known = (rows[later] != _NONE) & (rows[earlier] != _NONE)
    found: Floats = np.where(known, (rows[later] - rows[earlier]) / NS_PER_MS, np.nan)
    return found


@dataclass(frozen=True, slots=True)
class Pairs:
    """Prompts that succeeded in two rounds of a level, `before` and `after`, one by one."""

    before: Columns
    after: Columns
    before_places: Ints
    after_places: Ints

    def __len__(self) -> int:
        return len(self.before_places)

    def both(self, column: str) -> tuple[Any, Any]:
        """A column of the pairs in either round."""
        return getattr(self.before, column)[self.before_places], getattr(self.after, column)[self.after_places]

    def only(self, places: Ints) -> Pairs:
        """The pairs at these places."""
        return Pairs(self.before, self.after, self.before_places[places], self.after_places[places])


def pair(before: Columns, after: Columns) -> Pairs:
    """The prompts with a TTFT in both rounds, in the order of the dataset."""
    places = [np.flatnonzero(np.isfinite(columns.ttft_ms)) for columns in (before, after)]
    keys = [
        columns.index[found] * _MOST_TURNS + columns.turn[found]
        for columns, found in zip((before, after), places, strict=True)
    ]
    _, first, second = np.intersect1d(keys[0], keys[1], return_indices=True)
    return Pairs(before, after, places[0][first], places[1][second])


def choose(quantities: Iterable[Floats], most: int) -> Ints:
    """Which of many points to show: at most `most` of them, always the same.

    Of each quantity its extremes are there; the others are spread evenly over the first one's order.
    """
    ordered = [np.argsort(quantity, kind="stable") for quantity in quantities]
    total = len(ordered[0])
    if total <= most:
        return np.arange(total)
    ends = max(most // 20 // len(ordered), 1)
    extremes = np.unique(np.concatenate([part for order in ordered for part in (order[:ends], order[-ends:])]))
    even = ordered[0][np.linspace(0, total - 1, most - len(extremes)).round().astype(np.int64)]
    return np.union1d(extremes, even)
