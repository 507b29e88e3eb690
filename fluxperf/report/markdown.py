"""A summary in GitHub's Markdown, for a pull request's comment or `$GITHUB_STEP_SUMMARY`. Judges nothing.

Names come from anywhere, so whatever could be markup in them is escaped, and they stand in `<code>`, where neither
`@somebody` nor `#12` is more than text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from fluxperf.model.contrast import Call, Contrast
from fluxperf.model.gate import GateOutcome, GateResult
from fluxperf.model.shown import show_change, show_for, show_interval, show_place, show_value
from fluxperf.report.findings import ORDER, WORDS, Findings, Side, verdict_text
from fluxperf.report.text import count, number, printable

MOST_CHARACTERS = 64_000  # a comment may have 65,536, and others add to it
_MOST_OPEN = 12  # comparisons that are not folded away
_MOST_LABELS = 20
_NAME_LIMIT, _TEXT_LIMIT = 120, 500
_CALLS = (Call.WORSE, Call.CANNOT_TELL, Call.BETTER, Call.SAME)
_SHARE_OF_GATES = 0.6  # of all characters, where there is more than fits
_MARKUP = re.compile(r"[\\`*_\[\]#|~<>&@$]")
_NAMED = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
_NO_MENTION = "@&#8203;"  # a space without width: nobody is told


def render_markdown(findings: Findings) -> str:
    """The summary, under `MOST_CHARACTERS` long; what does not fit is counted, the least important first."""
    head = "\n".join(_head(findings))
    tail = "\n".join(["", _provenance(findings)])
    room = MOST_CHARACTERS - len(head) - len(tail) - 400  # for what says that something was left out
    has_both = bool(findings.gates and findings.contrasts)
    gates = _gates_table(findings.gates, int(room * _SHARE_OF_GATES) if has_both else room)
    contrasts = _contrasts_section(findings.contrasts, room - len(gates))
    return f"{head}{gates}{contrasts}{tail}\n"


def _head(findings: Findings) -> Iterator[str]:
    heading = findings.heading
    state = (
        "failed"
        if findings.failed
        else "passed"
        if findings.gates
        else "compared"
        if heading.base is not None
        else "measured"
    )
    summary = findings.summary
    if not findings.gates and findings.contrasts:
        summary = _calls(findings.contrasts)
    yield f"## FluxPerf {state}: {summary}"
    yield ""
    sides = [_side("New", heading.new), *([] if heading.base is None else [_side("Baseline", heading.base)])]
    yield "<br>\n".join(sides)
    yield ""


def _side(word: str, side: Side) -> str:
    parts = [f"{word}: {_code(side.name)}"]
    if side.repeats != 1:
        parts.append(count(side.repeats, "repeat"))
    verdict = verdict_text(side)
    if verdict is not None:
        parts.append(f"the measurement is {_escape(verdict, _TEXT_LIMIT)}")
    return ", ".join(parts)


def _gates_table(gates: Sequence[GateResult], room: int) -> str:
    ordered = [result for outcome in ORDER for result in gates if result.outcome is outcome]
    if not ordered:
        return ""
    head = "\n| Result | Gate fails if | Where | Value | Interval | |\n|---|---|---|---:|---:|---|\n"
    return _fill(head, [_gate_row(result) for result in ordered], room, "gate")


def _gate_row(result: GateResult) -> str:
    gate, word = result.gate, WORDS[result.outcome]
    cells = [
        f"**{word}**" if result.failed else word,
        _code(gate.text),
        _where(result),
        _escape(show_for(gate, result.value)),
        _escape(show_interval(result)),
        "" if result.outcome is GateOutcome.PASSED else _escape(result.text, _TEXT_LIMIT),
    ]
    return f"| {' | '.join(cells)} |\n"


def _contrasts_section(contrasts: Sequence[Contrast], room: int) -> str:
    if not contrasts:
        return ""
    ordered = [contrast for call in _CALLS for contrast in contrasts if contrast.call is call]
    table = "\n| Call | Figure | Where | Base | New | Change | Interval | |\n|---|---|---|---:|---:|---:|---|---|\n"
    filled = _fill(table, [_contrast_row(contrast) for contrast in ordered], room, "comparison")
    if len(ordered) <= _MOST_OPEN:
        return filled
    return f"\n<details><summary>{_calls(contrasts)}</summary>\n{filled}\n</details>\n"


def _contrast_row(contrast: Contrast) -> str:
    figure, interval = contrast.figure, contrast.interval
    shown = "-"
    if interval is not None:
        low, high = ("unknown" if bound in (0, math.inf) else show_change(bound) for bound in interval)
        shown = f"{low} to {high} ({number(100 * contrast.confidence, '.4g')}%)"
    cells = [
        f"**{contrast.call}**" if contrast.call is Call.WORSE else str(contrast.call),
        _code(str(figure)),
        _where(contrast),
        _escape(show_value(figure, contrast.base)),
        _escape(show_value(figure, contrast.new)),
        _escape(show_change(contrast.ratio)),
        _escape(shown),
        _escape(contrast.why or "", _TEXT_LIMIT),
    ]
    return f"| {' | '.join(cells)} |\n"


def _calls(contrasts: Sequence[Contrast]) -> str:
    """`40 comparisons: 2 worse, 38 same`."""
    amounts = ((sum(contrast.call is call for contrast in contrasts), call) for call in _CALLS)
    return (
        f"{count(len(contrasts), 'comparison')}: {', '.join(f'{amount} {call}' for amount, call in amounts if amount)}"
    )


def _fill(head: str, rows: Sequence[str], room: int, noun: str) -> str:
    """A table with as many of its rows as fit."""
    kept, length = 0, len(head)
    while kept < len(rows) and length + len(rows[kept]) <= room:
        length += len(rows[kept])
        kept += 1
    left = len(rows) - kept
    return (
        head
        + "".join(rows[:kept])
        + (f"\nand {count(left, f'further {noun}')}: the table on the terminal has all\n" if left else "")
    )


def _provenance(findings: Findings) -> str:
    """Where the figures are from, in small letters."""
    heading = findings.heading
    new = [f"{name} {_code(text)}" for name, text in heading.new.facts.items()]
    labels = [_code(f"{name}={text}") for name, text in heading.labels.items()]
    new += labels[:_MOST_LABELS]
    parts = [", ".join(new)] if new else []
    if heading.base is not None and heading.base.facts:
        parts.append("baseline: " + ", ".join(f"{name} {_code(text)}" for name, text in heading.base.facts.items()))
    parts.append(f"judged by the {heading.judge}")
    return f"<sub>{'; '.join(parts)}</sub>"


def _code(text: str) -> str:
    return f"<code>{_escape(text).replace(_NO_MENTION, '@')}</code>"


def _where(one: GateResult | Contrast) -> str:
    place = show_place(one.stage, one.concurrency, one.round)
    return place if one.stage is None else _code(place)


def _escape(text: str, limit: int = _NAME_LIMIT) -> str:
    """Text on one line that Markdown and HTML leave as it is, also in the cell of a table."""
    return _MARKUP.sub(lambda found: _escaped(found[0]), printable(text, limit))


def _escaped(character: str) -> str:
    return _NO_MENTION if character == "@" else _NAMED.get(character, f"&#{ord(character)};")
