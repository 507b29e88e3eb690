"""`Uncertain`: a figure, and between which bounds the truth is, at any confidence. Knows no metric and no round.

Bounds and p-values are one thing seen from two sides: a value is outside the bounds at a confidence where its p-value
is below one minus that. So the p-value is worked out from the bounds, whatever they stand on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from fluxperf.analysis.numeric import t_quantile
from fluxperf.model.contrast import Way

Bounds: TypeAlias = Callable[[float], tuple[float, float]]
"""From a two-sided confidence to both bounds; each leaves out half of the rest. Wider for more confidence."""

USUAL = 0.95
# p-values below this are told as this.
_LEAST_P = 1e-12
_HALVINGS = 26


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncertain:
    """`value`, of which the truth may differ. `limits` gives the bounds, in the unit of `value`, or of a ratio.

    `counts` are the prompts, pairs or repeats of both sides (of one side twice) that it stands on; `why` says what
    limits it, where something does. `standard_error`, with its `degrees_of_freedom`, is of the logarithm of `value`,
    or what its bounds come to; None: there is none.
    """

    value: float
    limits: Bounds
    way: Way
    counts: tuple[int, int]
    why: str | None = None
    standard_error: float | None = None
    degrees_of_freedom: float | None = None

    def bounds(self, confidence: float) -> tuple[float, float]:
        """Where the truth is with this confidence (0 to 1), on both sides; infinite or 0 where that is not known."""
        low, high = self.limits(confidence)
        return min(low, self.value), max(high, self.value)

    def p_value(self, null: float) -> float:
        """How often, if the truth were `null`, the value would be at least so far from it, on either side."""
        return min(2 * (self.p_above(null) if self.value > null else self.p_below(null)), 1.0)

    def p_above(self, threshold: float) -> float:
        """One-sided: how often the value would be so high if the truth were `threshold`. Low: the truth is above it."""
        if self.value < threshold:
            return 1 - self.p_below(threshold)
        return self._least_level(lambda level: self.bounds(1 - 2 * level)[0] > threshold)

    def p_below(self, threshold: float) -> float:
        """One-sided: how often the value would be so low if the truth were `threshold`. Low: the truth is below it."""
        if self.value > threshold:
            return 1 - self.p_above(threshold)
        return self._least_level(lambda level: self.bounds(1 - 2 * level)[1] < threshold)

    def _least_level(self, excludes: Callable[[float], bool]) -> float:
        """The least share of error, in one tail, at which the threshold is left out; at most a half."""
        if not excludes(0.5):
            return 0.5
        low, high = math.log(_LEAST_P), math.log(0.5)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if excludes(math.exp(middle)) else (middle, high)
        return math.exp(high)


def on_logs(log_value: float, standard_error: float, degrees_of_freedom: float) -> Bounds:
    """Student's t on the logarithm."""
    return lambda confidence: _exponential(t_interval(log_value, standard_error, degrees_of_freedom, confidence))


def plain(value: float, standard_error: float, degrees_of_freedom: float) -> Bounds:
    """Student's t as it is."""
    return lambda confidence: t_interval(value, standard_error, degrees_of_freedom, confidence)


def unknown(low: float = 0.0, high: float = math.inf) -> Bounds:
    """Nothing can be said."""
    return lambda confidence: (low, high)


def t_interval(
    value: float, standard_error: float, degrees_of_freedom: float, confidence: float
) -> tuple[float, float]:
    """The two-sided interval of Student's t."""
    reach = t_reach(degrees_of_freedom, confidence) * standard_error if standard_error else 0.0
    return value - reach, value + reach


def t_reach(degrees_of_freedom: float, confidence: float) -> float:
    """How many standard errors lie between the value and a bound."""
    # The upper tail's complement keeps its digits where the confidence is nearly 1.
    return -t_quantile(degrees_of_freedom, (1 - confidence) / 2)


def _exponential(bounds: tuple[float, float]) -> tuple[float, float]:
    low, high = bounds
    return math.exp(low) if low > -math.inf else 0.0, math.exp(high) if high < 700 else math.inf
