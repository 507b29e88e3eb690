"""`Reasons`: why another tool's figures are others than ours, in sentences with the size of each difference."""

from __future__ import annotations

from fluxperf.analysis.lens_gaps import Gaps
from fluxperf.analysis.lens_rules import Rule
from fluxperf.analysis.lens_sight import Shift, Sight
from fluxperf.analysis.lens_spread import Spread
from fluxperf.analysis.lens_tools import Measure
from fluxperf.units import NS_PER_MS

Places = tuple[int, ...]

_FELT_NS = 500  # of less nothing is seen in a figure of milliseconds with three decimals
_INTERPOLATES = "its percentiles lie between two values (linear interpolation); FluxPerf's are values that occurred"
_OF_A_SAMPLE = "its standard deviation is a sample's (divided by n - 1); FluxPerf's is the population's"
_WEIGHED = "to it a request weighs as much as it has tokens; with FluxPerf all requests weigh the same"
_WAIT_INCLUDED = "it divides by all tokens the time from the start, so that the wait for the first one is part of it"
_NOT_STORED = "gaps are in histograms.hlog, which is missing: of those between its events only the mean can be told"
_UNTOLD = "are left out, because their rows do not have what it counts by: run again with this version of FluxPerf"


class Reasons:
    """Each is told once, in `told`; figures have its place there."""

    def __init__(self, sight: Sight) -> None:
        self._texts: list[str] = []
        self._sight = sight
        tool = sight.tool
        start = self._shifted("it counts from", tool.start, sight.start)
        first = self._shifted("its first token is", tool.first, sight.first)
        end = self._shifted("its latency ends with", tool.end, sight.end)
        rest = self._shifted("its last token is", tool.end, sight.rest)
        self._requests = self._tell(_requests_text(sight)) + self._tell(_untold_text(sight))
        self._of_formula: dict[str, Places] = {
            "first_token": start + first,
            "whole": start + end,
            "token_rate": start + end,
            "rest_per_token": first + rest,
        }
        self._start = start

    @property
    def told(self) -> tuple[str, ...]:
        """The sentences."""
        return tuple(self._texts)

    def of(self, measure: Measure, statistic: str) -> Places:
        """What makes a statistic of a measure differ from ours; nothing where there is none of ours."""
        if measure.ours is None or not self._sight.seen:
            return ()
        if measure.formula is None:
            parts = self._of_gaps(self._sight.gaps)
        else:
            parts = self._of_formula.get(measure.formula.__name__) or self._of_weights(measure.formula.__name__)
        if statistic.startswith("std"):
            parts += self._tell(_OF_A_SAMPLE if self._sight.tool.freedom else None)
        elif statistic not in ("mean", "avg", "min", "max"):
            parts += self._tell(_INTERPOLATES if self._sight.tool.percentile is Spread.interpolated else None)
        return parts + self._requests

    def of_total(self) -> Places:
        """The same of what is of the whole round."""
        tool = self._sight.tool
        text = None if tool.spans_all else f"its duration ends with {tool.end.words}, of the requests that count"
        return self._start + self._tell(text if self._sight.seen else None) + self._requests

    def _of_weights(self, formula: str) -> Places:
        return self._tell({"rest_by_token": _WEIGHED, "all_per_token": _WAIT_INCLUDED}.get(formula))

    def _of_gaps(self, gaps: Gaps) -> Places:
        edges = f"{gaps.outer:,} events without output before the first token or after the last are tokens to it"
        inner = (
            f"{gaps.inner:,} events without output that stand between tokens are tokens to it, and cut gaps in two: the"
            " mean is exact, the rest is not"
        )
        return (
            self._tell(edges if gaps.outer else None)
            + self._tell(inner if gaps.inner else None)
            + self._tell(None if gaps.are_stored else _NOT_STORED)
        )

    def _shifted(self, words: str, rule: Rule, shift: Shift) -> Places:
        """How far stamps of theirs are from ours; nothing if that is nowhere felt."""
        if shift.most_ns < _FELT_NS:
            return ()
        mean_ms = shift.sum_ns / shift.count / NS_PER_MS
        many = f"in {shift.moved:,} of {shift.count:,} requests"
        return self._tell(f"{words} {rule.words} ({mean_ms:+.3f} ms on average, {many})")

    def _tell(self, text: str | None) -> Places:
        if text is None:
            return ()
        if text not in self._texts:
            self._texts.append(text)
        return (self._texts.index(text),)


def _requests_text(sight: Sight) -> str | None:
    parts = []
    if sight.only_theirs:
        parts.append(f"{sight.only_theirs:,} that failed by FluxPerf's rules are successes to it")
    if sight.only_ours:
        parts.append(f"{sight.only_ours:,} of FluxPerf's successes are none to it")
    return f"other requests count: {', and '.join(parts)}" if parts else None


def _untold_text(sight: Sight) -> str | None:
    return f"{sight.untold:,} requests {_UNTOLD}" if sight.untold else None
