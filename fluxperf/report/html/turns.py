"""The turns of sessions: a table of each turn's figures, a column a round, and TTFT from turn to turn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fluxperf.model import RoundResult, TurnFigures
from fluxperf.report.html.chart import Chart, Mark, Scale
from fluxperf.report.html.markup import Html, element, join
from fluxperf.report.html.palette import round_colour, round_dash
from fluxperf.report.html.plots import plot
from fluxperf.report.html.scales import scale_for
from fluxperf.report.html.summary import scrolling
from fluxperf.report.html.terms import round_title
from fluxperf.report.text import number

_MOST_ROWS = 40


def turns_part(rounds: Sequence[RoundResult], depth: int) -> Html | None:
    """The part of a level whose prompts are sessions; None: they are not."""
    told = [one for one in rounds if one.summary.turns]
    if not told:
        return None
    return join([element(f"h{depth}", "Turn by turn"), plot(_chart(told)), _table(told)])


def _chart(rounds: Sequence[RoundResult]) -> Chart:
    marks = []
    for one in rounds:
        known = [(turn.turn + 1, turn.ttft_ms.p50) for turn in one.summary.turns if turn.ttft_ms.p50 is not None]
        if not known:
            continue
        places, values = (np.array(column, dtype=np.float64) for column in zip(*known, strict=True))
        marks.append(
            Mark(
                shape="linked",
                name=round_title(one.round),
                colour=round_colour(one.round),
                dash=round_dash(one.round),
                columns={"x": places, "y": values},
            )
        )
    return Chart(
        title="TTFT p50 by turn",
        x=Scale(title="turn"),
        y=scale_for("ms", [mark.columns["y"] for mark in marks]),
        marks=tuple(marks),
        place=("Turn", "@x"),
        value="{0,0.00} ms",
        says=" ".join(
            f"{mark.name}: {number(float(mark.columns['y'][0]))} ms at first, "
            f"{number(float(mark.columns['y'][-1]))} ms at turn {mark.columns['x'][-1]:.0f}."
            for mark in marks
        ),
    )


def _table(rounds: Sequence[RoundResult]) -> Html:
    names = [round_title(one.round) for one in rounds]
    by_turn = [{turn.turn: turn for turn in one.summary.turns} for one in rounds]
    turns = sorted({turn for found in by_turn for turn in found})
    shown = turns if len(turns) <= _MOST_ROWS else [*turns[: _MOST_ROWS - 1], turns[-1]]
    columns = ("Requests", "TTFT p50 ms", "TTFT p99 ms", "Cached")
    tops = [element("th", "Turn", scope="col", rowspan=2)]
    tops += [element("th", name, scope="colgroup", colspan=len(columns)) for name in names]
    heads = [element("th", column, scope="col") for _ in names for column in columns]
    rows = [
        element(
            "tr",
            element("th", str(turn + 1), scope="row"),
            *(cell for found in by_turn for cell in _cells(found.get(turn))),
        )
        for turn in shown
    ]
    table = element(
        "table",
        element("thead", element("tr", *tops), element("tr", *heads)),
        element("tbody", *rows),
        class_="figures",
    )
    left = len(turns) - len(shown)
    note = element("p", f"{left} turns between the last two are left out.", class_="note") if left else None
    return join([scrolling(table, "Figures by turn"), note])


def _cells(turn: TurnFigures | None) -> list[Html]:
    if turn is None:
        return [element("td", "-")] * 4
    ratio = None if turn.cached_tokens is None else turn.cached_tokens.ratio
    return [
        element("td", f"{turn.successful:,}/{turn.requests:,}"),
        element("td", number(turn.ttft_ms.p50, ",.2f")),
        element("td", number(turn.ttft_ms.p99, ",.2f")),
        element("td", number(ratio, ".1%")),
    ]
