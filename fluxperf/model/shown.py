"""Figures, changes and thresholds as people read them: what a gate's sentence and every report of it have in common."""

from __future__ import annotations

import math

from fluxperf.model.contrast import Figure
from fluxperf.model.gate import Against, Gate, GateResult
from fluxperf.model.result import CONTROL, RoundName

_UNITS = {
    "output_token_throughput": "tokens/s",
    "tokens_per_s": "tokens/s",
    "requests_per_s": "requests/s",
    "duration_s": "s",
}
_LARGE = 1000  # from here on a decimal says nothing


def unit_of(metric: str) -> str:
    """The unit of a figure of this metric; empty for shares."""
    return "ms" if metric.endswith("_ms") else _UNITS.get(metric, "")


def show_number(value: float | None) -> str:
    """Four digits that count; `-` where there is no number."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= _LARGE else f"{value:.4g}"


def show_value(figure: Figure, value: float | None) -> str:
    """A figure's value with its unit."""
    shown = show_number(value)
    return shown if shown == "-" else f"{shown} {unit_of(figure.metric)}".rstrip()


def show_change(ratio: float | None) -> str:
    """The change that a ratio is: `+10.4%` for 1.104."""
    if ratio is None or not math.isfinite(ratio):
        return "-"
    shown = f"{(ratio - 1) * 100:+,.1f}".removesuffix(".0")
    return "0%" if shown in ("+0", "-0") else f"{shown}%"


def show_for(gate: Gate, value: float | None) -> str:
    """What is held against the gate's threshold, in the form in which that is written."""
    if gate.against is Against.BASELINE:
        return show_change(value)
    return show_value(gate.figure, value) if gate.against is Against.VALUE else show_number(value)


def show_threshold(gate: Gate) -> str:
    """The threshold with its direction: `> +10%`."""
    shown = show_for(gate, gate.threshold)
    if gate.against is Against.BASELINE:
        shown = f"{(gate.threshold - 1) * 100:+.6g}%"  # all digits that were written
    return f"{'>' if gate.above else '<'} {shown}"


def known_bound(result: GateResult) -> float | None:
    """The bound of a result that decides: the lower one of a gate that fails above. None where nothing is known."""
    if result.bounds is None:
        return None
    bound = result.bounds[0 if result.gate.above else 1]
    is_unknown = math.isinf(bound) or (bound == 0 and result.gate.above)
    return None if is_unknown else bound


def show_interval(result: GateResult) -> str:
    """`+2% to +9.5%`, with `?` for a bound that is not known; `-` where there is none at all."""
    if result.bounds is None:
        return "-"
    low, high = (bound if math.isfinite(bound) else None for bound in result.bounds)
    shown = [show_for(result.gate, bound) if bound is not None else "?" for bound in (low, high)]
    unit = unit_of(result.gate.figure.metric)
    if result.gate.against is Against.VALUE and unit:
        shown[0] = shown[0].removesuffix(f" {unit}")
    if not low:  # no figure of ours is below 0
        shown[0] = "?"
    return "-" if shown == ["?", "?"] else " to ".join(shown)


def show_place(stage: str | None, concurrency: int, name: RoundName) -> str:
    """`Low load, concurrency 8, round 2`."""
    parts = [] if stage is None else [stage]
    parts += [f"concurrency {concurrency}"] if concurrency else []
    return ", ".join([*parts, show_round(name)])


def show_round(name: RoundName) -> str:
    """`round 2`, `control round`."""
    return "control round" if name == CONTROL else f"round {name}"
