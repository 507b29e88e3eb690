"""Quantiles of a metric of single requests: of one round, and of one round over those of another of other prompts.

No shape of the values is assumed: what is uncertain is which share of all values lies below the one that was found
(Woodruff 1952). It is that of a binomial with as many prompts as the stretches of time leave of them (Korn and Graubard
1998), and the bounds are the values of the ranks that it comes to. Where such a rank is beyond the slowest prompt,
there is no bound. The bounds of two rounds are put together as the squares of their distances (Zou and Donner 2008).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fluxperf.analysis.influence import Spread, spread_of_one, too_few
from fluxperf.analysis.numeric import count_above, normal_quantile, np
from fluxperf.analysis.samples import Sample
from fluxperf.analysis.uncertain import USUAL, Uncertain, t_reach, unknown
from fluxperf.model.contrast import Way

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HALVINGS = 30


def nearest_rank(share: float, size: int) -> int:
    """The rank, from 1, of the smallest value with at least that share of all `size` at or below it."""
    return max(math.ceil(round(share * size, 9)), 1)


@dataclass(frozen=True, slots=True)
class Order:
    """A round's values in order, one or more, and how sure the share below their quantile is; None: nobody knows."""

    values: NDArray[np.int64]
    share: float
    spread: Spread | None

    @property
    def quantile(self) -> float:
        """By nearest rank."""
        return float(self.values[nearest_rank(self.share, self.values.size) - 1])

    @property
    def weight(self) -> float:
        """How many independent values one of these tells as much as; at most 1."""
        if self.spread is None or not self.spread.standard_error:
            return 1.0
        alone = self.share * (1 - self.share) / self.values.size
        return min(alone / self.spread.standard_error**2, 1.0)

    def between(self, confidence: float, degrees_of_freedom: float) -> tuple[float, float]:
        """The values that the truth lies between; 0 and infinity where there are none."""
        known, size = self.weight * discount(confidence, degrees_of_freedom), self.values.size
        tail = (1 - confidence) / 2
        above = rank_above(size * known, self.share, tail) / known
        beyond = rank_above(size * known, 1 - self.share, tail) / known
        return min(self._value_at(size + 1 - beyond), self.quantile), max(self._value_at(above), self.quantile)

    def _value_at(self, rank: float) -> float:
        """The value of this rank, from 1, or in between."""
        if rank < 1:
            return 0.0
        if rank > self.values.size:
            return math.inf
        first, part = int(rank), rank % 1
        low = float(self.values[first - 1])
        return low + part * (float(self.values[first]) - low) if part else low


def order_values(sample: Sample, metric: str, share: float, kept: NDArray[np.bool_]) -> Order:
    """The values of a round's rows `kept`, one or more, in order."""
    values = sample.values[metric][kept]
    ordered = Order(np.sort(values), share, None)
    below = values <= ordered.quantile
    return replace(ordered, spread=spread_of_one((below - below.mean()) / below.size, sample.stretches(kept)))


def measure_quantile(sample: Sample, metric: str, share: float) -> Uncertain | None:
    """The quantile of a round, in the metric's raw unit; None where there is no value."""
    kept = sample.values[metric] >= 0
    if not kept.any():
        return None
    order = order_values(sample, metric, share, kept)
    counts, spread = (order.values.size, order.values.size), order.spread
    found = Uncertain(value=order.quantile, limits=unknown(), way=Way.TWO_SAMPLES, counts=counts)
    if spread is None:
        return replace(found, why=too_few(sample))
    found = replace(found, limits=lambda confidence: order.between(confidence, spread.degrees_of_freedom))
    return explained(found, order, spread.degrees_of_freedom)


def contrast_samples(base: Sample, new: Sample, metric: str, share: float) -> Uncertain | None:
    """The quantile of `new` over that of `base`, whose prompts are others; None where one has no value above 0."""
    kept = [sample.values[metric] >= 0 for sample in (base, new)]
    if not all(rows.any() for rows in kept):
        return None
    first, second = (order_values(sample, metric, share, rows) for sample, rows in zip((base, new), kept, strict=True))
    if not first.quantile or not second.quantile:
        return None
    counts = (first.values.size, second.values.size)
    ratio = second.quantile / first.quantile
    found = Uncertain(value=ratio, limits=unknown(), way=Way.TWO_SAMPLES, counts=counts)
    if first.spread is None or second.spread is None:
        return replace(found, why=too_few(base, new))
    freedom = (first.spread + second.spread).degrees_of_freedom

    def limits(confidence: float) -> tuple[float, float]:
        before, later = first.between(confidence, freedom), second.between(confidence, freedom)
        down = math.hypot(_distance(later[0], second.quantile), _distance(first.quantile, before[1]))
        up = math.hypot(_distance(second.quantile, later[1]), _distance(before[0], first.quantile))
        return ratio * math.exp(-down), ratio * math.exp(up) if up < math.inf else math.inf

    poorer = min((first, second), key=lambda order: order.values.size * order.weight)
    return explained(replace(found, limits=limits), poorer, freedom)


def explained(found: Uncertain, order: Order, degrees_of_freedom: float) -> Uncertain:
    """With what its bounds come to as a standard error, or with why there are none."""
    low, high = found.bounds(USUAL)
    if low > 0 and high < math.inf:
        error = math.log(high / low) / 2 / t_reach(degrees_of_freedom, USUAL)
        return replace(found, standard_error=error, degrees_of_freedom=degrees_of_freedom)
    return replace(found, why=beyond_reach(order, discount(USUAL, degrees_of_freedom)))


def beyond_reach(order: Order, known: float) -> str:
    """Why a quantile has no bound: how many prompts would do, of which each tells this part of `order.weight`."""
    extreme, outer = ("slowest", order.share) if order.share >= 0.5 else ("fastest", 1 - order.share)
    least = math.log((1 - USUAL) / 2) / math.log(outer) / known / order.weight
    size, rank = order.values.size, nearest_rank(order.share, order.values.size)
    place = "is" if rank in (1, size) else "is too near"
    return f"p{order.share * 100:g} of {size} prompts {place} the {extreme} one: about {math.ceil(least)} are needed"


def discount(confidence: float, degrees_of_freedom: float) -> float:
    """What values are worth less for not knowing well how much they go together (Korn and Graubard 1998)."""
    if not confidence:
        return 1.0
    return float((normal_quantile((1 + confidence) / 2) / t_reach(degrees_of_freedom, confidence)) ** 2)


def rank_above(trials: float, share: float, tail: float) -> float:
    """The rank above a quantile: so many or more of the values are below it with no more than this probability."""
    if count_above(trials, share, trials) > tail:
        return math.inf
    low, high = 0.0, trials
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if count_above(trials, share, middle) <= tail else (middle, high)
    return high


def _distance(one: float, other: float) -> float:
    """The logarithm of `other` over `one`, which is not larger."""
    return math.inf if not one or other == math.inf else math.log(other / one)
