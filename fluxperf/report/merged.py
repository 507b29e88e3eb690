"""Merged histogram logs as a table: a row a tag. Knows figures and widths, not where they come from."""

from __future__ import annotations

from urllib.parse import unquote

from fluxperf.metrics import BY_NAME, Metric
from fluxperf.model.hlog import Interval, Merged, read_tag
from fluxperf.report.grid import Column, Grid, draw_grid
from fluxperf.report.text import count, fold, number, printable, usable

_PERCENTS = (50, 90, 99, 99.9)
_NO_TAG = "(no tag)"


def render_merged(merged: Merged, columns: int | None) -> str:
    """The table, lines joined by newlines. `columns` is the terminal's width; None: no limit.

    Values of our own tags are in their metric's unit, others as they were recorded.
    """
    columns = usable(columns)
    places = [read_tag(interval.tag or "") for interval in merged.intervals]
    metrics = [None if place is None else BY_NAME.get(place.metric) for place in places]
    rows = [_cells(interval, metric) for interval, metric in zip(merged.intervals, metrics, strict=True)]
    grid = Grid(
        names=Column("Stage or tag", [_name(interval) for interval in merged.intervals]),
        keys=(
            Column("Conc.", [str(place.concurrency) if place else "" for place in places]),
            Column("Round", [str(place.round) if place else "" for place in places]),
            Column("Metric", [metric.label if metric else "(raw)" for metric in metrics], left=True),
        ),
        columns=[
            Column(heading, [row[nth] for row in rows])
            for nth, heading in enumerate(("Count", *(f"P{percent}" for percent in _PERCENTS), "Max"))
        ],
    )
    names = ", ".join(map(printable, merged.files))
    title = f"Histograms of {count(len(merged.files), 'file')}: {names}"
    table = draw_grid(grid, columns) if merged.intervals else ["No histogram is in them."]
    return "\n".join([*fold([title], columns), *fold(table, columns), *fold(_remarks(merged), columns)])


def _name(interval: Interval) -> str:
    """The stage, which may be none, where the tag is one of ours."""
    place = read_tag(interval.tag or "")
    return printable((place.stage or "") if place else interval.tag or _NO_TAG)


def _cells(interval: Interval, metric: Metric | None) -> list[str]:
    per_unit = metric.per_unit if metric else 1
    figures = [*interval.percentiles(*_PERCENTS), interval.high if interval.buckets.count else None]
    form = ".2f" if metric else ".0f"
    texts = [number(None if figure is None else figure / per_unit, form) for figure in figures]
    return [f"{interval.buckets.count:,}", *texts]


def _remarks(merged: Merged) -> list[str]:
    partly = [
        f"Only in {', '.join(map(printable, files))}: {printable(unquote(tag or _NO_TAG))}"
        for tag, files in merged.holders.items()
    ]
    return [*partly, *(f"Note: {printable(note)}" for note in merged.notes)]
