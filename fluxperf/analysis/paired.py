"""The paired comparison of two rounds: the same prompt against itself. Knows no significance, only effect sizes."""

from __future__ import annotations

import heapq
import statistics
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from fluxperf.metrics import BY_NAME, Metric
from fluxperf.model import Comparison, RoundResult, Timeline

COMPARED = ("ttft_ms", "itl_ms", "latency_ms")


def compare(baseline: RoundResult, later: RoundResult, metrics: Sequence[str] = COMPARED) -> tuple[Comparison, ...]:
    """Compares `later` with `baseline` in each of `metrics` (names of `fluxperf.metrics`), in their order.

    A pair is a prompt, known by (index, turn), that succeeded in both rounds, with a value above zero
    in both: a ratio needs that. `dropped` counts the prompts of either round that make no pair.
    Both rounds' requests are read once, side by side, in the order that `RoundResult` promises;
    what is kept is two numbers a pair and metric.
    """
    collected = [_Pairs(BY_NAME[name]) for name in metrics]
    prompts = 0
    in_order = heapq.merge(baseline.requests, later.requests, key=_key)
    for _, group in groupby(in_order, key=_key):
        prompts += 1
        requests = tuple(group)  # a key occurs once in a round, and the merge puts the baseline first
        if len(requests) == 2 and all(request.success for request in requests):
            for pairs in collected:
                pairs.add(*requests)
    return tuple(pairs.compared(baseline, later, prompts) for pairs in collected)


def _key(request: Timeline) -> tuple[int, int]:
    return request.index, request.turn


def _doubles() -> array[float]:
    return array("d")


@dataclass(slots=True)
class _Pairs:
    """The ratios and differences of one metric, `later` to `before`; differences are in the metric's unit."""

    metric: Metric
    ratios: array[float] = field(default_factory=_doubles)
    differences: array[float] = field(default_factory=_doubles)

    def add(self, before: Timeline, later: Timeline) -> None:
        """Adds one prompt, if it has a value above zero in both rounds."""
        formula = self.metric.formula
        if formula is None:
            return
        raw_before, raw_later = formula(before), formula(later)
        if raw_before and raw_later:
            self.ratios.append(raw_later / raw_before)
            self.differences.append((raw_later - raw_before) / self.metric.per_unit)

    def compared(self, baseline: RoundResult, later: RoundResult, prompts: int) -> Comparison:
        """The comparison, of `prompts` prompts in all."""
        pairs = len(self.ratios)
        sign = 1 if self.metric.lower_is_better else -1
        slower = sum(sign * difference > 0 for difference in self.differences)
        return Comparison(
            stage=later.stage,
            concurrency=later.concurrency,
            metric=self.metric.name,
            pairs=pairs,
            dropped=prompts - pairs,
            baseline_round=baseline.round,
            round=later.round,
            median_ratio=statistics.median(self.ratios) if pairs else None,
            mean_ratio=statistics.geometric_mean(self.ratios) if pairs else None,
            ratio_ci95=None,
            median_difference_ms=statistics.median(self.differences) if pairs else None,
            difference_ci95_ms=None,
            p_value=None,
            share_slower=slower / pairs if pairs else None,
        )
