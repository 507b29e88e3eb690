"""A grid of texts with a name for each row, in as many panels as the width makes necessary. Knows no figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len, set_cell_size

from fluxperf.report.text import fold

_LEAST_NAME_WIDTH, _GOOD_NAME_WIDTH = 8, 16
_NAME_SHARE = 3  # names have at most one third of the width
_SENTENCE_WIDTH = 80  # where there is no terminal


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, whose lines are separated by newlines, and a text for each row, at the right unless `left`."""

    heading: str
    cells: Sequence[str]
    left: bool = False

    @property
    def width(self) -> int:
        """In cells of a terminal."""
        return max(map(cell_len, (*self.heading.split("\n"), *self.cells)), default=0)


@dataclass(frozen=True, slots=True)
class Grid:
    """`names` and `keys` say what a row is of, and stand in every panel; a name may be empty, and may be cut.

    `sentences` has lines that take the place of a row's cells; that row is in the first panel only.
    """

    names: Column
    keys: Sequence[Column]
    columns: Sequence[Column]
    sentences: Mapping[int, Sequence[str]] = field(default_factory=dict)


def draw_grid(grid: Grid, width: int | None) -> list[str]:
    """The lines of the grid, none wider than `width` (from 40 on; None: no limit, and one panel).

    Names that must be cut are numbered, and stand below it in full, in lines of any width.
    """
    name_width = _fit_names(grid, width)
    names, notes = _number_names(grid.names.cells, name_width)
    named = Column(grid.names.heading, names, left=True)
    lines: list[str] = []
    for columns in _deal(grid, name_width, width):
        panel = _Panel(named, (*grid.keys, *columns), grid.sentences, is_first=not lines)
        lines += ["", *panel.lines(name_width, width)] if lines else panel.lines(name_width, width)
    return [*lines, *notes]


def _fit_names(grid: Grid, width: int | None) -> int:
    """How wide names may be: as wide as the fewest panels allow, and narrow only where figures would be cut else."""
    longest = max(grid.names.width, _LEAST_NAME_WIDTH)
    if width is None:
        return longest
    most = max(min(longest, width // _NAME_SHARE), _LEAST_NAME_WIDTH)
    widest = max((column.width for column in grid.columns), default=0)

    def cost(wide: int) -> tuple[int, int, int]:
        missing = widest + 3 - _room_beside(grid, wide, width)
        return max(missing, 0), -min(wide, _GOOD_NAME_WIDTH), len(list(_deal(grid, wide, width)))

    return min(range(most, _LEAST_NAME_WIDTH - 1, -1), key=cost)


def _room_beside(grid: Grid, name_width: int, width: int) -> int:
    """What names, keys and the border leave to columns, each of which takes three characters more than its texts."""
    return width - 1 - (name_width + 3) - sum(key.width + 3 for key in grid.keys)


def _number_names(names: Sequence[str], width: int) -> tuple[list[str], list[str]]:
    """The names as they fit, and below what those are in full that do not."""
    shown: list[str] = []
    notes: list[str] = []
    for name in names:
        if cell_len(name) > width:
            notes.append(f"[{len(notes) + 1}] {name}")
            shown.append(notes[-1])
        else:
            shown.append(name)
    return shown, notes


def _deal(grid: Grid, name_width: int, width: int | None) -> Iterator[Sequence[Column]]:
    """The columns that each panel has besides names and keys."""
    if width is None:
        yield grid.columns
        return
    room = _room_beside(grid, name_width, width)
    panel: list[Column] = []
    for column in grid.columns:
        if panel and sum(one.width + 3 for one in (*panel, column)) > room:
            yield panel
            panel = []
        panel.append(column)
    yield panel


@dataclass(frozen=True, slots=True)
class _Panel:
    names: Column
    columns: Sequence[Column]
    sentences: Mapping[int, Sequence[str]]
    is_first: bool

    def lines(self, name_width: int, width: int | None) -> list[str]:
        widths = self._widths(name_width, width)
        headings = [column.heading.split("\n") for column in (self.names, *self.columns)]
        lines = [
            self._line([heading[nth] if nth < len(heading) else "" for heading in headings], widths)
            for nth in range(max(map(len, headings)))
        ]
        lines.append(_border("├┼┤", widths))
        for row, name in enumerate(self.names.cells):
            if row in self.sentences:
                lines += self._sentence_lines(name, self.sentences[row], widths) if self.is_first else []
            else:
                lines.append(self._line([name, *(column.cells[row] for column in self.columns)], widths))
        return [*lines, _border("└┴┘", widths)]

    def _widths(self, name_width: int, width: int | None) -> list[int]:
        """The columns' widths: cut where one is too wide by itself, the last one wider if a sentence needs that."""
        widths = [name_width, *(column.width for column in self.columns)]
        if width is not None:
            # Numbers of any size cannot be in a terminal of any width.
            excess = sum(widths) + 3 * len(widths) + 1 - width
            widest = max(range(1, len(widths)), key=lambda nth: widths[nth])
            widths[widest] -= max(excess, 0)
        if not self.is_first:
            return widths
        longest = max((cell_len(line) for lines in self.sentences.values() for line in lines), default=0)
        most = _SENTENCE_WIDTH if width is None else width - 1 - (name_width + 3) - 3
        widths[-1] += max(min(longest, most) - _room(widths), 0)
        return widths

    def _sentence_lines(self, name: str, sentences: Sequence[str], widths: Sequence[int]) -> list[str]:
        room = _room(widths)
        return [
            f"│ {_fill('' if nth else name, widths[0], left=True)} │ {_fill(part, room, left=True)} │"
            for nth, part in enumerate(fold(sentences, room))
        ]

    def _line(self, texts: Sequence[str], widths: Sequence[int]) -> str:
        filled = [
            _fill(text, width, left=column.left)
            for text, width, column in zip(texts, widths, (self.names, *self.columns), strict=True)
        ]
        return f"│ {' │ '.join(filled)} │"


def _room(widths: Sequence[int]) -> int:
    """How wide the columns after the first are together."""
    return sum(widths[1:]) + 3 * (len(widths) - 2)


def _border(corners: str, widths: Sequence[int]) -> str:
    return corners[0] + corners[1].join("─" * (width + 2) for width in widths) + corners[2]


def _fill(text: str, width: int, *, left: bool) -> str:
    """`text` in so many cells of a terminal, filled up with spaces or cut."""
    missing = width - cell_len(text)
    if missing < 0:
        return set_cell_size(text, width - 1) + "…"
    return text + " " * missing if left else " " * missing + text
