from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from fluxperf.units import NS_PER_MS
from fluxperf_mock.truth import Series, Trace, Truth


@given(st.lists(st.integers(0, 10**12), min_size=1), st.sampled_from([50, 90, 99]))
def test_percentiles_are_nearest_rank(values: list[int], percent: int) -> None:
    series = Series()
    for value in values:
        series.add(value)
    rank = math.ceil(len(values) * percent / 100)
    assert series.to_dict()[f"p{percent}"] == round(sorted(values)[rank - 1] / NS_PER_MS, 6)
    assert series.to_dict()["max"] == round(max(values) / NS_PER_MS, 6)


def test_an_empty_series_has_no_figures() -> None:
    assert Series().to_dict() == {"n": 0, "mean": None, "p50": None, "p90": None, "p99": None, "max": None}


def test_a_stream_is_told_by_its_writes() -> None:
    truth = Truth()
    trace = Trace(truth, arrived_ns=1_000)
    trace.token(due_ns=5_000, written_ns=6_000)
    trace.token(due_ns=8_000, written_ns=8_500)
    trace.last_token(due_ns=11_000, written_ns=12_000)
    told = truth.to_dict()
    assert (told["tokens"], told["finished"]) == (3, 1)
    assert truth.ttft.to_dict()["max"] == 0.005
    assert (truth.itl.to_dict()["n"], truth.itl.to_dict()["mean"], truth.itl.to_dict()["max"]) == (2, 0.003, 0.0035)
    assert truth.e2e.to_dict()["max"] == 0.011
    assert (truth.late.to_dict()["n"], truth.late.to_dict()["p50"]) == (3, 0.001)


def test_an_answer_in_one_piece_has_no_first_token() -> None:
    truth = Truth()
    Trace(truth, arrived_ns=0).whole(7, written_ns=NS_PER_MS)
    assert (truth.tokens, truth.finished) == (7, 1)
    assert (truth.ttft.to_dict()["n"], truth.e2e.to_dict()["mean"]) == (0, 1)


def test_a_reset_forgets_everything_and_traces_go_on() -> None:
    truth = Truth(requests=3, connections=2)
    trace = Trace(truth, arrived_ns=0)
    trace.token(due_ns=1, written_ns=1)
    truth.reset()
    assert truth.to_dict() == Truth().to_dict()
    trace.token(due_ns=3, written_ns=5)
    assert (truth.tokens, truth.itl.to_dict()["n"], truth.ttft.to_dict()["n"]) == (1, 1, 0)
