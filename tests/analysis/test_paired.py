from __future__ import annotations

import math
import statistics
import subprocess
import sys
import tracemalloc
from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.analysis.clustered import Stretches, estimate_mean
from fluxperf.analysis.paired import compare, compare_pairs, pair
from fluxperf.model import Comparison, Outcome, RoundResult, Timeline
from fluxperf.model.result import Effect
from tests.analysis.rounds import MS, a_round, request


class Many(Collection[Timeline]):
    """So many requests, made as they are asked for, which may be once."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.times_read = 0

    def __len__(self) -> int:
        return self.count

    def __contains__(self, item: object) -> bool:
        return any(request == item for request in self)

    def __iter__(self) -> Iterator[Timeline]:
        self.times_read += 1
        return (request(index, 1 + index * 7919 % self.count) for index in range(self.count))


def compared(ratios: list[float], metric: str = "ttft_ms", concurrency: int = 5) -> Comparison:
    """The comparison of two rounds of 100 ms in which the later one differs by these ratios, prompt by prompt."""
    baseline = a_round(1, [request(index, 100) for index in range(len(ratios))], concurrency)
    later = a_round(2, [request(index, 100 * ratio) for index, ratio in enumerate(ratios)], concurrency)
    (comparison,) = compare(baseline, later, (metric,))
    return comparison


def test_prompts_are_compared_with_themselves() -> None:
    baseline = a_round(1, [request(0, 100), request(1, 200), request(5, 400)])
    later = a_round(2, [request(0, 50), request(1, 20), request(5, 440)])
    ttft, itl, latency = compare(baseline, later)
    assert (ttft.stage, ttft.concurrency, ttft.metric, ttft.baseline_round, ttft.round) == ("x", 5, "ttft_ms", 1, 2)
    assert (ttft.pairs, ttft.dropped) == (3, 0)
    assert ttft.median_ratio == 0.5
    assert ttft.mean_ratio == pytest.approx((0.5 * 0.1 * 1.1) ** (1 / 3))
    assert ttft.median_difference_ms == -50
    assert ttft.share_slower == pytest.approx(1 / 3)
    assert (itl.metric, itl.median_ratio, itl.mean_ratio, itl.median_difference_ms, itl.share_slower) == (
        "itl_ms",
        1,
        1,
        0,
        0,
    )
    assert (latency.metric, latency.median_ratio) == ("latency_ms", 150 / 200)


def test_what_has_no_pair_is_dropped_and_counted_by_its_reason() -> None:
    baseline = a_round(
        1,
        [
            request(0, 10),
            request(1, 10, outcome=Outcome.RESET),
            request(2, 10),
            request(3, 10),
            request(4, 10, outcome=Outcome.CUT_OFF),
            request(5, 10, outcome=Outcome.TIMEOUT),
            request(6, 10),
            request(8, 0),
        ],
    )
    later = a_round(
        "control",
        [
            request(0, 20, outcome=Outcome.LENGTH),
            request(1, 10),
            request(2, 10, outcome=Outcome.TIMEOUT),
            request(5, 10, outcome=Outcome.TIMEOUT),
            request(6, 10, outcome=Outcome.CUT_OFF, sent_ns=None),
            request(8, 10),
            request(9, 1),
        ],
    )
    (ttft,) = compare(baseline, later, ("ttft_ms",))
    assert (ttft.pairs, ttft.dropped, ttft.median_ratio, ttft.round) == (1, 8, 2, "control")
    assert ttft.dropped_reasons == {
        "not sent in round 1": 1,
        "cut off in round 1": 1,
        "failed in round 1": 2,
        "not sent in the control round": 2,
        "failed in the control round": 1,
        "no value": 1,
    }


def test_rounds_are_read_once_and_memory_hardly_grows_with_them() -> None:
    count = 20_000
    baseline, later = (replace(a_round(number, ()), requests=Many(count)) for number in (1, 2))
    tracemalloc.start()
    try:
        assert [found.pairs for found in compare(baseline, later)] == [count] * 3
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 120 * count  # a dozen arrays of one metric at a time
    assert [result.requests.times_read for result in (baseline, later) if isinstance(result.requests, Many)] == [1, 1]


def test_turns_are_pairs_of_their_own() -> None:
    baseline = a_round(1, [request(0, 10), request(0, 100, turn=1)])
    later = a_round(2, [request(0, 20), request(0, 50, turn=1), request(0, 50, turn=2)])
    (ttft,) = compare(baseline, later, ("ttft_ms",))
    assert (ttft.pairs, ttft.dropped, ttft.median_ratio) == (2, 1, 1.25)


def test_a_metric_that_does_not_exist_or_is_zero_makes_no_pair() -> None:
    baseline = a_round(1, [request(0, 0), request(1, 10, tokens=1), request(2, 10)])
    later = a_round(2, [request(0, 10), request(1, 10), request(2, 0)])
    ttft, itl, latency = compare(baseline, later)
    assert (ttft.pairs, ttft.dropped, ttft.dropped_reasons) == (1, 2, {"no value": 2})
    assert (itl.pairs, itl.dropped, itl.dropped_reasons) == (2, 1, {"no value": 1})
    assert (latency.pairs, latency.dropped, latency.dropped_reasons) == (3, 0, {})


def test_what_has_no_place_in_time_makes_no_pair() -> None:
    baseline = a_round(1, [request(0, 10, sent_ns=None), request(1, 10)])
    (itl,) = compare(baseline, a_round(2, [request(0, 10), request(1, 10)]), ("itl_ms",))
    assert (itl.pairs, itl.dropped_reasons) == (1, {"no value": 1})


def test_no_pairs_at_all() -> None:
    for baseline, later in product([(), [request(0, 10)]], [(), [request(1, 10)]]):
        (ttft,) = compare(a_round(1, baseline), a_round(2, later), ("ttft_ms",))
        assert (ttft.pairs, ttft.dropped) == (0, len(baseline) + len(later))
        assert ttft.median_ratio is ttft.mean_ratio is ttft.median_difference_ms is ttft.share_slower is None
        assert ttft.ratio_ci95 is ttft.difference_ci95_ms is None
        assert ttft.p_value is ttft.log_ratio_error is None
        assert (ttft.effect, ttft.clusters, ttft.ratio_of_percentiles) == ("cannot tell", 0, {})


def test_a_pooled_metric_has_no_pairs() -> None:
    (gap,) = compare(a_round(1, [request(0, 10)]), a_round(2, [request(0, 10)]), ("chunk_gap_ms",))
    assert (gap.pairs, gap.dropped, gap.median_ratio) == (0, 1, None)


def test_slower_means_less_where_more_is_better() -> None:
    baseline = a_round(1, [request(index, 10) for index in range(20)])
    slower, faster = (
        compare(
            baseline,
            a_round(2, [request(index, 10, tokens=tokens + index % 2) for index in range(20)]),
            ("output_token_throughput",),
        )[0]
        for tokens in (5, 20)
    )
    assert slower.median_ratio == pytest.approx(5.5 / 11, rel=1e-4)
    assert (slower.share_slower, slower.effect) == (1, "slower")
    assert (faster.share_slower, faster.effect) == (0, "faster")


@pytest.mark.parametrize(
    ("change", "effect"), [(0.5, Effect.FASTER), (2, Effect.SLOWER), (1.01, Effect.NOT_SHOWN), (1, Effect.NOT_SHOWN)]
)
def test_effect_interval_and_p_value_say_the_same(change: float, effect: Effect) -> None:
    found = compared([change * (1 + 0.1 * math.sin(index)) for index in range(60)])
    assert found.ratio_ci95 is not None
    assert found.difference_ci95_ms is not None
    assert found.p_value is not None
    assert found.mean_ratio is not None
    low, high = found.ratio_ci95
    assert low < found.mean_ratio < high
    assert found.mean_ratio == pytest.approx(math.sqrt(low * high))
    assert found.effect is effect
    assert (found.p_value < 0.05) is (not low <= 1 <= high) is (effect is not Effect.NOT_SHOWN)
    assert found.difference_ci95_ms == pytest.approx(((low - 1) * 100, (high - 1) * 100), abs=1e-4)
    assert found.clusters == 7
    assert found.log_ratio_error == pytest.approx(math.log(high / low) / 2 / 2.447, rel=1e-3)


def test_under_four_stretches_nothing_can_be_told_but_what_was_seen() -> None:
    for concurrency, clusters in ((10, 4), (11, 3), (100, 1)):
        found = compared([0.5] * 40, concurrency=concurrency)
        told = clusters >= 4
        assert (found.clusters, found.effect) == (clusters, "faster" if told else "cannot tell")
        assert (found.ratio_ci95 is not None, found.p_value is not None) == (told, told)
        assert found.mean_ratio == pytest.approx(0.5)
        assert found.median_ratio == 0.5


def test_requests_are_in_a_stretch_with_those_sent_about_when_they_were() -> None:
    """The order of a round is that of its sends, and only the pairs are divided."""
    chance = np.random.default_rng(1)
    places = chance.permutation(80)
    outcomes = [Outcome.RESET if index < 8 else Outcome.OK for index in range(80)]
    first = [request(index, 100, sent_ns=index * MS, outcome=outcomes[index]) for index in range(80)]
    second = [request(index, 90 + 20 * chance.random(), sent_ns=int(places[index]) * MS) for index in range(80)]
    (found,) = compare(a_round(1, first, 10), a_round(2, second, 10), ("ttft_ms",))
    ranks = np.argsort(np.argsort(places[8:]))
    stretches = Stretches(np.arange(72) * 8 // 72, ranks * 8 // 72)
    ratios = np.array([after.first_output_ns or 0 for after in second[8:]]) - places[8:] * MS
    expected = estimate_mean(np.log(ratios / (100 * MS)), stretches)
    assert expected is not None
    assert found.ratio_ci95 == pytest.approx(np.exp(expected.interval))
    assert found.p_value == pytest.approx(expected.p_value)


def test_each_round_has_the_stretches_of_its_own_concurrency() -> None:
    first, second = ([request(index, 100) for index in range(60)] for _ in range(2))
    for one, other in ((10, 20), (20, 10)):
        (found,) = compare(a_round(1, first, one), a_round(2, second, other), ("ttft_ms",))
        assert (found.clusters, found.effect) == (3, "cannot tell")


def test_percentiles_of_rounds_and_of_ratios_are_two_things() -> None:
    baseline = a_round(1, [request(index, 100 * (index + 1)) for index in range(10)])
    later = a_round(2, [request(index, 100 * (10 - index)) for index in range(10)])
    (found,) = compare(baseline, later, ("ttft_ms",))
    assert found.ratio_of_percentiles == {"p50": 1, "p90": 1, "p99": 1}
    ratios = sorted((10 - index) / (index + 1) for index in range(10))
    assert found.percentiles_of_ratios == {"p10": ratios[0], "p50": ratios[4], "p90": ratios[8], "p99": ratios[9]}


def test_rounds_that_stand_side_by_side_already() -> None:
    baseline, later = (a_round(number, [request(index, number * 10) for index in range(9)]) for number in (1, 2))
    assert compare_pairs(pair(baseline, later)) == compare(baseline, later)


def test_numerical_libraries_come_with_the_first_comparison_and_bring_no_thread() -> None:
    """What is forked before has not got them, and the parent of workers has one thread."""
    script = """
