from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from fluxperf.fetch import Cut
from fluxperf.watch.exposition import Scrape
from fluxperf.watch.sampler import (
    LAST_TIMEOUT_S,
    LOOK_TIMEOUT_S,
    PERIOD_NS,
    Reading,
    Sampler,
    Time,
)
from fluxperf.watch.series import SETTLE_NS
from tests.watch.monitored import TIMEOUT_S

S = 1_000_000_000


class Stop(threading.Event):
    """Waiting is over at once so many times, and lasts until the end from then on."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.waits: list[float] = []
        self.rests = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waits.append(timeout)
        if len(self.waits) > self.times:
            self.rests.set()
            return super().wait(TIMEOUT_S)
        return self.is_set()


class Place:
    """A page that takes as long as it is told, on a clock of its own."""

    def __init__(self, *took_s: float, looks: int) -> None:
        self.took_s = list(took_s)
        self.now_ns = 1000 * S
        self.stop = Stop(looks)
        self.asked: list[float] = []
        self.slept: list[float] = []
        self.cuts: list[Cut] = []
        self.nice: list[int] = []
        self.trouble = ""
        self.meanwhile: Callable[[Cut], None] = lambda _: None
        self.sampler = Sampler(self.look, Time(lambda: self.now_ns, self.slept.append, self.stop))

    def look(self, timeout_s: float, cut: Cut) -> Reading:
        self.asked.append(timeout_s)
        self.cuts.append(cut)
        self.nice.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        self.meanwhile(cut)
        asked_ns = self.now_ns
        took_s = self.took_s.pop(0) if self.took_s else 0
        self.now_ns += round(took_s * S)
        scrape = None if self.trouble else Scrape(self.now_ns, ())
        return Reading(asked_ns, self.now_ns, scrape, self.trouble)


def test_it_looks_before_and_during_and_after() -> None:
    place = Place(looks=3)
    place.sampler.begin()
    assert place.stop.rests.wait(TIMEOUT_S)
    assert len(place.sampler.end()) == 5
    assert len(place.asked) == 5
    assert place.stop.waits[0] == pytest.approx(PERIOD_NS / S)
    assert place.slept == [SETTLE_NS / S]


def test_the_first_look_is_over_before_the_round_begins_and_the_last_after_it() -> None:
    place = Place(0.1, 0.2, looks=0)
    place.sampler.begin()
    began_ns = place.now_ns
    assert place.stop.rests.wait(TIMEOUT_S)
    first, last = place.sampler.end()
    assert first.came_ns <= began_ns <= last.asked_ns


def test_looks_come_each_second_whatever_they_take() -> None:
    place = Place(0, 0.25, 0.5, looks=2)
    place.sampler.begin()
    assert place.stop.rests.wait(TIMEOUT_S)
    place.sampler.end()
    # The clock stands still while it waits, so each wait is the time to the next full second.
    assert place.stop.waits == pytest.approx([1, 2 - 0.25, 3 - 0.75])


def test_a_slow_page_is_not_asked_for_what_it_has_missed() -> None:
    place = Place(0, 4.6, looks=1)
    place.sampler.begin()
    assert place.stop.rests.wait(TIMEOUT_S)
    place.sampler.end()
    assert len(place.asked) == 3
    assert place.stop.waits == pytest.approx([1, 0.4])  # at 5 s, not at 2, 3 and 4 s


def test_no_thread_is_left() -> None:
    before = set(threading.enumerate())
    place = Place(looks=1)
    place.sampler.begin()
    assert {thread.name for thread in set(threading.enumerate()) - before} == {"metrics"}
    assert place.stop.rests.wait(TIMEOUT_S)
    place.sampler.end()
    assert set(threading.enumerate()) == before


def test_it_gives_way_to_the_workers() -> None:
    place = Place(looks=1)
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    place.sampler.begin()
    assert place.stop.rests.wait(TIMEOUT_S)
    place.sampler.end()
    assert place.nice == [ours, 19, ours]
    assert os.getpriority(os.PRIO_PROCESS, 0) == ours


def test_the_end_breaks_off_the_look_that_is_taken() -> None:
    place = Place(looks=1)
    looking = threading.Event()

    def hang(_: Cut) -> None:
        if threading.current_thread().name == "metrics":
            looking.set()
            assert threading.Event.wait(place.stop, TIMEOUT_S)

    place.meanwhile = hang
    place.sampler.begin()
    assert looking.wait(TIMEOUT_S)
    readings = place.sampler.end()
    assert [cut.made for cut in place.cuts] == [False, True, False]
    assert len(readings) == 2  # what was broken off is no reading, and not one that failed either


@pytest.mark.parametrize(
    ("took_s", "allowed_s"),
    [((0.1,), 0.1 + LAST_TIMEOUT_S), ((3.0,), 3.0 + LAST_TIMEOUT_S), ((60.0,), LOOK_TIMEOUT_S)],
)
def test_the_last_look_has_a_second_more_than_the_page_needs(took_s: tuple[float, ...], allowed_s: float) -> None:
    place = Place(*took_s, looks=0)
    place.sampler.begin()
    assert place.stop.rests.wait(TIMEOUT_S)
    place.sampler.end()
    assert place.asked == [LOOK_TIMEOUT_S, pytest.approx(allowed_s)]


def test_a_page_that_never_answered_has_a_second() -> None:
    place = Place(5, looks=0)
    place.trouble = "no answer"
    place.sampler.begin()
    assert place.stop.rests.wait(TIMEOUT_S)
    assert [reading.trouble for reading in place.sampler.end()] == ["no answer", "no answer"]
    assert place.asked == [LOOK_TIMEOUT_S, LAST_TIMEOUT_S]
