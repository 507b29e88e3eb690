"""The page of several runs laid over each other: their rounds in one table, their curves in the same plots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fluxperf.errors import UsageError
from fluxperf.metrics import BY_NAME
from fluxperf.model import RoundName, RoundResult, RunResult
from fluxperf.report.html.columns import read_columns
from fluxperf.report.html.facts import commands_part
from fluxperf.report.html.headline import badge, configured
from fluxperf.report.html.level import Reading
from fluxperf.report.html.load import Knee, LoadSeries, load_charts
from fluxperf.report.html.markup import Html, element, join
from fluxperf.report.html.palette import series_colour, series_dash
from fluxperf.report.html.percentiles import METRICS, Line, find_curve, percentile_chart
from fluxperf.report.html.plots import legend, plots
from fluxperf.report.html.summary import Row, scrolling, summary_table
from fluxperf.report.html.terms import glossary
from fluxperf.report.text import count, printable, round_name

# What should be the same in runs that are held against each other.
_ALIKE = {
    "model": "model",
    "dataset": "dataset",
    "dataset_sha256": "content of the dataset",
    "mode": "mode",
    "seed": "seed",
    "max_output_tokens": "longest answer",
    "definitions": "definitions of the metrics",
}
_MOST_PLOTS = 120

# Where a round stands in a run.
_Place = tuple[str | None, int, RoundName]


@dataclass(frozen=True, slots=True)
class Named:
    """A run, and what it is called on the page."""

    name: str
    run: RunResult
    knees: Mapping[tuple[str | None, RoundName], Knee]


def runs_page(runs: Sequence[Named], commands: Sequence[str], read: Reading = read_columns) -> Iterator[Html]:
    """The body of the page in pieces."""
    yield element(
        "header",
        element("p", "FluxPerf", class_="brand"),
        element("h1", f"{count(len(runs), 'run')} side by side"),
        element("p", " · ".join(printable(one.name) for one in runs), class_="facts"),
    )
    yield Html("<main>")
    yield element("section", element("h2", "The runs"), _differences(runs), _runs_table(runs), id="runs")
    rows = [Row(result, run=one.name) for one in runs for result in one.run.rounds]
    yield element("section", element("h2", "All rounds"), summary_table(rows), id="rounds")
    yield from _loads(runs)
    yield from _curves(runs, read)
    yield element("section", element("h2", "How to make it again"), commands_part(commands), id="origin")
    yield glossary()
    yield Html("</main>")


def _legend(runs: Sequence[Named]) -> Html:
    return legend([(printable(one.name), series_colour(nth), series_dash(nth)) for nth, one in enumerate(runs)])


def _differences(runs: Sequence[Named]) -> Html:
    """What keeps the runs from being comparable, first."""
    items = []
    for key, name in _ALIKE.items():
        found = [tuple(configured(one.run, key)) for one in runs]
        if len(set(found)) > 1:
            told = "; ".join(
                f"{printable(one.name)}: {', '.join(values) or 'not known'}"
                for one, values in zip(runs, found, strict=True)
            )
            items.append(element("li", element("b", f"The {name} differs. "), told))
    if not items:
        return element("p", "Model, dataset, mode, seed and definitions are the same in all of them.")
    return element("ul", *items, class_="reasons")


def _runs_table(runs: Sequence[Named]) -> Html:
    heads = ("Run", "Verdict", "Model", "Server", "Dataset", "Date", "Labels")
    rows = []
    for one in runs:
        run = one.run
        verdict = "-" if run.verdict is None else badge(run.verdict.status)
        labels = ", ".join(f"{key}={value}" for key, value in run.labels.items())
        facts = (
            *(", ".join(configured(run, key)) or "-" for key in ("model", "endpoint", "dataset")),
            run.started_at + (" (partial)" if run.partial else ""),
            labels or "-",
        )
        rows.append(
            element(
                "tr",
                element("th", printable(one.name), scope="row", class_="left"),
                element("td", verdict, class_="left"),
                *(element("td", printable(fact), class_="left") for fact in facts),
            )
        )
    head = element("thead", element("tr", *(element("th", text, scope="col", class_="left") for text in heads)))
    return scrolling(element("table", head, element("tbody", *rows), class_="figures"), "The runs")


def _stages(runs: Sequence[Named]) -> list[str | None]:
    return list(dict.fromkeys(result.stage for one in runs for result in one.run.rounds))


def _loads(runs: Sequence[Named]) -> Iterator[Html]:
    """Throughput and TTFT against concurrency, of each stage and round that has several levels."""
    for stage in _stages(runs):
        names = dict.fromkeys(result.round for one in runs for result in one.run.rounds if result.stage == stage)
        for name in names:
            series = []
            for nth, one in enumerate(runs):
                rounds = [result for result in one.run.rounds if (result.stage, result.round) == (stage, name)]
                if rounds:
                    series.append(
                        LoadSeries(
                            name=printable(one.name),
                            colour=series_colour(nth),
                            dash=series_dash(nth),
                            rounds=tuple(sorted(rounds, key=lambda result: result.concurrency)),
                            knee=one.knees.get((stage, name)),
                        )
                    )
            levels = {result.concurrency for one in series for result in one.rounds}
            if len(levels) > 1:
                heading = _join([stage, f"what more load does, {round_name(name)}"])
                yield element("section", element("h2", heading), _legend(runs), plots(load_charts(series), "three"))


def _curves(runs: Sequence[Named], read: Reading) -> Iterator[Html]:
    """Latency by percentile, of each place that two runs have or more."""
    places: dict[_Place, list[tuple[int, RoundResult]]] = {}
    for nth, one in enumerate(runs):
        for result in one.run.rounds:
            places.setdefault((result.stage, result.concurrency, result.round), []).append((nth, result))
    shared = {place: found for place, found in places.items() if len(found) > 1}
    if not shared:
        yield element(
            "p", "No two runs have a stage, level and round in common: there are no curves.", class_="missing"
        )
    shown = list(shared.items())[: _MOST_PLOTS // len(METRICS)]
    for (stage, concurrency, name), found in shown:
        heading = _join([stage, f"concurrency {concurrency:,}", round_name(name)])
        yield element("section", element("h2", heading), _legend(runs), _place_plots(runs, found, read))
    if len(shown) < len(shared):
        yield element("p", f"{len(shared) - len(shown)} further places are left out.", class_="missing")


def _place_plots(runs: Sequence[Named], found: Sequence[tuple[int, RoundResult]], read: Reading) -> Html:
    columns, problems = {}, []
    for nth, result in found:
        if not result.histograms:
            try:
                columns[nth] = read(result)
            except UsageError as error:
                problems.append(element("p", f"Missing: {printable(str(error))}", class_="missing"))
    charts = []
    for metric in map(BY_NAME.__getitem__, METRICS):
        lines = []
        for nth, result in found:
            curve = find_curve(result, columns.get(nth), metric)
            if curve is not None:
                lines.append(Line(printable(runs[nth].name), series_colour(nth), series_dash(nth), curve))
        charts.append(percentile_chart(metric, lines, [result for _, result in found]))
    return join([*problems, plots(charts)])


def _join(parts: Sequence[str | None]) -> str:
    text = ", ".join(printable(part) for part in parts if part is not None)
    return text[:1].upper() + text[1:]
