"""What a judged gate says for itself: the value, its bound and the threshold, in one sentence. Decides nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fluxperf.analysis.uncertain import Uncertain
from fluxperf.model.contrast import Way
from fluxperf.model.gate import Against, GateResult
from fluxperf.model.shown import known_bound, show_change, show_for, show_number, show_round, show_threshold, show_value

_NOUNS = {Way.PAIRED: "prompts", Way.TWO_SAMPLES: "prompts", Way.REPEATS: "repeats"}
_FAR_MORE = 400  # times as many as there were: nobody will measure that


@dataclass(frozen=True, slots=True)
class Finding:
    """A result without a text; `allowed` is the share of error that its bound has on one side, None: it has none."""

    result: GateResult
    found: Uncertain
    allowed: float | None = None


def tell_failed(finding: Finding) -> str:
    """Beyond the threshold, for certain or by the point."""
    bound = known_bound(finding.result)
    sure = ""
    if finding.allowed is not None and bound is not None:
        side = "at least" if finding.result.gate.above else "at most"
        sure = f", with {100 * (1 - finding.allowed):.4g}% confidence {side} {show_for(finding.result.gate, bound)}"
    return f"{_value(finding)}{sure}; {_limit(finding)}"


def tell_passed(finding: Finding) -> str:
    """Not beyond it."""
    return f"{_value(finding)}; {_limit(finding)}"


def tell_undecided(finding: Finding) -> str:
    """Beyond it, and noise may be why."""
    gate, bound = finding.result.gate, known_bound(finding.result)
    doubt = "is not shown"
    if bound is not None:
        doubt = f"is within noise, it may be as {'low' if gate.above else 'high'} as {show_for(gate, bound)}"
    return f"{_value(finding)}; {show_threshold(gate)} {doubt}: {_remedy(finding, bound)}"


def _limit(finding: Finding) -> str:
    return f"the gate is {show_threshold(finding.result.gate)}"


def _value(finding: Finding) -> str:
    result, value = finding.result, finding.found.value
    figure, against = result.gate.figure, result.gate.against
    if against is Against.VALUE:
        return f"{figure} was {show_value(figure, value)}"
    values = f"{show_number(result.base)} -> {show_value(figure, result.new)}"
    if not math.isfinite(value):
        return f"{figure} went {values}"
    if against is Against.BASELINE:
        return f"{figure} changed by {show_change(value)} ({values})"
    earlier = "" if result.gate.earlier is None else show_round(result.gate.earlier)
    return f"{figure} was {show_number(value)} of {earlier}'s ({values})"


def _remedy(finding: Finding, bound: float | None) -> str:
    """How many prompts, or repeats, would decide it; or why that cannot be said."""
    found = finding.found
    noun, count = _NOUNS[found.way], min(found.counts)
    if bound is None:
        return found.why or _at_less_confidence(finding, f"{count:,} {noun}")
    wide, room = _distance(found.value, bound), _distance(found.value, finding.result.gate.threshold)
    needed = count * (wide / room) ** 2 if room else math.inf
    if not needed < count * _FAR_MORE:
        return f"it is too near the threshold for any number of {noun}"
    step = 10 ** max(len(str(math.ceil(needed))) - 2, 0)  # two digits are enough
    about = max(math.ceil(needed / step) * step, count + 1)
    return f"if it stays so, about {about:,} {noun} in place of {count:,} would decide"


def _at_less_confidence(finding: Finding, counted: str) -> str:
    """What to do where there is no bound at the confidence that so many judgements need."""
    confidence = f"{100 * (1 - (finding.allowed or 0)):.4g}%"
    return f"{counted} give no bound at {confidence} confidence, as so many judgements need: take more, or fewer gates"


def _distance(one: float, other: float) -> float:
    """On the scale on which errors are alike in both directions: that of logarithms, where there are any."""
    return abs(math.log(one / other)) if one > 0 and other > 0 else abs(one - other)
