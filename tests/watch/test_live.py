from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len

from fluxperf.units import NS_PER_MS as MS
from fluxperf.units import NS_PER_S as S
from fluxperf.watch import live
from fluxperf.watch.counts import Flight, LiveCounts
from fluxperf.watch.itinerary import Itinerary, Leg, Rest
from fluxperf.watch.live import Block, lay_out
from fluxperf.watch.pace import Rates
from fluxperf.watch.wording import Facts, Wait
from tests.watch.screen import Terminal

LEG = Leg(None, 64, 1, 1000)
START_NS = 1000 * S
FLIGHT = Flight(index=17, turn=0, input_tokens=5120, sent_ns=START_NS, last_output_ns=None)
COUNTS = LiveCounts(
    sent=664, done=600, failures={"429": 2}, output_tokens=500_000, ttft_ns=(12.5 * MS, 80 * MS), started_ns=START_NS
)
EVERYTHING = Facts(
    title="Prefix cache on (stage 1 of 3): concurrency 64 (level 2 of 4), round 1 of 2",
    total=10_000,
    counts=LiveCounts(sent=1298, done=1234, failures={"timeout": 2, "429": 1}, ttft_ns=(120 * MS, 1230 * MS)),
    elapsed_ns=72 * S,
    rates=Rates(11_900, 45.2, 12_345),
    left_ns=200 * S,
    rest=Rest(1300 * S, at_most=True),
    wait=Wait(flight=FLIGHT, age_ns=12_300 * MS, silent_ns=None),
)


