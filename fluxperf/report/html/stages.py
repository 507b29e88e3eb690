"""The stages of a recipe: how far each came, and where on the page, or beside it, it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fluxperf.model import RoundResult, RunResult, StageResult, StageState
from fluxperf.report.html.headline import badge
from fluxperf.report.html.markup import Html, element, join
from fluxperf.report.html.summary import scrolling
from fluxperf.report.text import number, printable

_ERROR_LIMIT = 600
_STATES = {
    StageState.COMPLETE: ("complete", "good"),
    StageState.FAILED: ("failed", "bad"),
    StageState.PARTIAL: ("stopped before its end", "fair"),
    StageState.NOT_RUN: ("not run", "fair"),
}


@dataclass(frozen=True, slots=True)
class StagePlace:
    """A stage, its anchor on the page, and the address of a page of its own, if it has one."""

    stage: StageResult
    anchor: str
    page: str | None = None


def stages_section(run: RunResult, places: Sequence[StagePlace]) -> Html:
    """All stages in a table, each with what became of TTFT at its levels."""
    rows = [_row(place, _levels(run, place.stage)) for place in places]
    heads = [
        element("th", heading, scope="col", class_="left")
        for heading in ("Stage", "State", "Verdict", "Levels", "TTFT p50, first to last round")
    ]
    table = element("table", element("thead", element("tr", *heads)), element("tbody", *rows), class_="figures")
    return element("section", element("h2", "Stages"), scrolling(table, "Stages"), id="stages")


def _levels(run: RunResult, stage: StageResult) -> Mapping[int, list[RoundResult]]:
    found: dict[int, list[RoundResult]] = {}
    for one in run.rounds:
        if one.stage == stage.name:
            found.setdefault(one.concurrency, []).append(one)
    return found


def _row(place: StagePlace, levels: Mapping[int, list[RoundResult]]) -> Html:
    stage = place.stage
    changes = [_change(concurrency, rounds) for concurrency, rounds in levels.items()]
    own = element("a", "own page", href=place.page) if place.page is not None else None
    return element(
        "tr",
        element(
            "th",
            element("a", printable(stage.name), href=f"#{place.anchor}"),
            join([" (", own, ")"]) if own is not None else None,
            scope="row",
            class_="left",
        ),
        element("td", state_badge(stage), class_="left"),
        element("td", "-" if stage.verdict is None else badge(stage.verdict.status), class_="left"),
        element("td", ", ".join(f"{concurrency:,}" for concurrency in levels) or "-", class_="left"),
        element("td", join(changes, Html("<br>")) if changes else "-", class_="left"),
    )


def _change(concurrency: int, rounds: Sequence[RoundResult]) -> str:
    """From the first to the last round of the same prompts."""
    same = [one for one in rounds if isinstance(one.round, int)]
    shown = [number(one.summary.stats["ttft_ms"].p50, ",.1f") for one in ([same[0], same[-1]] if same else [])]
    return f"at {concurrency:,}: {' -> '.join(dict.fromkeys(shown)) or '-'} ms"


def state_badge(stage: StageResult) -> Html:
    """How far it came, in a word or a few."""
    text, colour = _STATES[stage.state]
    return element("span", text, class_=f"badge {colour}")


def stage_head(place: StagePlace) -> Html:
    """What stands above the levels of a stage."""
    stage = place.stage
    env = [f"{name}={'' if value is None else value}" for name, value in stage.env.items()]
    return join(
        [
            element("h2", printable(stage.name) or "The stage"),
            element("p", state_badge(stage), " ", *([element("code", printable(one)) for one in env])),
            element("pre", stage.error.strip()[:_ERROR_LIMIT], class_="bad") if stage.error else None,
            element("p", element("a", "This stage's own page", href=place.page)) if place.page is not None else None,
        ]
    )
