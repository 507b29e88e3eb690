"""The paired comparison of two rounds: the same prompt against itself. Puts the rounds side by side, and no more.

What the pairs say is worked out by `fluxperf.analysis.ratios` and `dose`, which need numerical libraries; they are
loaded with the first comparison, long after the workers were forked.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, repeat
from operator import itemgetter
from typing import TypeAlias

from fluxperf.mapped import mapped
from fluxperf.metrics import BY_NAME, Metric
from fluxperf.model import Comparison, RoundName, RoundResult, Timeline

COMPARED = ("ttft_ms", "itl_ms", "latency_ms")
# Why a round's request makes no pair, by what `_flaw` gives.
_FLAWS = ("", "not sent in", "cut off in", "failed in")

_Found: TypeAlias = tuple[tuple[int, int], int, Timeline]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Two rounds side by side: columns of numbers with a row for each prompt of either round, by (index, turn).

    `sent_ns`, `cached_tokens` and `output_tokens` have the baseline's column and the later round's, and `values`
    both of each metric (raw, as `fluxperf.metrics` has them). They hold 0 for what does not exist; stamps and tokens
    are one more than they are. `flaws` says which of `reasons` keeps the prompt from being a pair; 0: none.
    """

    baseline: RoundResult
    later: RoundResult
    metrics: tuple[Metric, ...]
    reasons: tuple[str, ...]
    flaws: memoryview[int]
    sent_ns: tuple[memoryview[int], memoryview[int]]
    cached_tokens: tuple[memoryview[int], memoryview[int]]
    output_tokens: tuple[memoryview[int], memoryview[int]]
    values: tuple[tuple[memoryview[int], memoryview[int]], ...]


def compare(baseline: RoundResult, later: RoundResult, metrics: Sequence[str] = COMPARED) -> tuple[Comparison, ...]:
    """Compares `later` with `baseline` in each of `metrics` (names of `fluxperf.metrics`), in their order.

    A pair is a prompt, known by (index, turn), that succeeded in both rounds, with a value above zero in both: a
    ratio needs that. `dropped` counts the prompts of either round that make no pair.
    """
    return compare_pairs(pair(baseline, later, metrics))


def compare_pairs(pairs: Pairs) -> tuple[Comparison, ...]:
    """The same of rounds that stand side by side already."""
    from fluxperf.analysis.ratios import compare_metric

    return tuple(compare_metric(pairs, metric) for metric in pairs.metrics)


def pair(baseline: RoundResult, later: RoundResult, metrics: Sequence[str] = COMPARED) -> Pairs:
    """Puts two rounds side by side, with the values of each of `metrics` (names of `fluxperf.metrics`).

    Both rounds' requests are read once, in the order that `RoundResult` promises; what is kept of a prompt is a
    few numbers, in a mapped file.
    """
    chosen = tuple(BY_NAME[name] for name in metrics)
    table = mapped(chain.from_iterable(_rows(baseline, later, chosen)))
    width = 7 + 2 * len(chosen)
    flaws, *rest = (table[at::width] for at in range(width))
    sent, cached, output, *values = zip(rest[::2], rest[1::2], strict=True)
    flawed = [f"{flaw} {_name(result.round)}" for result in (baseline, later) for flaw in _FLAWS[1:]]
    return Pairs(
        baseline=baseline,
        later=later,
        metrics=chosen,
        reasons=("", *flawed),
        flaws=flaws,
        sent_ns=sent,
        cached_tokens=cached,
        output_tokens=output,
        values=tuple(values),
    )


def _rows(baseline: RoundResult, later: RoundResult, metrics: Sequence[Metric]) -> Iterator[Iterable[int]]:
    """For each prompt its numbers in the order of the columns."""
    side_by_side = heapq.merge(_keyed(baseline, 0), _keyed(later, 1), key=itemgetter(0))
    for _, group in groupby(side_by_side, key=itemgetter(0)):
        found = {place: request for _, place, request in group}
        before, after = found.get(0), found.get(1)
        first, second = _flaw(before), _flaw(after)
        yield (first or (second and second + len(_FLAWS) - 1),)
        yield (_plus_one(None if request is None else request.sent_ns) for request in (before, after))
        yield (_plus_one(None if request is None else request.believed_cached_tokens) for request in (before, after))
        yield (_plus_one(None if request is None else request.output_tokens) for request in (before, after))
        if before is None or after is None:
            yield repeat(0, 2 * len(metrics))
        else:
            yield (_raw(metric, request) for metric in metrics for request in (before, after))


def _keyed(result: RoundResult, place: int) -> Iterator[_Found]:
    return (((request.index, request.turn), place, request) for request in result.requests)


def _flaw(request: Timeline | None) -> int:
    """What keeps a round's request from being half of a pair: a place in `_FLAWS`."""
    if request is None:
        return 1
    if not request.outcome.counted:
        return 1 if request.sent_ns is None else 2
    return 0 if request.success else 3


def _plus_one(value: int | None) -> int:
    """0 is left for what does not exist."""
    return 0 if value is None else value + 1


def _raw(metric: Metric, request: Timeline) -> int:
    return max(metric.formula(request) or 0, 0) if metric.formula else 0


def _name(name: RoundName) -> str:
    """As in `failed in round 2`."""
    return f"round {name}" if isinstance(name, int) else f"the {name} round"
