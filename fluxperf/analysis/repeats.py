"""Figures of repeated runs: how sure they are by the spread between the runs. Knows numbers, one a run."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from fluxperf.analysis.shares import Fieller
from fluxperf.analysis.uncertain import Uncertain, on_logs, plain, unknown
from fluxperf.model.contrast import Way

# A percentile of a table is up to 0.05 % from the value itself: the variance of its logarithm that comes of that.
_LEAST_LOG_VARIANCE = 0.0005**2 / 3


@dataclass(frozen=True, slots=True)
class Values:
    """A figure of each run of a side, one or more. `least_variance` is what a run's own requests give it at least."""

    values: tuple[float, ...]
    least_variance: float = 0.0

    @property
    def count(self) -> int:
        """How many runs there are."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """The arithmetic one."""
        return math.fsum(self.values) / self.count

    @property
    def squares(self) -> float:
        """The sum of the squares of what each is from the mean."""
        return math.fsum((value - self.mean) ** 2 for value in self.values)

    @property
    def logs(self) -> Values | None:
        """Their logarithms; None where one is not above 0."""
        if min(self.values) <= 0:
            return None
        return Values(tuple(map(math.log, self.values)), _LEAST_LOG_VARIANCE)


def pool(*sides: Values) -> tuple[float, int]:
    """The variance between runs, taken to be the same on every side, and its degrees of freedom (0: not known)."""
    freedom = sum(side.count - 1 for side in sides)
    seen = math.fsum(side.squares for side in sides) / freedom if freedom else math.inf
    return max(seen, *(side.least_variance for side in sides)), freedom


def measure_repeats(side: Values) -> Uncertain | None:
    """The geometric mean of two or more runs; None where one is not above 0."""
    logs = side.logs
    if logs is None:
        return None
    variance, freedom = pool(logs)
    return _by_t(logs.mean, variance / side.count, freedom, (side.count, side.count))


def measure_shares(side: Values) -> Uncertain:
    """The mean of two or more runs' shares, which may be 0 or 1."""
    variance, freedom = pool(side)
    limits = plain(side.mean, math.sqrt(variance / side.count), freedom)

    def within(confidence: float) -> tuple[float, float]:
        low, high = limits(confidence)
        return max(low, 0.0), min(high, 1.0)

    return Uncertain(value=side.mean, limits=within, way=Way.REPEATS, counts=(side.count, side.count))


def contrast_repeats(base: Values, new: Values) -> Uncertain | None:
    """`new` over `base`, by the geometric means; None where a value is not above 0."""
    first, second = base.logs, new.logs
    if first is None or second is None:
        return None
    variance, freedom = pool(first, second)
    error = variance * (1 / base.count + 1 / new.count)
    return _told(_by_t(second.mean - first.mean, error, freedom, (base.count, new.count)))


def contrast_repeated_shares(base: Values, new: Values) -> Uncertain | None:
    """The same of shares, which may be 0, by their means; None where all are 0."""
    if not base.mean and not new.mean:
        return None
    variance, freedom = pool(base, new)
    fieller = Fieller(
        base=base.mean,
        new=new.mean,
        base_variance=variance / base.count,
        new_variance=variance / new.count,
        degrees_of_freedom=freedom,
    )
    return _told(fieller.uncertain(Way.REPEATS, (base.count, new.count)))


def contrast_within(earlier: Values, later: Values) -> Uncertain | None:
    """`later` over `earlier`, which are of the same two or more runs; None where a value is not above 0."""
    first, second = earlier.logs, later.logs
    if first is None or second is None:
        return None
    changes = tuple(after - before for before, after in zip(first.values, second.values, strict=True))
    logs = Values(changes, _LEAST_LOG_VARIANCE)
    variance, freedom = pool(logs)
    return _by_t(logs.mean, variance / logs.count, freedom, (logs.count, logs.count))


def _by_t(log_value: float, error_squared: float, freedom: int, counts: tuple[int, int]) -> Uncertain:
    error = math.sqrt(error_squared)
    return Uncertain(
        value=math.exp(log_value),
        limits=on_logs(log_value, error, freedom) if freedom else unknown(),
        way=Way.REPEATS,
        counts=counts,
        standard_error=error if freedom else None,
        degrees_of_freedom=float(freedom) if freedom else None,
    )


def _told(found: Uncertain) -> Uncertain:
    """With what a single run on one side means."""
    fewer, more = sorted(found.counts)
    if fewer > 1:
        return found
    return replace(found, why=f"one run against {more}: it is taken to scatter as those do")
