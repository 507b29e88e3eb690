from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.watch.meaning import Kind
from fluxperf.watch.series import RESET, SETTLE_NS, Found, Growth, Point, Series, Unavailable, Window, add_up, grow

S = 1_000_000_000
ROUND = Window(10 * S, 20 * S)
FOUND = Found(Kind.COUNTER, "a", (), no_before="nothing before", no_after="nothing after")


def series(*points: tuple[float, float], increase: float | None = None, restarted: bool = False) -> Series:
    """Points by seconds."""
    return Series("a", (), tuple((round(at * S), value) for at, value in points), increase, restarted)


def test_growth_is_from_the_last_before_to_the_first_after() -> None:
    points = [(7, 1), (9, 2), (12, 30), (19, 40), (21, 50), (22, 60)]
    assert grow(series(*points), FOUND, ROUND) == Growth(48, 4)


def test_samples_at_the_very_ends_count() -> None:
    assert grow(series((10, 1), (20, 3)), FOUND, ROUND) == Growth(2, 2)


def test_a_request_is_counted_a_moment_after_its_end() -> None:
    soon, later = 20 + SETTLE_NS / S / 2, 20 + SETTLE_NS / S
    assert grow(series((9, 0), (soon, 5), (later, 6), (30, 9)), FOUND, ROUND) == Growth(6, 3)
    assert grow(series((9, 0), (soon, 5)), FOUND, ROUND) == Growth(5, 2)


def test_nothing_counted_is_zero() -> None:
    assert grow(series((9, 7), (15, 7), (21, 7)), FOUND, ROUND) == Growth(0, 3)


@pytest.mark.parametrize(
    "points",
    [[(9, 5), (21, 4)], [(9, 5), (12, 0), (21, 9)], [(9, 5), (12, 8), (15, 7)], [(12, 5), (15, 4), (21, 9)]],
)
def test_a_counter_that_goes_down_has_begun_again(points: list[tuple[float, float]]) -> None:
    assert grow(series(*points, increase=4), FOUND, ROUND) == Unavailable(RESET)


def test_what_began_again_before_the_round_or_after_it_is_no_matter() -> None:
    assert grow(series((7, 99), (9, 1), (21, 4), (22, 0)), FOUND, ROUND) == Growth(3, 2)


def test_a_restart_that_no_value_shows() -> None:
    assert grow(series((9, 1), (21, 4), restarted=True), FOUND, ROUND) == Unavailable(RESET)


@pytest.mark.parametrize(
    ("points", "why"),
    [([(12, 1), (21, 2)], "nothing before"), ([(9, 1), (19, 2)], "nothing after"), ([], "nothing before")],
)
def test_without_both_ends_nothing_is_known(points: list[tuple[float, float]], why: str) -> None:
    assert grow(series(*points), FOUND, ROUND) == Unavailable(why)


@pytest.mark.parametrize("points", [[(11, 1), (17, 2), (21, 3)], [(9, 1), (12, 2), (18, 3)], [(11, 1), (18, 3)]])
def test_an_estimate_takes_the_place_of_an_end(points: list[tuple[float, float]]) -> None:
    assert grow(series(*points, increase=2.5), FOUND, ROUND) == Growth(2.5, 2, approximate=True)


def test_an_estimate_from_a_small_part_of_the_window_is_none() -> None:
    assert grow(series((12, 1), (15, 2), (21, 3), increase=2.5), FOUND, ROUND) == Unavailable("nothing before")
    assert grow(series((9, 1), (12, 2), (15, 3), increase=2.5), FOUND, ROUND) == Unavailable("nothing after")


def test_both_ends_are_better_than_an_estimate() -> None:
    assert grow(series((9, 1), (21, 3), increase=2.5), FOUND, ROUND) == Growth(2, 2)


def test_a_sample_of_the_round_before_does_not_bound_this_one() -> None:
    window = Window(ROUND.began_ns, ROUND.ended_ns, quiet_ns=round(9.5 * S))
    assert grow(series((9, 1), (21, 3)), FOUND, window) == Unavailable("nothing before")
    assert grow(series((9, 1), (21, 3), increase=1.5), FOUND, window) == Unavailable("nothing before")
    sampled = series((9, 1), (11, 1.5), (19, 2.5), (21, 3), increase=1.5)
    assert grow(sampled, FOUND, window) == Growth(1.5, 2, approximate=True)
    assert grow(series((9.5, 1), (21, 3)), FOUND, window) == Growth(2, 2)


def test_a_sum() -> None:
    several = [series((9, 1), (21, 3)), series((9, 0), (15, 1), (21, 10))]
    assert add_up(FOUND, several, ROUND) == Growth(12, 3)
    assert add_up(FOUND, [*several, series((9, 1), (12, 1.5), (18, 2), increase=4)], ROUND) == Growth(
        16, 3, approximate=True
    )
    assert add_up(FOUND, [*several, series((9, 5), (21, 3))], ROUND) == Unavailable(RESET)


def test_a_sum_of_nothing_is_not_zero() -> None:
    assert isinstance(add_up(FOUND, [], ROUND), Unavailable)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 100)), unique_by=lambda step: step[0]),
    st.integers(0, 30),
    st.integers(0, 30),
)
def test_growth_is_what_was_added_between_its_ends(steps: list[Point], one: int, other: int) -> None:
    window = Window(min(one, other) * S, max(one, other) * S)
    value, points = 0.0, []
    for at, added in sorted(steps):
        value += added
        points.append((at * S, value))
    growth = grow(Series("a", (), points), FOUND, window)
    before = [at for at, _ in points if at <= window.began_ns]
    after = [at for at, _ in points if at >= window.ended_ns]
    if not before or not after:
        assert isinstance(growth, Unavailable)
        return
    last = next((at for at in after if at >= window.ended_ns + SETTLE_NS), after[-1])
    assert isinstance(growth, Growth)
    assert growth.amount == sum(added for at, added in steps if before[-1] < at * S <= last)
