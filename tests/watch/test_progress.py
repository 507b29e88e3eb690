from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest

from fluxperf.watch.progress import PLAIN_LINE_EVERY_NS, Bar, LiveCounts, PlainLines, Silence, choose_progress

S = 1_000_000_000
MS = 1_000_000
NOTHING = LiveCounts(sent=0, done=0, failed=0, output_tokens=0, ttft_ns_sum=0, succeeded=0)
COUNTS = LiveCounts(sent=9, done=6, failed=2, output_tokens=5000, ttft_ns_sum=50 * MS, succeeded=4)


class FakeClock:
    def __init__(self) -> None:
        self.at_ns = 1000 * S

    def __call__(self) -> int:
        return self.at_ns


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        (COUNTS, "3 in flight, 2,500 tok/s, TTFT 12.5 ms, 2 failed"),
        (replace(COUNTS, failed=0), "3 in flight, 2,500 tok/s, TTFT 12.5 ms"),
        (replace(COUNTS, succeeded=0), "3 in flight, 2 failed"),  # no rate of nothing
        (NOTHING, "0 in flight"),
    ],
)
def test_counts_in_words(counts: LiveCounts, text: str) -> None:
    assert counts.describe(2 * S) == text


def test_no_time_has_passed_yet() -> None:
    assert COUNTS.describe(0).startswith("3 in flight, ")


def test_plain_lines_come_at_the_start_and_now_and_then() -> None:
    out, clock = io.StringIO(), FakeClock()
    progress = PlainLines(out, clock)
    progress.begin("Concurrency 5, round 1", 10)
    progress.show(NOTHING)
    clock.at_ns += PLAIN_LINE_EVERY_NS - 1
    progress.show(COUNTS)
    clock.at_ns += 1
    progress.show(COUNTS)
    progress.show(COUNTS)
    clock.at_ns += PLAIN_LINE_EVERY_NS
    progress.show(replace(COUNTS, done=9))
    progress.end()
    assert out.getvalue().splitlines() == [
        "Concurrency 5, round 1: 10 requests",
        "Concurrency 5, round 1: 6/10, 3 in flight, 500 tok/s, TTFT 12.5 ms, 2 failed",
        "Concurrency 5, round 1: 9/10, 0 in flight, 250 tok/s, TTFT 12.5 ms, 2 failed",
    ]


def test_plain_lines_of_a_round_begin_anew() -> None:
    out, clock = io.StringIO(), FakeClock()
    progress = PlainLines(out, clock)
    progress.begin("one", 1)
    clock.at_ns += 5 * PLAIN_LINE_EVERY_NS
    progress.begin("two", 2)
    progress.show(COUNTS)
    assert out.getvalue() == "one: 1 requests\ntwo: 2 requests\n"


@pytest.fixture
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return Terminal()


def without_control(text: str) -> str:
    return re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", text)


def test_the_bar_shows_each_round(wide_terminal: Terminal) -> None:
    clock = FakeClock()
    bar = Bar(wide_terminal, clock)
    for title in ("round 1", "round 2"):
        wide_terminal.truncate(0)
        bar.begin(title, 10)
        clock.at_ns += 2 * S
        bar.show(COUNTS)
        shown = without_control(wide_terminal.getvalue())
        bar.end()
        assert title in shown
        assert " 0/10 " in shown
        assert " 6/10 " in shown
        assert "3 in flight, 2,500 tok/s, TTFT 12.5 ms, 2 failed" in shown
        assert "\n" not in shown  # one line, redrawn in place


@pytest.mark.parametrize("columns", [60, 80, 109, 110, 160])
def test_the_bar_is_never_wrapped(monkeypatch: pytest.MonkeyPatch, wide_terminal: Terminal, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    clock = FakeClock()
    bar = Bar(wide_terminal, clock)
    bar.begin("Concurrency 100, round 1", 1000)
    clock.at_ns += 2 * S
    bar.show(replace(COUNTS, sent=1000, done=900))
    drawn = without_control(wide_terminal.getvalue())
    bar.end()
    assert "\n" not in drawn
    last = drawn.rpartition("\r")[2]
    assert len(last) <= columns
    assert " 900/1000 " in last
    assert " 100 in flight" in last


def test_the_bar_starts_no_thread(wide_terminal: Terminal) -> None:
    """Workers are forked before it is shown, but a thread would also compete with what is measured."""
    threads = Path("/proc/self/task")
    before = set(threads.iterdir())
    bar = Bar(wide_terminal, FakeClock())
    bar.begin("round 1", 10)
    bar.show(COUNTS)
    during = set(threads.iterdir())
    bar.end()
    assert during <= before


def test_progress_is_chosen_by_where_it_goes(wide_terminal: Terminal) -> None:
    assert isinstance(choose_progress(wide_terminal, silent=False), Bar)
    assert isinstance(choose_progress(io.StringIO(), silent=False), PlainLines)
    assert isinstance(choose_progress(wide_terminal, silent=True), Silence)


def test_silence_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Silence()
    progress.begin("round 1", 10)
    progress.show(COUNTS)
    progress.end()
    assert capsys.readouterr() == ("", "")
