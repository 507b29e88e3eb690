"""Two runs, or two sets of repeats, figure by figure: the table of `fluxperf compare`, its calls and its correction.

Of many comparisons of runs that are alike, one in twenty would be called different. So what is called different is
found by Benjamini and Hochberg's rule, which keeps that to one table in twenty where nothing changed, and all intervals
are shown at the confidence that goes with it (Benjamini and Yekutieli 2005): 95 % where everything changed, and more
the less did. An interval that leaves out no change, and a call that there is one, are then the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from fluxperf.analysis.clustered import MOST_STRETCHES
from fluxperf.analysis.figures import SUCCESSES, contrast, find_figure, is_lower_better, value_of
from fluxperf.analysis.power import LEVEL, find_need
from fluxperf.analysis.samples import Samples
from fluxperf.analysis.uncertain import USUAL, Uncertain
from fluxperf.model import RoundName, RoundResult, RunResult
from fluxperf.model.contrast import Call, Contrast, Figure, Need

MARGIN = 0.02
# The mean says most, the median is what people read, p99 is what users complain of.
TABLE = tuple(
    find_figure(name)
    for name in (
        *("ttft_ms.mean", "ttft_ms.p50", "ttft_ms.p99", "itl_ms.mean", "itl_ms.p99"),
        *("latency_ms.mean", "latency_ms.p50", "latency_ms.p99"),
        *("tokens_per_s", "requests_per_s", "goodput.ratio", "errors.ratio"),
    )
)

Place: TypeAlias = tuple[str | None, int, RoundName]


def compare_runs(
    base: Sequence[RunResult], new: Sequence[RunResult], *, margin: float = MARGIN, figures: Sequence[Figure] = TABLE
) -> tuple[Contrast, ...]:
    """For each stage, level and round of both sides a row for each of `figures` that both have.

    Each result is one run, or one repeat; several on a side are repeats of the same. A change within `margin` (0.02: up
    to 2 % either way) does not matter. Raises what reading the rounds' requests raises.
    """
    rows = [row for place in _places(base, new) for row in _compare(place, base, new, figures)]
    told = [row.ratio for row in rows if row.ratio.bounds(USUAL) != (0.0, math.inf)]
    confidence = find_confidence([ratio.p_value(1.0) for ratio in told])
    return tuple(row.judged(confidence, margin) for row in rows)


def find_confidence(p_values: Sequence[float]) -> float:
    """At which all intervals of a table are shown, by the p-values of no change."""
    ordered, count = sorted(p_values), len(p_values)
    found = max((rank for rank, p_value in enumerate(ordered, 1) if p_value <= LEVEL * rank / count), default=1)
    return 1 - LEVEL * found / max(count, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A figure at one place. `rest` is the ratio of what is left of 1, where the figure is a share of failures."""

    place: Place
    figure: Figure
    base: float
    new: float
    ratio: Uncertain
    rest: Uncertain | None

    def judged(self, confidence: float, margin: float) -> Contrast:
        """The row as it is shown."""
        ratio, (stage, concurrency, name) = self.ratio, self.place
        low, high = ratio.bounds(confidence)
        call = self._call((low, high), confidence, margin)
        untold = call is Call.CANNOT_TELL
        return Contrast(
            stage=stage,
            concurrency=concurrency,
            round=name,
            figure=self.figure,
            lower_is_better=is_lower_better(self.figure),
            base=self.base,
            new=self.new,
            ratio=ratio.value if ratio.value < math.inf else None,
            interval=(low, high),
            confidence=confidence,
            p_value=ratio.p_value(1.0),
            call=call,
            way=ratio.way,
            counts=ratio.counts,
            why=(ratio.why or f"noise is wider than {100 * margin:.3g}%") if untold else ratio.why,
            need=self._need() if untold else None,
        )

    def _need(self) -> Need:
        """What would show a change of 5 %: at least as many prompts as fill the stretches that it counts on."""
        found, least = find_need(self.ratio), MOST_STRETCHES * self.place[1]
        return found if found.prompts is None else replace(found, prompts=max(found.prompts, least))

    def _call(self, interval: tuple[float, float], confidence: float, margin: float) -> Call:
        shown = Call.WORSE if (self.ratio.value > 1) is is_lower_better(self.figure) else Call.BETTER
        different = not interval[0] <= 1 <= interval[1]
        if self.rest is not None:  # of failures any that is shown matters, and what matters is their share of all
            return shown if different else _same(self.rest.bounds(confidence), margin)
        same = _same(interval, margin)
        return shown if different and same is not Call.SAME else same


def _same(interval: tuple[float, float], margin: float) -> Call:
    low, high = interval
    return Call.SAME if low >= 1 / (1 + margin) and high <= 1 + margin else Call.CANNOT_TELL


def _compare(
    place: Place, base: Sequence[RunResult], new: Sequence[RunResult], figures: Sequence[Figure]
) -> Iterator[_Row]:
    samples = Samples()
    first, second = _rounds_at(place, base), _rounds_at(place, new)
    for figure in figures:
        ratio = contrast(figure, first, second, samples)
        if ratio is None:
            continue
        rest = contrast(SUCCESSES, first, second, samples) if figure.metric == "errors" else None
        before, later = _mean(figure, first, samples), _mean(figure, second, samples)
        yield _Row(place=place, figure=figure, base=before, new=later, ratio=ratio, rest=rest)


def _mean(figure: Figure, rounds: Sequence[RoundResult], samples: Samples) -> float:
    """Of the runs that have it: the mean that their ratio is of."""
    found = [value_of(figure, result, samples) for result in rounds]
    values = [value for value in found if value is not None]
    if len(values) == 1 or figure.statistic == "ratio":
        return math.fsum(values) / len(values)
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def _places(base: Sequence[RunResult], new: Sequence[RunResult]) -> list[Place]:
    """Those that any run of either side has, in the order of the base."""
    places = [dict.fromkeys(_place(result) for run in side for result in run.rounds) for side in (base, new)]
    return [place for place in places[0] if place in places[1]]


def _rounds_at(place: Place, runs: Sequence[RunResult]) -> list[RoundResult]:
    return [result for run in runs for result in run.rounds if _place(result) == place]


def _place(result: RoundResult) -> Place:
    return result.stage, result.concurrency, result.round
