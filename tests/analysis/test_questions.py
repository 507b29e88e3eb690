"""Each question, and what its answer weighs. Rounds are those of `levels`: concurrency 5, prompts of 1000 tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from fluxperf.analysis.level import Level
from fluxperf.analysis.paired import compare
from fluxperf.analysis.questions import QUESTIONS, ask
from fluxperf.model import CONTROL, CacheCounters, CacheReset, Check, Outcome, Reading, RoundResult, Status, Timeline
from tests.analysis.levels import URL, a_reset, counted, failed, late, measured, prompts

VALID, DEGRADED, INVALID = Status.VALID, Status.DEGRADED, Status.INVALID


def first(**facts: Any) -> RoundResult:
    return measured(1, prompts(50, 200), **facts)


def second(**facts: Any) -> RoundResult:
    return measured(2, prompts(50, 20, share=0.99), **facts)


def level(*rounds: RoundResult, eviction: str | None = None) -> Level:
    """The last of them but a control round is the one that is asked about."""
    later = [one for one in rounds[1:] if one.round != CONTROL]
    if not later:
        return Level(rounds=rounds)
    (ttft, *_) = compare(rounds[0], later[-1])
    return Level(rounds=rounds, later=later[-1], ttft=ttft, eviction=eviction)


def answer(name: str, asked: Level) -> Check:
    """The answer to the question of that name."""
    (check,) = [check for check in ask(asked) if check.name == name]
    return check


def silent(name: str, asked: Level) -> bool:
    return name not in [check.name for check in ask(asked)]


def told(check: Check) -> tuple[bool, Status, str]:
    return check.ok, check.weight, check.text


def test_of_a_plain_level_every_answer_is_good() -> None:
    rounds = first(counters=counted(0, 50_000)), second(counters=counted(49_500, 50_000))
    assert [told(check) for check in ask(level(*rounds))] == [
        (True, VALID, "round 1 was cold: 0% of its prompt tokens were cached"),
        (True, VALID, "99.0% of round 2's prompt tokens came from the cache, 99.2% could have"),
        (True, VALID, "at most 0% of the prompt tokens that the server counted in a round were not ours"),
        (True, VALID, "usage and counters tell the same of the cache"),
        (True, VALID, "answers had 11.0 tokens on average in round 1 and 11.0 in round 2"),
        (True, VALID, "0% of the requests failed in round 1, and 0% in round 2"),
        (True, VALID, "TTFT was measured well in every round"),
    ]


def test_no_question_is_in_the_table_twice() -> None:
    assert len(set(QUESTIONS)) == len(QUESTIONS)


def test_absent_witnesses_weigh_nothing() -> None:
    rounds = (measured(name, prompts(50, ttft, share=None)) for name, ttft in ((1, 200), (2, 20)))
    checks = ask(level(*rounds))
    assert {check.weight for check in checks} == {VALID}
    assert [check.name for check in checks if not check.ok] == ["cold", "warm"]
    assert "--enable-prompt-tokens-details" in checks[0].text


def test_one_round_is_only_asked_about_itself() -> None:
    assert [check.name for check in ask(level(first()))] == ["cold", "client"]


# Cold.


def test_a_warm_cold_round_is_invalid() -> None:
    check = answer("cold", level(measured(1, prompts(50, 20, share=0.9)), second()))
    assert told(check)[:2] == (False, INVALID)
    assert check.text.startswith(
        "round 1 was not cold: 90.0% of its prompt tokens were already cached; empty the cache"
    )
    assert "--salt" in check.text


@pytest.mark.parametrize(("share", "weight"), [(None, INVALID), (0.9, INVALID), (0.05, VALID)])
def test_what_was_sent_before_may_have_been_forgotten(share: float | None, weight: Status) -> None:
    check = answer("cold", level(measured(1, prompts(50, 20, share=share), sent_before="at concurrency 2"), second()))
    assert not check.ok
    assert check.weight is weight
    assert check.text.startswith("round 1 was not cold: sent before at concurrency 2; ")
    assert ("but 5.00% of its prompt tokens were cached" in check.text) is (weight is VALID)


def test_new_prompts_are_cold_without_a_witness() -> None:
    check = answer("cold", level(measured(1, prompts(50, 200, share=None), new=True), second()))
    assert told(check) == (True, VALID, "round 1 was cold: its prompts were new to the server")


def test_of_rounds_without_a_success_nothing_is_asked_of_the_cache() -> None:
    nothing = level(measured(1, failed(prompts(50, 200))), measured(2, failed(prompts(50, 200))))
    assert silent("cold", nothing)
    assert silent("warm", nothing)


# Warm.


@pytest.mark.parametrize(("share", "ok"), [(0.99, True), (0.5, True), (0.4, False), (0, False)])
def test_a_warm_round_finds_half_of_what_could_have_hit(share: float, ok: bool) -> None:
    check = answer("warm", level(first(), measured(2, prompts(50, 20, share=share)), eviction="the cache is too small"))
    assert (check.ok, check.weight) == (ok, VALID)
    assert check.text.endswith(": the cache is too small") is not ok


def test_after_a_reset_no_round_is_meant_to_be_warm() -> None:
    emptied = measured(2, prompts(50, 200), repeats=False, reset=a_reset())
    assert silent("warm", level(first(), emptied))


# Resets.


def emptied(name: int, share: float | None, reset: CacheReset) -> RoundResult:
    return measured(name, prompts(50, 200, share=share), repeats=False, reset=reset)


@pytest.mark.parametrize(
    ("reset", "share", "words"),
    [
        (a_reset(), None, "the reset before round 1 was accepted, but nobody confirms it"),
        (
            a_reset(),
            0.9,
            "the reset before round 1 was said to be done, but 90.0% of the prompt tokens after",
        ),
        (
            a_reset(accepted=False),
            0,
            f"the reset before round 1 was not done, and the cache may not be empty: {URL} answered with status 200: "
            'its body says {"success": false}',
        ),
        (
            CacheReset(url=URL, accepted=False, status=None, answer="it refused the connection", attempts=5),
            0,
            f"the reset before round 1 was not done, and the cache may not be empty: {URL}: it refused the connection",
        ),
        (
            CacheReset(url=URL, accepted=False, status=404, answer="", attempts=1),
            0,
            f"the reset before round 1 was not done, and the cache may not be empty: {URL} answered with status 404",
        ),
    ],
)
def test_a_reset_that_was_refused_lied_or_not_confirmed(reset: CacheReset, share: float | None, words: str) -> None:
    check = answer("reset", level(emptied(1, share, reset), second()))
    assert told(check)[:2] == (False, INVALID)
    assert check.text.startswith(words)


def test_resets_that_worked() -> None:
    check = answer("reset", level(emptied(1, 0, a_reset()), emptied(2, 0, a_reset())))
    assert told(check) == (True, VALID, "every reset was accepted, and nothing was found after it")
    assert silent("reset", level(first(), second()))


def test_the_first_reset_that_failed_is_told() -> None:
    check = answer("reset", level(emptied(1, 0, a_reset()), emptied(2, 0.9, a_reset())))
    assert "before round 2" in check.text


def test_what_comes_later_does_not_concern_an_earlier_round() -> None:
    """But what is wrong between the two does, and so does the control round."""
    rounds = [first(), second(), emptied(3, 0.9, a_reset())]
    (ttft, *_) = compare(rounds[0], rounds[1])
    assert silent("reset", Level(rounds=rounds, later=rounds[1], ttft=ttft))
    assert not answer("reset", level(*rounds)).ok
    assert not answer("reset", level(first(), emptied(2, 0.9, a_reset()), measured(3, prompts(50, 20)))).ok


# Counters.


@pytest.mark.parametrize(
    ("reading", "weight"),
    [(Reading.RESET, INVALID), (Reading.UNREADABLE, VALID), (Reading.ABSENT, None), (Reading.OK, None)],
)
def test_counters_that_cannot_be_read(reading: Reading, weight: Status | None) -> None:
    counters = CacheCounters(engine="vllm", reading=reading, why="the page is broken", hits=1, queries=1)
    asked = level(first(), second(counters=counters))
    if weight is None:
        assert silent("counters", asked)
        return
    check = answer("counters", asked)
    assert (check.ok, check.weight) == (False, weight)
    assert check.text.startswith("in round 2")
    assert ("the page is broken" in check.text) is (reading is Reading.UNREADABLE)


# Other traffic.


@pytest.mark.parametrize(
    ("share", "weight", "words"),
    [
        (0.0, VALID, "at most 0% of the prompt tokens"),
        (0.015, VALID, "at most 1.50% of the prompt tokens"),
        (
            0.05,
            DEGRADED,
            "5.00% of the prompt tokens that the server counted in round 2 came from others (2,632 beside",
        ),
        (0.249, DEGRADED, "24.9% of"),
        (0.26, INVALID, "26.0% of"),
    ],
)
def test_other_traffic(share: float, weight: Status, words: str) -> None:
    counters = counted(49_500, round(50_000 / (1 - share)))
    check = answer("traffic", level(first(counters=counted(0, 50_000)), second(counters=counters)))
    assert (check.ok, check.weight) == (weight is VALID, weight)
    assert check.text.startswith(words)


def test_counters_of_another_server() -> None:
    check = answer("traffic", level(first(counters=counted(0, 1_000)), second()))
    assert told(check)[:2] == (False, DEGRADED)
    assert check.text.startswith(
        "in round 1 the server counted 49,000 prompt tokens less than the 50,000 that it was sent"
    )


def test_without_counters_nobody_knows_of_traffic() -> None:
    assert silent("traffic", level(first(), second()))


# Two witnesses.


@pytest.mark.parametrize(
    ("hits", "ok"), [(49_500, True), (47_100, True), (46_900, False), (51_900, True), (52_100, False), (0, False)]
)
def test_witnesses_may_be_a_twentieth_apart(hits: int, ok: bool) -> None:
    check = answer("witnesses", level(first(), second(counters=counted(hits, 50_000))))
    assert (check.ok, check.weight) == (ok, VALID if ok else DEGRADED)
    assert ok or f"the server's counters have {hits:,} cached tokens and the usage of its answers 49,500" in check.text


def test_hits_of_others_and_of_requests_without_an_answer_are_no_contradiction() -> None:
    others = second(counters=counted(69_500, 70_000))  # 20,000 tokens of others, all of them cached
    assert answer("witnesses", level(first(), others)).ok
    assert not answer("witnesses", level(first(), second(counters=counted(75_000, 70_000)))).ok
    answered = prompts(50, 20, share=0.99)
    lost = failed(answered[40:], Outcome.TIMEOUT)
    for one in lost:
        one.prompt_tokens_estimate = 1000
    requests = [*answered[:40], *lost]
    assert answer("witnesses", level(first(), measured(2, requests, counters=counted(49_500, 50_000)))).ok


def test_who_was_cut_off_may_have_hit() -> None:
    stopped = measured(2, prompts(20, 20, share=0.99), counters=counted(29_700, 30_000), partial=True)
    assert silent("witnesses", level(first(), stopped))


def test_what_was_looked_up_twice_is_no_contradiction() -> None:
    twice = counted(80_000, 90_000, prompt_tokens=50_000, preemptions=40)
    assert answer("witnesses", level(first(), second(counters=twice))).ok


# Lengths and errors.


@pytest.mark.parametrize(("tokens", "ok"), [(40, True), (41, True), (43, False), (39, True), (20, False)])
def test_answers_of_another_length(tokens: int, ok: bool) -> None:
    before = measured(1, prompts(50, 200, completion_tokens=40))
    after = measured(2, prompts(50, 20, share=0.99, completion_tokens=tokens))
    check = answer("lengths", level(before, after))
    assert (check.ok, check.weight) == (ok, VALID if ok else DEGRADED)
    assert check.figures == (() if ok else ("latency_ms",))


def with_failures(name: int, count: int) -> RoundResult:
    requests = prompts(100, 20, share=0.99)
    return measured(name, [*requests[count:], *failed(requests[:count])])


@pytest.mark.parametrize(
    ("before", "after", "weight"),
    [
        (0, 0, VALID),
        (5, 10, VALID),
        (0, 6, DEGRADED),  # more than five points apart
        (6, 0, DEGRADED),
        (11, 11, DEGRADED),  # the same ones, and more than a tenth
        (0, 50, DEGRADED),
        (0, 51, INVALID),
    ],
)
def test_unequal_or_many_failures(before: int, after: int, weight: Status) -> None:
    rounds = with_failures(1, before), with_failures(2, after)
    check = answer("errors", level(*rounds))
    assert (check.ok, check.weight) == (weight is VALID, weight)
    if after > 50:
        assert check.text == (
            "0% of the requests failed in round 1, and 51.0% in round 2: 51 of 100 prompts cannot be compared, and "
            "those that are left may be the easy ones"
        )


def test_without_a_pair_there_is_nobody_left() -> None:
    check = answer("errors", level(with_failures(1, 100), with_failures(2, 0)))
    assert told(check) == (
        False,
        INVALID,
        "100% of the requests failed in round 1, and 0% in round 2: no prompt can be compared",
    )


def unfinished(count: int) -> Sequence[Timeline]:
    """A round that was stopped after so many of 100: some were under way, the others were never sent."""
    requests = prompts(100, 20, share=0.99)
    return [*requests[:count], *failed(requests[count : count + 5], Outcome.CUT_OFF)]


def test_what_a_stopped_round_did_not_come_to_is_no_failure() -> None:
    stopped = measured(2, unfinished(30), partial=True)
    asked = level(with_failures(1, 0), stopped)
    assert answer("errors", asked).ok
    assert told(answer("complete", asked)) == (
        False,
        DEGRADED,
        "round 2 was stopped before its end, and only what it came to is compared",
    )
    assert silent("complete", level(with_failures(1, 0), with_failures(2, 0)))


def test_differences_in_failures_count_in_a_stopped_round_too() -> None:
    requests = list(unfinished(30))
    failing = measured(2, [*failed(requests[:10]), *requests[10:]], partial=True)
    assert not answer("errors", level(with_failures(1, 0), failing)).ok


# Control.


def test_a_control_round_of_fresh_prompts() -> None:
    fresh = measured(CONTROL, prompts(50, 200))
    assert answer("control", level(first(), second(), fresh)).ok
    assert silent("control", level(first(), second()))


def test_a_control_round_that_found_something_is_no_control() -> None:
    known = measured(CONTROL, prompts(50, 20, share=0.9))
    check = answer("control", level(first(), second(), known))
    assert told(check)[:2] == (False, DEGRADED)
    assert "90.0% of its prompt tokens were already cached" in check.text


# The client.


@pytest.mark.parametrize(("late_ms", "weight"), [(0, VALID), (0.5, DEGRADED), (50, INVALID)])
def test_what_the_client_could_not_measure_bears_no_answer(late_ms: float, weight: Status) -> None:
    check = answer("client", level(first(), second(audits=late(late_ms))))
    assert (check.ok, check.weight) == (weight is VALID, weight)
    if weight is not VALID:
        assert check.text == f"the TTFT of round 2 is {weight} itself, as the verdict on it says"


@pytest.mark.parametrize(
    ("figures", "found", "weight"),
    [
        (("chunk_gap_ms",), INVALID, VALID),
        (("throughput", "avg_in_flight"), DEGRADED, VALID),
        (("ttft_ms.p99",), DEGRADED, VALID),  # a late request in a hundred makes no effect
        (("ttft_ms.p50", "ttft_ms.p99"), DEGRADED, DEGRADED),
        (("ttft_ms", "chunk_gap_ms"), INVALID, INVALID),
        ((), DEGRADED, VALID),  # a stall, whose consequences are measured
        ((), INVALID, INVALID),  # a worker that died
    ],
)
def test_only_what_takes_from_ttft_concerns_the_answer(figures: tuple[str, ...], found: Status, weight: Status) -> None:
    check = Check(name="c", ok=False, text="why", weight=found, figures=figures)
    worse = second()
    worse = replace(worse, summary=replace(worse.summary, checks=(*worse.summary.checks, check)))
    assert answer("client", level(first(), worse)).weight is weight


def test_lengths_are_those_of_the_prompts_that_are_compared() -> None:
    """Long answers that fail in one round make the others no shorter."""
    lengths = [40] * 40 + [400] * 10
    before = [replace(one, completion_tokens=size) for one, size in zip(prompts(50, 200), lengths, strict=True)]
    after = [replace(one, completion_tokens=size) for one, size in zip(prompts(50, 20), lengths, strict=True)]
    later = measured(2, [*after[:40], *failed(after[40:])])
    assert answer("lengths", level(measured(1, before), later)).ok


def sessions(name: int, tokens: int) -> RoundResult:
    return measured(name, prompts(50, 200, tokens=tokens), sessions=True)


@pytest.mark.parametrize(("tokens", "ok"), [(1040, True), (1060, False), (900, False)])
def test_sessions_with_other_answers_sent_other_prompts(tokens: int, ok: bool) -> None:
    asked = level(sessions(1, 1000), sessions(2, tokens))
    assert silent("prompts", asked) is ok
    if not ok:
        assert told(answer("prompts", asked))[:2] == (False, DEGRADED)


def test_of_prompts_that_are_no_sessions_nothing_is_asked() -> None:
    assert silent("prompts", level(measured(1, prompts(50, 200)), measured(2, prompts(50, 200, tokens=900))))
