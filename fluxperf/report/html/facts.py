"""Where a result comes from: environment, configuration, and how to make all of it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fluxperf.model import RunResult
from fluxperf.report.html.markup import Html, element, join
from fluxperf.report.text import printable


def origin_section(run: RunResult, commands: Sequence[str]) -> Html:
    """Folded lists, and the commands that make the page and the run again."""
    folded: list[Html] = []
    for name, facts in (
        ("Environment", run.environment),
        ("Configuration", run.configuration),
        ("The server under test", run.server or {}),
    ):
        if facts:
            folded.append(element("details", element("summary", name), facts_list(facts)))
    for stage in run.stages:
        facts = {"env": stage.env, "configuration": stage.configuration, "server": stage.server}
        known = {name: value for name, value in facts.items() if value}
        if known:
            folded.append(element("details", element("summary", f"Stage {printable(stage.name)}"), facts_list(known)))
    if run.recipe is not None:
        text = element("pre", str(run.recipe.get("text", "")))
        path = printable(str(run.recipe.get("path", "")))
        folded.append(element("details", element("summary", f"The recipe, {path}"), text))
    return element(
        "section",
        element("h2", "Where this comes from"),
        *folded,
        element("h3", "How to make it again"),
        commands_part(commands),
        id="origin",
    )


def commands_part(commands: Sequence[str]) -> Html:
    """Lines for a shell."""
    return join(element("pre", command) for command in commands)


def facts_list(facts: Mapping[str, Any]) -> Html:
    """Nested facts as nested lists of names and values."""
    entries = []
    for name, value in facts.items():
        entries.append(element("dt", printable(str(name))))
        if isinstance(value, Mapping) and value:
            entries.append(element("dd", facts_list(value)))
        else:
            entries.append(element("dd", _plain(value)))
    return element("dl", *entries, class_="facts-list")


def _plain(value: object) -> str:
    if value is None or value in ({}, [], ()):
        return "-"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return printable(str(value))
