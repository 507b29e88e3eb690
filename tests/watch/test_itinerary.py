from __future__ import annotations

import pytest

from fluxperf.model import CONTROL, RoundName
from fluxperf.watch.itinerary import Itinerary, Leg, Rest


def legs(*concurrency: int, stage: str | None = None, rounds: tuple[RoundName, ...] = (1, 2)) -> list[Leg]:
    return [Leg(stage, level, name, 100) for level in concurrency for name in rounds]


@pytest.mark.parametrize(
    ("of", "leg", "title"),
    [
        ([], Leg(None, 5, 1, 10), "Concurrency 5, round 1"),
        ([], Leg("A", 5, 2, 10), "A: concurrency 5, round 2"),
        ([], Leg(None, 5, CONTROL, 10), "Concurrency 5, control round"),
        (legs(5), Leg(None, 5, 1, 100), "Concurrency 5, round 1 of 2"),
        (legs(5, 8), Leg(None, 8, 2, 100), "Concurrency 8 (level 2 of 2), round 2 of 2"),
        (
            [*legs(5, 8, stage="A"), *legs(8, stage="B", rounds=(1, CONTROL))],
            Leg("B", 8, CONTROL, 100),
            "B (stage 2 of 2): concurrency 8, control round (2 of 2)",
        ),
        (legs(5, rounds=(1, 2, CONTROL)), Leg(None, 5, 2, 100), "Concurrency 5, round 2 of 2"),
    ],
)
def test_a_round_is_told_by_its_place(of: list[Leg], leg: Leg, title: str) -> None:
    assert Itinerary(of).describe(leg) == title


def test_of_the_last_round_and_of_a_round_that_is_not_planned_there_is_no_rest() -> None:
    assert Itinerary(legs(5)).estimate_rest(Leg(None, 5, 2, 100), 60) is None
    assert Itinerary().estimate_rest(Leg(None, 5, 1, 100), 60) is None


def test_a_round_lasts_as_long_as_another_of_its_level() -> None:
    itinerary = Itinerary([*legs(5), Leg(None, 5, CONTROL, 50)])
    assert itinerary.estimate_rest(Leg(None, 5, 1, 100), 60) == Rest(60 + 30, at_most=False)
    itinerary.arrive(Leg(None, 5, 1, 100), 60)
    assert itinerary.estimate_rest(Leg(None, 5, 2, 100), 20) == Rest(10, at_most=False)  # the later round is liker


@pytest.mark.parametrize(
    ("level", "rest_ns"),
    [
        (10, 2 * 60),  # twice as many in flight: at worst as many a second
        (5, 2 * 60),
        (1, 2 * 60 * 5),  # one at a time: at worst each takes as long as with five
    ],
)
def test_another_level_is_bounded(level: int, rest_ns: int) -> None:
    first = legs(5)[0]
    itinerary = Itinerary([first, Leg("B", level, 1, 100), Leg("B", level, 2, 100)])
    assert itinerary.estimate_rest(first, 60) == Rest(rest_ns, at_most=level != 5)


def test_the_least_bound_of_those_that_are_as_like_counts() -> None:
    itinerary = Itinerary(legs(2, 4, 8, rounds=(1,)))
    first, second, _ = legs(2, 4, 8, rounds=(1,))
    itinerary.arrive(first, 200)
    assert itinerary.estimate_rest(second, 120) == Rest(120, at_most=True)
    assert itinerary.estimate_rest(second, 300) == Rest(200, at_most=True)
