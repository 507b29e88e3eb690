"""The page of one run: the answer first, then the figures, the plots level by level, and where all of it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fluxperf.model import RoundName, RoundResult, RunResult, StageResult
from fluxperf.report.html.columns import read_columns
from fluxperf.report.html.facts import origin_section
from fluxperf.report.html.gates import gates_section
from fluxperf.report.html.headline import answer_section, header
from fluxperf.report.html.level import Density, Reading, level_part, read_level
from fluxperf.report.html.load import Knee, LoadSeries, load_charts
from fluxperf.report.html.markup import Html, element, join
from fluxperf.report.html.palette import round_colour, round_dash
from fluxperf.report.html.plots import plots, round_legend
from fluxperf.report.html.stages import StagePlace, stage_head, stages_section
from fluxperf.report.html.summary import Row, summary_table
from fluxperf.report.html.terms import glossary, round_title
from fluxperf.report.text import printable

# Points of all plots of prompts together, and the least and the most of one of them.
_POINTS, _LEAST_POINTS, _MOST_POINTS = 16_000, 200, 4_000
# The same of the server's metrics.
_METRICS, _MOST_METRICS = 40, 12
# Beyond so many levels a page shows less of each, and beyond so many none.
_MOST_WHOLE, _MOST_LEVELS = 16, 60
_MOST_LINKS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What a page tells beside the run: knees by stage and round, commands that make it again, pages of stages."""

    knees: Mapping[tuple[str | None, RoundName], Knee] = field(default_factory=dict)
    commands: Sequence[str] = ()
    pages: Mapping[str, str] = field(default_factory=dict)
    read: Reading = read_columns


def run_page(run: RunResult, beside: Beside) -> Iterator[Html]:
    """The body of the page in pieces, a level at a time: only one level's requests are in memory at once."""
    places = _places(run)
    density = _density(len(places))
    stages = [StagePlace(stage, f"stage-{nth}", beside.pages.get(stage.name)) for nth, stage in enumerate(run.stages)]
    yield header(run)
    yield _contents(run, places, stages)
    yield Html("<main>")
    yield answer_section(run)
    if (gates := gates_section(run.gates)) is not None:
        yield gates
    if stages:
        yield stages_section(run, stages)
    yield element("section", element("h2", "All rounds"), _table(run, places, density), id="rounds")
    for stage in stages:
        yield join([Html(f'<section id="{stage.anchor}" class="stage">'), stage_head(stage)])
        yield from _part(run, stage.stage, places, density, beside)
        yield Html("</section>")
    if not stages:
        yield from _part(run, None, places, density, beside)
    yield origin_section(run, beside.commands)
    yield glossary()
    yield Html("</main>")


def _places(run: RunResult) -> dict[tuple[str | None, int], str]:
    """The anchor of each level, by stage and concurrency."""
    found = dict.fromkeys((one.stage, one.concurrency) for one in run.rounds)
    return {place: f"level-{nth}" for nth, place in enumerate(found)}


def _density(levels: int) -> Density | None:
    """None: there are too many levels to show any."""
    if levels > _MOST_LEVELS:
        return None
    most = _POINTS // max(levels, 1)
    return Density(
        most_points=min(max(most, _LEAST_POINTS), _MOST_POINTS),
        most_metrics=min(max(_METRICS // max(levels, 1), 1), _MOST_METRICS),
        whole=levels <= _MOST_WHOLE,
    )


def _contents(run: RunResult, places: Mapping[tuple[str | None, int], str], stages: Sequence[StagePlace]) -> Html:
    links = [("answer", "Answer")]
    links += [("gates", "Gates")] if run.gates else []
    links += [("stages", "Stages")] if stages else []
    links.append(("rounds", "All rounds"))
    if stages:
        links += [(place.anchor, printable(place.stage.name)) for place in stages[:_MOST_LINKS]]
    else:
        links += [(anchor, f"Concurrency {place[1]:,}") for place, anchor in places.items()]
    links.append(("origin", "Where this comes from"))
    items = [element("li", element("a", text, href=f"#{anchor}")) for anchor, text in links]
    return element("nav", element("ul", *items), aria_label="On this page")


def _table(run: RunResult, places: Mapping[tuple[str | None, int], str], density: Density | None) -> Html:
    linked = density is not None
    return summary_table([Row(one, places[one.stage, one.concurrency] if linked else None) for one in run.rounds])


def _part(
    run: RunResult,
    stage: StageResult | None,
    places: Mapping[tuple[str | None, int], str],
    density: Density | None,
    beside: Beside,
) -> Iterator[Html]:
    """The levels of a stage, or of a run without stages."""
    rounds = [one for one in run.rounds if stage is None or one.stage == stage.name]
    depth = 2 if stage is None else 3
    if not rounds:
        yield element("p", "No round has been finished here.", class_="missing")
        return
    if density is None:
        yield element("p", "There are too many levels on this page for plots: each stage's page has its own.")
        return
    if len({one.concurrency for one in rounds}) > 1:
        yield _load(rounds, beside.knees, depth)
    for place, anchor in places.items():
        here = [one for one in rounds if (one.stage, one.concurrency) == place]
        if here:
            yield level_part(read_level(here, run.evaluations, density, beside.read), anchor, depth)


def _load(rounds: Sequence[RoundResult], knees: Mapping[tuple[str | None, RoundName], Knee], depth: int) -> Html:
    """What more load does, where there are several levels."""
    by_name: dict[RoundName, list[RoundResult]] = {}
    for one in rounds:
        by_name.setdefault(one.round, []).append(one)
    series = [
        LoadSeries(
            name=round_title(name),
            colour=round_colour(name),
            dash=round_dash(name),
            rounds=tuple(sorted(found, key=lambda one: one.concurrency)),
            knee=knees.get((found[0].stage, name)),
        )
        for name, found in by_name.items()
    ]
    return element(
        "section",
        element(f"h{depth}", "What more load does"),
        round_legend([found[0] for found in by_name.values()]),
        plots(load_charts(series), "three"),
    )
