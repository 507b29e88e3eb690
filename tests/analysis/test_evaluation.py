"""What is said of a level, and that it is never more than the evidence bears."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from fluxperf.analysis.clustered import LEAST_STRETCHES, count_stretches
from fluxperf.analysis.evaluation import LEAST_WAVES
from fluxperf.model import CONTROL, Outcome, PromptBytes, RoundResult, Status, Timeline
from fluxperf.model.evaluation import Answer, CacheEvaluation
from fluxperf.model.result import Effect
from tests.analysis.levels import a_reset, counted, failed, judge_one, judged, late, measured, prompts
from tests.analysis.rounds import MS


def cold(ttft_ms: float = 200, *, share: float | None = 0.0) -> RoundResult:
    return measured(1, prompts(50, ttft_ms, share=share))


def warm(ttft_ms: float = 20, *, share: float | None = 0.99, name: int = 2) -> RoundResult:
    return measured(name, prompts(50, ttft_ms, share=share, seed=name + 2))


def fresh(ttft_ms: float = 200, *, share: float | None = 0.0) -> RoundResult:
    return measured(CONTROL, prompts(50, ttft_ms, share=share, seed=9))


def said(found: CacheEvaluation) -> tuple[Answer, str]:
    return found.answer, found.why


# Yes.


def test_a_later_round_whose_prompts_were_all_found() -> None:
    found = judge_one(cold(), warm())
    assert said(found) == (Answer.YES, "round 2 was faster, and 99.0% of its prompt tokens came from the cache")
    assert found.verdict.status is Status.VALID
    assert found.effect is not None
    assert found.effect.mean_ratio == pytest.approx(0.1, rel=0.05)
    assert found.effect.ratio_ci95 is not None
    assert found.effect.ratio_ci95[0] < 0.1 < found.effect.ratio_ci95[1]
    assert (found.round, found.drift, found.eviction, found.is_net) == (2, None, None, False)


def test_counters_are_witness_enough() -> None:
    before = measured(1, prompts(50, 200, share=None), counters=counted(0, 50_000))
    after = measured(2, prompts(50, 20, share=None), counters=counted(49_500, 50_000))
    assert judge_one(before, after).answer is Answer.YES


def test_a_control_round_is_witness_enough() -> None:
    found = judge_one(cold(share=None), warm(share=None), fresh(share=None))
    assert said(found) == (Answer.YES, "round 2 was faster than round 1 and than fresh prompts")
    assert found.is_net


def test_reservations_do_not_change_the_answer_and_are_not_lost() -> None:
    before = measured(1, prompts(50, 200), counters=counted(0, 50_000))
    after = measured(2, prompts(50, 20, share=0.99), counters=counted(49_500, 52_632))
    found = judge_one(before, after)
    assert found.answer is Answer.YES
    assert found.verdict.status is Status.DEGRADED
    assert found.verdict.reasons[0].startswith("5.00% of the prompt tokens that the server counted in round 2")


def test_what_a_stopped_round_came_to_is_compared() -> None:
    requests = prompts(50, 20, share=0.99)
    stopped = measured(2, [*requests[:30], *failed(requests[30:35], Outcome.CUT_OFF)], partial=True)
    found = judge_one(cold(), stopped)
    assert (found.answer, found.verdict.status) == (Answer.YES, Status.DEGRADED)
    assert found.verdict.reasons == ("round 2 was stopped before its end, and only what it came to is compared",)
    assert found.effect is not None
    assert found.effect.pairs == 30


# Net of what else changed.


def test_the_effect_is_net_of_a_server_that_became_faster_by_itself() -> None:
    found = judge_one(cold(200), warm(20), fresh(100))
    assert found.answer is Answer.YES
    assert found.is_net
    assert found.effect is not None
    assert found.effect.mean_ratio == pytest.approx(0.2, rel=0.05)
    assert found.drift is not None
    assert found.drift.mean_ratio == pytest.approx(0.5, rel=0.05)


def test_a_gain_that_fresh_prompts_had_too_is_none() -> None:
    found = judge_one(cold(200, share=None), warm(100, share=None), fresh(100, share=None))
    assert found.answer is Answer.NOT_SHOWN
    assert found.why == "round 2 was neither clearly faster nor clearly slower than fresh prompts"


def test_a_control_round_that_was_not_fresh_is_not_used() -> None:
    found = judge_one(cold(), warm(), fresh(20, share=0.9))
    assert not found.is_net
    assert (found.answer, found.verdict.status) == (Answer.YES, Status.DEGRADED)


def test_a_control_round_without_a_success_is_not_used() -> None:
    nothing = measured(CONTROL, failed(prompts(50, 200)))
    assert not judge_one(cold(), warm(), nothing).is_net


def test_what_is_hidden_from_every_witness_is_not_told() -> None:
    """Repeated prompts are faster than fresh ones, and nobody says that anything was cached."""
    found = judge_one(cold(), warm(share=0), fresh())
    assert said(found) == (
        Answer.CANNOT_TELL,
        "round 2 was faster than fresh prompts, but none of round 2's prompt tokens came from the cache: something "
        "helps that neither usage nor counters count",
    )


# No.


def test_a_server_that_became_faster_by_itself() -> None:
    found = judge_one(cold(), warm(100, share=0))
    assert said(found) == (
        Answer.NO,
        "the server became faster by itself, or by what it does not count (--control-round tells which): "
        "none of round 2's prompt tokens came from the cache",
    )
    assert found.verdict.status is Status.VALID


@pytest.mark.parametrize(("share", "words"), [(0.0, "none of"), (0.05, "only 5.00% of")])
def test_a_cache_that_finds_nothing(share: float, words: str) -> None:
    answer, why = said(judge_one(cold(), measured(2, prompts(50, 200, share=share, seed=2))))
    assert answer is Answer.NO
    assert why.startswith(f"{words} round 2's prompt tokens came from the cache; ")


def test_little_left_to_gain_is_a_gain_all_the_same() -> None:
    """Long sessions find nearly all in their own history; what is left is all that a prefill has to do."""
    before = measured(1, prompts(50, 200, share=0.978), concurrency=5)
    before = replace(before, summary=replace(before.summary, cold=True, cold_reason=None))
    found = judge_one(before, warm(60, share=0.996))
    assert found.answer is Answer.YES, found.why
    found = judge_one(before, warm(60, share=0.98))
    assert found.answer is Answer.NO


@pytest.mark.parametrize("told", [True, False])
def test_lru_thrash_is_named(told: bool) -> None:
    """In the same order, with and without a server that says how much its cache holds."""
    counters = counted(0, 50_000, capacity_tokens=20_000 if told else None)
    answer, why = said(judge_one(cold(), measured(2, prompts(50, 200, seed=2), counters=counters)))
    assert answer is Answer.NO
    assert ("the cache holds 20,000 tokens, and the round has 50,550" in why) is told
    assert "LRU thrash" in why
    assert ("either the cache is off, or" in why) is not told


def test_a_cache_that_makes_it_slower() -> None:
    found = judge_one(cold(), warm(300))
    assert said(found) == (Answer.NO, "round 2 was slower, though 99.0% of its prompt tokens came from the cache")
    assert judge_one(cold(share=None), warm(300, share=None)).why == "round 2 was slower"


# Nothing to be seen.


def test_hits_that_save_nothing_visible() -> None:
    found = judge_one(cold(), warm(200))
    assert said(found) == (
        Answer.NOT_SHOWN,
        "round 2 was neither clearly faster nor clearly slower, though 99.0% of its prompt tokens came from the cache",
    )


def test_noise_is_not_an_effect() -> None:
    """Whatever the seed, of two rounds without a difference few are called faster."""
    wrong = 0
    for seed in range(100):
        draw = Random(seed)
        rounds = [
            measured(
                name,
                [
                    replace(one, first_output_ns=(one.sent_ns or 0) + round(draw.lognormvariate(5, 1) * MS))
                    for one in prompts(20, 1, share=None)
                ],
            )
            for name in (1, 2)
        ]
        found = judge_one(*rounds)
        assert found.effect is not None
        wrong += found.effect.effect in (Effect.FASTER, Effect.SLOWER)
    assert wrong <= 10


# What cannot be told.


def test_without_a_witness_and_without_a_control_round() -> None:
    found = judge_one(cold(share=None), warm(share=None))
    assert found.answer is Answer.CANNOT_TELL
    assert found.why.startswith("round 2 was faster, and nobody says whether by the cache: have the server tell")
    assert "--control-round" in found.why
    assert found.verdict.status is Status.VALID


def test_a_round_1_that_was_not_cold() -> None:
    found = judge_one(cold(20, share=0.9), warm())
    assert found.answer is Answer.CANNOT_TELL
    assert found.verdict.status is Status.INVALID
    assert found.why == found.verdict.reasons[0]
    assert found.why.startswith("round 1 was not cold")


@pytest.mark.parametrize("accepted", [True, False])
def test_a_reset_that_lied_or_was_refused(accepted: bool) -> None:
    after = measured(2, prompts(50, 20, share=0.99), repeats=not accepted, reset=a_reset(accepted=accepted))
    found = judge_one(cold(), after)
    assert (found.answer, found.verdict.status) == (Answer.CANNOT_TELL, Status.INVALID)
    assert found.why.startswith("the reset before round 2")


def test_rounds_after_resets_that_worked_have_no_cache_to_judge() -> None:
    before = measured(1, prompts(50, 200), reset=a_reset())
    after = measured(2, prompts(50, 200, seed=2), repeats=False, reset=a_reset())
    found = judge_one(before, after)
    assert said(found) == (Answer.CANNOT_TELL, "round 2 began with an empty cache too, as was asked for")
    assert found.verdict.status is Status.VALID


def test_a_level_whose_round_1_failed_wholly() -> None:
    found = judge_one(measured(1, failed(prompts(50, 200))), warm())
    assert (found.answer, found.verdict.status) == (Answer.CANNOT_TELL, Status.INVALID)
    assert found.why == "100% of the requests failed in round 1, and 0% in round 2: no prompt can be compared"


def test_unequal_failures() -> None:
    requests = prompts(50, 20, share=0.99)
    few = judge_one(cold(), measured(2, [*requests[10:], *failed(requests[:10])]))
    assert (few.answer, few.verdict.status) == (Answer.YES, Status.DEGRADED)
    many = judge_one(cold(), measured(2, [*requests[30:], *failed(requests[:30])]))
    assert (many.answer, many.verdict.status) == (Answer.CANNOT_TELL, Status.INVALID)
    assert "30 of 50 prompts cannot be compared" in many.why


def test_rounds_that_have_no_prompt_in_common() -> None:
    others = [replace(one, index=one.index + 100) for one in prompts(50, 20, share=0.99)]
    assert said(judge_one(cold(), measured(2, others))) == (Answer.CANNOT_TELL, "no prompt succeeded in both rounds")


def test_a_client_that_could_not_measure() -> None:
    found = judge_one(cold(), measured(2, prompts(50, 20, share=0.99), audits=late(50)))
    assert said(found) == (Answer.CANNOT_TELL, "the TTFT of round 2 is invalid itself, as the verdict on it says")


@pytest.mark.parametrize(("count", "answer"), [(19, Answer.CANNOT_TELL), (20, Answer.YES)])
def test_too_few_prompts_for_the_concurrency(count: int, answer: Answer) -> None:
    rounds = measured(1, prompts(count, 200)), measured(2, prompts(count, 20, share=0.99, seed=2))
    found = judge_one(*rounds)
    assert found.answer is answer
    if answer is Answer.CANNOT_TELL:
        assert found.why == (
            "19 prompts, 5 at a time, are too few to say how sure it is: 20 or more must be compared (--num-samples)"
        )


@pytest.mark.parametrize("concurrency", [1, 2, 7, 10, 64])
def test_the_number_of_prompts_that_is_asked_for_is_enough(concurrency: int) -> None:
    assert count_stretches(LEAST_WAVES * concurrency, concurrency) >= LEAST_STRETCHES
    assert count_stretches(LEAST_WAVES * concurrency - 1, concurrency) < LEAST_STRETCHES


# Levels and rounds.


def test_one_round_says_only_what_is_wrong_with_it() -> None:
    assert judged(cold()) == ()
    refused = measured(1, prompts(50, 200), reset=a_reset(accepted=False))
    found = judge_one(refused)
    assert (found.round, found.answer, found.verdict.status) == (None, Answer.CANNOT_TELL, Status.INVALID)
    assert [check.name for check in found.checks] == ["reset"]
    assert found.why == "there is one round, and nothing to compare it with"


def test_fresh_prompts_alone_are_no_later_round() -> None:
    """But what they are held against must have been cold."""
    (found,) = judged(cold(), fresh())
    assert (found.round, found.answer, found.verdict.status) == (None, Answer.CANNOT_TELL, Status.VALID)
    (warm,) = judged(measured(1, prompts(50, 200, share=0.9)), fresh())
    assert warm.verdict.status is Status.INVALID


def test_each_later_round_has_an_answer_of_its_own() -> None:
    second, third = judged(cold(), warm(), warm(30, name=3))
    assert (second.round, third.round) == (2, 3)
    assert second.effect is not None
    assert third.effect is not None
    assert second.effect.round == 2
    assert third.effect.round == 3
    assert third.effect.baseline_round == 1


def test_each_level_is_judged_by_its_own_rounds() -> None:
    def at(concurrency: int, *rounds: RoundResult) -> list[RoundResult]:
        return [replace(one, concurrency=concurrency) for one in rounds]

    rounds = [*at(2, cold(), warm()), *at(5, cold(20, share=0.9), warm())]
    low, high = judged(*rounds)
    assert (low.concurrency, low.answer) == (2, Answer.YES)
    assert (high.concurrency, high.answer) == (5, Answer.CANNOT_TELL)


def test_a_dose_goes_with_its_round() -> None:
    def later(name: int) -> list[Timeline]:
        """The longer the prompt, the more is saved."""
        draw = Random(name)
        plain = prompts(50, 300)
        return [
            replace(
                one,
                prompt_tokens=1000 + 100 * one.index,
                cached_tokens=100 * one.index,
                first_output_ns=(one.sent_ns or 0) + round((300 - 2 * one.index + draw.random()) * MS),
            )
            for one in plain
        ]

    second, third = judged(cold(300), measured(2, later(2)), measured(3, later(3)))
    assert second.dose is not None
    assert third.dose is not None
    assert second.dose.slope_us_per_token == pytest.approx(20, rel=0.3)  # 2 ms for each 100 tokens
    assert second.dose != third.dose


# What round 1 found already, and witnesses that are at odds.


def with_a_common_beginning(name: int, ttft_ms: float, share: float) -> RoundResult:
    """70 % of each prompt is a system prompt that all of them share."""
    alike = [PromptBytes(index, 4000, 2800 if index else 0) for index in range(50)]
    return measured(name, prompts(50, ttft_ms, share=share, seed=name), prompts=alike)


def test_what_round_1_found_as_well_is_no_gain_of_round_2() -> None:
    found = judge_one(with_a_common_beginning(1, 200, 0.69), with_a_common_beginning(2, 100, 0.72))
    assert found.verdict.status is Status.VALID
    assert found.answer is Answer.NO
    assert "hardly more (72.0%) than in round 1 (69.0%)" in found.why


def test_a_gain_over_what_round_1_found_is_one() -> None:
    found = judge_one(with_a_common_beginning(1, 200, 0.69), with_a_common_beginning(2, 100, 0.99))
    assert found.answer is Answer.YES
    assert found.why.endswith("and 99.0% of its prompt tokens came from the cache (69.0% of round 1's)")


def test_where_the_witnesses_contradict_each_other_nothing_is_told() -> None:
    before = measured(1, prompts(50, 200), counters=counted(0, 50_000))
    after = measured(2, prompts(50, 20), counters=counted(49_500, 50_000))
    found = judge_one(before, after)
    assert found.answer is Answer.CANNOT_TELL
    assert "one of them is wrong" in found.why


def test_a_server_that_slowed_down_after_round_2_is_no_gain() -> None:
    """Only the fresh prompts at the end were slower: round 2 took as long as round 1."""
    found = judge_one(cold(20, share=None), warm(20, share=None), fresh(40, share=None))
    assert found.is_net
    assert found.answer is Answer.CANNOT_TELL
    assert "the server itself changed meanwhile" in found.why


def test_a_server_that_sped_up_after_round_2_is_no_loss() -> None:
    found = judge_one(cold(40, share=None), warm(40, share=None), fresh(20, share=None))
    assert found.answer is Answer.CANNOT_TELL


def test_a_round_that_began_empty_and_was_faster_all_the_same_is_in_doubt() -> None:
    emptied = measured(2, prompts(50, 20), reset=a_reset(), repeats=False)
    found = judge_one(cold(), emptied)
    assert found.answer is Answer.CANNOT_TELL
    assert "faster all the same" in found.why


def test_fresh_prompts_of_another_length_are_told() -> None:
    longer = measured(CONTROL, prompts(50, 200, tokens=1200, seed=9))
    found = judge_one(cold(), warm(), longer)
    (check,) = [check for check in found.checks if check.name == "control"]
    assert not check.ok
    assert "1200.0 tokens on average, and round 1's 1000.0" in check.text


def test_the_slope_answers_where_the_mean_cannot() -> None:
    """The first half was found, all in the same stretches; each token found saves 0.1 ms, and the rest nothing."""
    before = prompts(40, 200)
    after = [replace(one, cached_tokens=800 if one.index < 8 else 0) for one in prompts(40, 200)]
    saved = [
        replace(one, first_output_ns=(one.first_output_ns or 0) - (100 * MS if one.index < 8 else 0)) for one in after
    ]
    found = judge_one(measured(1, before), measured(2, saved))
    assert found.effect is not None
    assert found.effect.effect is Effect.NOT_SHOWN
    assert found.answer is Answer.YES
    assert found.why.startswith("the more of a prompt was found, the faster it was: 16.0% of its prompt tokens")
