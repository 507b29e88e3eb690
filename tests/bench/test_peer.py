from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.peer import Load, Record, Watch, percentile, to_round

EVENTS = (
    b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'
    b'data: {"choices":[{"delta":{"content":"a "}}]}\n\n'
    b'data: {"choices":[{"delta":{"content":"b "}}]}\n\n'
    b'data: {"choices":[{"delta":{"content":"c "}}]}\n\n'
    b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"choices":[],"usage":{"completion_tokens":3}}\n\n'
    b"data: [DONE]\n\n"
)


@given(st.lists(st.integers(0, len(EVENTS)), max_size=8))
def test_tokens_are_seen_however_an_answer_is_cut(cuts: list[int]) -> None:
    record = Record()
    watch = Watch(record)
    places = [0, *sorted(cuts), len(EVENTS)]
    for start, end in pairwise(places):
        watch.feed(EVENTS[start:end])
    assert (len(record.ttft_ns), len(record.gap_ns), record.tokens, record.finished) == (1, 2, 3, 1)
    assert record.ttft_ns[0] >= 0


def test_an_answer_without_an_end_is_not_finished() -> None:
    record = Record()
    Watch(record).feed(EVENTS.removesuffix(b"data: [DONE]\n\n"))
    assert (record.tokens, record.finished) == (3, 0)


@pytest.mark.parametrize(
    ("values", "percent", "found"),
    [([3, 1, 2], 50, 2), ([3, 1, 2], 99, 3), (list(range(1, 101)), 99, 99), ([], 50, None)],
)
def test_percentiles_are_nearest_rank(values: list[int], percent: float, found: int | None) -> None:
    assert percentile(values, percent) == found


@given(st.lists(st.integers(0, 1000), min_size=1), st.floats(0.1, 100))
def test_a_percentile_is_the_smallest_with_enough_at_or_below_it(values: list[int], percent: float) -> None:
    found = percentile(values, percent)
    assert found is not None
    enough = len(values) * percent / 100
    assert sum(value <= found for value in values) >= enough - 1e-6
    assert sum(value < found for value in values) < enough


def test_a_load_survives_its_way_to_a_peer() -> None:
    load = Load("http://127.0.0.1:1/v1/chat/completions", "2", 64, 512, 16)
    assert Load.from_words(load.to_words()) == load
    assert load.body(1)["max_tokens"] == 16
    assert load.body(1)["messages"] != load.body(2)["messages"]


def test_the_report_has_the_form_of_a_round() -> None:
    load = Load("u", "1.1", 2, 3, 4)
    record = Record(ttft_ns=[20_000_000, 21_000_000], gap_ns=[10_000_000], finished=2, tokens=4)
    found = to_round(load, record, 0.5, 0.25)
    assert found["configuration"] == {"concurrency": 2, "timestamps": "user"}
    assert found["summary"] == {
        "total_requests": 3,
        "successful_requests": 2,
        "duration_s": 0.5,
        "avg_output_tokens": 2.0,
        "ttft_ms": {"p50": 20.0, "p99": 21.0},
        "chunk_gap_ms": {"p50": 10.0, "p99": 10.0},
        "throughput": {"tokens_per_s": 8.0, "requests_per_s": 4.0},
        "audit": {"cpu_s": 0.25},
    }
    empty = to_round(load, Record(), 0.5, 0.25)["summary"]
    assert (empty["avg_output_tokens"], empty["ttft_ms"]) == (None, {"p50": None, "p99": None})
