"""Shares of requests, or of tokens: those that met the SLO, that failed, that were cached; and one share over another.

A share near 0 or 1 may have no spread in what was seen, so each side counts as if one more request had gone the other
way. One over another is by Fieller's way: a ratio is within the bounds where `new - ratio x base` may be 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fluxperf.analysis.clustered import Stretches
from fluxperf.analysis.influence import spread_of_one, spread_of_pairs, too_few
from fluxperf.analysis.numeric import normal_quantile, np, share_below
from fluxperf.analysis.samples import NOTHING, Sample
from fluxperf.analysis.uncertain import Uncertain, t_reach, unknown
from fluxperf.model.contrast import Way

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of what a round has fell to one kind: of each row `kept` so much, of so much."""

    sample: Sample
    kept: NDArray[np.bool_]
    part: NDArray[np.float64]
    whole: NDArray[np.float64]

    @property
    def value(self) -> float:
        """The share, 0 to 1."""
        return float(self.part.sum() / self.whole.sum())

    @property
    def count(self) -> int:
        """Of how many requests."""
        return int(self.part.size)

    @property
    def influences(self) -> NDArray[np.float64]:
        """Each request's on the share itself."""
        moved: NDArray[np.float64] = (self.part - self.value * self.whole) / self.whole.sum()
        return moved

    @property
    def labels(self) -> NDArray[np.int64]:
        """The stretch of time of each."""
        return self.sample.stretches(self.kept)

    @property
    def least_variance(self) -> float:
        """Of a request that might as well have gone the other way."""
        heaviest = float(self.whole.max() / self.whole.sum())
        return heaviest**2


def share_of(sample: Sample, metric: str) -> Share | None:
    """The share of `goodput`, `errors`, `successes` (of the requests that came to an end) or `cached_tokens`."""
    if metric == "cached_tokens":
        kept = sample.cached_tokens != NOTHING
        part, whole = sample.cached_tokens[kept], sample.prompt_tokens[kept]
    else:
        kept = sample.sent
        rows = {"goodput": sample.good, "successes": sample.success, "errors": ~sample.success}[metric]
        part, whole = rows[kept], np.ones(int(np.count_nonzero(kept)))
    return Share(sample, kept, part.astype(float), whole.astype(float)) if whole.sum() > 0 else None


def measure_share(share: Share) -> Uncertain:
    """The share, with bounds by Clopper and Pearson for as many requests as it tells as much as."""
    counts, value = (share.count, share.count), share.value
    spread = spread_of_one(share.influences, share.labels)
    if spread is None:
        limits = unknown(0.0, 1.0)
        return Uncertain(value=value, limits=limits, way=Way.TWO_SAMPLES, counts=counts, why=too_few(share.sample))
    alone = value * (1 - value) / share.count
    known = min(alone / spread.standard_error**2, 1.0) if spread.standard_error else 1.0

    def limits_at(confidence: float) -> tuple[float, float]:
        tail = (1 - confidence) / 2
        reach = t_reach(spread.degrees_of_freedom, confidence)
        trials = share.count * known * ((normal_quantile(tail) / reach) ** 2 if reach else 1.0)
        part = trials * value
        low = share_below(trials, part, tail) if part else 0.0
        high = 1 - share_below(trials, trials - part, tail) if part < trials else 1.0
        return low, high

    return Uncertain(value=value, limits=limits_at, way=Way.TWO_SAMPLES, counts=counts)


def contrast_shares(base: Share, new: Share) -> Uncertain | None:
    """The share of `new` over that of `base`; None where both are 0."""
    if not base.value and not new.value:
        return None
    paired = base.sample.draws_as(new.sample) and np.array_equal(base.kept, new.kept)
    counts, way = (base.count, new.count), Way.PAIRED if paired else Way.TWO_SAMPLES
    first, second = (spread_of_one(side.influences, side.labels) for side in (base, new))
    if first is None or second is None:
        value, why = quotient(new.value, base.value), too_few(base.sample, new.sample)
        return Uncertain(value=value, limits=unknown(), way=way, counts=counts, why=why)
    fieller = Fieller(
        base=base.value,
        new=new.value,
        base_variance=first.standard_error**2 + base.least_variance,
        new_variance=second.standard_error**2 + new.least_variance,
        degrees_of_freedom=(first + second).degrees_of_freedom,
    )
    apart = spread_of_pairs(new.influences - base.influences, Stretches(base.labels, new.labels)) if paired else None
    if apart is not None:
        covariance = (first.standard_error**2 + second.standard_error**2 - apart.standard_error**2) / 2
        fieller = replace(fieller, covariance=covariance, degrees_of_freedom=apart.degrees_of_freedom)
    return fieller.uncertain(way, counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fieller:
    """Two shares, at least one above 0, how sure they are, and what is to be said of `new` over `base`."""

    base: float
    new: float
    base_variance: float
    new_variance: float
    degrees_of_freedom: float
    covariance: float = 0.0

    def uncertain(self, way: Way, counts: tuple[int, int]) -> Uncertain:
        """The ratio."""
        ratio = quotient(self.new, self.base)
        found = Uncertain(value=ratio, limits=self.bounds, way=way, counts=counts)
        if not 0 < ratio < math.inf:
            return found
        variance = self.new_variance - 2 * ratio * self._together + ratio**2 * self.base_variance
        error = math.sqrt(max(variance, 0.0)) / self.new
        return replace(found, standard_error=error, degrees_of_freedom=self.degrees_of_freedom)

    @property
    def _together(self) -> float:
        """The covariance, but no more than could be: a share has no more in common with another than with itself."""
        if not self.base or not self.new:
            return 0.0
        most = min(self.new_variance * self.base / self.new, self.base_variance * self.new / self.base)
        return max(min(self.covariance, most), 0.0)

    def bounds(self, confidence: float) -> tuple[float, float]:
        """The ratios at which `new - ratio x base` is no further from 0 than chance has it."""
        reach = t_reach(self.degrees_of_freedom, confidence) ** 2
        # The roots of a parabola in the ratio.
        square = self.base**2 - reach * self.base_variance
        half = self.base * self.new - reach * self._together
        rest = self.new**2 - reach * self.new_variance
        root = math.sqrt(max(half**2 - square * rest, 0.0))
        # The form that does not take the difference of what is nearly the same.
        low = quotient(rest, half + root) if rest > 0 else 0.0
        high = (half + root) / square if square > 0 else math.inf
        return low, high


def quotient(new: float, base: float) -> float:
    """`new` over `base`, which may be 0 where `new` is not."""
    return new / base if base else math.inf
