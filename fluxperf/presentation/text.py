"""Stored results on the terminal, as they were printed when they were made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fluxperf.model import RunResult
from fluxperf.report import render_answer, render_comparison, render_round, render_stages, render_verdict


def render_run(run: RunResult, columns: int | None) -> Iterator[str]:
    """The tables of all rounds, and what closes them, stage by stage; parts of a text that empty lines divide."""
    if not run.stages:
        yield from _render_stage(run, columns)
        return
    for stage in run.stages:
        part = replace(
            run,
            rounds=tuple(one for one in run.rounds if one.stage == stage.name),
            comparisons=tuple(one for one in run.comparisons if one.stage == stage.name),
            evaluations=tuple(one for one in run.evaluations if one.stage == stage.name),
            verdict=stage.verdict,
            stages=(),
        )
        if part.rounds:
            yield from _render_stage(part, columns)
    yield render_stages(run, columns)


def _render_stage(run: RunResult, columns: int | None) -> Iterator[str]:
    for result in run.rounds:
        yield render_round(result, columns)
    texts = (render(run, columns) for render in (render_comparison, render_verdict, render_answer))
    yield from (text for text in texts if text)
