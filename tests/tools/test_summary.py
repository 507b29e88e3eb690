from __future__ import annotations

import pytest

from fluxperf_tools.summary import align, counted, say, sized


def test_columns_are_aligned_numbers_to_the_right() -> None:
    assert align([["task", "entries", "format"], ["qasper", 7, "x"], ["lcc", 12345, "yy"], ["short"]]) == [
        "  task    entries  format",
        "  qasper        7  x",
        "  lcc      12,345  yy",
        "  short",
    ]
    assert align([]) == []


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_960, "1.0 MB"),
        (1_234_567_890, "1.2 GB"),
        (10**13, "10.0 TB"),
    ],
)
def test_sizes(size_bytes: int, text: str) -> None:
    assert sized(size_bytes) == text


def test_counts_agree_in_number() -> None:
    assert [counted(n, "line") for n in (0, 1, 1234)] == ["0 lines", "1 line", "1,234 lines"]
    assert counted(2, "entry", "entries") == "2 entries"


def test_lines_go_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    say(["a", "b"])
    assert capsys.readouterr().out == "a\nb\n"
