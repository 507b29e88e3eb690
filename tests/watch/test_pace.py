from __future__ import annotations

import pytest

from fluxperf.units import NS_PER_S as S
from fluxperf.watch.counts import LiveCounts
from fluxperf.watch.pace import NOW_NS, Pace, Rates


def counts(done: int, *, in_flight: int = 0, tokens: float = 0) -> LiveCounts:
    return LiveCounts(sent=done + in_flight, done=done, output_tokens=tokens)


def test_rates_need_time() -> None:
    pace = Pace(100, 10)
    pace.note(1000, counts(50, tokens=5000))
    assert pace.rates(S, counts(50, tokens=5000)) is None
    assert pace.rates(2 * S, counts(50, tokens=5000)) == Rates(2500, 25, None)


def test_now_is_the_last_seconds() -> None:
    pace = Pace(100, 10)
    for second in range(21):
        pace.note(1000 + second * S, counts(second, tokens=100 * min(second, 10)))
        if second == 12:
            assert pace.rates(12 * S, counts(12, tokens=1000)) == Rates(1000 / 12, 1, 100 * 3 / 5)
    assert pace.rates(20 * S, counts(20, tokens=1000)) == Rates(50, 1, 0)


@pytest.mark.parametrize("elapsed_s", [2, 5])
def test_in_the_first_seconds_now_is_the_average(elapsed_s: int) -> None:
    pace = Pace(100, 10)
    for second in range(elapsed_s + 1):
        pace.note(second * S, counts(second))
    rates = pace.rates(elapsed_s * S, counts(elapsed_s))
    assert rates is not None
    assert rates.tokens_per_s_now is None


@pytest.mark.parametrize(
    ("total", "concurrency", "done", "left_s"),
    [
        (100, 10, 9, None),  # only those are over that are over soonest
        (100, 10, 10, 10 * (90 - 5) / 15),
        (100, 10, 95, 10 * 2.5 / 97.5),
        (10, 10, 4, None),
        (10, 10, 5, 10 * 2.5 / 7.5),  # half of all
        (100, 1, 2, None),  # two are too few in any case
        (100, 1, 3, 10 * 96.5 / 3.5),
    ],
)
def test_what_is_left_needs_something_to_go_by(total: int, concurrency: int, done: int, left_s: float | None) -> None:
    now = counts(done, in_flight=min(concurrency, total - done))
    pace = Pace(total, concurrency)
    pace.note(0, now)
    left_ns = pace.left_ns(10 * S, now)
    assert left_ns == (None if left_s is None else pytest.approx(left_s * S))


def test_at_the_start_nothing_is_known_whatever_is_done() -> None:
    pace = Pace(100, 10)
    pace.note(0, counts(50))
    assert pace.left_ns(S, counts(50)) is None


def test_while_nothing_moves_nobody_can_tell_what_is_left() -> None:
    pace, now = Pace(100, 10), counts(50, in_flight=10, tokens=500)
    for second in range(6):
        assert (pace.left_ns(10 * S, now) if second else 1) is not None
        pace.note(second * S, now)
    assert NOW_NS == 5 * S
    assert pace.left_ns(10 * S, now) is None
    pace.note(6 * S, counts(50, in_flight=10, tokens=501))
    assert pace.left_ns(10 * S, now) is not None
