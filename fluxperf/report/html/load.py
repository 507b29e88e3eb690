"""Throughput and TTFT against concurrency, where a stage has several levels. Is told where the knee is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fluxperf.model import RoundResult
from fluxperf.report.html.chart import Chart, Dash, Mark, Missing, Rule, Scale
from fluxperf.report.html.scales import scale_for
from fluxperf.report.text import number

_PLACE = ("Concurrency", "@x{0,0}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Knee:
    """The level where a round's throughput / latency is highest, and how to say where it is: `8 or above`."""

    concurrency: int
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSeries:
    """A round at every level that has one, in ascending order of concurrency, and its look."""

    name: str
    colour: str
    dash: Dash
    rounds: tuple[RoundResult, ...]
    knee: Knee | None = None


def load_charts(series: Sequence[LoadSeries]) -> list[Chart | Missing]:
    """Throughput, and TTFT's p50 and p99; a sentence where there are fewer than two levels."""
    levels = sorted({result.concurrency for one in series for result in one.rounds})
    if len(levels) < 2:
        why = "that takes two levels of concurrency or more"
        return [Missing("Throughput and TTFT against concurrency", why)]
    return [_throughput(series, levels), *(_ttft(series, levels, name) for name in ("p50", "p99"))]


def _throughput(series: Sequence[LoadSeries], levels: Sequence[int]) -> Chart | Missing:
    title = "Throughput against concurrency"
    marks = [mark for one in series for mark in _mark(one, [result.summary.tokens_per_s for result in one.rounds])]
    if not marks:
        return Missing(title, "no round has a throughput")
    return Chart(
        title=title,
        x=_concurrency(levels),
        y=Scale(title="output tokens/s", least=0.0),
        marks=tuple(marks),
        rules=_knees(series),
        says=" ".join(_says(mark, "tokens/s") for mark in marks),
        place=_PLACE,
        value="{0,0.0} tokens/s",
        note=_knee_note(series),
    )


def _ttft(series: Sequence[LoadSeries], levels: Sequence[int], name: str) -> Chart | Missing:
    title = f"TTFT {name} against concurrency"
    marks = [
        mark
        for one in series
        for mark in _mark(one, [getattr(result.summary.stats["ttft_ms"], name) for result in one.rounds])
    ]
    if not marks:
        return Missing(title, "no request has a TTFT")
    bound = _slo_bound(series)
    values = [mark.columns["y"] for mark in marks]
    return Chart(
        title=title,
        x=_concurrency(levels),
        y=scale_for("ms", values if bound is None else [*values, np.array([bound])]),
        marks=tuple(marks),
        rules=(*_knees(series), *([] if bound is None else [Rule(colour="bad", slope=0.0, intercept=bound)])),
        says=" ".join(_says(mark, "ms") for mark in marks),
        place=_PLACE,
        value="{0,0.00} ms",
        note=None if bound is None else f"Across, in red: the objective of {number(bound, ',.6g')} ms.",
    )


def _mark(one: LoadSeries, values: Sequence[float | None]) -> list[Mark]:
    """A line through the levels that have a value; none if no level has."""
    found = [
        (float(result.concurrency), value)
        for result, value in zip(one.rounds, values, strict=True)
        if value is not None
    ]
    if not found:
        return []
    columns = {"x": np.array([place for place, _ in found]), "y": np.array([value for _, value in found])}
    return [Mark(shape="linked", name=one.name, colour=one.colour, dash=one.dash, columns=columns)]


def _concurrency(levels: Sequence[int]) -> Scale:
    """The levels that were run are its marks; on a logarithmic axis, since levels are mostly doubled."""
    return Scale(
        title="concurrency",
        log=True,
        least=levels[0] / 1.2,
        most=levels[-1] * 1.2,
        ticks={float(level): f"{level:,}" for level in levels},
    )


def _knees(series: Sequence[LoadSeries]) -> tuple[Rule, ...]:
    return tuple(
        Rule(colour=one.colour, x=float(one.knee.concurrency), dash="dotted") for one in series if one.knee is not None
    )


def _knee_note(series: Sequence[LoadSeries]) -> str | None:
    """Where the dotted lines are, those of equal sentences together."""
    named: dict[str, list[str]] = {}
    for one in series:
        if one.knee is not None:
            named.setdefault(one.knee.says, []).append(one.name)
    told = "; ".join(f"{', '.join(names)} at {says}" for says, names in named.items())
    return f"Knee (highest throughput / latency), dotted: {told}." if told else None


def _slo_bound(series: Sequence[LoadSeries]) -> float | None:
    """The strictest objective for TTFT, in milliseconds."""
    bounds = [
        bound
        for one in series
        for result in one.rounds
        if result.slo is not None
        for constraint in result.slo.constraints
        if constraint.metric == "ttft_ms"
        for bound in (constraint.below, constraint.max)
        if bound is not None
    ]
    return min(bounds, default=None)


def _says(mark: Mark, unit: str) -> str:
    points = ", ".join(
        f"{value:,.1f} at {place:,.0f}" for place, value in zip(mark.columns["x"], mark.columns["y"], strict=True)
    )
    return f"{mark.name}, {unit}: {points}."
