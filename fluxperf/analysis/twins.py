"""Quantiles of rounds of the same prompts: how far one over the other may be off. Knows pairs, and no metric's meaning.

Which prompts are slow hardly differs between the rounds, so their quantiles move together, and the ranks of one round
say little. What moves one against the other is what made single prompts faster in one round than in the other. So
these differences are dealt out anew, many times, with either sign, and each pair keeps its mean; what the quantiles'
ratio then scatters by is its error. It is dealt out twice: each pair takes the difference of one that is about as slow;
and each stretch of time keeps its own and turns round as a whole, since what ran together goes together.

Where the slowest prompts are a few, or of one burst, no dealing shows what another burst would do: there is no bound
where the round's own quantile has none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fluxperf.analysis.clustered import CUT, Stretches
from fluxperf.analysis.influence import spread_of_pairs, too_few
from fluxperf.analysis.numeric import np
from fluxperf.analysis.quantiles import beyond_reach, nearest_rank, order_values, rank_above
from fluxperf.analysis.samples import Sample
from fluxperf.analysis.uncertain import USUAL, Uncertain, on_logs, unknown
from fluxperf.model.contrast import Way

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DEALS = 250
_SEED = 1998  # the same runs always give the same interval
_NEIGHBOURS = 8  # on either side
_MOST_RANKS = 1000  # on either side of the quantile; what is further away does not come near it


def contrast_twins(base: Sample, new: Sample, metric: str, share: float) -> Uncertain | None:
    """The quantile of `new` over that of `base`, whose rows are pairs; None where no pair has values above 0."""
    kept = (base.values[metric] > 0) & (new.values[metric] > 0)
    count = int(np.count_nonzero(kept))
    if not count:
        return None
    orders = [order_values(sample, metric, share, kept) for sample in (base, new)]
    pairs = _Pairs(
        before=np.log(base.values[metric][kept]),
        later=np.log(new.values[metric][kept]),
        quantile_before=math.log(orders[0].quantile),
        quantile_later=math.log(orders[1].quantile),
        rank=nearest_rank(share, count),
    )
    found = Uncertain(value=math.exp(pairs.change), limits=unknown(), way=Way.PAIRED, counts=(count, count))
    poorer = min(orders, key=lambda order: order.weight)
    if poorer.spread is None:
        return replace(found, why=too_few(base, new))
    stretches = Stretches(base.stretches(kept), new.stretches(kept))
    error, freedom = pairs.error(stretches), pairs.degrees_of_freedom(stretches)

    def limits(confidence: float) -> tuple[float, float]:
        if rank_above(count * poorer.weight, max(share, 1 - share), (1 - confidence) / 2) == math.inf:
            return 0.0, math.inf
        return on_logs(pairs.change, error, freedom)(confidence)

    found = replace(found, limits=limits)
    if found.bounds(USUAL)[1] < math.inf:
        return replace(found, standard_error=error, degrees_of_freedom=freedom)
    return replace(found, why=beyond_reach(poorer, 1.0))


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Logarithms of both rounds' values, one or more, their quantiles, and the rank of these, from 1."""

    before: NDArray[np.float64]
    later: NDArray[np.float64]
    quantile_before: float
    quantile_later: float
    rank: int

    @property
    def change(self) -> float:
        """The logarithm of the quantiles' ratio."""
        return self.quantile_later - self.quantile_before

    @property
    def middle(self) -> NDArray[np.float64]:
        """The mean of each pair."""
        return (self.before + self.later) / 2

    def degrees_of_freedom(self, stretches: Stretches) -> float:
        """One less than the stretches that have a say: of the prompts beyond the quantile, and of as many before."""
        size, ranked = self.before.size, np.argsort(self.middle, kind="stable")
        beyond = size - self.rank
        slow = 2 * beyond <= size
        say = ranked[-max(2 * beyond, 2) :] if slow else ranked[: max(2 * self.rank, 2)]
        sums = [np.bincount(labels[say]).astype(float) for labels in (stretches.first, stretches.second)]
        return max(min(float(one.sum() ** 2 / (one @ one)) for one in sums) - 1, 1.0)

    def error(self, stretches: Stretches) -> float:
        """The standard error of `change`."""
        middle = self.middle
        first = max(self.rank - _MOST_RANKS, 0)
        near = np.argsort(middle, kind="stable")[first : self.rank + _MOST_RANKS]
        moved = self.later - self.before
        # By what most pairs changed, not the quantile: where that jumps over a gap (hits and misses of a cache), pairs
        # that stayed where they were would seem to have moved, all alike, and dealing them anew would show no scatter.
        deal = _Deal(middle[near], (moved - np.median(moved))[near] / 2, self.rank - 1 - first)
        alone = deal.scatter_alone()
        together = sum(deal.scatter_together(labels[near]) for labels in (stretches.first, stretches.second)) / 2
        return math.sqrt(max(alone * self._excess(stretches), alone + CUT * (together - alone)))

    def _excess(self, stretches: Stretches) -> float:
        """How many times the variance is more for prompts that change sides of the quantile together; at least 1."""
        moved = (self.later <= self.quantile_later).astype(float) - (self.before <= self.quantile_before)
        influences = (moved - moved.mean()) / moved.size
        alone, spread = float(influences @ influences), spread_of_pairs(influences, stretches)
        return max(spread.standard_error**2 / alone, 1.0) if alone and spread is not None else 1.0


@dataclass(frozen=True, slots=True)
class _Deal:
    """Pairs near the quantile by their means, ascending: half of what is between each, and the quantile's place."""

    middle: NDArray[np.float64]
    half: NDArray[np.float64]
    place: int

    def scatter_alone(self) -> float:
        """The variance where each pair takes the difference of a neighbour."""
        chance = np.random.default_rng(_SEED)
        size = self.half.size
        window = min(2 * _NEIGHBOURS + 1, size)
        starts = np.clip(np.arange(size) - _NEIGHBOURS, 0, size - window)
        taken = self.half[starts + chance.integers(0, window, (_DEALS, size))]
        return self._scatter(taken * _signs(chance, size))

    def scatter_together(self, labels: NDArray[np.int64]) -> float:
        """The variance where each keeps its own, and those of a stretch turn round together."""
        signs = _signs(np.random.default_rng(_SEED), int(labels.max()) + 1)
        return self._scatter(self.half * signs[:, labels])

    def _scatter(self, dealt: NDArray[np.float64]) -> float:
        later, before = (
            np.partition(self.middle + side, self.place, axis=1)[:, self.place] for side in (dealt, -dealt)
        )
        return float((later - before).var())


def _signs(chance: np.random.Generator, size: int) -> NDArray[np.float64]:
    signs: NDArray[np.float64] = chance.integers(0, 2, (_DEALS, size)).astype(np.float64) * 2 - 1
    return signs
