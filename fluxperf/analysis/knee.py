"""The knee of a load curve: the level beyond which more load buys less throughput than it costs latency. Pure.

By Kleinrock's power, throughput / latency, at its maximum (L. Kleinrock, "Power and deterministic rules of thumb for
probabilistic problems in computer communications", ICC 1979). Only levels that were run are looked at: what lies
between them is not known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Operation:
    """How a system did at one level: `throughput` in any unit a second, `latency` in any unit of time, as a mean."""

    concurrency: int
    throughput: float
    latency: float

    @property
    def power(self) -> float:
        """Kleinrock's."""
        return self.throughput / self.latency


@dataclass(frozen=True, slots=True, kw_only=True)
class Knee:
    """The level of highest power among those that were run.

    `is_first` and `is_last`: it is the least or the greatest of them, so the true one may lie further out.
    """

    concurrency: int
    power: float
    is_first: bool
    is_last: bool


def find_knee(operations: Iterable[Operation]) -> Knee | None:
    """The knee; of levels with equal power the least. None: fewer than two levels have a power that is a number."""
    known = [one for one in operations if _counts(one.throughput) and _counts(one.latency)]
    levels = sorted(one.concurrency for one in known)
    if len(set(levels)) < 2:
        return None
    best = max(known, key=lambda one: (one.power, -one.concurrency))
    return Knee(
        concurrency=best.concurrency,
        power=best.power,
        is_first=best.concurrency == levels[0],
        is_last=best.concurrency == levels[-1],
    )


def _counts(value: float) -> bool:
    return math.isfinite(value) and value > 0
