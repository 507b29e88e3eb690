"""`Spread`: how many numbers are distributed, in a few of them. Knows not what they count."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, slots=True)
class Spread:
    """Of at least one number: the sum, the smallest and largest, and percentiles, which are numbers among them."""

    total: int
    min: int
    p50: int
    p90: int
    p99: int
    max: int

    def __str__(self) -> str:
        names = ("min", "p50", "p90", "p99", "max")
        return ", ".join(f"{name.replace('p', 'P')} {getattr(self, name):,}" for name in names)


def spread(numbers: Collection[int]) -> Spread | None:
    """The spread of whole numbers, by nearest rank; None if there are none."""
    ranked = sorted(numbers)
    if not ranked:
        return None
    p50, p90, p99 = (ranked[ceil(share * len(ranked) / 100) - 1] for share in (50, 90, 99))
    return Spread(sum(ranked), ranked[0], p50, p90, p99, ranked[-1])
