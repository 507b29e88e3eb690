from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fluxperf.report.text import count, fold, number, printable


@pytest.mark.parametrize(
    ("line", "columns", "expected"),
    [
        ("a | b | c", None, ["a | b | c"]),
        ("a | b | c", 9, ["a | b | c"]),
        ("a | b | c", 8, ["a | b", "c"]),
        ("one two | three", 6, ["one", "two", "three"]),
        ("  abc def ghi", 9, ["  abc", "    def", "    ghi"]),
        ("abcdefgh ij", 4, ["abcd", "efgh", "ij"]),
        ("日本語です", 4, ["日本", "語で", "す"]),
        ("日本語", 4, ["日本", "語"]),
    ],
)
def test_fold(line: str, columns: int | None, expected: list[str]) -> None:
    assert fold([line], columns) == expected


@given(st.text(), st.integers(40, 80))
def test_folding_keeps_every_word_and_the_width(text: str, columns: int) -> None:
    line = printable(text)
    folded = fold([line], columns)
    assert "".join("".join(folded).split()) == "".join(line.split())
    assert max(cell_len(part) for part in folded) <= columns


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("a\r\nb\t\u2028c", "a b c"),
        ("\x1b[2J\x9b1m", "\ufffd[2J\ufffd1m"),
        ("\u202eevil\ud800", "\ufffdevil\ufffd"),
        ("日本 é ☃", "日本 é ☃"),
    ],
)
def test_printable(text: str, safe: str) -> None:
    assert printable(text) == safe


def test_printable_shortens() -> None:
    assert printable("one two three", 8) == "one two…"
    assert printable("one two", 7) == "one two"


def test_numbers() -> None:
    assert [number(value) for value in (None, float("nan"), float("inf"), 0.0, 1.005e3)] == [
        *["-"] * 3,
        "0.00",
        "1005.00",
    ]
    assert [count(amount, "request") for amount in (0, 1, 2)] == ["0 requests", "1 request", "2 requests"]
