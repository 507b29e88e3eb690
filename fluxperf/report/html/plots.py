"""A plot's place on the page: its title, its words, and the JSON from which it is drawn once it comes into view."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fluxperf.model import RoundResult
from fluxperf.report.html.chart import Chart, Dash, Missing
from fluxperf.report.html.drawing import draw
from fluxperf.report.html.markup import Html, element, join, script_data
from fluxperf.report.html.palette import round_colour, round_dash
from fluxperf.report.html.terms import round_title


def plot(chart: Chart | Missing) -> Html:
    """The plot, or the sentence in its place."""
    if isinstance(chart, Missing):
        return element("p", element("b", f"{chart.title}: "), f"no plot, because {chart.why}.", class_="missing")
    canvas = element(
        "div",
        class_="canvas",
        role="img",
        aria_label=f"{chart.title}. {chart.says}",
        style=f"min-height:{chart.tall}px",
        data_title=chart.title,
    )
    return element(
        "figure",
        element("figcaption", chart.title),
        element("div", canvas, class_="frame"),
        element("p", chart.note, class_="note") if chart.note else None,
        element("script", script_data(draw(chart)), type="application/json"),
        class_="plot",
    )


def plots(charts: Iterable[Chart | Missing], layout: str = "two") -> Html:
    """Several of them beside each other where there is room."""
    found = list(charts)
    drawn = [plot(chart) for chart in found if isinstance(chart, Chart)]
    missing = [plot(chart) for chart in found if isinstance(chart, Missing)]
    return join([element("div", *drawn, class_=f"plots {layout}") if drawn else None, *missing])


def legend(entries: Sequence[tuple[str, str, Dash]]) -> Html:
    """What the lines stand for: name, colour and dashes of each."""
    items = [
        element("li", element("span", class_=f"key {dash}", style=f"--key:var(--{colour})"), name)
        for name, colour, dash in entries
    ]
    return element("ul", *items, class_="legend")


def round_legend(rounds: Sequence[RoundResult]) -> Html:
    """The same of the rounds of a level."""
    return legend([(round_title(one.round), round_colour(one.round), round_dash(one.round)) for one in rounds])
