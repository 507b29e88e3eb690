"""The box of figures in a round's table: a row a metric, a column a statistic. Knows widths, and no metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

from fluxperf.model import Stats
from fluxperf.report.text import number

_HEADINGS = {"avg": "Avg", "p50": "P50", "p90": "P90", "p99": "P99", "min": "Min", "max": "Max", "stddev": "Stddev"}
_DROPPED_IN_ORDER = ("stddev", "min", "p90", "max", "avg")  # as the terminal gets narrower
_LABEL_WIDTH, _CELL_WIDTH, _LEAST_CELL_WIDTH = 28, 12, 8
_WIDEST_LABEL = 64
_FIXED = (".2f", ".0f", ".1e", ".0e")
_SIGNIFICANT = (".6g", ".5g", ".4g", ".3g", ".2g", ".1g")
_LARGE = 1e5  # from here on digits before the point are all that matters


@dataclass(frozen=True, slots=True)
class Row:
    """A metric's label and figures. `foreign`: name and unit are the server's, and may be of any size.

    How many columns there are is up to the others; the names of foreign rows take what room that leaves.
    """

    label: str
    figures: Stats
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class _Layout:
    """Which columns the box has, and the width of their contents in characters."""

    label_width: int
    cell_width: int
    names: tuple[str, ...]

    def line(self, label: str, cells: Sequence[str]) -> str:
        """A line of the box; what does not fit is cut."""
        contents = [_cut(label, self.label_width), *(_cut(cell, self.cell_width) for cell in cells)]
        return "│ " + " │ ".join(contents) + " │"

    def border(self, left: str, crossing: str, right: str) -> str:
        """A border of the box."""
        widths = [self.label_width, *[self.cell_width] * len(self.names)]
        return left + crossing.join("─" * (width + 2) for width in widths) + right


def draw_box(rows: Sequence[Row], columns: int | None) -> list[str]:
    """The lines of the box, no wider than `columns` (from 40 on; None: no limit).

    Names of foreign rows that must be cut are numbered, and stand below it in full, in lines of any width.
    """
    layout = _fit(columns, rows)
    labels: list[str] = []
    notes: list[str] = []
    for row in rows:
        cut = row.foreign and cell_len(row.label) > layout.label_width
        if cut:
            notes.append(f"[{len(notes) + 1}] {row.label}")
        labels.append(notes[-1] if cut else row.label)
    return [
        layout.line("Metric", [_HEADINGS[name] for name in layout.names]),
        layout.border("├", "┼", "┤"),
        *(
            layout.line(label, [_cell(getattr(row.figures, name), row, layout.cell_width) for name in layout.names])
            for label, row in zip(labels, rows, strict=True)
        ),
        layout.border("└", "┴", "┘"),
        *notes,
    ]


def _cut(text: str, width: int) -> str:
    """`text` in so many cells of a terminal, filled up with spaces or cut."""
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def _fit(columns: int | None, rows: Sequence[Row]) -> _Layout:
    """The widest layout within `columns`.

    A column takes its contents and three characters more; the right border takes one.
    """
    names = list(_HEADINGS)
    wanted = min(max((cell_len(row.label) for row in rows if not row.foreign), default=0), _LABEL_WIDTH)
    widest = min(max((cell_len(row.label) for row in rows), default=0), _WIDEST_LABEL)
    if columns is None:
        return _Layout(max(_LABEL_WIDTH, widest), _CELL_WIDTH, tuple(names))
    room = columns - 1
    for dropped in _DROPPED_IN_ORDER:
        if wanted + 3 + len(names) * (_LEAST_CELL_WIDTH + 3) <= room:
            break
        names.remove(dropped)
    cell_width = (room - widest - 3) // len(names) - 3
    if cell_width < _LEAST_CELL_WIDTH:  # some names are cut in any case
        cell_width = (room - wanted - 3) // len(names) - 3
    cell_width = max(min(cell_width, _CELL_WIDTH), _LEAST_CELL_WIDTH)
    return _Layout(min(room - len(names) * (cell_width + 3) - 3, max(_LABEL_WIDTH, widest)), cell_width, tuple(names))


def _cell(value: float | None, row: Row, width: int) -> str:
    """`value` with as many digits as fit in `width` characters (at least 8), and as make sense.

    Two decimals are enough for what we measure; a foreign value may be a small share or a large sum of bytes.
    """
    small = row.foreign and (value is None or abs(value) < _LARGE)
    text = ""
    for form in _SIGNIFICANT if small else _FIXED:
        text = number(value, form)
        if len(text) <= width:
            break
    return text
