"""What a tool has done, on stdout: plain lines for people. The figures are the tool's."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from fluxperf.files import write_stream


def say(lines: Iterable[str]) -> None:
    """The lines on stdout; a reader that has gone is no fault."""
    write_stream(sys.stdout, "".join(f"{line}\n" for line in lines))


def align(rows: Sequence[Sequence[object]], indent: str = "  ") -> list[str]:
    """Lines of columns: those with whole numbers in them (`,` at thousands) to the right, all others to the left."""
    texts = [[f"{cell:,}" if _is_number(cell) else str(cell) for cell in row] for row in rows]
    columns = range(max(map(len, texts), default=0))
    widths = [max(len(row[place]) for row in texts if place < len(row)) for place in columns]
    numeric = [any(_is_number(row[place]) for row in rows if place < len(row)) for place in columns]
    lines = []
    for row in texts:
        aligned = zip(row, widths, numeric, strict=False)
        parts = [text.rjust(width) if right else text.ljust(width) for text, width, right in aligned]
        lines.append(f"{indent}{'  '.join(parts)}".rstrip())
    return lines


def sized(size_bytes: int) -> str:
    """A size in the unit that suits it: `812 bytes`, `3.4 kB`, `1.2 GB` (powers of 1000)."""
    if size_bytes < 1000:
        return f"{size_bytes} bytes"
    size = float(size_bytes)
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 999.95:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} TB"


def counted(count: int, one: str, several: str | None = None) -> str:
    """`1 line`, `1,234 lines`."""
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"


def _is_number(cell: object) -> bool:
    return isinstance(cell, int) and not isinstance(cell, bool)
