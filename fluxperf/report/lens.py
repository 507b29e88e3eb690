"""What another tool would have told, beside what FluxPerf tells. Knows figures and widths, and no definition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import ascii_lowercase

from fluxperf.model import CONTROL
from fluxperf.model.lens import LensFigure, LensRound, LensView
from fluxperf.report.text import fold, number, printable, rule, usable

_CELL_WIDTH, _CHANGE_WIDTH = 11, 9
_SAME = 5e-4  # a change that one decimal of a percent does not show
_FORMS = {"": ".0f", "ms": ".3f", "s": ".6f"}
_OTHER_FORM = ".2f"


def render_lens(view: LensView, columns: int | None) -> str:
    """A table for each round, lines joined by newlines. `columns` is the terminal's width; None: no limit.

    With room enough a further column names our figure. `~` stands before what is close to the tool's figure and not it.
    """
    columns = usable(columns)
    head = [
        rule("=", columns),
        f"As {view.title} {view.version} would have told it, from FluxPerf's own stamps",
        rule("=", columns),
    ]
    lines = [*head, *(line for result in view.rounds for line in _round_lines(view.tool, result, columns))]
    if not view.rounds:
        lines.append("No round is there to be told of.")
    if view.limits:
        lines += ["What stamps cannot tell:", *(f"  {text}" for text in view.limits)]
    return "\n".join(fold(lines, columns))


def _round_lines(tool: str, result: LensRound, columns: int | None) -> Iterator[str]:
    """One round's heading, table and reasons, with an empty line after them."""
    parts = [] if result.stage is None else [f"Stage: {printable(result.stage)}"]
    name = "Control Round" if result.round == CONTROL else f"Round {result.round}"
    yield " | ".join([*parts, f"Concurrency: {result.concurrency}", name])
    used = sorted({place for figure in result.figures if _differs(figure) for place in figure.why})
    letters = {place: _letter(nth) for nth, place in enumerate(used)}
    layout = _Layout.of(result.figures, columns)
    yield from layout.lines(["", tool, "FluxPerf", "change", "why"], "FluxPerf's figure")
    for figure in result.figures:
        why = "".join(letters[place] for place in sorted(figure.why)) if _differs(figure) else ""
        values = [_value(figure, figure.value, "" if figure.is_exact else "~"), _value(figure, figure.our_value)]
        yield from layout.lines([figure.name, *values, _change(figure), why], figure.ours or "")
    yield from (f"  {letters[place]}: {printable(result.reasons[place])}" for place in used)
    yield ""


@dataclass(frozen=True, slots=True)
class _Layout:
    """Widths of the table's columns. 0: no room; without room for names beside the figures these stand below them."""

    name_width: int
    why_width: int
    ours_width: int

    @classmethod
    def of(cls, figures: Sequence[LensFigure], columns: int | None) -> _Layout:
        name_width = max((len(figure.name) for figure in figures), default=0)
        why_width = max([3, *(len(figure.why) for figure in figures)])
        ours_width = max([17, *(len(figure.ours or "") for figure in figures)])
        taken = 2 + name_width + 2 * (_CELL_WIDTH + 1) + _CHANGE_WIDTH + 3 + why_width
        return cls(
            name_width if columns is None or taken <= columns else 0,
            why_width,
            ours_width if columns is None or taken + ours_width + 2 <= columns else 0,
        )

    def lines(self, cells: Sequence[str], ours: str) -> list[str]:
        """The name, two values, the change and the letters of its reasons; with room, the name of our figure."""
        name, theirs, our_value, change, why = cells
        if not self.name_width:
            return [*([f"  {name}"] if name else []), f"    {theirs:>10} {our_value:>10} {change:>8} {why}".rstrip()]
        text = (
            f"  {name:<{self.name_width}} {theirs:>{_CELL_WIDTH}} {our_value:>{_CELL_WIDTH}}"
            f" {change:>{_CHANGE_WIDTH}}  {why:<{self.why_width}}"
        )
        return [f"{text}  {ours}".rstrip() if self.ours_width else text.rstrip()]


def _value(figure: LensFigure, value: float | None, mark: str = "") -> str:
    return "-" if value is None else mark + number(value, _FORMS.get(figure.unit, _OTHER_FORM))


def _differs(figure: LensFigure) -> bool:
    """Whether there are two values, and more than rounding between them; or one of the two only is not known."""
    theirs, ours = figure.value, figure.our_value
    if theirs is None or ours is None:
        return theirs is None and ours is not None
    return abs(theirs - ours) > _SAME * abs(ours)


def _change(figure: LensFigure) -> str:
    theirs, ours = figure.value, figure.our_value
    if theirs is None or ours is None:
        return ""
    if not _differs(figure):
        return "="
    return number((theirs / ours - 1) * 100, "+.1f") + "%" if ours else "-"


def _letter(nth: int) -> str:
    """a, b, ... z, then A, which no round comes to."""
    return (ascii_lowercase + ascii_lowercase.upper())[nth % 52]
