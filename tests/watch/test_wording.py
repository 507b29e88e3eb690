from __future__ import annotations

from dataclasses import replace

import pytest

from fluxperf.model import Outcome
from fluxperf.units import NS_PER_MS as MS
from fluxperf.units import NS_PER_S as S
from fluxperf.watch import wording
from fluxperf.watch.counts import Flight, LiveCounts
from fluxperf.watch.itinerary import Rest
from fluxperf.watch.pace import Rates
from fluxperf.watch.wording import Facts, Wait

FACTS = Facts(title="Round", total=1234, counts=LiveCounts(sent=1100, done=1000, not_sent=34), elapsed_ns=72 * S)
FLIGHT = Flight(index=17, turn=0, input_tokens=5120, sent_ns=1, last_output_ns=None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (192, "3 min 12 s"),
        (599, "9 min 59 s"),
        (600, "10 min"),
        (3540, "59 min"),
        (3599, "60 min"),
        (3600, "1 h 00 min"),
        (86_400 * 2 + 61, "48 h 01 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert wording.say_duration(seconds * S) == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0.123, "0.12 ms"), (12.34, "12.3 ms"), (123.4, "123 ms"), (1234, "1.23 s"), (12_345, "12.3 s")],
)
def test_latencies(ms: float, text: str) -> None:
    assert wording.say_time(ms * MS) == text


@pytest.mark.parametrize(
    ("failures", "text"),
    [
        ({}, None),
        ({"429": 3}, "3 failed: 3 HTTP 429"),
        (
            {Outcome.RESET: 1, "429": 1200, "503": 1, Outcome.TIMEOUT: 2},
            "1,204 failed: 1,200 HTTP 429, 2 timed out, 1 reset, 1 HTTP 503",
        ),
    ],
)
def test_failures_by_outcome(failures: dict[str, int], text: str | None) -> None:
    assert wording.say_failures(failures) == text


def test_every_outcome_has_words() -> None:
    for outcome in Outcome:
        assert "_" not in (wording.say_failures({outcome: 1}) or "")


def test_how_far_it_is() -> None:
    assert wording.say_extent(FACTS) == "1,034 of 1,234 done"
    assert list(wording.say_load(FACTS)) == ["100 in flight"]
    assert list(wording.say_load(replace(FACTS, doing="opening connections"))) == ["opening connections"]


def test_no_number_comes_from_nothing() -> None:
    assert list(wording.say_tokens(None)) == []
    assert list(wording.say_requests(FACTS)) == []
    assert list(wording.say_times(FACTS)) == ["1 min 12 s elapsed"]


def test_rates() -> None:
    rates = Rates(11_900.4, 45.23, 12_345)
    facts = replace(FACTS, rates=rates, counts=replace(FACTS.counts, ttft_ns=(120 * MS, 1230 * MS)))
    assert list(wording.say_tokens(rates)) == ["12,345 tokens/s now", "11,900 on average"]
    assert list(wording.say_tokens(replace(rates, tokens_per_s_now=None))) == ["11,900 tokens/s"]
    assert list(wording.say_requests(facts)) == ["45.2 requests/s", "TTFT p50 120 ms, p99 1.23 s"]


@pytest.mark.parametrize(("per_s", "text"), [(1234, "1,234"), (45.67, "45.7"), (0.123, "0.12")])
def test_rates_of_requests(per_s: float, text: str) -> None:
    assert next(wording.say_requests(replace(FACTS, rates=Rates(1, per_s, None)))) == f"{text} requests/s"


def test_times_left() -> None:
    facts = replace(FACTS, left_ns=200 * S)
    assert list(wording.say_times(facts))[1:] == ["about 3 min 20 s left"]
    facts = replace(facts, rest=Rest(500 * S, at_most=False))
    assert list(wording.say_times(facts))[2:] == ["with the later rounds about 12 min"]
    facts = replace(facts, rest=Rest(500 * S, at_most=True))
    assert list(wording.say_times(facts))[2:] == ["with the later rounds at most about 12 min"]


@pytest.mark.parametrize(
    ("flight", "silent_ns", "state"),
    [
        (FLIGHT, None, "no token yet"),
        (FLIGHT, 400 * MS, "its tokens come"),
        (FLIGHT, 9 * S, "last token 9.0 s ago"),
        (replace(FLIGHT, sent_ns=None), None, "waiting for a connection"),
    ],
)
def test_what_is_waited_for_longest(flight: Flight, silent_ns: int | None, state: str) -> None:
    wait = Wait(flight=flight, age_ns=12_300 * MS, silent_ns=silent_ns)
    assert list(wording.say_wait(wait)) == ["longest in flight: 12.3 s", "request 17", "5,120 input tokens", state]


def test_turns_count_from_1() -> None:
    wait = Wait(flight=replace(FLIGHT, turn=2), age_ns=S, silent_ns=None)
    assert "request 17, turn 3" in wording.say_wait(wait)
