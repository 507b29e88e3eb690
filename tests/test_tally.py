from __future__ import annotations

from collections.abc import Callable, Iterable

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.model import Constraint, Histogram, Outcome, Slo, Timeline
from fluxperf.tally import MAX_EXAMPLE_CHARACTERS, Tally

Build = Callable[..., Timeline]
Observation = tuple[Timeline, list[int], int | None]  # with the gaps of its output events, and one set aside before
MS = 1_000_000
SLO = Slo((Constraint("ttft_ms", below=300), Constraint("itl_ms", max=25)))

stamps = st.none() | st.integers(0, 10**10)
counts = st.none() | st.integers(0, 1000)
timelines = st.builds(
    Timeline,
    index=st.integers(0, 100),
    outcome=st.sampled_from([Outcome.OK, Outcome.LENGTH]) | st.sampled_from(Outcome),
    error=st.none() | st.sampled_from(["one", "other"]),
    sent_ns=stamps,
    first_output_ns=stamps,
    first_answer_ns=stamps,
    last_output_ns=stamps,
    end_ns=stamps,
    done_ns=stamps,
    output_events=st.integers(0, 1000),
    coalesced_events=st.integers(0, 1000),
    prompt_tokens=counts,
    completion_tokens=counts,
    cached_tokens=counts,
    resent=st.integers(0, 1),
)
observations = st.tuples(timelines, st.lists(st.integers(0, 10**10), max_size=5), st.none() | st.just(3 * MS))


def tally_of(observed: Iterable[Observation], slo: Slo | None = SLO) -> Tally:
    tally = Tally(slo)
    for request, gaps, earlier in observed:
        earlier_gaps = None
        if earlier is not None:
            earlier_gaps = Histogram()
            earlier_gaps.record(earlier)
        tally.add(request, gaps, earlier_gaps)
    return tally


@given(st.lists(st.lists(observations, max_size=4), max_size=4), st.sampled_from([None, SLO]))
def test_merged_is_the_tally_of_the_union(parts: list[list[Observation]], slo: Slo | None) -> None:
    merged = Tally(slo)
    for part in parts:
        merged.merge(tally_of(part, slo))
    assert merged.to_state() == tally_of((one for part in parts for one in part), slo).to_state()


@given(st.lists(observations, max_size=6))
def test_state_survives_msgpack(observed: list[Observation]) -> None:
    tally = tally_of(observed)
    back = Tally.from_state(msgpack.unpackb(msgpack.packb(tally.to_state())), SLO)
    assert vars(back) == vars(tally)


def test_a_success_enters_every_histogram_and_sum(a_request: Build) -> None:
    tally = Tally()
    tally.add(a_request(cached_tokens=40), [9 * MS, 11 * MS])
    means = {name: histogram.mean for name, histogram in tally.histograms.items()}
    assert means == {
        "ttft_ms": 100 * MS,
        "ttfo_ms": 100 * MS,
        "itl_ms": 10 * MS,
        "latency_ms": 201 * MS,
        "chunk_gap_ms": 10 * MS,
        "output_token_throughput": 54_726,
        "connect_ms": 0,
        "wait_ms": 0,
    }
    assert +tally.sums == {
        "in_flight_ns": 201 * MS,
        "input_tokens": 50,
        "output_tokens": 11,
        "output_events": 11,
        "longer_answers": 1,
        "usage_prompt_tokens": 50,
        "usage_tokens": 11,
        "usage_events": 11,
        "cache_told": 1,
        "cached_tokens": 40,
        "cache_prompt_tokens": 50,
    }
    assert (tally.first_sent_ns, tally.last_done_ns) == (1000 * MS, 1201 * MS)


def test_gaps_that_were_set_aside_are_pooled_with_the_rest(a_request: Build) -> None:
    earlier = Histogram()
    earlier.record_all([1, 2, 3])
    tally = Tally()
    tally.add(a_request(), [4, 5], earlier)
    assert (tally.histograms["chunk_gap_ms"].count, tally.histograms["chunk_gap_ms"].sum) == (5, 15)


def test_an_answer_that_came_at_once_has_no_gaps(a_request: Build) -> None:
    earlier = Histogram()
    earlier.record_all([0, 0])
    tally = Tally()
    tally.add(a_request(last_output_ns=1100 * MS, coalesced_events=10), [0] * 8, earlier)
    assert tally.histograms["chunk_gap_ms"].count == tally.histograms["itl_ms"].count == 0
    assert tally.histograms["ttft_ms"].count == 1
    assert (tally.sums["whole_answers"], tally.sums["longer_answers"]) == (1, 1)


def test_a_failure_is_counted_with_an_example_and_enters_no_metric(a_request: Build) -> None:
    tally = Tally(SLO)
    for text in ("first", "second", None):
        tally.add(a_request(outcome=Outcome.HTTP_STATUS, error=text), [5])
    assert tally.outcomes == {"http_status": 3}
    assert tally.examples == {"http_status": "first"}
    assert not any(histogram.count for histogram in tally.histograms.values())
    assert +tally.sums == {"in_flight_ns": 3 * 201 * MS, "unanswered": 3, "unanswered_tokens": 3 * 50}


