"""A terminal as far as progress needs one: rows, a cursor, and lines that are wrapped anew when it is made narrower."""

from __future__ import annotations

import io
import re

_SEQUENCE = re.compile(r"\x1b\[(\??)(\d*)(?:;\d+)*([A-Za-z])")


class Terminal(io.StringIO):
    """What is written to it shows in `rows`; `styled` is whether colours were set. Columns are characters."""

    encoding = "utf-8"

    def __init__(self, columns: int = 80, lines: int = 24) -> None:
        super().__init__()
        self.columns, self.lines = columns, lines
        self.rows = [""]
        self.row = self.column = 0
        self.cursor_is_shown = True
        self.styled = False

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        super().write(text)
        place = 0
        while place < len(text):
            if found := _SEQUENCE.match(text, place):
                self._obey(found[3], int(found[2] or 0), private=bool(found[1]))
                place = found.end()
                continue
            self._put(text[place])
            place += 1
        return len(text)

    def _put(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self._next_row()
        else:
            assert character.isprintable(), f"{character!r} has no place on a terminal"
            if self.column == self.columns:
                self._next_row()
            row = self.rows[self.row].ljust(self.column)
            self.rows[self.row] = row[: self.column] + character + row[self.column + 1 :]
            self.column += 1

    def _next_row(self) -> None:
        self.row, self.column = self.row + 1, 0
        if self.row == len(self.rows):
            self.rows.append("")

    def _obey(self, command: str, number: int, *, private: bool) -> None:
        if private and number == 25:
            self.cursor_is_shown = command == "h"
        elif command == "A":
            self.row = max(self.row - max(number, 1), 0)
        elif command == "K":
            self.rows[self.row] = "" if number == 2 else self.rows[self.row][: self.column]
        elif command == "m":
            self.styled = self.styled or number > 0
        else:
            raise AssertionError(f"nobody said what CSI {number} {command} does")

    def resize(self, columns: int) -> None:
        """Rows that are longer are wrapped anew, and the cursor stays where it is in its text."""
        rows: list[str] = []
        row = 0
        for number, text in enumerate(self.rows):
            if number == self.row:
                full, rest = divmod(max(self.column - 1, 0), columns)
                row, self.column = len(rows) + full, rest + (self.column > 0)
            rows += [text[start : start + columns] for start in range(0, max(len(text), 1), columns)]
        self.columns, self.rows, self.row = columns, rows, row

    @property
    def shown(self) -> list[str]:
        """The rows, without what is empty at their ends."""
        return "\n".join(row.rstrip() for row in self.rows).rstrip("\n").split("\n")
