"""A metric's figures of a round, as files and tables show them.

Percentiles of gauges are nearest rank; those of histograms are interpolated within a bucket, as PromQL's
`histogram_quantile` does it. Knows no page and no server.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from fluxperf.watch.exposition import Labels
from fluxperf.watch.meaning import Kind
from fluxperf.watch.promql import name_series
from fluxperf.watch.series import Found, Growth, Point, Series, Unavailable, Window, add_up, inside, means

Figures = dict[str, Any]

MOST_SHOWN = 20
APPROXIMATE = "approximate: no samples bound this round alone"
_PERCENTILES = (50, 90, 95, 99)
_NAMES = ("avg", "p50", "p90", "p95", "p99", "min", "max", "stddev", "delta", "rate_per_s")
_PARTS = ("le", "quantile")


def describe(found: Found, window: Window) -> dict[str, Figures]:
    """The figures of the metric under "", and of each of its series by its full name where it has several."""
    groups: dict[Labels, list[Series]] = defaultdict(list)
    for series in found.series:
        groups[tuple(label for label in series.labels if label[0] not in _PARTS)].append(series)
    described = {"": _figures(found, found.series, window)}
    if len(groups) > 1:
        described[""]["series"] = len(groups)
        if len(groups) <= MOST_SHOWN:
            described |= {
                name_series(found.name, labels): _figures(found, group, window)
                for labels, group in sorted(groups.items())
            }
    return described


def unavailable(why: str) -> Figures:
    """What stands in the place of figures."""
    return {"unavailable": why}


def _figures(found: Found, series: Sequence[Series], window: Window) -> Figures:
    if not any(one.points or one.increase is not None for one in series):
        return unavailable("it is no number (NaN, infinite or beyond reason) in every sample")
    figures = _FIGURES[found.kind](found, series, window)
    if isinstance(figures, Unavailable):
        return unavailable(figures.why)
    notes = [*figures.pop("notes", ()), *([found.note] if found.note else [])]
    whole: Figures = {"kind": str(found.kind)}
    whole |= {name: _tidy(figures.pop(name, None)) for name in _NAMES} | figures
    if found.missed:
        whole["missed"] = found.missed
    if notes:
        whole["note"] = "; ".join(notes)
    return whole


def _tidy(value: float | None) -> float | None:
    """Without the digits that are only those of floating point."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.15g}")


def _gauge(found: Found, series: Sequence[Series], window: Window) -> Figures | Unavailable:
    samples = means(one.points[inside(one.points, window)] for one in series)
    notes = []
    if not samples:
        edges = [_edges(one.points, window) for one in series]
        samples = means(edges)
        notes.append("no sample fell into the round: shown are the nearest before and after it")
    if not samples:
        return Unavailable(found.no_before)
    values = sorted(value for _, value in samples)
    count = len(values)
    avg = math.fsum(values) / count
    return {
        "avg": avg,
        **{f"p{percent}": values[-(-count * percent // 100) - 1] for percent in _PERCENTILES},
        "min": values[0],
        "max": values[-1],
        "stddev": math.sqrt(math.fsum((value - avg) ** 2 for value in values) / count),
        "samples": count,
        "notes": notes,
    }


def _edges(points: Sequence[Point], window: Window) -> Sequence[Point]:
    """The last point before the window and the first one after it."""
    within = inside(points, window)
    return [*points[: within.start][-1:], *points[within.stop :][:1]]


def _counter(found: Found, series: Sequence[Series], window: Window) -> Figures | Unavailable:
    growth = add_up(found, series, window)
    return growth if isinstance(growth, Unavailable) else _grown(growth, window)


def _summary(found: Found, series: Sequence[Series], window: Window) -> Figures | Unavailable:
    count = add_up(found, [one for one in series if one.name.endswith("_count")], window)
    total = add_up(found, [one for one in series if one.name.endswith("_sum")], window)
    if isinstance(count, Unavailable):
        return count
    if isinstance(total, Unavailable):
        return total
    return {"avg": total.amount / count.amount if count.amount else None} | _grown(count, window)


def _histogram(found: Found, series: Sequence[Series], window: Window) -> Figures | Unavailable:
    figures = _summary(found, series, window)
    if isinstance(figures, Unavailable):
        return figures
    bounded: dict[float, list[Series]] = defaultdict(list)
    for one in series:
        if one.name.endswith("_bucket") and (bound := _bound(one.labels)) is not None:
            bounded[bound].append(one)
    buckets = []
    for bound, parts in sorted(bounded.items()):
        growth = add_up(found, parts, window)
        if isinstance(growth, Unavailable):
            return growth
        buckets.append((bound, growth.amount))
    figures |= {f"p{percent}": interpolate(percent / 100, buckets) for percent in _PERCENTILES}
    if len(buckets) > 1 and figures["p99"] == buckets[-2][0] and figures["delta"]:
        figures["notes"].append(f"the last bucket ends at {buckets[-2][0]:g}: what is beyond it counts as that")
    return figures


def _bound(labels: Labels) -> float | None:
    """The upper bound of a bucket; None: it says none."""
    try:
        return float(dict(labels).get("le", ""))
    except ValueError:
        return None


def interpolate(quantile: float, buckets: Sequence[tuple[float, float]]) -> float | None:
    """PromQL's `histogram_quantile`, of upper bounds in order and how many observations are at or below each.

    None where nothing was observed, or where the last bound is not infinite.
    """
    if len(buckets) < 2 or not math.isinf(buckets[-1][0]) or buckets[-1][1] <= 0:
        return None
    rank = quantile * buckets[-1][1]
    lower, below = 0.0, 0.0
    for place, (upper, count) in enumerate(buckets[:-1]):
        if count >= rank:
            if place == 0 and upper <= 0:
                return upper
            return lower + (upper - lower) * (rank - below) / (count - below)
        # Estimates of a server need not rise from bucket to bucket.
        lower, below = upper, max(below, count)
    return lower


def _grown(growth: Growth, window: Window) -> Figures:
    seconds = window.duration_s
    figures: Figures = {
        "delta": growth.amount,
        "rate_per_s": growth.amount / seconds if seconds > 0 else None,
        "samples": growth.samples,
        "notes": [APPROXIMATE] if growth.approximate else [],
    }
    return figures | ({"approximate": True} if growth.approximate else {})


_FIGURES = {Kind.GAUGE: _gauge, Kind.COUNTER: _counter, Kind.SUMMARY: _summary, Kind.HISTOGRAM: _histogram}
