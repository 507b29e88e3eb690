"""Estimates from values that are not independent: an interval and a p-value, both from one and the same statistic.

Requests that ran together are slow or fast together, once in each of two rounds. So the variance is clustered two ways
(Cameron, Gelbach and Miller 2011): by stretch of time in the first round and by stretch in the second, less what both
have in common. A stretch is a run of requests that were sent one after another. Knows no metric and no round: arrays
in, an `Estimate` out. `tests/analysis/test_coverage.py` holds by simulation what the constants were chosen for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fluxperf.analysis.numeric import np, t_below, t_quantile

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Few and long, because a server's moods outlast its waves: where they last for a tenth of the round, intervals of 95 %
# cover 75 to 90 % with 20 stretches, and 93 to 97 % with 8. Fewer still would widen all others for nothing.
MOST_STRETCHES = 8
# With three, a variance has two degrees of freedom, and what it says is next to nothing.
LEAST_STRETCHES = 4
# What goes together does not begin where a stretch begins: of blocks as long as a stretch, anywhere, clusters see two
# thirds of the variance. So what they see beyond that of independent values counts one and a half times.
CUT = 1.5
# Values whose sums cancel in every stretch, by a pattern or by chance, are not taken to tell more than this.
_LEAST_SHARE = 0.25
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % t interval, and the two-sided p-value of its being 0: below 0.05 if 0 is outside."""

    value: float
    standard_error: float
    degrees_of_freedom: float
    interval: tuple[float, float]
    p_value: float


@dataclass(frozen=True, slots=True)
class Stretches:
    """For each value the number of the stretch that its request was sent in, in the first round and in the second."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]

    @property
    def clusters(self) -> int:
        """How many stretches there are, in the round that has fewer."""
        return min(_count(self.first), _count(self.second))

    @property
    def both(self) -> NDArray[np.int64]:
        """For each value a number that it has in common with those of the same stretch in both rounds."""
        numbers: NDArray[np.int64] = self.first * (self.second.max() + 1) + self.second
        return numbers


def estimate_mean(values: NDArray[np.float64], stretches: Stretches) -> Estimate | None:
    """The mean of `values`; None where there are too few stretches to tell how far off it may be."""
    if not values.size:
        return None
    mean = float(values.mean())
    return estimate(mean, np.full(values.size, 1 / values.size), values - mean, stretches)


def estimate(
    value: float, weights: NDArray[np.float64], residuals: NDArray[np.float64], stretches: Stretches
) -> Estimate | None:
    """`value`, the sum of observations by their `weights`; None where there are too few stretches.

    `residuals` is how far each observation is from where it was expected.
    """
    if stretches.clusters < LEAST_STRETCHES:
        return None
    freedom = max(min(_effective(weights**2, labels) for labels in (stretches.first, stretches.second)) - 1, 1)
    error = math.sqrt(variance(weights * residuals, stretches))
    reach = t_quantile(freedom, (1 + _CONFIDENCE) / 2) * error
    p_value = 2 * t_below(freedom, -abs(value) / error) if error else float(value == 0)
    return Estimate(value, error, freedom, (value - reach, value + reach), p_value)


def variance(influence: NDArray[np.float64], stretches: Stretches) -> float:
    """The variance of a figure, clustered two ways, from what each of two or more observations moves it by.

    A sum of noisy terms can come out too low, and even below 0. So it is no less than the mean of the two one-way
    variances, which is unbiased where nothing goes together, and steadier than either.
    """
    alone = float(influence @ influence) * influence.size / (influence.size - 1)
    first, second, both = (
        _one_way(influence, labels) for labels in (stretches.first, stretches.second, stretches.both)
    )
    return max(alone + CUT * (first + second - both - alone), (first + second) / 2, _LEAST_SHARE * alone)


def _one_way(influence: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The variance where only what has the same label goes together, corrected for how many labels there are."""
    sums = np.bincount(labels, influence)
    clusters = _count(labels)
    return float(sums @ sums) * clusters / (clusters - 1)


def _effective(weights: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """To how many clusters of the same weight these come (Carter, Schnepel and Steigerwald 2017)."""
    sums = np.bincount(labels, weights)
    return float(sums.sum() ** 2 / (sums @ sums))


def _count(labels: NDArray[np.int64]) -> int:
    """How many different labels there are."""
    return int(np.count_nonzero(np.bincount(labels)))


def count_stretches(requests: int, concurrency: int) -> int:
    """How many stretches so many requests are cut into: each no shorter than what ran at once."""
    return requests // max(concurrency, -(-requests // MOST_STRETCHES), 1)


def label(sent_ns: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """For each request the number of its stretch: `count` of them, as long as each other but for one request."""
    size = sent_ns.size
    labels = np.empty(size, np.int64)
    labels[np.argsort(sent_ns, kind="stable")] = np.arange(size) * min(max(count, 1), size) // max(size, 1)
    return labels
