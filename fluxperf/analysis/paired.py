"""The paired comparison of two rounds: the same prompt against itself. Knows no significance, only effect sizes."""

from __future__ import annotations

import heapq
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, islice, repeat

from fluxperf.mapped import in_order, mapped
from fluxperf.metrics import BY_NAME, Metric
from fluxperf.model import Comparison, RoundResult, Timeline

COMPARED = ("ttft_ms", "itl_ms", "latency_ms")


def compare(baseline: RoundResult, later: RoundResult, metrics: Sequence[str] = COMPARED) -> tuple[Comparison, ...]:
    """Compares `later` with `baseline` in each of `metrics` (names of `fluxperf.metrics`), in their order.

    A pair is a prompt, known by (index, turn), that succeeded in both rounds, with a value above zero
    in both: a ratio needs that. `dropped` counts the prompts of either round that make no pair.
    Both rounds' requests are read once, side by side, in the order that `RoundResult` promises;
    what is kept is two numbers a prompt and metric, in a mapped file.
    """
    compared = [BY_NAME[name] for name in metrics]
    columns = mapped(chain.from_iterable(_rows(baseline, later, compared)))
    width = 2 * len(compared)
    return tuple(
        _Pairs(metric, columns[at::width], columns[at + 1 :: width]).compared(baseline, later)
        for at, metric in zip(range(0, width, 2), compared, strict=True)
    )


def _rows(baseline: RoundResult, later: RoundResult, metrics: Sequence[Metric]) -> Iterator[Iterator[int]]:
    """For each prompt the raw values of each metric, before and later; 0 where it makes no pair."""
    side_by_side = heapq.merge(baseline.requests, later.requests, key=_key)
    for _, group in groupby(side_by_side, key=_key):
        requests = tuple(group)  # a key occurs once in a round, and the merge puts the baseline first
        if len(requests) == 2 and all(request.success for request in requests):
            yield (_raw(metric, request) for metric in metrics for request in requests)
        else:
            yield repeat(0, 2 * len(metrics))


def _raw(metric: Metric, request: Timeline) -> int:
    return max(metric.formula(request) or 0, 0) if metric.formula else 0


def _key(request: Timeline) -> tuple[int, int]:
    return request.index, request.turn


@dataclass(frozen=True, slots=True)
class _Pairs:
    """The raw values of one metric, by prompt; 0: none, so no pair."""

    metric: Metric
    before: Sequence[int]
    later: Sequence[int]

    def compared(self, baseline: RoundResult, later: RoundResult) -> Comparison:
        """The comparison of all that make a pair."""
        pairs = sum(1 for _ in self._places())
        sign = 1 if self.metric.lower_is_better else -1
        slower = sum(sign * self._difference(at) > 0 for at in self._places())
        return Comparison(
            stage=later.stage,
            concurrency=later.concurrency,
            metric=self.metric.name,
            pairs=pairs,
            dropped=len(self.before) - pairs,
            baseline_round=baseline.round,
            round=later.round,
            median_ratio=self._median(self._ratio, pairs),
            mean_ratio=statistics.geometric_mean(map(self._ratio, self._places())) if pairs else None,
            ratio_ci95=None,
            median_difference_ms=self._median(self._difference, pairs),
            difference_ci95_ms=None,
            p_value=None,
            share_slower=slower / pairs if pairs else None,
        )

    def _places(self) -> Iterator[int]:
        return (at for at, both in enumerate(zip(self.before, self.later, strict=True)) if all(both))

    def _ratio(self, at: int) -> float:
        return self.later[at] / self.before[at]

    def _difference(self, at: int) -> float:
        """In the metric's unit."""
        return (self.later[at] - self.before[at]) / self.metric.per_unit

    def _median(self, figure: Callable[[int], float], pairs: int) -> float | None:
        """Of a figure of all pairs: the one in the middle, or the mean of the two there."""
        middle = islice(in_order(self._places(), figure), max(pairs - 1, 0) // 2, pairs // 2 + 1)
        return statistics.median(map(figure, middle)) if pairs else None
