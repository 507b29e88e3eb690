"""What is printed, and where: the report on stdout, everything else on stderr."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from rich.cells import cell_len

from tests.end_to_end.command import TIMEOUT_S, Ended, Fluxperf, ended
from tests.end_to_end.servers import Exchange, Mock, Serve
from tests.watch.screen import Terminal

CONTROL = re.compile(r"[^\n -~│├┼┤└┴┘─…]")


@contextmanager
def terminal(columns: int) -> Iterator[tuple[int, int]]:
    """A terminal of that width: what is shown on it can be read from the first, and is written to the second.

    That is the test's to close, once the run has it. It is not closed here: its number may be another thread's by then.
    """
    shown, screen = os.openpty()
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    try:
        yield shown, screen
    finally:
        os.close(shown)


def read_to_end(shown: int) -> str:
    """All that was shown, once nobody writes any more (which a terminal reports as an error)."""
    pieces = []
    with suppress(OSError):
        while piece := os.read(shown, 65_536):
            pieces.append(piece)
    return b"".join(pieces).decode().replace("\r\n", "\n")


def test_the_piped_table_is_137_wide(fluxperf: Fluxperf, mock: Mock) -> None:
    fluxperf.write_prompts(3)
    ended = fluxperf.measure(mock.url)
    lines = ended.out.splitlines()
    box = [line for line in lines if line[:1] in "│├└" and line]
    assert len(box) >= 2 * 6
    assert {len(line) for line in box} == {137}
    assert {len(line) for line in lines if set(line) in ({"="}, {"-"})} == {120}
    assert not CONTROL.search(ended.out)
    said = ended.err.splitlines()
    assert said.pop(0).startswith("fluxperf: cache counters of vLLM ")
    assert said == [
        "Concurrency 10, round 1 of 2: 3 requests",
        "Concurrency 10, round 2 of 2: 3 requests",
        f"fluxperf: results: {fluxperf.out}",
    ]


def test_quiet_says_nothing(fluxperf: Fluxperf, mock: Mock) -> None:
    fluxperf.write_prompts(2)
    fluxperf.out.mkdir()
    (fluxperf.out / "run.json").touch()  # nor that this one is renamed
    assert fluxperf.measure(mock.url, "--quiet --rounds 1") == Ended(0, "", "")


@pytest.mark.parametrize("columns", [160, 80, 40])
def test_progress_is_drawn_on_the_terminal_and_goes(fluxperf: Fluxperf, mock: Mock, columns: int) -> None:
    fluxperf.write_prompts(3)
    with terminal(columns) as (shown, screen):
        running = fluxperf.start(fluxperf.measuring(mock.url), {"TERM": "xterm"}, stderr=screen)
        os.close(screen)
        drawn = read_to_end(shown)
        ending = running.end()
    assert ending.code == 0
    for number in (1, 2):
        assert f"Concurrency 10, round {number}" in drawn
    assert "3 of 3 done" in drawn
    assert not CONTROL.search(ending.out)
    left = look_at(drawn, columns)
    assert left.cursor_is_shown
    text = "".join(left.rows)
    assert re.fullmatch(f"fluxperf: cache counters of vLLM .*/metricsfluxperf: results: {fluxperf.out}", text)


def test_a_terminal_for_report_and_progress_keeps_the_report_alone(fluxperf: Fluxperf, mock: Mock) -> None:
    fluxperf.write_prompts(3)
    with terminal(80) as (shown, screen):
        running = fluxperf.start(fluxperf.measuring(mock.url), {"TERM": "xterm"}, stderr=screen, stdout=screen)
        os.close(screen)
        drawn = read_to_end(shown)
        assert running.end().code == 0
    left = look_at(drawn, 80).shown
    assert "Concurrency: 10 | Round 1 Performance Metrics" in left
    assert not [line for line in left if "of 3 done" in line or line.endswith(" ...")]
    assert [line for line in left if "fluxperf: " in line and not line.startswith("fluxperf: ")] == []


def look_at(drawn: str, columns: int) -> Terminal:
    """The terminal after all of it was written."""
    screen = Terminal(columns)
    screen.write(drawn)
    return screen


@pytest.mark.parametrize(
    ("options", "env", "lines"),
    [
        ("", {"TERM": "dumb"}, ["cache counters", "Concurrency 10, round 1", "Concurrency 10, round 2", "results:"]),
        ("--no-progress", {"TERM": "xterm"}, ["cache counters", "results:"]),
        ("--quiet", {"TERM": "xterm"}, []),
    ],
)
def test_without_a_block_there_are_no_escape_codes(
    fluxperf: Fluxperf, mock: Mock, options: str, env: dict[str, str], lines: list[str]
) -> None:
    fluxperf.write_prompts(3)
    with terminal(80) as (shown, screen):
        running = fluxperf.start(fluxperf.measuring(mock.url, options), env, stderr=screen)
        os.close(screen)
        drawn = read_to_end(shown)
        assert running.end().code == 0
    assert "\x1b" not in drawn
    assert "\r" not in drawn
    for line, beginning in zip(drawn.splitlines(), lines, strict=True):
        assert beginning in line


@pytest.mark.parametrize("times", [1, 1000])
def test_after_ctrl_c_the_cursor_is_back(fluxperf: Fluxperf, serve: Serve, times: int) -> None:
    server = serve(Exchange.hang)
    fluxperf.write_prompts(3)
    with terminal(80) as (shown, screen):
        running = fluxperf.start(fluxperf.measuring(server.url, "--engine none"), {"TERM": "xterm"}, stderr=screen)
        os.close(screen)
        drawn = read_until(shown, "  3 in flight")
        for _ in range(times):
            running.press_ctrl_c()
            if ended(running.pid, 0.001):
                break
        drawn += read_to_end(shown)
        assert running.end().code == 130
    assert look_at(drawn, 80).cursor_is_shown
    assert drawn.rfind("\x1b[?25h") > drawn.rfind("\x1b[?25l") >= 0


def read_until(shown: int, text: str) -> str:
    """What was shown up to that."""
    drawn = ""
    while text not in drawn:
        assert select.select([shown], [], [], TIMEOUT_S)[0], f"{text!r} does not come: {drawn}"
        drawn += os.read(shown, 65_536).decode(errors="replace").replace("\r\n", "\n")
    return drawn


def test_a_log_hears_of_what_hangs(fluxperf: Fluxperf, serve: Serve) -> None:
    server = serve(Exchange.hang)
    fluxperf.write_prompts(1)
    running = fluxperf.start(fluxperf.measuring(server.url, "--engine none"))
    assert running.process.stderr is not None
    said = [running.process.stderr.readline() for _ in range(2)]
    running.press_ctrl_c()
    assert running.end().code == 130
    assert said[0].startswith("Concurrency 10, round 1")
    assert re.search(
        r"0 of 1 done, 1 in flight, .*longest in flight: [5-9]\.\d s, request 0, .*no token yet\n$", said[1]
    )


def test_on_a_narrow_terminal_nothing_is_wrapped_nor_is_there_progress_if_unwanted(
    fluxperf: Fluxperf, mock: Mock
) -> None:
    fluxperf.write_prompts(3)
    with terminal(columns=80) as (shown, screen):
        running = fluxperf.start(fluxperf.measuring(mock.url, "--no-progress"), {"TERM": "xterm"}, stdout=screen)
        os.close(screen)
        report = read_to_end(shown)
        ended = running.end()
    assert ended.code == 0
    counters, *others = ended.err.splitlines()
    assert counters.startswith("fluxperf: cache counters of vLLM ")
    assert others == [f"fluxperf: results: {fluxperf.out}"]
    assert max(cell_len(line) for line in report.splitlines()) <= 80
    assert "TTFT" in report
    assert not CONTROL.search(report)


def test_a_reader_that_has_seen_enough_does_not_end_the_run(fluxperf: Fluxperf, mock: Mock) -> None:
    fluxperf.write_prompts(3)
    running = fluxperf.start(fluxperf.measuring(mock.url, "--rounds 3"))
    assert running.process.stdout is not None
    assert running.process.stdout.readline() == "=" * 120 + "\n"
    running.process.stdout.close()
    running.process.stdout = None
    ended = running.end()
    assert (ended.code, ended.err.splitlines()[-1]) == (0, f"fluxperf: results: {fluxperf.out}")
    assert fluxperf.run_json()["partial"] is False
    assert len(fluxperf.run_json()["rounds"]) == 3


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_closed_streams_do_not_end_the_run(fluxperf: Fluxperf, mock: Mock, closed: tuple[int, ...]) -> None:
    def close() -> None:
        for number in closed:
            os.close(number)

    fluxperf.write_prompts(2)
    ended = fluxperf.start(fluxperf.measuring(mock.url), preexec_fn=close).end()
    assert ended.code == 0
    assert bool(ended.out) is (1 not in closed)
    assert bool(ended.err) is (2 not in closed)
    assert fluxperf.run_json()["partial"] is False
