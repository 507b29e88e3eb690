"""Means of a metric of single requests: of one round, and of one round over those of another.

`mean` is the geometric mean, of values above 0, and between rounds of the same prompts that of the ratios, prompt by
prompt; `avg` is the arithmetic one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

from fluxperf.analysis.clustered import Stretches
from fluxperf.analysis.influence import spread_of_one, spread_of_pairs, too_few, uncertain
from fluxperf.analysis.numeric import np
from fluxperf.analysis.samples import NOTHING, Sample
from fluxperf.analysis.uncertain import Uncertain
from fluxperf.model.contrast import Way

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Logs: TypeAlias = tuple[float, NDArray[np.float64]]

_LEAST = {"mean": 1, "avg": NOTHING + 1}


def measure_mean(sample: Sample, metric: str, statistic: str) -> Uncertain | None:
    """The mean of a round, in the metric's raw unit; None where there is no value above 0."""
    values = sample.values[metric]
    kept = values >= _LEAST[statistic]
    if not sample.values[metric][kept].any():
        return None
    log_mean, influences = _log_mean(values[kept], statistic)
    spread, count = spread_of_one(influences, sample.stretches(kept)), int(np.count_nonzero(kept))
    return uncertain(log_mean, spread, Way.TWO_SAMPLES, (count, count), too_few(sample))


def contrast_means(base: Sample, new: Sample, metric: str, statistic: str) -> Uncertain | None:
    """The mean of `new` over that of `base`, paired where the rows are pairs; None where one has no value above 0."""
    paired = base.draws_as(new)
    kept = [sample.values[metric] >= _LEAST[statistic] for sample in (base, new)]
    if paired:
        kept = [kept[0] & kept[1]] * 2
    if not all(sample.values[metric][rows].any() for sample, rows in zip((base, new), kept, strict=True)):
        return None
    (before, first), (later, second) = (
        _log_mean(sample.values[metric][rows], statistic) for sample, rows in zip((base, new), kept, strict=True)
    )
    labels = [sample.stretches(rows) for sample, rows in zip((base, new), kept, strict=True)]
    counts = (int(first.size), int(second.size))
    if paired:
        spread = spread_of_pairs(second - first, Stretches(labels[0], labels[1]))
        return uncertain(later - before, spread, Way.PAIRED, counts, too_few(base, new))
    one, other = spread_of_one(first, labels[0]), spread_of_one(second, labels[1])
    both = None if one is None or other is None else one + other
    return uncertain(later - before, both, Way.TWO_SAMPLES, counts, too_few(base, new))


def _log_mean(values: NDArray[np.int64], statistic: str) -> Logs:
    """The logarithm of the mean, which is above 0, and each value's influence on it."""
    if statistic == "mean":
        logs = np.log(values)
        return float(logs.mean()), (logs - logs.mean()) / values.size
    mean = float(values.mean())
    return math.log(mean), (values / mean - 1) / values.size
