"""The figures of a round turn by turn: what the sessions' own history gave, and how TTFT grew with it."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fluxperf.metrics import BY_NAME
from fluxperf.model import CachedTokens, Stats, Timeline
from fluxperf.model.turns import TurnFigures

_TTFT = BY_NAME["ttft_ms"]


@dataclass(slots=True)
class _Sums:
    """What the requests of one turn add up to."""

    requests: int = 0
    successful: int = 0
    input_tokens: int = 0
    told_tokens: int = 0
    cached_tokens: int = 0
    told: int = 0
    shortened: int = 0
    ttft_ns: array[int] = field(default_factory=lambda: array("q"))

    def add(self, request: Timeline) -> None:
        self.requests += 1
        if not request.success:
            return
        self.successful += 1
        self.input_tokens += request.input_tokens
        self.shortened += request.dropped_turns > 0
        cached = request.believed_cached_tokens
        if cached is not None and request.prompt_tokens:
            self.told += 1
            self.told_tokens += request.prompt_tokens
            self.cached_tokens += cached
        ttft_ns = _TTFT.formula(request) if _TTFT.formula else None
        if ttft_ns is not None:
            self.ttft_ns.append(max(ttft_ns, 0))

    def figures(self, turn: int) -> TurnFigures:
        cached = None
        if self.told:
            ratio = self.cached_tokens / self.told_tokens
            cached = CachedTokens(prompt_tokens=self.told_tokens, cached_tokens=self.cached_tokens, ratio=ratio)
        return TurnFigures(
            turn=turn,
            requests=self.requests,
            successful=self.successful,
            ttft_ms=exact_stats(self.ttft_ns, _TTFT.per_unit),
            avg_input_tokens=self.input_tokens / self.successful if self.successful else None,
            cached_tokens=cached,
            shortened=self.shortened,
        )


def figures_by_turn(requests: Iterable[Timeline]) -> tuple[TurnFigures, ...]:
    """The figures of each turn that there was, from the first on."""
    sums: dict[int, _Sums] = {}
    for request in requests:
        if request.outcome.counted:
            sums.setdefault(request.turn, _Sums()).add(request)
    return tuple(sums[turn].figures(turn) for turn in sorted(sums))


def exact_stats(values: Sequence[int], per_unit: int) -> Stats:
    """The spread of raw values in the unit of which one is `per_unit` of them. Percentiles are by nearest rank."""
    if not values:
        return Stats()
    ordered, count = sorted(values), len(values)
    mean = math.fsum(values) / count
    variance = math.fsum((value - mean) ** 2 for value in values) / count

    def rank(percent: int) -> float:
        return ordered[-(-percent * count // 100) - 1] / per_unit

    return Stats(
        avg=mean / per_unit,
        p50=rank(50),
        p90=rank(90),
        p95=rank(95),
        p99=rank(99),
        min=ordered[0] / per_unit,
        max=ordered[-1] / per_unit,
        stddev=math.sqrt(variance) / per_unit,
    )
