"""A level's part of the page: its rounds by percentile, prompt by prompt, over time, and how the client fared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from fluxperf.errors import UsageError
from fluxperf.metrics import BY_NAME
from fluxperf.model import CONTROL, RoundResult
from fluxperf.model.evaluation import CacheEvaluation
from fluxperf.report.html.audit import audit_part
from fluxperf.report.html.columns import Columns
from fluxperf.report.html.markup import Html, element, join
from fluxperf.report.html.palette import round_colour, round_dash
from fluxperf.report.html.percentiles import METRICS, Line, find_curve, percentile_chart
from fluxperf.report.html.plots import plots, round_legend
from fluxperf.report.html.prompts import pair_rounds, saved_chart, ttft_chart
from fluxperf.report.html.terms import round_title
from fluxperf.report.html.timeline import follow, timeline_rows
from fluxperf.report.html.turns import turns_part
from fluxperf.report.text import cold_text, printable, round_name

# What makes columns of a round's requests; it raises UsageError where they cannot be read.
Reading: TypeAlias = Callable[[RoundResult], Columns]


@dataclass(frozen=True, slots=True, kw_only=True)
class Density:
    """How much of it is drawn, so that a page of many levels is no larger than one can open.

    `most_points`: of a plot of prompts. `most_metrics`: of the server, over time. `whole`: with timelines and every
    plot; else TTFT and latency only.
    """

    most_points: int = 4000
    most_metrics: int = 12
    whole: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """All rounds of a level, and what is known of their requests; `problems`: why of some nothing is."""

    rounds: tuple[RoundResult, ...]
    columns: Mapping[int, Columns]
    problems: tuple[str, ...] = ()
    evaluations: tuple[CacheEvaluation, ...] = ()
    density: Density = Density()

    @property
    def concurrency(self) -> int:
        """How many requests ran at once."""
        return self.rounds[0].concurrency

    def read(self) -> list[tuple[RoundResult, Columns]]:
        """The rounds whose requests are known, with them."""
        return [(one, self.columns[nth]) for nth, one in enumerate(self.rounds) if nth in self.columns]


def level_part(level: Level, name: str, depth: int) -> Html:
    """The section of a level; `name` is its place on the page, `depth` that of its heading."""
    parts = [
        element(f"h{depth}", f"Concurrency {level.concurrency:,}"),
        *_notes(level),
        round_legend(level.rounds),
        element(f"h{depth + 1}", "Latency by percentile"),
        _percentiles(level),
        element(f"h{depth + 1}", "Prompt by prompt"),
        _prompts(level),
    ]
    if level.density.whole:
        parts += [element(f"h{depth + 1}", "Over time"), _timeline(level)]
    else:
        left = "ITL, chunk gaps and timelines are left out, because there are so many levels on this page."
        parts.append(element("p", left, class_="missing"))
    return element(
        "section",
        *parts,
        turns_part(level.rounds, depth + 1),
        audit_part(level.rounds, depth + 1),
        id=name,
        class_="level",
    )


def _notes(level: Level) -> list[Html]:
    """What to know before reading the figures."""
    notes: dict[str, None] = {}
    for one in level.rounds:
        name = round_title(one.round)
        notes |= dict.fromkeys(f"{name}: {printable(note)}." for note in one.notes)
        if one.partial:
            notes[f"{name} was stopped before its end."] = None
        if one.summary.cold is False:
            notes[f"{name} was {cold_text(one.summary)}."] = None
        notes |= dict.fromkeys(f"{name}: {line}" for line in _failures(one))
    lines = [element("li", note) for note in notes]
    lines += [element("li", f"Missing: {printable(problem)}", class_="bad") for problem in level.problems]
    return [element("ul", *lines, class_="notes")] if lines else []


def _failures(result: RoundResult) -> list[str]:
    """How many failed in which way, with an example of each."""
    summary = result.summary
    return [
        f"{summary.outcomes[name]:,} failed with {name}: {printable(example, 200)}"
        for name, example in summary.examples.items()
        if summary.outcomes.get(name)
    ]


def _percentiles(level: Level) -> Html:
    shown = METRICS if level.density.whole else ("ttft_ms", "latency_ms")
    charts = []
    for name in shown:
        metric = BY_NAME[name]
        lines = []
        for nth, one in enumerate(level.rounds):
            curve = find_curve(one, level.columns.get(nth), metric)
            if curve is not None:
                look = (round_colour(one.round), round_dash(one.round))
                lines.append(Line(round_title(one.round), *look, curve))
        charts.append(percentile_chart(metric, lines, level.rounds))
    return plots(charts)


def _prompts(level: Level) -> Html:
    """Round 1 against each later round of the same prompts."""
    read = [(one, columns) for one, columns in level.read() if one.round != CONTROL]
    if len(read) < 2 or read[0][0].round != 1:
        why = "there is no second round of the same prompts" if not level.problems else "requests are missing"
        return element("p", f"No plots, because {why}.", class_="missing")
    paired = [pair_rounds(read[0], later, level.density.most_points) for later in read[1:]]
    doses = {one.round: one.dose for one in level.evaluations}
    saved = [saved_chart(one, doses.get(one.later.round)) for one in paired]
    return plots([ttft_chart(paired), *saved])


def _timeline(level: Level) -> Html:
    courses = [course for one, columns in level.read() if (course := follow(one, columns)) is not None]
    if not courses:
        why = "requests are missing" if level.problems else "nothing was sent"
        return element("p", f"No timeline, because {why}.", class_="missing")
    layout = {1: "one", 2: "two"}.get(len(courses), "three")
    names = list(dict.fromkeys(name for course in courses for name in course.result.series))
    shown = names[: level.density.most_metrics]
    left = f"{len(names) - len(shown)} further metrics of the server are in the files of the rounds."
    note = element("p", left, class_="note") if len(shown) < len(names) else None
    return join([*(plots(row, layout) for row in timeline_rows(courses, shown)), note])


def read_level(
    rounds: Sequence[RoundResult], evaluations: Sequence[CacheEvaluation], density: Density, read: Reading
) -> Level:
    """The level with the requests of its rounds. Those that cannot be read are among its problems."""
    columns: dict[int, Columns] = {}
    problems = []
    for nth, one in enumerate(rounds):
        try:
            columns[nth] = read(one)
        except UsageError as error:
            problems.append(f"the requests of {round_name(one.round)}: {error}")
    place = (rounds[0].stage, rounds[0].concurrency)
    return Level(
        rounds=tuple(rounds),
        columns=columns,
        problems=tuple(problems),
        evaluations=tuple(one for one in evaluations if (one.stage, one.concurrency) == place),
        density=density,
    )
