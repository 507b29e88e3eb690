"""A benchmark's result as a table: values in, text of at most 100 columns or JSON out."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH = 100
LONGEST_WITH_DECIMALS = 8
Row = Mapping[str, str | int | float | None]


@dataclass(frozen=True, slots=True)
class Column:
    """A column: the key of its values in the rows, its heading, and how its numbers are written."""

    key: str
    heading: str
    form: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """The result of one benchmark. `notes` are sentences for below the table."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: Sequence[Row]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The table as JSON has it, unrounded."""
        return {"title": self.title, "rows": [dict(row) for row in self.rows], "notes": list(self.notes)}


def render(table: Table) -> str:
    """The table as text: the first column to the left, the others to the right, each as wide as it needs to be."""
    lines = [[column.heading for column in table.columns]]
    lines += [[cell(row.get(column.key), column.form) for column in table.columns] for row in table.rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(table.columns))]
    texts = [
        "  ".join(_align(text, width, place) for place, (text, width) in enumerate(zip(line, widths, strict=True)))
        for line in lines
    ]
    rule = "-" * max(len(text) for text in texts)
    notes = [textwrap.fill(note, WIDTH) for note in table.notes]
    return "\n".join([table.title, rule, texts[0], rule, *texts[1:], *notes])


def cell(value: str | int | float | None, form: str) -> str:
    """One value as text, without the decimals of a number that is large; `-` where there is none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    if isinstance(value, str):
        return value
    text = format(value, form)
    return format(value, ",.0f") if "." in text and len(text) > LONGEST_WITH_DECIMALS else text


def ratio(value: float | None, baseline: float | None) -> float | None:
    """How many times the baseline it is; None where one of them is not known."""
    return None if value is None or not baseline else value / baseline


def _align(text: str, width: int, place: int) -> str:
    return text.rjust(width) if place else text.ljust(width)