import os, sys
sys.path.insert(0, sys.argv[1])
from fluxperf.analysis.dose import respond
from fluxperf.analysis.paired import compare, pair
from tests.analysis.rounds import a_round, request
assert not {"numpy", "scipy"} & sys.modules.keys(), "loaded at once"
os.environ["OMP_NUM_THREADS"] = "7"
before = dict(os.environ)
rounds = [a_round(name, [request(index, 10, cached_tokens=name * index) for index in range(40)]) for name in (1, 2)]
assert len(compare(*rounds)) == 3 and respond(pair(*rounds)).slope_ci95
assert dict(os.environ) == before
print(len(os.listdir("/proc/self/task")))
"""
    command = [sys.executable, "-c", script, str(__file__).partition("/tests/")[0]]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr) == ("1\n", "")


values_ms = st.dictionaries(st.tuples(st.integers(0, 20), st.integers(0, 3)), st.integers(1, 10**6), max_size=30)


def rounds_of(*values: dict[tuple[int, int], int]) -> list[RoundResult]:
    return [
        a_round(number, (request(index, value, turn=turn) for (index, turn), value in sorted(of_round.items())))
        for number, of_round in enumerate(values, 1)
    ]


@given(values_ms, values_ms)
def test_it_agrees_with_a_join_in_memory(before: dict[tuple[int, int], int], after: dict[tuple[int, int], int]) -> None:
    baseline, later = rounds_of(before, after)
    (ttft,) = compare(baseline, later, ("ttft_ms",))
    common = before.keys() & after.keys()
    assert (ttft.pairs, ttft.dropped) == (len(common), len(before.keys() ^ after.keys()))
    assert sum(ttft.dropped_reasons.values()) == ttft.dropped
    if common:
        ratios = [after[key] / before[key] for key in common]
        assert ttft.median_ratio == pytest.approx(statistics.median(ratios))
        assert ttft.mean_ratio == pytest.approx(math.exp(statistics.fmean(map(math.log, ratios))))
        assert ttft.share_slower == sum(ratio > 1 for ratio in ratios) / len(ratios)


@given(values_ms, values_ms)
def test_the_other_way_round_it_says_the_contrary(
    before: dict[tuple[int, int], int], after: dict[tuple[int, int], int]
) -> None:
    one, other = rounds_of(before, after)
    (there,), (back,) = compare(one, other, ("ttft_ms",)), compare(other, one, ("ttft_ms",))
    assert (there.p_value is None) is (back.p_value is None)
    if there.ratio_ci95 and back.ratio_ci95:
        assert there.p_value == pytest.approx(back.p_value)
        assert there.ratio_ci95 == pytest.approx((1 / back.ratio_ci95[1], 1 / back.ratio_ci95[0]))
