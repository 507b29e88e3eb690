"""Text that is safe to show and fits where it stands: the widths and words that the reports share."""

from __future__ import annotations

import math
from collections.abc import Iterable

from rich.cells import cell_len, chop_cells

from fluxperf.model import CONTROL, RoundName, RoundSummary

RULE_WIDTH = 120
NARROWEST = 40


def printable(text: str, limit: int | None = None) -> str:
    """`text` on one line without anything a terminal could obey, at most `limit` characters long.

    White space of any kind becomes one space; control characters, direction marks and lone
    surrogates become U+FFFD.
    """
    spaced = " ".join(text.split())
    safe = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in spaced)
    return safe if limit is None or len(safe) <= limit else safe[: limit - 1].rstrip() + "…"


def number(value: float | None, form: str = ".2f") -> str:
    """`value` in the given format; `-` where there is none."""
    return "-" if value is None or not math.isfinite(value) else format(value, form)


def count(amount: int, noun: str) -> str:
    """`1 request`, `4 requests`."""
    return f"{amount} {noun}" if amount == 1 else f"{amount} {noun}s"


def rule(character: str, columns: int | None) -> str:
    """A line across the report: 120 characters, or the terminal's width if it is narrower."""
    return character * (RULE_WIDTH if columns is None else min(columns, RULE_WIDTH))


def usable(columns: int | None) -> int | None:
    """The width to fill. None: not a terminal, no limit. Below 40 columns nothing is readable, so 40 are used."""
    return None if columns is None else max(columns, NARROWEST)


def fold(lines: Iterable[str], columns: int | None) -> list[str]:
    """`lines`, each broken at ` | `, else between words, else anywhere, so that none is wider than `columns`.

    What continues an indented line is indented twice as far.
    """
    return [part for line in lines for part in _fold_line(line, columns)]


def _fold_line(line: str, columns: int | None) -> list[str]:
    if columns is None or cell_len(line) <= columns:
        return [line]
    body = line.lstrip(" ")
    indent = " " * (len(line) - len(body))
    first, *others = _pack(body, columns - 2 * len(indent), (" | ", " "))
    return [indent + first, *(2 * indent + other for other in others)]


def _pack(text: str, width: int, separators: tuple[str, ...]) -> list[str]:
    """`text` cut into as few parts as fit in `width`, at the first of `separators` where that is enough."""
    if cell_len(text) <= width:
        return [text]
    if not separators:
        return chop_cells(text, width)
    parts: list[str] = []
    for piece in text.split(separators[0]):
        joined = f"{parts[-1]}{separators[0]}{piece}" if parts else piece
        if parts and cell_len(joined) <= width:
            parts[-1] = joined
        else:
            parts.extend(_pack(piece, width, separators[1:]))
    return parts


def round_name(name: RoundName | None, *, start: bool = False) -> str:
    """`round 2`, `the control round`; with a capital at the start of a sentence."""
    text = "the control round" if name == CONTROL else f"round {name}"
    return text[:1].upper() + text[1:] if start else text


def cold_text(summary: RoundSummary) -> str | None:
    """Why the round was not cold, in the words that every report uses; None where it was, or where nobody asks.

    Where coldness is not known (`cold` is None) it is the bare reason for that.
    """
    reason = None if summary.cold_reason is None else printable(summary.cold_reason)
    if summary.cold is False:
        return f"not cold: {reason}" if reason else "not cold"
    return reason


def cached_text(summary: RoundSummary) -> str:
    """`1,234 of 2,000 (61.7%)`; `-` where the server told nothing."""
    cached = summary.cached_tokens
    if cached is None:
        return "-"
    return f"{cached.cached_tokens:,} of {cached.prompt_tokens:,} ({number(cached.ratio, '.1%')})"
