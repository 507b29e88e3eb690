from __future__ import annotations

import io
from dataclasses import replace

import pytest

from fluxperf.units import NS_PER_MS as MS
from fluxperf.units import NS_PER_S as S
from fluxperf.watch.counts import Flight, LiveCounts
from fluxperf.watch.itinerary import Itinerary, Leg
from fluxperf.watch.live import Block
from fluxperf.watch.progress import HANG_NS, PLAIN_LINE_EVERY_NS, PlainLines, Silence, choose_progress
from tests.watch.screen import Terminal

LEG = Leg(None, 5, 1, 10)
START_NS = 1000 * S
COUNTS = LiveCounts(
    sent=9, done=6, failures={"429": 2}, output_tokens=5000, ttft_ns=(12.5 * MS, 80 * MS), started_ns=START_NS
)
FLIGHT = Flight(index=17, turn=0, input_tokens=5120, sent_ns=START_NS, last_output_ns=None)


class FakeClock:
    def __init__(self) -> None:
        self.at_ns = START_NS

    def __call__(self) -> int:
        return self.at_ns


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def progress(out: io.StringIO, clock: FakeClock) -> PlainLines:
    return PlainLines(out, Itinerary(), clock)


def test_plain_lines_come_at_the_start_and_now_and_then(
    progress: PlainLines, out: io.StringIO, clock: FakeClock
) -> None:
    progress.begin(LEG, 10)
    progress.show(LiveCounts())
    clock.at_ns += PLAIN_LINE_EVERY_NS - 1
    progress.show(COUNTS)
    clock.at_ns += 1
    progress.show(COUNTS)
    progress.show(COUNTS)
    clock.at_ns += PLAIN_LINE_EVERY_NS
    progress.show(replace(COUNTS, done=9))
    progress.end()
    speed = "0.60 requests/s, TTFT p50 12.5 ms, p99 80.0 ms"
    assert out.getvalue().splitlines() == [
        "Concurrency 5, round 1: 10 requests",
        "Concurrency 5, round 1: 6 of 10 done, 3 in flight, 2 failed: 2 HTTP 429, 500 tokens/s, "
        f"{speed}, 10 s elapsed, about 3 s left",
        "Concurrency 5, round 1: 9 of 10 done, 0 in flight, 2 failed: 2 HTTP 429, 0 tokens/s now, 250 on average, "
        "0.45 requests/s, TTFT p50 12.5 ms, p99 80.0 ms, 20 s elapsed, about 2 s left",
    ]


def test_plain_lines_of_a_round_begin_anew(progress: PlainLines, out: io.StringIO, clock: FakeClock) -> None:
    progress.begin(LEG, 1)
    clock.at_ns += 5 * PLAIN_LINE_EVERY_NS
    progress.end()
    progress.show(COUNTS)  # nobody should, but it has no round
    progress.begin(replace(LEG, round=2), 2)
    progress.show(COUNTS)
    assert out.getvalue() == "Concurrency 5, round 1: 1 requests\nConcurrency 5, round 2: 2 requests\n"


def test_what_hangs_is_told_as_soon_as_it_does_and_not_endlessly(
    progress: PlainLines, out: io.StringIO, clock: FakeClock
) -> None:
    progress.begin(LEG, 10)
    said = []
    for second in range(61):
        clock.at_ns = START_NS + second * S
        before = out.getvalue()
        progress.show(replace(COUNTS, oldest=FLIGHT))
        if out.getvalue() != before:
            said.append(second)
            assert (
                out.getvalue()
                .splitlines()[-1]
                .endswith(f"longest in flight: {second}.0 s, request 17, 5,120 input tokens, no token yet")
            )
    assert said == [HANG_NS // S, 10, 20, 30, 40, 50, 60]


def test_what_is_as_slow_as_the_others_does_not_hang(progress: PlainLines, out: io.StringIO, clock: FakeClock) -> None:
    progress.begin(LEG, 10)
    clock.at_ns += 9 * S
    progress.show(replace(COUNTS, oldest=FLIGHT, ttft_ns=(4 * S, 5 * S)))
    progress.show(replace(COUNTS, oldest=replace(FLIGHT, last_output_ns=clock.at_ns - S)))
    assert len(out.getvalue().splitlines()) == 1
    progress.show(replace(COUNTS, oldest=FLIGHT, ttft_ns=(4 * S, 4.5 * S)))
    assert len(out.getvalue().splitlines()) == 2


def test_only_what_takes_long_is_announced_in_a_log(progress: PlainLines, out: io.StringIO) -> None:
    progress.announce("adding up 10 requests")
    progress.announce("adding up 100,000 requests", long=True)
    progress.give_way()
    progress.end()
    assert out.getvalue() == "adding up 100,000 requests\n"


@pytest.mark.parametrize(
    ("out", "term", "silent", "kind"),
    [
        (Terminal(), "xterm", False, Block),
        (Terminal(), "dumb", False, PlainLines),
        (Terminal(), "", False, PlainLines),
        (io.StringIO(), "xterm", False, PlainLines),
        (Terminal(), "xterm", True, Silence),
        (io.StringIO(), "xterm", True, Silence),
    ],
)
def test_progress_is_chosen_by_where_it_goes(
    monkeypatch: pytest.MonkeyPatch, out: io.StringIO, term: str, silent: bool, kind: type
) -> None:
    monkeypatch.setenv("TERM", term)
    assert type(choose_progress(out, Itinerary(), silent=silent)) is kind


def test_silence_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Silence()
    progress.announce("anything", long=True)
    progress.begin(LEG, 10)
    progress.show(COUNTS)
    progress.give_way()
    progress.end()
    assert capsys.readouterr() == ("", "")
