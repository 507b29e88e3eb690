from __future__ import annotations

import math
import os

from hypothesis import given
from hypothesis import strategies as st

from fluxperf.units import NS_PER_MS
from fluxperf_mock.truth import Series, Trace, Truth, describe, summarize


@given(st.lists(st.integers(0, 10**12), min_size=1), st.sampled_from([50, 90, 99]))
def test_percentiles_are_nearest_rank(values: list[int], percent: int) -> None:
    series = Series()
    for value in values:
        series.add(value)
    rank = math.ceil(len(values) * percent / 100)
    assert summarize([series])[f"p{percent}"] == round(sorted(values)[rank - 1] / NS_PER_MS, 6)
    assert summarize([series])["max"] == round(max(values) / NS_PER_MS, 6)


def test_an_empty_series_has_no_figures() -> None:
    assert summarize([Series()]) == {"n": 0, "mean": None, "p50": None, "p90": None, "p99": None, "max": None}


def test_a_stream_is_told_by_its_writes() -> None:
    truth = Truth()
    trace = Trace(truth, arrived_ns=1_000)
    trace.token(due_ns=5_000, written_ns=6_000)
    trace.token(due_ns=8_000, written_ns=8_500)
    trace.last_token(due_ns=11_000, written_ns=12_000)
    told = describe([truth])
    assert (told["tokens"], told["finished"]) == (3, 1)
    assert summarize([truth.ttft])["max"] == 0.005
    assert (summarize([truth.itl])["n"], summarize([truth.itl])["mean"], summarize([truth.itl])["max"]) == (
        2,
        0.003,
        0.0035,
    )
    assert summarize([truth.e2e])["max"] == 0.011
    assert (summarize([truth.late])["n"], summarize([truth.late])["p50"]) == (3, 0.001)


def test_an_answer_in_one_piece_has_no_first_token() -> None:
    truth = Truth()
    Trace(truth, arrived_ns=0).whole(7, written_ns=NS_PER_MS)
    assert (truth.count("tokens"), truth.count("finished")) == (7, 1)
    assert (summarize([truth.ttft])["n"], summarize([truth.e2e])["mean"]) == (0, 1)


def test_a_reset_forgets_everything_and_traces_go_on() -> None:
    truth = Truth()
    truth.counts.requests, truth.counts.connections = 3, 2
    trace = Trace(truth, arrived_ns=0)
    trace.token(due_ns=1, written_ns=1)
    truth.reset()
    assert describe([truth]) == describe([Truth()])
    trace.token(due_ns=3, written_ns=5)
    assert (truth.count("tokens"), truth.itl.values(), truth.ttft.values()) == (1, [4], [])
    assert truth.late.values() == [2]


def test_the_truth_of_several_is_one() -> None:
    truths = [Truth(), Truth(), Truth()]
    for number, truth in enumerate(truths):
        truth.counts.requests = number
        for value_ms in range(number):
            truth.itl.add((10 * number + value_ms) * NS_PER_MS)
    told = describe(truths)
    assert (told["replicas"], told["requests"]) == (3, 3)
    assert told["itl_ms"] == {"n": 3, "mean": 17, "p50": 20, "p90": 21, "p99": 21, "max": 21}


@given(st.lists(st.one_of(st.integers(0, 100), st.none()), max_size=60))
def test_a_series_keeps_the_newest_since_its_reset(moves: list[int | None]) -> None:
    """A small room, and None for a reset, against a list."""
    series, kept = Series(room=8), list[int]()
    for move in moves:
        if move is None:
            series.reset()
            kept.clear()
        else:
            series.add(move)
            kept.append(move)
        assert series.values() == kept[-8:]
        assert series.dropped() == max(len(kept) - 8, 0)


def test_what_a_forked_process_writes_is_seen() -> None:
    truth = Truth()
    pid = os.fork()
    if pid == 0:
        truth.counts.requests += 1
        truth.itl.add(7)
        os._exit(0)
    os.waitpid(pid, 0)
    assert (truth.count("requests"), truth.itl.values()) == (1, [7])
    truth.reset()
    assert (truth.count("requests"), truth.itl.values()) == (0, [])
