"""What the pairs of one metric say: ratios, prompt by prompt, and how sure their mean is.

Loads numerical libraries, so it is loaded late itself; see `fluxperf.analysis.paired`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fluxperf.analysis.clustered import Stretches, count_stretches, estimate_mean, label
from fluxperf.analysis.numeric import np
from fluxperf.analysis.paired import Pairs
from fluxperf.metrics import Metric
from fluxperf.model import Comparison
from fluxperf.model.result import Effect

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A difference is shown where the p-value is below this, which is where a ratio of 1 is outside the interval of 95 %.
_LEVEL = 0.05
_OF_ROUNDS = (50, 90, 99)
_OF_RATIOS = (10, 50, 90, 99)


def compare_metric(pairs: Pairs, metric: Metric) -> Comparison:
    """The comparison of the two rounds in `metric`, one of `pairs.metrics`."""
    before, later = (column(values) for values in pairs.values[pairs.metrics.index(metric)])
    kept = find_pairs(pairs) & (before > 0) & (later > 0)
    stretches = find_stretches(pairs, kept)
    comparison = Comparison(
        stage=pairs.later.stage,
        concurrency=pairs.later.concurrency,
        metric=metric.name,
        pairs=int(np.count_nonzero(kept)),
        dropped=int(np.count_nonzero(~kept)),
        baseline_round=pairs.baseline.round,
        round=pairs.later.round,
        median_ratio=None,
        mean_ratio=None,
        ratio_ci95=None,
        median_difference_ms=None,
        difference_ci95_ms=None,
        p_value=None,
        share_slower=None,
        clusters=stretches.clusters,
        dropped_reasons=_count_reasons(pairs, kept),
    )
    if not comparison.pairs:
        return comparison
    first, second = (float(np.mean(column(tokens)[kept] - 1)) for tokens in pairs.output_tokens)
    comparison = replace(comparison, output_tokens=(first, second))
    values = _Values(metric, before[kept], later[kept])
    return values.judged(values.described(comparison), stretches)


@dataclass(frozen=True, slots=True)
class _Values:
    """One metric of the pairs, raw and above 0: at least one."""

    metric: Metric
    before: NDArray[np.int64]
    later: NDArray[np.int64]

    def described(self, comparison: Comparison) -> Comparison:
        """With the figures that take no assumption."""
        ratios = self.later / self.before
        differences = self.later - self.before
        before, later = _percentiles(self.before, _OF_ROUNDS), _percentiles(self.later, _OF_ROUNDS)
        return replace(
            comparison,
            median_ratio=float(np.median(ratios)),
            mean_ratio=_geometric_mean(ratios),
            median_difference_ms=float(np.median(differences)) / self.metric.per_unit,
            share_slower=float(np.mean(differences > 0 if self.metric.lower_is_better else differences < 0)),
            ratio_of_percentiles={name: later[name] / before[name] for name in before},
            percentiles_of_ratios=_percentiles(ratios, _OF_RATIOS),
        )

    def judged(self, comparison: Comparison, stretches: Stretches) -> Comparison:
        """With what can be told of all prompts from these; unchanged where that is nothing."""
        found = estimate_mean(np.log(self.later / self.before), stretches)
        if found is None:
            return comparison
        low, high = (math.exp(bound) for bound in found.interval)
        baseline = _geometric_mean(self.before) / self.metric.per_unit
        better = (found.value < 0) is self.metric.lower_is_better
        shown = Effect.FASTER if better else Effect.SLOWER
        return replace(
            comparison,
            ratio_ci95=(low, high),
            difference_ci95_ms=((low - 1) * baseline, (high - 1) * baseline),
            p_value=found.p_value,
            effect=shown if found.p_value < _LEVEL else Effect.NOT_SHOWN,
            log_ratio_error=found.standard_error,
        )


def column(values: memoryview[int]) -> NDArray[np.int64]:
    """A column of `Pairs` as an array."""
    return np.array(values, np.uint64).view(np.int64)


def find_pairs(pairs: Pairs) -> NDArray[np.bool_]:
    """Which prompts were sent and succeeded in both rounds."""
    before, later = (column(sent) > 0 for sent in pairs.sent_ns)
    found: NDArray[np.bool_] = (column(pairs.flaws) == 0) & before & later
    return found


def find_stretches(pairs: Pairs, kept: NDArray[np.bool_]) -> Stretches:
    """In which stretches of the two rounds the pairs `kept` were sent.

    How many there are follows from all that a round sent; each has as many of the pairs, so that none is left
    with a few where requests failed.
    """
    labels = []
    for result, sent in zip((pairs.baseline, pairs.later), map(column, pairs.sent_ns), strict=True):
        count = count_stretches(int(np.count_nonzero(sent)), result.concurrency)
        labels.append(label(sent[kept], count))
    return Stretches(*labels)


def _count_reasons(pairs: Pairs, kept: NDArray[np.bool_]) -> dict[str, int]:
    """How many prompts make no pair for each reason there is."""
    counts = np.bincount(column(pairs.flaws)[~kept], minlength=len(pairs.reasons))
    return {(reason or "no value"): int(count) for reason, count in zip(pairs.reasons, counts, strict=True) if count}


def _geometric_mean(values: NDArray[np.int64] | NDArray[np.float64]) -> float:
    return math.exp(float(np.mean(np.log(values))))


def _percentiles(values: NDArray[np.int64] | NDArray[np.float64], percents: Sequence[int]) -> dict[str, float]:
    """By nearest rank: the smallest value with at least that share of all at or below it."""
    ordered = np.sort(values)
    return {f"p{percent}": float(ordered[-(-percent * ordered.size // 100) - 1]) for percent in percents}
