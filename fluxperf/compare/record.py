"""A comparison as JSON, `fluxperf.comparison/1`: all contrasts, all gates, and what was compared. Opens no file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from fluxperf.compare.comparison import Comparison
from fluxperf.compare.sides import Side
from fluxperf.model.contrast import Call, Contrast
from fluxperf.model.gate import GateResult

SCHEMA = "fluxperf.comparison/1"


def comparison_json(comparison: Comparison) -> Iterator[str]:
    """The text of the file. A bound that does not exist is null, as is every value that does not."""
    likeness, contrasts = comparison.likeness, comparison.contrasts
    found: dict[str, Any] = {
        "schema": SCHEMA,
        "summary": comparison.summary,
        "base": None if comparison.base is None else _side(comparison.base),
        "new": _side(comparison.new),
        "margin": comparison.asked.margin,
        "calls": {call.value: sum(one.call is call for one in contrasts) for call in Call},
        "differences": list(likeness.objections),
        "remarks": list(likeness.remarks),
        "contrasts": [_contrast(one) for one in contrasts],
        "gates": [_gate(one) for one in comparison.gates],
    }
    lines = []
    for key, value in found.items():
        if key in ("contrasts", "gates") and value:
            rows = ",\n".join(_text(row) for row in value)
            lines.append(f"{_text(key)}: [\n{rows}\n]")
        else:
            lines.append(f"{_text(key)}: {_text(value)}")
    yield "{" + ",\n".join(lines) + "}\n"


def _text(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


def _side(side: Side) -> dict[str, Any]:
    return {
        "directories": [str(path) for path in side.paths],
        "runs": [
            {
                "started_at": run.started_at,
                "verdict": None if run.verdict is None else run.verdict.status.value,
                "labels": dict(run.labels),
            }
            for run in side.runs
        ],
    }


def _contrast(one: Contrast) -> dict[str, Any]:
    return {
        "stage": one.stage,
        "concurrency": one.concurrency,
        "round": one.round,
        "figure": str(one.figure),
        "lower_is_better": one.lower_is_better,
        "base": _finite(one.base),
        "new": _finite(one.new),
        "ratio": _finite(one.ratio),
        "interval": _bounds(one.interval),
        "confidence": one.confidence,
        "p_value": _finite(one.p_value),
        "call": one.call.value,
        "way": one.way.value,
        "counts": list(one.counts),
        "why": one.why,
        "need": None if one.need is None else asdict(one.need),
    }


def _gate(one: GateResult) -> dict[str, Any]:
    return {
        "gate": one.gate.text,
        "stage": one.stage,
        "concurrency": one.concurrency,
        "round": one.round,
        "outcome": one.outcome.value,
        "failed": one.failed,
        "text": one.text,
        "value": _finite(one.value),
        "bounds": _bounds(one.bounds),
        "confidence": one.confidence,
        "base": _finite(one.base),
        "new": _finite(one.new),
    }


def _bounds(bounds: tuple[float, float] | None) -> list[float | None] | None:
    """Both bounds; None for one that is not there."""
    return None if bounds is None else [_finite(bounds[0]), _finite(bounds[1])]


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
