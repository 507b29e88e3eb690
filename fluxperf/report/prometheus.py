"""The metrics of `--prometheus-metrics` in a round's table: spreads as rows of its box, all else in lines below it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from fluxperf.model import RoundSummary, Stats
from fluxperf.report.box import Row
from fluxperf.report.text import number, printable
from fluxperf.report.values import STATS

_LARGE = 1e6


def prometheus_rows(summary: RoundSummary) -> list[Row]:
    """Gauges and histograms: what has percentiles, in the metric's own unit."""
    return [
        Row(printable(name), Stats(**{stat: figures.get(stat) for stat in STATS}), foreign=True)
        for name, figures in summary.prometheus.items()
        if _is_spread(figures)
    ]


def prometheus_lines(summary: RoundSummary) -> list[str]:
    """Counters, by what they grew; what is to know of any metric; and why one is not to be had."""
    lines = [line for name, figures in summary.prometheus.items() for line in _lines(printable(name), figures)]
    return ["Prometheus:", *lines] if lines else []


def _is_spread(figures: Mapping[str, Any]) -> bool:
    return figures.get("p50") is not None


def _lines(name: str, figures: Mapping[str, Any]) -> Iterator[str]:
    if "unavailable" in figures:
        yield f"  {name}: not available: {printable(str(figures['unavailable']))}"
        return
    told = [] if _is_spread(figures) else list(_growth(figures))
    if "note" in figures:
        told.append(printable(str(figures["note"])))
    if told:
        yield f"  {name}: {'; '.join(told)}"


def _growth(figures: Mapping[str, Any]) -> Iterator[str]:
    """Of a counter; of a summary too, and of a histogram that saw nothing: their mean, and how many they saw."""
    average, delta, rate = (figures.get(stat) for stat in ("avg", "delta", "rate_per_s"))
    if average is not None:
        yield f"{_amount(average)} on average"
    if delta is not None:
        grown = f"{'+' if delta > 0 else ''}{_amount(delta)}"
        yield grown if rate is None else f"{grown} ({_amount(rate)} per second)"


def _amount(value: float) -> str:
    """Whole numbers and large ones without decimals, others with six digits."""
    whole = not math.isfinite(value) or value == int(value)
    return number(value, ",.0f" if abs(value) >= _LARGE or whole else ",.6g")
