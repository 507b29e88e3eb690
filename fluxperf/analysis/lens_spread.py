"""`Spread`: the statistics that other tools make of values, which may have weights. Knows no tool."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable
from itertools import accumulate


class Spread:
    """Values with whole weights: a weight of three is the value three times. None of anything where there is none."""

    def __init__(self, values: Iterable[tuple[float, int]]) -> None:
        pairs = sorted(pair for pair in values if pair[1] > 0)
        self._values = [value for value, _ in pairs]
        self._weights = [weight for _, weight in pairs]
        self._up_to = list(accumulate(self._weights))
        self.count = self._up_to[-1] if pairs else 0

    def mean(self) -> float | None:
        """The mean."""
        if not self.count:
            return None
        return math.fsum(value * weight for value, weight in self._pairs()) / self.count

    def std(self, freedom: int = 0) -> float | None:
        """The standard deviation: the population's, or with `freedom` 1 that of a sample."""
        mean = self.mean()
        if mean is None or self.count <= freedom:
            return None
        squares = math.fsum((value - mean) ** 2 * weight for value, weight in self._pairs())
        return math.sqrt(squares / (self.count - freedom))

    def least(self) -> float | None:
        """The minimum."""
        return self._values[0] if self._values else None

    def most(self) -> float | None:
        """The maximum."""
        return self._values[-1] if self._values else None

    def interpolated(self, percent: float) -> float | None:
        """The percentile as numpy and pandas have it: linear between the two values around (count - 1) x percent."""
        if not self.count:
            return None
        place = percent / 100 * (self.count - 1)
        below = math.floor(place)
        low, high = self._at(below), self._at(min(below + 1, self.count - 1))
        return low + (high - low) * (place - below)

    def reached(self, percent: float) -> float | None:
        """The smallest value with at least that share of the weight at or below it: nearest rank."""
        if not self.count:
            return None
        rank = max(math.ceil(round(percent * self.count / 100, 9)), 1)
        return self._at(rank - 1)

    def _at(self, place: int) -> float:
        return self._values[bisect.bisect_right(self._up_to, place)]

    def _pairs(self) -> Iterable[tuple[float, int]]:
        return zip(self._values, self._weights, strict=True)
