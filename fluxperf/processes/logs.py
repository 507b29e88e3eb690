"""`Log`: the file that a command's output goes to: its beginning marked, its end quoted, a line of it waited for.

A log may be gigabytes long, and so may be a line of it: nothing here reads more than its end, or more than once.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from fluxperf.errors import RunFailed
from fluxperf.masking import scrub

QUOTED_LINES = 30
LONGEST_LINE = 500  # characters of it that are shown
_TAIL_BYTES = 256 << 10
_PIECE_BYTES = 1 << 20
_MOST_BYTES_A_LOOK = 64 << 20
_LONGEST_READY_LINE = 64 << 10
_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


class Log:
    """What a command writes from its latest start on."""

    def __init__(self, path: Path, secrets: Collection[str] = ()) -> None:
        self.path = path
        self._secrets = tuple(secrets)
        self._start = 0
        self._read_to = 0
        self._rest = b""

    def open(self, occasion: str, command: str) -> BinaryIO:
        """The file, for a command that starts now to append to, with a line of ours on top. Raises RunFailed."""
        when = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = f"--- fluxperf: {occasion}, {when}: {command}\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = self.path.open("ab")
            file.write(line.encode("utf-8", "replace"))
            file.flush()
        except OSError as error:
            raise RunFailed(f"cannot write the log {self.path}: {error.strerror}; name another `log`") from error
        self._start = self._read_to = self._size()
        self._rest = b""
        return file

    def quote(self) -> str:
        """The last lines, fit to be shown, under a heading of their own."""
        lines = self.last_lines(QUOTED_LINES)
        if not lines:
            return f"nothing is in its log {self.path}: it said nothing, or sends its output elsewhere"
        heading = "the last line" if len(lines) == 1 else f"the last {len(lines)} lines"
        return "\n".join([f"{heading} of its log {self.path}:", *(f"  | {line}" for line in lines)])

    def last_lines(self, count: int) -> list[str]:
        """The last lines that are not empty, fit to be shown; what is masked stays so in those that are cut."""
        text = scrub(self._tail().decode("utf-8", "replace"), self._secrets)
        lines = [shown for line in re.split(r"[\r\n]+", text) if (shown := _printable(line))]
        return [line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} ..." for line in lines[-count:]]

    def find_line(self, wanted: str) -> str | None:
        """The first line with `wanted` in it, read from where the last call stopped; None: there is none yet.

        The line may still be without its end, once that has not come between two calls.
        """
        needle, budget, grown = wanted.encode("utf-8", "surrogateescape"), _MOST_BYTES_A_LOOK, False
        while True:
            piece = self._more()
            self._rest += piece
            grown = grown or bool(piece)
            budget -= len(piece)
            at = self._rest.find(needle)
            end = -1 if at < 0 else self._rest.find(b"\n", at)
            if at >= 0 and (end >= 0 or not grown or len(self._rest) - at > _LONGEST_READY_LINE):
                begin = max(self._rest.rfind(b"\n", 0, at) + 1, at - _LONGEST_READY_LINE)
                line = self._rest[begin : end if end >= 0 else None][: 2 * _LONGEST_READY_LINE]
                return line.decode("utf-8", "replace").rstrip("\r")
            if at < 0:  # the line that is not over, or as much of it as may hold the beginning of what is wanted
                kept = max(len(self._rest) - self._rest.rfind(b"\n") - 1, len(needle))
                self._rest = self._rest[-min(kept, _LONGEST_READY_LINE + len(needle)) :]
            if not piece or budget <= 0:
                return None

    def _more(self) -> bytes:
        if self._size() < self._read_to:  # somebody has emptied it
            self._read_to, self._rest = 0, b""
        piece = self._read(self._read_to, _PIECE_BYTES)
        self._read_to += len(piece)
        return piece

    def _tail(self) -> bytes:
        size = self._size()
        start = self._start if self._start <= size else 0
        return self._read(max(start, size - _TAIL_BYTES), _TAIL_BYTES)

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def _read(self, start: int, count: int) -> bytes:
        """Some of the file, if it is one: nothing is taken out of a pipe or a terminal."""
        try:
            if not self.path.is_file():
                return b""
            with self.path.open("rb") as file:
                file.seek(start)
                return file.read(count)
        except OSError:
            return b""


def _printable(line: str) -> str:
    """On one line and without anything that a terminal could obey."""
    plain = _ESCAPE_SEQUENCE.sub("", line).expandtabs(4).rstrip()
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in plain)
