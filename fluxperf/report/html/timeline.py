"""A round over time: requests in flight, tokens a second, failures, and the server's own metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fluxperf.model import RoundResult
from fluxperf.report.html.chart import Chart, Floats, Mark, Missing, Scale
from fluxperf.report.html.columns import Columns
from fluxperf.report.html.markup import visible
from fluxperf.report.html.palette import round_colour
from fluxperf.report.html.terms import round_title
from fluxperf.report.text import count, number, printable

_BINS = 200
# Up to so many requests the count in flight is drawn exactly; beyond that its average over each of the bins.
_FEW = 400
_TALL = 180
_PLACE = ("At", "@x{0,0.00} s")
_NAME_LIMIT = 80
# No time at all would be an endless rate.
_LEAST_S = 1e-6


@dataclass(frozen=True, slots=True)
class Course:
    """What a round's timeline shows, over `edges_s`: bins of equal width from its first send to its end."""

    result: RoundResult
    edges_s: Floats
    in_flight: tuple[Floats, Floats]
    tokens_per_s: Floats
    failures: Sequence[tuple[float, str]]


def follow(result: RoundResult, columns: Columns) -> Course | None:
    """A round's course; None where nothing was sent, or nothing of it came to an end."""
    ends = columns.done_s[np.isfinite(columns.done_s)]
    if not len(ends) or float(ends.max()) <= 0:
        return None
    edges = np.linspace(0.0, float(ends.max()), _BINS + 1)
    return Course(
        result,
        edges,
        _in_flight(columns, edges),
        _token_rate(columns, edges),
        _gather(columns, edges),
    )


def _in_flight(columns: Columns, edges: Floats) -> tuple[Floats, Floats]:
    """From when on so many requests were in flight; of many requests, their average from each of the edges on."""
    sent, done = columns.sent_s, np.where(np.isfinite(columns.done_s), columns.done_s, edges[-1])
    if len(sent) > _FEW:
        return edges, _to_the_end(_flow(sent, done, np.ones(len(sent)), edges))
    instants = np.unique(np.concatenate([[0.0], sent, done]))
    begun = np.searchsorted(np.sort(sent), instants, side="right")
    over = np.searchsorted(np.sort(done), instants, side="right")
    return instants, (begun - over).astype(np.float64)


def _token_rate(columns: Columns, edges: Floats) -> Floats:
    """Output tokens a second: those of each request spread evenly from its first to its last."""
    known = np.isfinite(columns.first_s) & np.isfinite(columns.last_s) & columns.succeeded
    starts = columns.first_s[known]
    ends = np.maximum(columns.last_s[known], starts + _LEAST_S)
    return _flow(starts, ends, columns.output_tokens[known] / (ends - starts), edges)


def _flow(starts: Floats, ends: Floats, rates: Floats, edges: Floats) -> Floats:
    """The average over each bin of the sum of all rates, each of which lasts from its start to its end."""
    flown = _ramp(starts, rates, edges) - _ramp(ends, rates, edges)
    found: Floats = np.maximum(np.diff(flown) / np.diff(edges), 0.0)
    return found


def _to_the_end(values: Floats) -> Floats:
    """The bins' values as those of steps, the last of which needs an end."""
    return np.append(values, values[-1])


def _ramp(starts: Floats, rates: Floats, at: Floats) -> Floats:
    """What has come by each of the instants `at`, if every rate goes on for ever from its start."""
    order = np.argsort(starts)
    starts, rates = starts[order], rates[order]
    sums = np.concatenate([[0.0], np.cumsum(rates)])
    moments = np.concatenate([[0.0], np.cumsum(rates * starts)])
    begun = np.searchsorted(starts, at, side="right")
    found: Floats = sums[begun] * at - moments[begun]
    return found


def _gather(columns: Columns, edges: Floats) -> Sequence[tuple[float, str]]:
    """Where requests failed: the middle of a bin, and how many of which kind."""
    bins: dict[int, Counter[str]] = {}
    for ended_s, outcome in columns.failures():
        place = min(int(np.searchsorted(edges, ended_s, side="right")) - 1, len(edges) - 2)
        bins.setdefault(max(place, 0), Counter())[outcome.value] += 1
    return [
        (float(edges[place] + edges[place + 1]) / 2, ", ".join(f"{name} {amount}" for name, amount in kinds.items()))
        for place, kinds in sorted(bins.items())
    ]


