from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.watch.figures import APPROXIMATE, MOST_SHOWN, describe, interpolate
from fluxperf.watch.meaning import Kind
from fluxperf.watch.series import RESET, Found, Series, Window

S = 1_000_000_000
ROUND = Window(10 * S, 20 * S)
INFINITE = float("inf")
SPREAD = ("avg", "p50", "p90", "p95", "p99", "min", "max", "stddev")


def series(name: str, labels: dict[str, str], *points: tuple[float, float], **more: Any) -> Series:
    return Series(name, tuple(sorted(labels.items())), [(round(at * S), value) for at, value in points], **more)


def figures(kind: Kind, several: Sequence[Series], **more: Any) -> dict[str, dict[str, Any]]:
    return describe(Found(kind, "a", several, no_before="nothing before", no_after="nothing after", **more), ROUND)


def test_a_gauge() -> None:
    points = [(9, 99), (10, 4), (12, 1), (14, 3), (20, 2), (20.5, 99)]
    (gauge,) = figures(Kind.GAUGE, [series("a", {}, *points)]).values()
    spread = dict(zip(SPREAD, (2.5, 2, 4, 4, 4, 1, 4, pytest.approx(1.25**0.5)), strict=True))
    assert gauge == spread | {"kind": "gauge", "delta": None, "rate_per_s": None, "samples": 4}


def test_a_gauge_at_zero_is_zero() -> None:
    (gauge,) = figures(Kind.GAUGE, [series("a", {}, (12, 0), (13, 0))]).values()
    assert {gauge[name] for name in SPREAD} == {0}


def test_a_round_between_two_samples_shows_both() -> None:
    (gauge,) = figures(Kind.GAUGE, [series("a", {}, (7, 99), (9, 1), (21, 2), (23, 99))]).values()
    assert (gauge["min"], gauge["max"], gauge["samples"]) == (1, 2, 2)
    assert "no sample fell into the round" in gauge["note"]


def test_a_gauge_without_samples() -> None:
    assert figures(Kind.GAUGE, [series("a", {})]) == {
        "": {"unavailable": "it is no number (NaN, infinite or beyond reason) in every sample"}
    }


def test_several_gauges_of_one_page() -> None:
    several = [
        series("a", {"engine": "0"}, (12, 1), (13, 2), (14, 3)),
        series("a", {"engine": "1"}, (12, 3), (14, 5)),  # which was not there in between
    ]
    described = figures(Kind.GAUGE, several)
    assert list(described) == ["", 'a{engine="0"}', 'a{engine="1"}']
    whole, first, second = described.values()
    assert (whole["series"], whole["samples"], whole["min"], whole["max"]) == (2, 3, 2, 4)
    assert whole["avg"] == pytest.approx((2 + 2 + 4) / 3)
    assert (first["avg"], first["samples"], "series" in first) == (2, 3, False)
    assert (second["avg"], second["samples"]) == (4, 2)


def test_several_gauges_of_several_pages() -> None:
    """Whose stamps are not the same: what came in turn is one sample."""
    several = [
        series("a", {"instance": "x"}, (12.0, 1), (13.0, 2), (14.0, 3)),
        series("a", {"instance": "y"}, (12.4, 3), (13.4, 4), (14.4, 7)),
    ]
    whole = figures(Kind.GAUGE, several)[""]
    assert (whole["samples"], whole["min"], whole["p50"], whole["max"]) == (3, 2, 3, 5)


def test_a_counter() -> None:
    (counter,) = figures(Kind.COUNTER, [series("a", {}, (9, 5), (15, 15), (21, 30))]).values()
    assert counter == dict.fromkeys(SPREAD) | {"kind": "counter", "delta": 25, "rate_per_s": 2.5, "samples": 3}


def test_counters_are_summed_and_one_that_began_again_spoils_the_sum_only() -> None:
    good, bad = series("a", {"e": "0"}, (9, 5), (21, 8)), series("a", {"e": "1"}, (9, 5), (21, 4))
    described = figures(Kind.COUNTER, [good, bad])
    assert described[""] == {"unavailable": RESET, "series": 2}
    assert described['a{e="0"}']["delta"] == 3
    assert described['a{e="1"}'] == {"unavailable": RESET}


def test_many_series_are_not_shown_one_by_one() -> None:
    several = [series("a", {"path": f"{number:03}"}, (9, 0), (21, 1)) for number in range(MOST_SHOWN + 1)]
    assert len(figures(Kind.COUNTER, several[:-1])) == 1 + MOST_SHOWN
    described = figures(Kind.COUNTER, several)
    assert (list(described), described[""]["series"], described[""]["delta"]) == ([""], MOST_SHOWN + 1, MOST_SHOWN + 1)


def test_notes_and_missed_samples_are_told() -> None:
    one = series("a", {}, (9, 5), (12, 6), (18, 9), increase=5.5)
    (counter,) = figures(Kind.COUNTER, [one], missed=2, note="few samples").values()
    assert (counter["delta"], counter["approximate"], counter["missed"]) == (5.5, True, 2)
    assert counter["note"] == f"{APPROXIMATE}; few samples"


def test_a_round_of_no_length_has_no_rate() -> None:
    found = Found(Kind.COUNTER, "a", [series("a", {}, (9, 5), (21, 8))], no_before="", no_after="")
    counter = describe(found, Window(10 * S, 10 * S))[""]
    assert (counter["delta"], counter["rate_per_s"]) == (3, None)


