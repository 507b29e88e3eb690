"""Gates as a table on the terminal, and below it what there is to say of those that did not pass. Judges nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fluxperf.model.gate import GateOutcome, GateResult
from fluxperf.model.shown import show_for, show_interval, show_place
from fluxperf.report.findings import ORDER, WORDS, Findings, Side, verdict_text
from fluxperf.report.grid import Column, Grid, draw_grid
from fluxperf.report.text import count, fold, printable, rule, usable

_NAME_LIMIT = 120


def render_gates(findings: Findings, columns: int | None) -> str:
    """The gates with their values, lines joined by newlines; empty where there are none.

    No line is wider than `columns` (from 40 on); None: no limit. Words say what passed, and no colour.
    """
    if not findings.gates:
        return ""
    columns = usable(columns)
    state = "FAILED" if findings.failed else "passed"
    head = [rule("=", columns), f"Gates: {state} ({findings.summary})", rule("=", columns), *_sides(findings)]
    return "\n".join(fold([*head, *draw_grid(_grid(findings), columns), *_remarks(findings)], columns))


def _sides(findings: Findings) -> Iterator[str]:
    heading = findings.heading
    if heading.base is None:
        return
    for word, side in (("New", heading.new), ("Base", heading.base)):
        yield f"{word}: {_side(side)}"


def _side(side: Side) -> str:
    parts = [printable(side.name)]
    if side.repeats != 1:
        parts.append(count(side.repeats, "repeat"))
    if "started_at" in side.facts:
        parts.append(f"of {printable(side.facts['started_at'])}")
    verdict = verdict_text(side)
    return ", ".join([*parts, *([printable(verdict, 200)] if verdict is not None else [])])


def _grid(findings: Findings) -> Grid:
    results = findings.gates

    def column(heading: str, text: Callable[[GateResult], str], *, left: bool = False) -> Column:
        return Column(heading, [text(result) for result in results], left=left)

    return Grid(
        names=column("Gate", lambda result: printable(result.gate.text, _NAME_LIMIT), left=True),
        keys=[column("Result", lambda result: WORDS[result.outcome], left=True)],
        columns=[
            column("Value", lambda result: show_for(result.gate, result.value)),
            column("Interval", show_interval),
            column("Where", lambda result: _where(result), left=True),
        ],
    )


def _where(result: GateResult) -> str:
    return printable(show_place(result.stage, result.concurrency, result.round), _NAME_LIMIT)


def _remarks(findings: Findings) -> Iterator[str]:
    """What there is to say of gates that did not pass, the worst first."""
    told = [result for outcome in ORDER for result in findings.gates if result.outcome is outcome]
    for result in told:
        if result.outcome is not GateOutcome.PASSED:
            gate = printable(result.gate.text, _NAME_LIMIT)
            yield f"  {WORDS[result.outcome]}: {gate} ({_where(result)}): {printable(result.text)}"