@pytest.mark.parametrize(
    ("facts", "unanswered", "tokens"),
    [
        ({"outcome": Outcome.TIMEOUT}, 1, 50),
        ({"outcome": Outcome.RESET, "prompt_tokens": None, "prompt_tokens_estimate": 30}, 1, 30),
        ({"outcome": Outcome.CONNECT, "sent_ns": None}, 0, 0),  # never sent
        ({"outcome": Outcome.CUT_OFF}, 0, 0),
        ({"outcome": Outcome.LENGTH}, 0, 0),
    ],
)
def test_what_was_sent_and_came_to_nothing_may_have_been_computed(
    a_request: Build, facts: dict[str, object], unanswered: int, tokens: int
) -> None:
    tally = Tally()
    tally.add(a_request(**facts))
    assert (tally.sums["unanswered"], tally.sums["unanswered_tokens"]) == (unanswered, tokens)


def test_an_example_is_short_however_long_the_message(a_request: Build) -> None:
    tally = Tally()
    tally.add(a_request(outcome=Outcome.RESET, error="x" * 10_000))
    assert tally.examples == {"reset": "x" * MAX_EXAMPLE_CHARACTERS}


def test_what_was_cut_off_is_counted_and_nothing_else(a_request: Build) -> None:
    tally = Tally(SLO)
    tally.add(a_request(outcome=Outcome.CUT_OFF, error="stopped"), [5])
    assert tally.outcomes == {"cut_off": 1}
    assert tally.began_ns is not None
    itself: dict[str, object] = {"outcomes": {}, "began_ns": None}
    assert vars(tally) | itself == vars(Tally(SLO)) | itself


def test_the_span_is_from_the_first_send_to_the_last_end_of_any_outcome(a_request: Build) -> None:
    tally = Tally()
    tally.add(a_request(sent_ns=0, done_ns=50))
    tally.add(a_request(sent_ns=20, done_ns=25, outcome=Outcome.TIMEOUT))
    tally.add(a_request(sent_ns=40, done_ns=90, outcome=Outcome.RESET))
    tally.add(a_request(sent_ns=None, done_ns=99, outcome=Outcome.CONNECT))  # never sent
    tally.add(a_request(sent_ns=10, done_ns=99, outcome=Outcome.CUT_OFF))
    assert (tally.first_sent_ns, tally.last_done_ns) == (0, 90)
    assert tally.sums["in_flight_ns"] == 50 + 5 + 50


@pytest.mark.parametrize(
    ("facts", "sums"),
    [
        ({"completion_tokens": 22}, {"output_tokens": 22, "usage_tokens": 22, "usage_events": 11}),
        ({"completion_tokens": None}, {"output_tokens": 11, "counted_events": 1}),
        ({"completion_tokens": 0}, {"output_tokens": 11, "counted_events": 1}),
        (
            {"prompt_tokens": None, "prompt_tokens_estimate": 30},
            {"input_tokens": 30, "estimated_inputs": 1, "usage_prompt_tokens": 0},
        ),
        ({"prompt_tokens": 40}, {"input_tokens": 40, "estimated_inputs": 0, "usage_prompt_tokens": 40}),
        ({"cached_tokens": 0}, {"cache_told": 1, "cached_tokens": 0, "cache_prompt_tokens": 50}),
        ({"cached_tokens": None}, {"cache_told": 0, "cached_tokens": 0, "cache_prompt_tokens": 0}),
        ({"coalesced_events": 4}, {"coalesced_events": 4}),
        ({"resent": 1}, {"resent": 1}),
        ({"output_events": 1, "completion_tokens": 2}, {"longer_answers": 0}),  # the second token may be the stop token
        ({"output_events": 1, "completion_tokens": 3}, {"longer_answers": 1, "whole_answers": 0}),
    ],
)
def test_where_counts_come_from_is_kept(a_request: Build, facts: dict[str, int], sums: dict[str, int]) -> None:
    tally = Tally()
    tally.add(a_request(**facts))
    assert {name: tally.sums[name] for name in sums} == sums


def test_goodput_is_what_misses_nothing(a_request: Build) -> None:
    tally = Tally(SLO)
    tally.add(a_request())
    tally.add(a_request(first_output_ns=1300 * MS, last_output_ns=1600 * MS))  # TTFT 300 ms, ITL 30
    tally.add(a_request(last_output_ns=1351 * MS))  # ITL 25.1 ms
    assert (tally.sums["good_requests"], tally.sums["good_tokens"]) == (1, 11)
    assert tally.missed == {"ttft_ms": 1, "itl_ms": 2}


def test_what_was_missed_is_added_up(a_request: Build) -> None:
    one, other = Tally(SLO), Tally(SLO)
    one.add(a_request(first_output_ns=1300 * MS, last_output_ns=1300 * MS))
    other.add(a_request(first_output_ns=1300 * MS))
    one.merge(other)
    assert one.missed == {"ttft_ms": 2}


def test_a_stamp_before_the_send_counts_as_no_time(a_request: Build) -> None:
    tally = Tally()
    tally.add(a_request(first_output_ns=999 * MS))
    assert tally.histograms["ttft_ms"].max == 0