def timeline_rows(courses: Sequence[Course], metrics: Sequence[str]) -> list[list[Chart | Missing]]:
    """A row of plots for each quantity and server metric, in it one for each round, with axes that can be compared."""
    rows: list[list[Chart | Missing]] = []
    highest = max((float(course.in_flight[1].max()) for course in courses), default=0.0)
    rows.append([_flight_chart(course, highest) for course in courses])
    highest = max((float(course.tokens_per_s.max()) for course in courses), default=0.0)
    rows.append([_token_chart(course, highest) for course in courses])
    rows += [[_series_chart(course, name, courses) for course in courses] for name in metrics]
    return rows


def _place(course: Course) -> str:
    return round_title(course.result.round)


def _time(course: Course) -> Scale:
    return Scale(title="seconds since the round's first send", least=0.0, most=float(course.edges_s[-1]))


def _height(title: str, highest: float) -> Scale:
    """From 0 to a bit above the highest of any round."""
    return Scale(title=title, least=0.0, most=highest * 1.08 or 1.0)


def _flight_chart(course: Course, highest: float) -> Chart:
    instants, flying = course.in_flight
    colour = round_colour(course.result.round)
    marks = [
        Mark(
            shape="step",
            name=_place(course),
            colour=colour,
            columns={"x": instants, "y": flying},
        )
    ]
    if course.failures:
        places, kinds = zip(*course.failures, strict=True)
        columns = {"x": np.array(places), "y": np.zeros(len(places)), "kinds": np.array(kinds, dtype=object)}
        hover = (("At", "@x{0,0.00} s"), ("Failed", "@kinds"))
        marks.append(Mark(shape="crosses", name="Failed requests", colour="bad", columns=columns, hover=hover))
    summary = course.result.summary
    failed = count(summary.failed_requests, "request") + " failed" if summary.failed_requests else "none failed"
    return Chart(
        title=f"Requests in flight, {round_title(course.result.round).lower()}",
        x=_time(course),
        y=_height("requests in flight", highest),
        marks=tuple(marks),
        says=f"On average {number(summary.avg_in_flight, '.1f')}, at most {float(flying.max()):.0f}; {failed}.",
        note="Crosses at the bottom: requests that failed." if course.failures else None,
        tall=_TALL,
        place=_PLACE,
        value="{0,0.[0]} in flight",
    )


def _token_chart(course: Course, highest: float) -> Chart | Missing:
    title = f"Output tokens a second, {round_title(course.result.round).lower()}"
    if not course.tokens_per_s.any():
        return Missing(title, "no request brought a token")
    mark = Mark(
        shape="step",
        name=_place(course),
        colour=round_colour(course.result.round),
        columns={"x": course.edges_s, "y": _to_the_end(course.tokens_per_s)},
    )
    return Chart(
        title=title,
        x=_time(course),
        y=_height("tokens/s", highest),
        marks=(mark,),
        says=f"On average {number(course.result.summary.tokens_per_s, '.1f')} tokens a second.",
        tall=_TALL,
        place=_PLACE,
        value="{0,0.0} tokens/s",
    )


def _series_chart(course: Course, name: str, courses: Sequence[Course]) -> Chart | Missing:
    shown = visible(printable(name, _NAME_LIMIT))
    title = f"{shown}, {round_title(course.result.round).lower()}"
    samples = _finite(course, name)
    if not len(samples):
        return Missing(title, "the server's metric was not read in this round")
    values = np.concatenate([_finite(one, name)[:, 1] for one in courses])
    least, most = min(float(values.min()), 0.0), float(values.max())
    mark = Mark(
        shape="step",
        name=_place(course),
        colour=round_colour(course.result.round),
        columns={"x": samples[:, 0], "y": samples[:, 1]},
    )
    found = samples[:, 1]
    return Chart(
        title=title,
        x=_time(course),
        y=Scale(title="value", least=least, most=most + (most - least) * 0.08 or 1.0),
        marks=(mark,),
        says=f"From {found.min():.6g} to {found.max():.6g}, {found.mean():.6g} on average of {len(found)} samples.",
        tall=_TALL,
        place=_PLACE,
        value="{0,0.[0000]}",
    )


def _finite(course: Course, name: str) -> Floats:
    """The samples that are numbers: a row each, seconds and value."""
    samples = np.array(course.result.series.get(name) or (), dtype=np.float64).reshape(-1, 2)
    found: Floats = samples[np.isfinite(samples).all(axis=1)]
    return found
