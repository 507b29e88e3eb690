"""Gates as annotations of GitHub Actions: its workflow commands, which it reads from a step's output. Judges nothing.

GitHub shows ten errors, ten warnings and ten notices of a step, and drops the rest without a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fluxperf.model.contrast import Call
from fluxperf.model.gate import GateOutcome, GateResult
from fluxperf.model.shown import show_place
from fluxperf.report.findings import Findings
from fluxperf.report.text import count, printable

MOST = 10  # of a kind
_TEXT_LIMIT, _TITLE_LIMIT = 2000, 200


def render_github(findings: Findings) -> str:
    """The commands, a line each; empty where there are neither gates nor comparisons."""
    return "".join(f"{line}\n" for line in _lines(findings))


def _lines(findings: Findings) -> Iterator[str]:
    failed = [result for result in findings.gates if result.failed]
    undecided = [result for result in findings.gates if result.outcome is GateOutcome.UNDECIDED]
    yield from _annotate("error", failed, "failed")
    yield from _annotate("warning", undecided, "undecided")
    if findings.gates:
        yield _command("notice", f"FluxPerf: {findings.summary}", findings.heading.title)
    worse = sum(contrast.call is Call.WORSE for contrast in findings.contrasts)
    if findings.contrasts:
        said = f"{worse} of {count(len(findings.contrasts), 'comparison')} worse"
        yield _command("notice", f"FluxPerf: {said}", findings.heading.title)


def _annotate(level: str, results: Sequence[GateResult], what: str) -> Iterator[str]:
    """A command for each result; the last place is kept for how many more there are."""
    shown = results if len(results) <= MOST else results[: MOST - 1]
    for result in shown:
        place = show_place(result.stage, result.concurrency, result.round)
        yield _command(level, f"Gate {what}: {result.gate.text}", f"{place}: {result.text}")
    if more := len(results) - len(shown):
        yield _command(level, f"{count(more, 'more gate')} {what}", "the report of the run has them all")


def _command(level: str, title: str, text: str) -> str:
    """`::error title=...::...`, as the runner's own toolkit escapes it."""
    shown = printable(title, _TITLE_LIMIT)
    for character in "%\r\n:,":
        shown = shown.replace(character, f"%{ord(character):02X}")
    said = printable(text, _TEXT_LIMIT)
    for character in "%\r\n":
        said = said.replace(character, f"%{ord(character):02X}")
    return f"::{level} title={shown}::{said}"