def test_a_summary() -> None:
    parts = [series("a_sum", {}, (9, 1), (21, 4)), series("a_count", {}, (9, 10), (21, 16))]
    (summary,) = figures(Kind.SUMMARY, parts).values()
    assert (summary["kind"], summary["delta"], summary["rate_per_s"], summary["avg"]) == ("summary", 6, 0.6, 0.5)
    assert summary["p50"] is summary["min"] is None


def histogram(labels: dict[str, str], counts: dict[str, int], total: float) -> list[Series]:
    """What was observed in the round; before it were 100 in the first bucket."""
    buckets = [series("a_bucket", {**labels, "le": le}, (9, 100), (21, 100 + count)) for le, count in counts.items()]
    observed = counts.get("+Inf", 0)
    return [
        *buckets,
        series("a_sum", labels, (9, 100), (21, 100 + total)),
        series("a_count", labels, (9, 100), (21, 100 + observed)),
    ]


def test_a_histogram() -> None:
    (found,) = figures(Kind.HISTOGRAM, histogram({}, {"0.1": 10, "0.2": 30, "0.5": 40, "+Inf": 40}, 8)).values()
    assert (found["kind"], found["delta"], found["rate_per_s"], found["avg"]) == ("histogram", 40, 4, 0.2)
    assert (found["p50"], found["p90"]) == (pytest.approx(0.15), pytest.approx(0.38))
    assert found["min"] is found["max"] is found["stddev"] is None
    assert "note" not in found


def test_nothing_observed_is_no_zero() -> None:
    (found,) = figures(Kind.HISTOGRAM, histogram({}, {"0.1": 0, "+Inf": 0}, 0)).values()
    assert (found["delta"], found["avg"], found["p50"], found["p99"]) == (0, None, None, None)
    assert "note" not in found


def test_what_is_beyond_all_buckets_is_said() -> None:
    (found,) = figures(Kind.HISTOGRAM, histogram({}, {"0.1": 10, "0.2": 30, "+Inf": 40}, 8)).values()
    assert found["p99"] == 0.2
    assert found["note"] == "the last bucket ends at 0.2: what is beyond it counts as that"


def test_histograms_are_summed() -> None:
    parts = [
        *histogram({"engine": "0"}, {"0.1": 10, "0.2": 10, "+Inf": 10}, 1),
        *histogram({"engine": "1"}, {"0.1": 0, "0.2": 10, "+Inf": 10}, 2),
    ]
    described = figures(Kind.HISTOGRAM, parts)
    assert list(described) == ["", 'a{engine="0"}', 'a{engine="1"}']
    assert (described[""]["series"], described[""]["delta"], described[""]["avg"]) == (2, 20, 0.15)
    assert described[""]["p50"] == 0.1
    assert described['a{engine="1"}']["p50"] == pytest.approx(0.15)


def test_a_histogram_without_its_sum() -> None:
    (found,) = figures(Kind.HISTOGRAM, [series("a_bucket", {"le": "+Inf"}, (9, 1), (21, 2))]).values()
    assert found == {"unavailable": "the histogram has no _sum or no _count"}


def test_a_bucket_that_began_again() -> None:
    parts = histogram({}, {"0.1": 1, "0.2": -1, "+Inf": 1}, 1)
    assert figures(Kind.HISTOGRAM, parts)[""] == {"unavailable": RESET}


# What Prometheus 2.42 answers to histogram_quantile for these buckets.
@pytest.mark.parametrize(
    ("quantile", "buckets", "expected"),
    [
        (0.5, [(1, 0), (2, 10), (INFINITE, 10)], 1.5),
        (0.5, [(1, 10), (2, 10), (INFINITE, 10)], 0.5),
        (0.99, [(1, 5), (2, 6), (INFINITE, 10)], 2),
        (0.5, [(-1, 10), (2, 20), (INFINITE, 20)], -1),
        (0.75, [(-1, 10), (2, 20), (INFINITE, 20)], 0.5),
        (0.5, [(1, 6), (2, 4), (INFINITE, 10)], 5 / 6),  # not rising, as estimates may be
        (0.75, [(1, 6), (2, 4), (3, 10), (INFINITE, 10)], 2.375),
        (0.5, [(1, 0), (INFINITE, 0)], None),
        (0.5, [(1, 5), (2, 6)], None),
        (0.5, [(INFINITE, 6)], None),
        (0.5, [], None),
    ],
)
def test_interpolation(quantile: float, buckets: list[tuple[float, float]], expected: float | None) -> None:
    assert interpolate(quantile, buckets) == (None if expected is None else pytest.approx(expected))


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.floats(0.01, 1))
def test_a_quantile_lies_in_the_bucket_of_its_rank(counts: list[int], quantile: float) -> None:
    bounds = [*range(1, len(counts)), INFINITE]
    total = 0
    buckets = []
    for bound, count in zip(bounds, counts, strict=True):
        total += count
        buckets.append((float(bound), float(total)))
    value = interpolate(quantile, buckets)
    if total == 0 or len(counts) == 1:
        assert value is None
        return
    assert value is not None
    place = next(place for place, (_, count) in enumerate(buckets) if count >= quantile * total)
    if place == len(buckets) - 1:
        assert value == bounds[-2]
    else:
        assert (bounds[place - 1] if place else 0) <= value <= bounds[place]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_nearest_rank(values: list[float]) -> None:
    points = [(10 + place / 10, value) for place, value in enumerate(values)]
    (gauge,) = figures(Kind.GAUGE, [series("a", {}, *points)]).values()
    for percent in (50, 90, 95, 99):
        # The smallest value with at least that share at or below it.
        least = min(value for value in values if sum(other <= value for other in values) * 100 >= percent * len(values))
        assert gauge[f"p{percent}"] == pytest.approx(least)
