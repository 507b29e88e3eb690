from __future__ import annotations

from fluxperf.watch.course import MOST_POINTS, follow
from fluxperf.watch.meaning import Kind
from fluxperf.watch.series import Found, Series, Window

S = 1_000_000_000
ROUND = Window(10 * S, 20 * S)


def found(kind: Kind, *several: Series) -> Found:
    return Found(kind, "a", several, no_before="nothing before", no_after="nothing after")


def series(name: str, *points: tuple[float, float], number: int = 0) -> Series:
    return Series(name, (("engine", str(number)),), [(round(at * S), value) for at, value in points])


def test_a_gauge_has_its_mean_at_each_sample() -> None:
    one, other = series("a", (9, 4), (11, 1), (21, 3)), series("a", (9, 6), (11, 3), (21, 5), number=1)
    assert follow(found(Kind.GAUGE, one, other), ROUND) == ((-1.0, 5), (1.0, 2), (11.0, 4))


def test_samples_far_from_the_round_are_not_in_its_picture() -> None:
    assert follow(found(Kind.GAUGE, series("a", (1, 4), (15, 1), (30, 3))), ROUND) == ((5.0, 1),)


def test_a_counter_has_its_rate_since_the_sample_before() -> None:
    counter = series("a", (9, 100), (11, 120), (12, 5), (14, 25))
    assert follow(found(Kind.COUNTER, counter), ROUND) == ((1.0, 10), (4.0, 10))


def test_of_a_histogram_its_observations_are_counted() -> None:
    parts = (series("a_sum", (11, 5), (12, 50)), series("a_count", (11, 1), (12, 4)))
    assert follow(found(Kind.HISTOGRAM, *parts), ROUND) == ((2.0, 3),)


def test_there_are_never_too_many_points() -> None:
    points = [(10 + at / 1000, at) for at in range(9000)]
    course = follow(found(Kind.GAUGE, series("a", *points)), ROUND)
    assert MOST_POINTS / 2 < len(course) <= MOST_POINTS
    assert follow(found(Kind.GAUGE), ROUND) == ()
