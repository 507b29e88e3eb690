from __future__ import annotations

from dataclasses import replace

import pytest

from fluxperf.units import NS_PER_S as S
from fluxperf.watch.counts import Flight, LiveCounts
from fluxperf.watch.itinerary import Itinerary, Leg, Rest
from fluxperf.watch.view import View

BEGUN_NS = 1000 * S
LEG, LATER = Leg(None, 4, 1, 10), Leg(None, 4, 2, 10)
FLIGHT = Flight(index=7, turn=0, input_tokens=3, sent_ns=BEGUN_NS + S, last_output_ns=None)


class Clock:
    def __init__(self) -> None:
        self.at_ns = BEGUN_NS

    def __call__(self) -> int:
        return self.at_ns

    def go_on(self, seconds: float) -> None:
        self.at_ns += round(seconds * S)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def itinerary() -> Itinerary:
    return Itinerary([LEG, LATER])


@pytest.fixture
def view(clock: Clock, itinerary: Itinerary) -> View:
    return View(LEG, 10, itinerary, clock)


def running(done: int, **changes: object) -> LiveCounts:
    return LiveCounts(sent=min(done + 4, 10), done=done, started_ns=BEGUN_NS + S, **changes)  # type: ignore[arg-type]


def test_before_the_start_it_says_what_is_waited_for(view: View, clock: Clock) -> None:
    assert view.announce("waiting until the server is quiet").doing == "waiting until the server is quiet"
    clock.go_on(3)
    facts = view.look(LiveCounts(sent=4))
    assert (facts.doing, facts.elapsed_ns) == ("opening connections for 4 in flight", 3 * S)
    assert view.look(LiveCounts(sent=4, stopped=True)).doing == "stopping"


def test_time_counts_from_the_start(view: View, clock: Clock) -> None:
    clock.go_on(5)
    facts = view.look(running(3))
    assert (facts.elapsed_ns, facts.doing, facts.title, facts.total) == (4 * S, None, "Concurrency 4, round 1 of 2", 10)
    assert facts.rates is not None


def test_the_clocks_of_workers_may_be_ahead(view: View) -> None:
    assert view.look(running(0)).elapsed_ns == 0


def test_when_all_is_over_time_stands_still(view: View, clock: Clock, itinerary: Itinerary) -> None:
    clock.go_on(5)
    assert view.look(replace(running(10), oldest=FLIGHT)).doing == "gathering what was measured"
    clock.go_on(60)
    facts = view.look(replace(running(10), oldest=FLIGHT))
    assert (facts.elapsed_ns, facts.wait) == (4 * S, None)
    view.end()
    assert itinerary.estimate_rest(LEG, 1) == Rest(1, at_most=False)
    assert itinerary._took_ns == {LEG: 4 * S}


@pytest.mark.parametrize("counts", [running(9), running(10, stopped=True)])
def test_a_round_that_was_not_whole_says_nothing_of_later_ones(
    view: View, clock: Clock, itinerary: Itinerary, counts: LiveCounts
) -> None:
    clock.go_on(5)
    view.look(counts)
    view.end()
    assert itinerary._took_ns == {}


def test_the_rest_goes_by_what_this_round_will_have_taken(view: View, clock: Clock) -> None:
    clock.go_on(9)
    facts = view.look(running(5))
    assert facts.left_ns == pytest.approx(8 * S * 3 / 7)
    assert facts.rest is not None
    assert facts.rest.ns == pytest.approx(8 * S * 10 / 7)


def test_the_request_in_flight_for_longest(view: View, clock: Clock) -> None:
    clock.go_on(1.9)
    assert view.look(running(3, oldest=FLIGHT)).wait is None  # not long enough to be worth a word
    clock.go_on(10)
    wait = view.look(running(3, oldest=FLIGHT)).wait
    assert wait is not None
    assert (wait.age_ns, wait.silent_ns, wait.idle_ns) == (10.9 * S, None, 10.9 * S)
    wait = view.look(running(3, oldest=replace(FLIGHT, last_output_ns=BEGUN_NS + 3 * S))).wait
    assert wait is not None
    assert (wait.age_ns, wait.silent_ns, wait.idle_ns) == (10.9 * S, 8.9 * S, 8.9 * S)


def test_a_torn_row_does_no_harm(view: View, clock: Clock) -> None:
    """The stamp of the last output may still be that of the request before; or be from the future, as we look."""
    clock.go_on(10)
    wait = view.look(running(3, oldest=replace(FLIGHT, last_output_ns=BEGUN_NS))).wait
    assert wait is not None
    assert wait.silent_ns is None
    wait = view.look(running(3, oldest=replace(FLIGHT, last_output_ns=BEGUN_NS + 99 * S))).wait
    assert wait is not None
    assert wait.silent_ns == 0


def test_a_request_without_a_connection_waits_since_it_was_seen(view: View, clock: Clock) -> None:
    unsent = replace(FLIGHT, sent_ns=None)
    clock.go_on(10)
    assert view.look(running(3, oldest=unsent)).wait is None
    clock.go_on(2)
    wait = view.look(running(3, oldest=unsent)).wait
    assert wait is not None
    assert wait.age_ns == 2 * S
    assert view.look(running(3, oldest=replace(unsent, index=8))).wait is None
