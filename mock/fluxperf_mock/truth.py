"""The truth: what was really written, when, since the last reset. Knows stamps, not sockets.

Every value is kept as it is (no buckets), so that a client's figures can be held against it to the nanosecond.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field, fields

from fluxperf.units import ns_to_ms

# 128 MiB of stamps a series; beyond it values are counted, not kept.
_ROOM = 1 << 24
_DIGITS = 6  # of a millisecond: whole nanoseconds


class Series:
    """Durations in ns, as they came."""

    __slots__ = ("_values", "dropped")

    def __init__(self) -> None:
        self._values = array("q")
        self.dropped = 0

    def add(self, value_ns: int) -> None:
        """Keeps one duration."""
        if len(self._values) < _ROOM:
            self._values.append(value_ns)
        else:
            self.dropped += 1

    def to_dict(self) -> dict[str, int | float | None]:
        """Count, mean, nearest-rank percentiles and maximum in ms (None if there are no values)."""
        values = sorted(self._values)
        summary: dict[str, int | float | None] = {"n": len(values)}
        if not values:
            return summary | dict.fromkeys(("mean", "p50", "p90", "p99", "max"))
        summary["mean"] = round(ns_to_ms(sum(values) / len(values)), _DIGITS)
        for percent in (50, 90, 99):
            rank = -(-len(values) * percent // 100)
            summary[f"p{percent}"] = round(ns_to_ms(values[rank - 1]), _DIGITS)
        summary["max"] = round(ns_to_ms(values[-1]), _DIGITS)
        if self.dropped:
            summary["dropped"] = self.dropped
        return summary


@dataclass(slots=True)
class Truth:
    """Counts, and four series.

    `ttft` and `itl` (each gap) are of streamed answers: write of the first token - arrival, and write - write
    before. `e2e` is the last write - arrival, of every answer. `late` is each streamed token's write - its due time.
    `user_stamps` counts reads whose arrival the kernel did not stamp, so that it was taken after the read.
    """

    requests: int = 0
    streamed: int = 0
    finished: int = 0
    aborted: int = 0
    tokens: int = 0
    connections: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    user_stamps: int = 0
    ttft: Series = field(default_factory=Series)
    itl: Series = field(default_factory=Series)
    e2e: Series = field(default_factory=Series)
    late: Series = field(default_factory=Series)

    def reset(self) -> None:
        """Starts anew; what is running is counted from here on."""
        fresh = Truth()
        for item in fields(self):
            setattr(self, item.name, getattr(fresh, item.name))

    def to_dict(self) -> dict[str, object]:
        """The truth as it goes out at /truth: counts as they are, series in ms."""
        counts = ("requests", "streamed", "finished", "aborted", "tokens", "connections")
        stamps = ("prompt_tokens", "cached_tokens", "user_stamps")
        report: dict[str, object] = {name: getattr(self, name) for name in counts + stamps}
        for name in ("ttft", "itl", "e2e", "late"):
            report[f"{name}_ms"] = getattr(self, name).to_dict()
        return report


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
        truth.tokens += 1
        self._last_ns = written_ns

    def last_token(self, due_ns: int, written_ns: int) -> None:
        """The same of the last one, which goes out with the end of the answer."""
        self.token(due_ns, written_ns)
        self.end(written_ns)

    def whole(self, tokens: int, written_ns: int) -> None:
        """An answer of `tokens` tokens, asked for in one piece, was handed to the kernel."""
        self._truth.tokens += tokens
        self.end(written_ns)

    def end(self, written_ns: int) -> None:
        """The answer's last byte was handed to the kernel."""
        self._truth.finished += 1
        self._truth.e2e.add(written_ns - self._arrived_ns)
