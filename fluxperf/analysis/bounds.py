"""How far a percentile may be from the truth, if it is known by how much each single value may be off."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fluxperf.model import Histogram

# Where to look for the error that says most: few values are off by more than the upper ones.
_CANDIDATES = (50, 90, 99, 99.9)


def error_bounds(
    values: Histogram, slack: Histogram, percents: Sequence[float], *, both_ways: bool = False, parts: float = 1
) -> list[float]:
    """For each percentile of `values`: by how much it may be off, in the unit of `values`.

    `slack` counts by how much stamps may be late, and a value is off by the lateness of a stamp over
    `parts`: too high or, `both_ways`, too low. If the stamps of m values are off by more than t, the
    true value of rank r is not below the measured one of rank r - m, less t; and not above that of
    rank r + m, plus t. This holds for every t, so the t that says most is taken. No distribution is
    assumed: values may be off just where it hurts. What is true is not below 0, so downwards a value is
    off by itself at most.
    """
    if not values.count or not slack.count:
        return [0.0] * len(percents)
    late = [(error / parts, slack.count_above(math.ceil(error))) for error in _errors(slack)]
    ranks = [max(math.ceil(round(percent * values.count / 100, 9)), 1) for percent in percents]
    shifted = {rank + shift for rank in ranks for _, count in late for shift in (-count, 0, count)}
    known = sorted(rank for rank in shifted if 1 <= rank <= values.count)
    at = dict(zip(known, values.percentiles(*(100 * rank / values.count for rank in known)), strict=True))

    def reach(rank: int, shift: int) -> float:
        here, there = at[rank], at.get(rank + shift)
        return math.inf if here is None or there is None else abs(there - here)

    def bound(rank: int, error: float, count: int) -> float:
        down = min(error + reach(rank, -count), at[rank] or 0)
        return max(down, error + reach(rank, count)) if both_ways else down

    return [min(bound(rank, error, count) for error, count in late) for rank in ranks]


def _errors(slack: Histogram) -> list[float]:
    inner = (value for value in slack.percentiles(*_CANDIDATES) if value is not None)
    return sorted({0.0, *inner, float(slack.max or 0)})
