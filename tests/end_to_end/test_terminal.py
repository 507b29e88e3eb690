"""What is printed, and where: the report on stdout, everything else on stderr."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from rich.cells import cell_len

from tests.end_to_end.command import Ended, Fluxperf
from tests.end_to_end.servers import Mock

CONTROL = re.compile(r"[^\n -~│├┼┤└┴┘─…]")


@contextmanager
def terminal(columns: int) -> Iterator[tuple[int, int]]:
    """A terminal of that width: what is shown on it can be read from the first, and is written to the second."""
    shown, screen = os.openpty()
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    try:
        yield shown, screen
    finally:
        os.close(shown)
        with suppress(OSError):
            os.close(screen)


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
        "Concurrency 10, round 1: 3 requests",
        "Concurrency 10, round 2: 3 requests",
        f"fluxperf: results: {fluxperf.out}",
    ]


def test_quiet_says_nothing(fluxperf: Fluxperf, mock: Mock) -> None:
    fluxperf.write_prompts(2)
    fluxperf.out.mkdir()
    (fluxperf.out / "run.json").touch()  # nor that this one is renamed
    assert fluxperf.measure(mock.url, "--quiet --rounds 1") == Ended(0, "", "")


def test_progress_is_drawn_on_the_terminal_and_the_report_is_clean(fluxperf: Fluxperf, mock: Mock) -> None:
    fluxperf.write_prompts(3)
    with terminal(columns=100) as (shown, screen):
        running = fluxperf.start(fluxperf.measuring(mock.url), {"TERM": "xterm"}, stderr=screen)
        os.close(screen)
        drawn = read_to_end(shown)
        ended = running.end()
    assert ended.code == 0
    for number in (1, 2):
        assert f"Concurrency 10, round {number}" in drawn
    assert "3/3" in drawn
    assert "\x1b[" in drawn
    assert drawn.count("\x1b[?25l") == drawn.count("\x1b[?25h")  # the cursor is shown again
    assert not CONTROL.search(ended.out)


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
