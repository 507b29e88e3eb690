"""The spread from repeat to repeat as a table, and what it would take to see a change. Reads values, and makes none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from fluxperf.model.shown import show_number, show_place
from fluxperf.model.steadiness import Steadiness
from fluxperf.report.contrast_words import figure_name
from fluxperf.report.grid import Column, Grid, draw_grid
from fluxperf.report.text import fold, printable, rule, usable

_MANY = 10_000  # more than that says no more than that it cannot be had


def render_steadiness(rows: Sequence[Steadiness], columns: int | None) -> str:
    """A table for each round, lines joined by newlines, none wider than `columns` (from 40 on); None: no limit."""
    columns = usable(columns)
    lines = [rule("=", columns), "Spread from Repeat to Repeat", rule("=", columns)]
    if not rows:
        lines.append("No round was measured in every repeat.")
    for place, of_round in groupby(rows, key=lambda one: (one.stage, one.concurrency, one.round)):
        found = list(of_round)
        text = printable(show_place(*place))
        lines += [
            f"{text[:1].upper()}{text[1:]}, {len(found[0].values)} repeats",
            *draw_grid(_grid(found), columns),
            "",
        ]
    return "\n".join(fold([*lines, *_closing(rows)], columns)).rstrip("\n")


def _grid(rows: Sequence[Steadiness]) -> Grid:
    return Grid(
        names=Column("Figure", [figure_name(row.figure, unit=True) for row in rows], left=True),
        keys=[],
        columns=[
            Column("Lowest", [show_number(min(row.values)) for row in rows]),
            Column("Highest", [show_number(max(row.values)) for row in rows]),
            Column("Spread", [f"{row.spread * 100:.2g}%" for row in rows]),
            Column("For 5%:\nrepeats", [_count(row.need.repeats) for row in rows]),
            Column("or\nprompts", [_count(row.need.prompts) for row in rows]),
        ],
    )


def _count(number: int | None) -> str:
    return "-" if number is None or number > _MANY else f"{number:,}"


def _closing(rows: Sequence[Steadiness]) -> Iterator[str]:
    if not rows:
        return
    yield "Spread: the standard deviation from run to run, as a share of the mean."
    yield (
        "For 5%: so many repeats of either side would show a change of 5 % in four of five comparisons; or so many "
        "prompts a round with one run a side, which does not see what differs from run to run."
    )
