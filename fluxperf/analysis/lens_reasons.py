"""`Reasons`: why another tool's figures are others than ours, in sentences with the size of each difference."""

from __future__ import annotations

from collections.abc import Sequence

from fluxperf.analysis.lens_rules import Rule
from fluxperf.analysis.lens_sight import Shift, Sight
from fluxperf.analysis.lens_spread import Spread
from fluxperf.analysis.lens_tools import Measure
from fluxperf.units import NS_PER_MS

_FELT_NS = 500  # of less nothing is seen in a figure of milliseconds with three decimals
_INTERPOLATES = "its percentiles lie between two values (linear interpolation); FluxPerf's are values that occurred"
_OF_A_SAMPLE = "its standard deviation is a sample's (divided by n - 1); FluxPerf's is the population's"
_WEIGHED = "to it a request weighs as much as it has tokens; with FluxPerf all requests weigh the same"
_WAIT_INCLUDED = "it divides by all tokens the time from the start, so that the wait for the first one is part of it"
_NOT_STORED = "gaps are in histograms.hlog, which is missing: of those between its events only the mean can be told"
_UNTOLD = "are left out, because their rows do not have what it counts by: run again with this version of FluxPerf"


class Reasons:
    """Each is told once, in `told`, and only if a figure has it; figures have its place there."""

    def __init__(self, sight: Sight) -> None:
        self._texts: list[str] = []
        self._sight = sight
        tool = sight.tool
        self._start = _shifted("it counts from", tool.start, sight.start)
        first = _shifted("its first token is", tool.first, sight.first)
        end = _shifted("its latency ends with", tool.end, sight.end)
        rest = _shifted("its last token is", tool.end, sight.rest)
        self._requests = [*_requests_text(sight), *_untold_text(sight)]
        self._of_formula = {
            "first_token": [*self._start, *first],
            "whole": [*self._start, *end],
            "token_rate": [*self._start, *end],
            "rest_per_token": [*first, *rest],
            "rest_by_token": [_WEIGHED],
            "all_per_token": [_WAIT_INCLUDED],
        }

    @property
    def told(self) -> tuple[str, ...]:
        """The sentences."""
        return tuple(self._texts)

    def of(self, measure: Measure, statistic: str) -> tuple[int, ...]:
        """What makes a statistic of a measure differ from ours; nothing where there is none of ours."""
        if measure.ours is None:
            return ()
        if not self._sight.seen:
            return self._tell(self._requests)
        texts = self._of_gaps() if measure.formula is None else self._of_formula.get(measure.formula.__name__, [])
        return self._tell([*texts, *self._of_statistic(statistic), *self._requests])

    def of_total(self) -> tuple[int, ...]:
        """The same of what is of the whole round."""
        tool = self._sight.tool
        spans = [] if tool.spans_all else [f"its duration ends with {tool.end.words}, of the requests that count"]
        return self._tell([*self._start, *spans, *self._requests] if self._sight.seen else self._requests)

    def _of_statistic(self, name: str) -> list[str]:
        tool = self._sight.tool
        if name.startswith("std"):
            return [_OF_A_SAMPLE] if tool.freedom else []
        is_percentile = name not in ("mean", "avg", "min", "max")
        return [_INTERPOLATES] if is_percentile and tool.percentile is Spread.interpolated else []

    def _of_gaps(self) -> list[str]:
        gaps = self._sight.gaps
        texts = []
        if gaps.outer:
            texts.append(
                f"{gaps.outer:,} events without output before the first token or after the last are tokens to it"
            )
        if gaps.inner:
            texts.append(
                f"{gaps.inner:,} events without output that stand between tokens are tokens to it, and cut gaps in two:"
                " the mean is exact, the rest is not"
            )
        return texts if gaps.are_stored else [*texts, _NOT_STORED]

    def _tell(self, texts: Sequence[str]) -> tuple[int, ...]:
        self._texts += [text for text in texts if text not in self._texts]
        return tuple(self._texts.index(text) for text in texts)


def _shifted(words: str, rule: Rule, shift: Shift) -> list[str]:
    """How far stamps of theirs are from ours; nothing if that is nowhere felt."""
    if shift.most_ns < _FELT_NS:
        return []
    mean_ms = shift.sum_ns / shift.count / NS_PER_MS
    return [f"{words} {rule.words} ({mean_ms:+.3f} ms on average, in {shift.moved:,} of {shift.count:,} requests)"]


def _requests_text(sight: Sight) -> list[str]:
    parts = []
    if sight.only_theirs:
        parts.append(f"{sight.only_theirs:,} that failed by FluxPerf's rules are successes to it")
    if sight.only_ours:
        parts.append(f"{sight.only_ours:,} of FluxPerf's successes are none to it")
    return [f"other requests count: {', and '.join(parts)}"] if parts else []


def _untold_text(sight: Sight) -> list[str]:
    return [f"{sight.untold:,} requests {_UNTOLD}"] if sight.untold else []
