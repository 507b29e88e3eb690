"""Writes the tables of docs/metrics.md anew from those in fluxperf/metrics.py: `python -m docs.metrics_tables`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from fluxperf.metrics import METRICS, ROUND_FIGURES, Metric, RoundFigure

PAGE = Path(__file__).with_name("metrics.md")
COMMAND = "python -m docs.metrics_tables"
_BETTER = {True: "less", False: "more", None: ""}


def render_page(page: str) -> str:
    """The page with its tables as they should be. Raises ValueError if it has no place for one."""
    for name, lines in (("metrics", of_requests()), ("figures", of_rounds())):
        begin, end = f"<!-- {name}: written by `{COMMAND}` -->", f"<!-- end of {name} -->"
        place = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", re.DOTALL)
        if len(place.findall(page)) != 1:
            raise ValueError(f"{PAGE.name} must have {begin} and {end} once, on lines of their own")
        table = "\n".join((begin, "", *lines, "", end))
        page = place.sub(lambda _, table=table: table, page)  # type: ignore[misc]
    return page


def of_requests() -> Iterator[str]:
    """The table of metrics of single requests, and of the gaps in them."""
    return table(("name", "label", "unit", "better", "formula", "what it says"), map(_cells, METRICS))


def of_rounds() -> Iterator[str]:
    """The table of figures of a whole round."""
    return table(("name", "unit", "better", "formula", "what it says"), map(_round_cells, ROUND_FIGURES))


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Lines of a Markdown table."""
    head = tuple(head)
    yield row(head)
    yield f"|{'---|' * len(head)}"
    yield from map(row, rows)


def row(cells: Iterable[str]) -> str:
    """A line of one; an empty cell has a space."""
    return "|" + "|".join(f" {cell} " if cell else " " for cell in (text.replace("|", "\\|") for text in cells)) + "|"


def _cells(metric: Metric) -> Iterator[str]:
    label = metric.label.removesuffix(f" ({metric.unit})")
    yield from (f"`{metric.name}`", label, metric.unit, _BETTER[metric.lower_is_better], metric.text, metric.meaning)


def _round_cells(figure: RoundFigure) -> Iterator[str]:
    name = figure.name if figure.statistic is None else f"{figure.name}.{figure.statistic}"
    yield from (f"`{name}`", figure.unit, _BETTER[figure.lower_is_better], figure.text, figure.meaning)


def main() -> int:
    """Writes the page, if it is not as it should be."""
    page = PAGE.read_text("utf-8")
    if (rendered := render_page(page)) != page:
        PAGE.write_text(rendered, "utf-8")
        sys.stdout.write(f"{PAGE} was written anew\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
