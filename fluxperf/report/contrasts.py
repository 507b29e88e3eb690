"""The comparison of two runs as a terminal shows it: the answer first, then a table for each round. Makes none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fluxperf.model import RoundName
from fluxperf.model.contrast import Contrast, Way
from fluxperf.report.contrast_words import (
    NO_INTERVAL,
    confidence_text,
    contrast_change,
    counts_text,
    figure_name,
    interval_text,
    needs_text,
    place_text,
    summarize,
    values_text,
)
from fluxperf.report.grid import Column, Grid, draw_grid
from fluxperf.report.text import count, fold, printable, rule, usable

_ONE_RUN = (
    "One run a side: what an unchanged server would differ by from run to run is not in these intervals "
    "(--repeat, or several directories a side)."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What is compared: a line on each side; `margin`, below which a change is called same (0.02: 2 %).

    `objections` are differences that speak against a comparison which was made all the same, `remarks` what else
    to know.
    """

    base: str
    new: str
    margin: float
    objections: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def render_contrasts(contrasts: Sequence[Contrast], header: Header, columns: int | None) -> str:
    """The answer, the sides, a table for each round, and what could not be told; lines joined by newlines.

    No line is wider than `columns` (from 40 on); None: no limit.
    """
    columns = usable(columns)
    lines = [rule("=", columns), "Comparison of Runs", rule("=", columns), *_answer(contrasts, header), ""]
    lines += _tables(contrasts, columns)
    if needs := needs_text(contrasts):
        lines += ["What could not be told:", *(f"  {line}" for line in needs), ""]
    if header.remarks:
        lines += ["What else to know:", *(f"  {printable(remark)}" for remark in header.remarks), ""]
    return "\n".join(fold(lines[:-1], columns))


def _answer(contrasts: Sequence[Contrast], header: Header) -> Iterator[str]:
    yield summarize(contrasts, header.margin)
    yield f"  BASE: {printable(header.base)}"
    yield f"  NEW:  {printable(header.new)}"
    if confidence := confidence_text(contrasts):
        yield f"  {confidence}"
    if contrasts and all(one.way is not Way.REPEATS for one in contrasts):
        yield f"  {_ONE_RUN}"
    if header.objections:
        yield f"  Unlike runs, compared all the same ({count(len(header.objections), 'difference')}):"
        yield from (f"    {printable(one)}" for one in header.objections)


def _split(contrasts: Sequence[Contrast]) -> list[list[Contrast]]:
    """By stage, level and round, in the order in which these come."""
    places: dict[tuple[str | None, int, RoundName], list[Contrast]] = {}
    for one in contrasts:
        places.setdefault((one.stage, one.concurrency, one.round), []).append(one)
    return list(places.values())


def _tables(contrasts: Sequence[Contrast], columns: int | None) -> Iterator[str]:
    """A title and a grid for each place, all in the widest layout that fits; names and calls stand in every panel."""
    places = _split(contrasts)
    layouts = [[layout(place) for place in places] for layout in (_wide, _usual, _narrow)]
    fitting = [one for one in layouts if columns is None or max(map(_width, one), default=0) <= columns]
    for place, grid in zip(places, (fitting or layouts[-1:])[0], strict=True):
        common = {counts_text(one) for one in place if one.interval is not None}
        basis = f": {common.pop()}" if len(common) == 1 else ""
        title = place_text(place[0])
        yield from (f"{title[:1].upper()}{title[1:]}{basis}", *draw_grid(grid, columns), "")


def _grid(contrasts: Sequence[Contrast], columns: Sequence[Column]) -> Grid:
    names = Column("Figure", [figure_name(one.figure, unit=True) for one in contrasts], left=True)
    return Grid(names, [Column("Call", [one.call.value for one in contrasts], left=True)], columns)


def _width(grid: Grid) -> int:
    """Of one panel with all columns."""
    return 1 + sum(column.width + 3 for column in (grid.names, *grid.keys, *grid.columns))


def _wide(contrasts: Sequence[Contrast]) -> Grid:
    """With p-values, and what each interval stands on."""
    p_values = Column("p", [_p_text(one) for one in contrasts])
    return _grid(
        contrasts, [*_figures(contrasts), p_values, Column("Stands on", [counts_text(one) for one in contrasts])]
    )


def _usual(contrasts: Sequence[Contrast]) -> Grid:
    return _grid(contrasts, _figures(contrasts))


def _figures(contrasts: Sequence[Contrast]) -> list[Column]:
    values = [values_text(one) for one in contrasts]
    return [
        Column("Base", _align([base for base, _ in values])),
        Column("New", _align([new for _, new in values])),
        Column("Change", [contrast_change(one) for one in contrasts]),
        Column("Interval", [interval_text(one.interval) for one in contrasts]),
    ]


def _narrow(contrasts: Sequence[Contrast]) -> Grid:
    """Units in the headings, and points wherever they come to stand."""
    values = [values_text(one) for one in contrasts]
    columns = [
        Column("Base", [base for base, _ in values]),
        Column("New", [new for _, new in values]),
        Column("Change\n%", [contrast_change(one, unit=False) for one in contrasts]),
        Column("Interval\n%", [interval_text(one.interval, unit=False) for one in contrasts]),
    ]
    return _grid(contrasts, columns)


def _align(texts: Sequence[str]) -> list[str]:
    """The numbers with their points below each other."""
    after = [len(text.partition(".")[2]) + ("." in text) for text in texts]
    return [text + " " * (max(after, default=0) - its) for text, its in zip(texts, after, strict=True)]


def _p_text(contrast: Contrast) -> str:
    """Where there is no bound there is nothing to be sure of."""
    p_value = contrast.p_value
    if p_value is None or interval_text(contrast.interval) == NO_INTERVAL:
        return "-"
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"
