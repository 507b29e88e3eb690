"""Latency by percentile, on the axis that HdrHistogram's plots have: x is 1 / (1 - p), in powers of ten.

Each tenfold step to the right shows a further nine of the tail, as wide as the one before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fluxperf.metrics import Metric
from fluxperf.model import RoundResult, Stats
from fluxperf.model.hdr import decode
from fluxperf.report.html.chart import Chart, Dash, Floats, Ints, Mark, Missing, Scale
from fluxperf.report.html.columns import Columns
from fluxperf.report.html.scales import scale_for
from fluxperf.report.text import number, printable

METRICS = ("ttft_ms", "itl_ms", "latency_ms", "chunk_gap_ms")
_SHOWN = (0.5, 0.9, 0.99)
# More steps than that are not to be told apart on a screen.
_MOST_STEPS = 300
_NINES = 7
_TICKS = {1.0: "0 %", 2.0: "50 %", 4.0: "75 %", 10.0: "90 %", 20.0: "95 %"} | {
    10.0**nines: f"{100 - 10 ** (2 - nines):.{nines - 2}f} %" for nines in range(2, _NINES + 1)
}


@dataclass(frozen=True, slots=True)
class Curve:
    """A metric's percentiles as steps: from `inverse` = 1 / (1 - p) on, the value is `value`, up to the next.

    By nearest rank: the smallest value with at least that share at or below it. `count` values went into it.
    """

    inverse: Floats
    value: Floats
    count: int

    def at(self, share: float) -> float:
        """The percentile of a share from 0 to 1, as the curve has it."""
        place = int(np.searchsorted(self.inverse, _just_before(1 / (1 - share)), side="right")) - 1
        return float(self.value[max(place, 0)])


def find_curve(result: RoundResult, columns: Columns | None, metric: Metric) -> Curve | None:
    """From the round's histogram; where there is none, from its requests. None: there are no values.

    What could not be measured has no curve.
    """
    if metric.name in result.summary.unmeasured:
        return None
    encoded = result.histograms.get(metric.name)
    if encoded:
        found, counts = _read_histogram(encoded, metric.per_unit)
        return curve_of(_end_exactly(found, counts, result.summary.stats[metric.name]), counts)
    values = getattr(columns, metric.name, None)
    if values is None:
        return None
    found, times = np.unique(values[np.isfinite(values)], return_counts=True)
    return curve_of(found, times.astype(np.float64))


def _read_histogram(encoded: bytes, per_unit: int) -> tuple[Floats, Floats]:
    """The values of its buckets that are not empty, each at the middle, and their counts."""
    pairs = np.array(list(decode(encoded).values()), dtype=np.float64).reshape(-1, 2)
    return pairs[:, 0] / per_unit, pairs[:, 1]


def _end_exactly(values: Floats, counts: Floats, stats: Stats) -> Floats:
    """The values, none beyond minimum and maximum, which are exact; the first and the last are these if alone."""
    if stats.min is None or stats.max is None or not len(values):
        return values
    found = np.clip(values, stats.min, stats.max)
    for place, exact in ((0, stats.min), (-1, stats.max)):
        if counts[place] == 1:
            found[place] = exact
    return found


def curve_of(values: Floats, counts: Floats) -> Curve | None:
    """The curve of values in ascending order, each so often; None if there is none."""
    total = float(counts.sum())
    if not total:
        return None
    at_or_below = np.cumsum(counts)
    inverse = total / (total - (at_or_below - counts))
    kept = _thin(inverse)
    return Curve(inverse[kept], np.asarray(values, dtype=np.float64)[kept], int(total))


def _thin(inverse: Floats) -> Ints:
    """Which steps to keep: about as many in each decade, the first and the last among them."""
    if len(inverse) <= _MOST_STEPS:
        return np.arange(len(inverse))
    # Those that people ask for are exact.
    named = [_just_before(1 / (1 - share)) for share in _SHOWN]
    wanted = np.concatenate([np.geomspace(1, inverse[-1], _MOST_STEPS), named])
    found = np.searchsorted(inverse, wanted, side="right") - 1
    return np.unique(np.concatenate([[0], np.maximum(found, 0), [len(inverse) - 1]]))


def _just_before(inverse: float) -> float:
    """A step begins just right of its place: the percentile of exactly that share is the step before."""
    return inverse * (1 - 1e-9)


@dataclass(frozen=True, slots=True)
class Line:
    """A curve with the name and the look it has on the page."""

    name: str
    colour: str
    dash: Dash
    curve: Curve


def why_none(metric: Metric, rounds: Sequence[RoundResult]) -> str:
    """The reason for which no round has a curve of the metric."""
    told = [one.summary.unmeasured[metric.name] for one in rounds if metric.name in one.summary.unmeasured]
    if told:
        return printable(told[0])
    if any(one.summary.stats[metric.name].p50 is not None for one in rounds):
        return "its values are not in the results: histograms.hlog, or the files of the rounds, are missing"
    return "no request has a value of it"


def percentile_chart(metric: Metric, lines: Sequence[Line], rounds: Sequence[RoundResult]) -> Chart | Missing:
    """The curves of one metric, laid over each other."""
    label = metric.label.removesuffix(f" ({metric.unit})")
    title = f"{label} by percentile"
    if not lines:
        return Missing(title, why_none(metric, rounds))
    widest = max(float(line.curve.inverse[-1]) for line in lines)
    marks = tuple(
        Mark(
            shape="step",
            name=line.name,
            colour=line.colour,
            dash=line.dash,
            columns=_columns(line.curve, widest),
        )
        for line in lines
    )
    return Chart(
        title=title,
        x=Scale(title="percentile", log=True, least=1.0, most=widest * 1.05, ticks=_ticks(widest)),
        y=scale_for(metric.unit, [line.curve.value for line in lines]),
        marks=marks,
        says=" ".join(_says(line, metric.unit) for line in lines),
        place=("Percentile", "@percent{0.00[00]} %"),
        value=f"{{0,0.00}} {metric.unit}",
    )


def _columns(curve: Curve, widest: float) -> Mapping[str, Floats]:
    """Of a line that goes on to the right edge: beyond its last step it stays at the maximum."""
    inverse, value = curve.inverse, curve.value
    if inverse[-1] < widest:
        # Nothing is known there: so it ends soon after, where a single step would be no line at all.
        inverse, value = np.append(inverse, min(inverse[-1] * 1.2, widest)), np.append(value, value[-1])
    return {"x": inverse, "y": value, "percent": 100 * (1 - 1 / inverse)}


def _ticks(widest: float) -> Mapping[float, str]:
    return {place: name for place, name in _TICKS.items() if place <= max(widest, 2.0) * 1.05}


def _says(line: Line, unit: str) -> str:
    found = ", ".join(f"p{100 * share:g} {number(line.curve.at(share))} {unit}" for share in _SHOWN)
    return f"{line.name}: {found}, most {number(float(line.curve.value[-1]))} {unit}, of {line.curve.count:,} values."
