from __future__ import annotations

import io
import sys

import pytest

from fluxperf.meter import Meter, meter, track

S = 1_000_000_000


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def be_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """In the test itself: pytest sets stderr anew for it."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    return stream


def test_what_is_over_within_a_second_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = be_terminal(monkeypatch)
    clock = Clock()
    with Meter("Reading", 10, clock=clock) as bar:
        clock.now_ns = S - 1
        bar.advance(5)
    assert terminal.getvalue() == ""


@pytest.mark.parametrize("total", [10, None])
def test_what_takes_longer_is_shown_and_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, total: int | None
) -> None:
    terminal = be_terminal(monkeypatch)
    clock = Clock()
    with Meter("Reading", total, clock=clock) as bar:
        clock.now_ns = S
        bar.advance(5)
        clock.now_ns = 2 * S
        bar.advance(5)
    shown = terminal.getvalue()
    assert "Reading" in shown
    assert "10/10" in shown or total is None
    assert shown.endswith("\x1b[2K")  # its line is cleared


def test_a_second_bar_stays_unseen_while_one_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = be_terminal(monkeypatch)
    clock = Clock()
    with Meter("Outer", clock=clock) as outer, Meter("Inner", clock=clock) as inner:
        clock.now_ns = 5 * S
        outer.advance()
        inner.advance()
    assert "Outer" in terminal.getvalue()
    assert "Inner" not in terminal.getvalue()


def test_nothing_is_shown_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with Meter("Reading", 10, clock=clock) as bar:
        clock.now_ns = 5 * S
        bar.advance(5)
    assert capsys.readouterr().err == ""


def test_items_and_bytes_pass_through() -> None:
    assert list(track(iter([1, 2]), "Counting", 2)) == [1, 2]
    with meter("Reading x", 10) as advance:
        advance(10)