class FakeClock:
    def __init__(self) -> None:
        self.at_ns = START_NS

    def __call__(self) -> int:
        return self.at_ns


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    for name in ("NO_COLOR", "XTERM_VERSION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def block(terminal: Terminal, clock: FakeClock) -> Block:
    return Block(terminal, Itinerary(), clock, lambda _: (terminal.columns, terminal.lines))


def test_at_80_columns() -> None:
    assert [text for text, _ in lay_out(EVERYTHING, 79)] == [
        "Prefix cache on (stage 1 of 3): concurrency 64 (level 2 of 4), round 1 of 2",
        "  1,234 of 10,000 done ██░░░░░░░░░░░░░░░░░░, 1 min 12 s elapsed,",
        "  about 3 min 20 s left, with the later rounds at most about 25 min",
        "  64 in flight, 12,345 tokens/s now, 11,900 on average",
        "  45.2 requests/s, TTFT p50 120 ms, p99 1.23 s",
        "  3 failed: 2 timed out, 1 HTTP 429",
        "  longest in flight: 12.3 s, request 17, 5,120 input tokens, no token yet",
    ]


def test_at_160_columns() -> None:
    assert [text for text, _ in lay_out(EVERYTHING, live.WIDEST)][1:3] == [
        "  1,234 of 10,000 done ██░░░░░░░░░░░░░░░░░░, 1 min 12 s elapsed, about 3 min 20 s left,",
        "  with the later rounds at most about 25 min",
    ]


@pytest.mark.parametrize("width", [1, 2, 5, 20, 39, 59, 79, 99, 120])
def test_no_line_is_longer_than_it_may_be(width: int) -> None:
    title = "Größe 世界 \x1b[31m" * 20
    for unicode in (True, False):
        for text, _ in lay_out(replace(EVERYTHING, title=title), width, unicode=unicode):
            assert cell_len(text) <= width
            assert text.isprintable()


def test_without_unicode_the_bar_is_ascii() -> None:
    assert "##.................." in "".join(text for text, _ in lay_out(EVERYTHING, 79, unicode=False))


def test_what_hangs_stands_out_and_what_is_as_slow_as_the_others_does_not() -> None:
    def style(facts: Facts) -> str:
        return list(lay_out(facts, 79))[-1][1]

    assert style(EVERYTHING) == "yellow"
    slow = replace(EVERYTHING, counts=replace(EVERYTHING.counts, ttft_ns=(5 * S, 7 * S)))
    assert style(slow) == ""


def test_the_block_is_redrawn_in_place_and_goes(block: Block, terminal: Terminal, clock: FakeClock) -> None:
    terminal.write("before\n")
    block.begin(LEG, 1000)
    assert terminal.shown[1] == "Concurrency 64, round 1"
    assert not terminal.cursor_is_shown
    for second in range(12):
        clock.at_ns = START_NS + second * S
        block.show(replace(COUNTS, done=600 + second))
        assert terminal.shown[2].startswith(f"  {600 + second} of 1,000 done")
    assert len(terminal.shown) == 6
    block.end()
    assert terminal.shown == ["before"]
    assert (terminal.row, terminal.column, terminal.cursor_is_shown) == (1, 0, True)


def test_a_block_does_not_shrink_in_its_round(block: Block, terminal: Terminal, clock: FakeClock) -> None:
    block.begin(LEG, 1000)
    clock.at_ns += 3 * S
    block.show(replace(COUNTS, oldest=FLIGHT))
    row = terminal.row
    block.show(COUNTS)
    assert terminal.row == row
    block.end()
    block.begin(LEG, 1000)
    assert terminal.row < row
    block.end()
    assert terminal.shown == [""]


@pytest.mark.parametrize("widths", [(40,), (20,), (160, 40), (41, 160, 30), (79,)])
def test_a_terminal_that_is_resized_keeps_no_garbage(
    block: Block, terminal: Terminal, clock: FakeClock, widths: tuple[int, ...]
) -> None:
    terminal.resize(160)
    terminal.write("before\n")
    block.begin(LEG, 1000)
    clock.at_ns += 11 * S
    for columns in widths:
        block.show(replace(COUNTS, oldest=FLIGHT))
        terminal.resize(columns)
    block.show(replace(COUNTS, oldest=FLIGHT))
    shown = " ".join(terminal.shown)
    assert shown.count("Concurrency 64, roun") <= 1
    assert shown.count("of 1,000") == 1
    assert shown.startswith("before")
    terminal.resize(25)
    block.end()
    assert terminal.shown == ["before"]


def test_a_low_terminal_gets_what_fits(block: Block, terminal: Terminal, clock: FakeClock) -> None:
    terminal.lines = 3
    block.begin(LEG, 1000)
    clock.at_ns += 11 * S
    block.show(replace(COUNTS, oldest=FLIGHT))
    assert len(terminal.shown) == 2
    block.end()


def test_what_is_announced_is_one_line_that_gives_way(block: Block, terminal: Terminal) -> None:
    terminal.write("before\n")
    block.announce("reading the server's counters")
    assert terminal.shown == ["before", "reading the server's counters ..."]
    assert terminal.cursor_is_shown
    block.announce("adding up")
    assert terminal.shown[1:] == ["adding up ..."]
    block.give_way()
    assert (terminal.shown, terminal.column) == (["before"], 0)
    written = terminal.getvalue()
    block.give_way()
    block.end()
    assert terminal.getvalue() == written


def test_a_round_takes_the_place_of_what_was_announced(block: Block, terminal: Terminal) -> None:
    block.announce("connecting to a server")
    block.begin(LEG, 1000)
    block.announce("waiting until the server is quiet")
    assert terminal.shown[0] == "Concurrency 64, round 1"
    assert terminal.shown[2] == "  waiting until the server is quiet"
    block.give_way()  # of a round nothing has to: what is written meanwhile appears above it
    assert terminal.shown[0] == "Concurrency 64, round 1"
    block.end()
    assert terminal.shown == [""]


def test_what_is_said_meanwhile_appears_above(
    monkeypatch: pytest.MonkeyPatch, block: Block, terminal: Terminal
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal)
    block.begin(LEG, 1000)
    sys.stderr.write("fluxperf: by the way\n")
    sys.stderr.flush()
    assert terminal.shown[:2] == ["fluxperf: by the way", "Concurrency 64, round 1"]
    block.end()
    assert terminal.shown == ["fluxperf: by the way"]
    assert sys.stderr is terminal


@pytest.mark.parametrize(("no_color", "coloured"), [("1", False), ("", True)])
def test_colours_can_be_refused(
    monkeypatch: pytest.MonkeyPatch, block: Block, terminal: Terminal, clock: FakeClock, no_color: str, coloured: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    block.begin(LEG, 1000)
    clock.at_ns += 5 * S
    block.show(replace(COUNTS, oldest=FLIGHT))
    block.end()
    assert ("\x1b[31m" in terminal.getvalue()) is coloured
    assert ("\x1b[33m" in terminal.getvalue()) is coloured


def test_the_block_starts_no_thread(block: Block) -> None:
    """Workers are forked before it is shown, but a thread would also compete with what is measured."""
    threads = Path("/proc/self/task")
    before = set(threads.iterdir())
    block.announce("connecting")
    block.begin(LEG, 10)
    block.show(COUNTS)
    during = set(threads.iterdir())
    block.end()
    assert during <= before


class Gone(io.StringIO):
    """A terminal that was closed."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


def test_a_terminal_that_has_gone_does_not_end_the_run(tmp_path: Path, clock: FakeClock) -> None:
    with (tmp_path / "gone").open("w") as file:
        block = Block(Gone(file.fileno()), Itinerary(), clock)
        block.announce("connecting")
        block.begin(LEG, 10)
        block.show(COUNTS)
        block.end()
