from __future__ import annotations

from typing import Any

import pytest

from fluxperf.analysis.cache import MOST_CACHED_WHEN_COLD, settle_silence
from fluxperf.analysis.evidence import percent
from fluxperf.model import CacheCounters, CachedTokens, CacheFigures, Outcome, PromptBytes, Reading, Timeline
from tests.analysis.levels import a_reset, counted, failed, measured, prompts


def figures(requests: list[Timeline], name: int | str = 2, **facts: Any) -> CacheFigures:
    cache = measured(name, requests, **facts).summary.cache
    assert cache is not None
    return cache


def cold(requests: list[Timeline], **facts: Any) -> tuple[bool | None, str | None]:
    summary = measured(1, requests, **facts).summary
    return summary.cold, summary.cold_reason


# The witnesses.


def test_both_witnesses_side_by_side() -> None:
    cache = figures(prompts(10, 20, share=0.8), counters=counted(8_000, 10_000))
    assert cache.usage == CachedTokens(prompt_tokens=10_000, cached_tokens=8_000, ratio=0.8)
    assert (cache.sent_tokens, cache.estimated_tokens, cache.unexplained_hits) == (10_000, 0, 0)
    assert cache.rates == (0.8, 0.8)
    assert cache.hit_rate == 0.8


def test_usage_is_of_our_requests_only_and_goes_first() -> None:
    cache = figures(prompts(10, 20, share=0.8), counters=counted(8_000, 20_000))
    assert (cache.hit_rate, cache.counted_rate) == (0.8, 0.4)
    by_counters = figures(prompts(10, 20, share=None), counters=counted(8_000, 10_000))
    assert by_counters.usage is None
    assert by_counters.hit_rate == 0.8
    assert by_counters.unexplained_hits is None


@pytest.mark.parametrize("reading", [Reading.ABSENT, Reading.RESET, Reading.UNREADABLE])
def test_what_is_not_known_is_no_zero(reading: Reading) -> None:
    unknown = CacheCounters(engine="vllm", reading=reading, why="somehow")
    cache = figures(prompts(10, 20, share=None), counters=unknown)
    assert (cache.hit_rate, cache.counted_rate, cache.foreign_tokens, cache.foreign_share) == (None,) * 4


def test_zero_is_a_number() -> None:
    cache = figures(prompts(10, 20, share=0), counters=counted(0, 10_000))
    assert cache.rates == (0, 0)
    assert cache.hit_rate == 0


def test_a_server_that_looks_nothing_up_found_nothing() -> None:
    off = counted(0, 0, prompt_tokens=10_000)
    cache = figures(prompts(10, 20, share=None), counters=off)
    assert off.ratio is None
    assert cache.hit_rate == cache.counted_rate == 0
    assert figures([], counters=counted(0, 0)).counted_rate is None  # it was sent nothing either


def test_hits_in_blocks_are_not_held_against_tokens() -> None:
    cache = figures(
        prompts(10, 20, share=0.8),
        counters=counted(250, 312, unit="blocks", engine="trtllm", counts_prompts=False, prompt_tokens=None),
    )
    assert cache.unexplained_hits is None
    assert cache.foreign_share is None


# Other traffic.


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.3])
def test_other_traffic_is_told_within_a_percent(share: float) -> None:
    ours = 50_000
    cache = figures(prompts(50, 20), counters=counted(0, round(ours / (1 - share))))
    assert cache.foreign_share == pytest.approx(share, abs=1e-4)
    assert cache.foreign_tokens == round(ours / (1 - share)) - ours


def test_counters_that_count_too_little_are_negative_traffic() -> None:
    cache = figures(prompts(50, 20), counters=counted(0, 25_000))
    assert (cache.foreign_tokens, cache.foreign_share) == (-25_000, -1)


@pytest.mark.parametrize(
    ("counts", "foreign"), [(40_000, 0), (45_000, 0), (50_000, 0), (52_000, 2_000), (35_000, -5_000)]
)
def test_what_requests_without_an_answer_may_have_cost_is_nobody_elses(counts: int, foreign: int) -> None:
    sent = prompts(50, 20)
    lost = failed(sent[40:], Outcome.TIMEOUT)
    for one in lost:
        one.prompt_tokens_estimate = 1000
    cache = figures([*sent[:40], *lost], counters=counted(0, counts))
    assert (cache.sent_tokens, cache.estimated_tokens, cache.foreign_tokens) == (50_000, 10_000, foreign)


def test_an_estimate_of_our_own_is_held_against_nobody() -> None:
    silent = prompts(50, 20, tokens=None, prompt_tokens_estimate=700)
    cache = figures(silent, counters=counted(0, 50_000))
    assert cache.foreign_tokens is None
    assert cache.estimated_tokens == 35_000


def test_of_a_round_that_was_stopped_nobody_knows_what_was_ours() -> None:
    cache = figures(prompts(50, 20), counters=counted(0, 60_000), partial=True)
    assert (cache.foreign_tokens, cache.foreign_share) == (None, None)


def test_what_is_looked_up_twice_after_a_preemption_is_no_traffic() -> None:
    cache = figures(prompts(50, 20), counters=counted(0, 60_000, prompt_tokens=50_000, preemptions=10))
    assert cache.foreign_tokens == 0
    without = figures(prompts(50, 20), counters=counted(0, 60_000, prompt_tokens=50_000, preemptions=0))
    assert without.foreign_tokens == 10_000


@pytest.mark.parametrize(("counts_prompts", "foreign"), [(True, 10_000), (False, None)])
def test_lookups_tell_of_traffic_if_every_prompt_is_looked_up(counts_prompts: bool, foreign: int | None) -> None:
    """LMCache is only asked for what the engine around it does not hold."""
    looked_up = counted(0, 60_000, prompt_tokens=None, counts_prompts=counts_prompts)
    assert figures(prompts(50, 20), counters=looked_up).foreign_tokens == foreign


def test_what_is_printed_in_few_digits_tells_of_no_traffic_within_them() -> None:
    rough = counted(0, 51_500, resolution_tokens=2000)
    assert figures(prompts(50, 20), counters=rough).foreign_tokens == 0
    assert figures(prompts(50, 20), counters=counted(0, 53_500, resolution_tokens=2000)).foreign_tokens == 3500


# Cold.


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0, (True, None)),
        (0.1, (True, None)),  # a tenth is not more than a tenth
        (0.11, (False, "11.0% of its prompt tokens were already cached")),
        (None, (None, "the server does not tell how many prompt tokens were cached")),
    ],
)
def test_a_round_is_cold_if_little_was_found(share: float | None, expected: tuple[bool | None, str | None]) -> None:
    assert MOST_CACHED_WHEN_COLD == 0.1
    assert cold(prompts(50, 20, share=share)) == expected


def test_the_witness_that_found_more_is_believed() -> None:
    assert cold(prompts(50, 20, share=0), counters=counted(25_000, 50_000))[0] is False
    assert cold(prompts(50, 20, share=0.5), counters=counted(0, 50_000))[0] is False


def test_what_others_hit_is_not_ours() -> None:
    """A fifth of all that is counted is of others, and all of that was cached."""
    ours = prompts(40, 20, share=0)
    assert cold(ours, counters=counted(10_000, 50_000))[0] is True
    assert cold(ours, counters=counted(20_000, 50_000))[0] is False  # more than they can have had


def test_what_prompts_have_in_common_is_no_warm_cache() -> None:
    """Each has half of its text in common with another: a cold round finds that too."""
    alike = [PromptBytes(index, 4000, 2000 if index else 0) for index in range(50)]
    assert cold(prompts(50, 20, share=0.48), prompts=alike)[0] is True
    found, reason = cold(prompts(50, 20, share=0.7), prompts=alike)
    assert found is False
    assert reason == "70.0% of its prompt tokens were already cached, where what they have in common explains 48.6%"


@pytest.mark.parametrize("share", [0, 0.9, None])
def test_prompts_that_were_sent_before_are_not_cold_whatever_is_found(share: float | None) -> None:
    assert cold(prompts(50, 20, share=share), sent_before="at concurrency 5") == (False, "sent before at concurrency 5")


def test_new_prompts_are_cold_where_nobody_tells() -> None:
    assert cold(prompts(50, 20, share=None), new=True) == (True, None)
    assert cold(prompts(50, 20, share=0.5), new=True)[0] is False  # but not where somebody does


def test_rounds_that_repeat_prompts_are_neither_cold_nor_not() -> None:
    summary = measured(2, prompts(50, 20, share=0.9)).summary
    assert (summary.cold, summary.cold_reason) == (None, None)


# Resets.


@pytest.mark.parametrize(
    ("accepted", "share", "confirmed"),
    [(True, 0, True), (True, 0.9, False), (True, None, None), (False, 0, False), (False, None, False)],
)
def test_a_reset_is_confirmed_by_what_comes_after_it(
    accepted: bool, share: float | None, confirmed: bool | None
) -> None:
    for name in (1, 2):
        cache = figures(prompts(50, 20, share=share), name, repeats=False, reset=a_reset(accepted=accepted))
        assert cache.reset_confirmed is confirmed


def test_that_prompts_are_new_confirms_no_reset() -> None:
    cache = figures(prompts(50, 20, share=None), 1, new=True, reset=a_reset())
    assert cache.reset_confirmed is None


def test_without_a_reset_there_is_nothing_to_confirm() -> None:
    assert figures(prompts(50, 20)).reset_confirmed is None


# What could have hit.


def test_what_could_have_hit_goes_by_the_engines_block() -> None:
    later = prompts(50, 20, share=0.9)
    assert figures(later, counters=counted(0, 1)).expected_rate == 62 * 16 / 1000
    assert figures(later, counters=counted(0, 1, block_tokens=1)).expected_rate == 0.999
    assert figures(later, counters=counted(0, 1, block_tokens=256)).expected_rate == 768 / 1000
    assert figures(later).block_tokens == 16


def test_failures_could_not_have_hit() -> None:
    later = prompts(50, 20)
    assert figures([*later[:25], *failed(later[25:])]).expected_rate == 62 * 16 / 1000
    assert figures(failed(later)).expected == {}


def test_of_too_many_prompts_nobody_knows_what_they_share() -> None:
    assert figures(prompts(50, 20), 1, prompts=None).expected == {}


@pytest.mark.parametrize(
    ("share", "words"),
    [(0, "0%"), (1, "100%"), (0.05, "5.00%"), (0.1, "10.0%"), (0.00001, "0.00%"), (0.9999, "100.0%")],
)
def test_percent(share: float, words: str) -> None:
    assert percent(share) == words


# Servers that leave out what is 0.


def test_silence_is_zero_where_a_server_never_tells_zero() -> None:
    told, silent = prompts(50, 20, share=0.8), prompts(50, 20, share=None)
    cache = figures([*silent[:40], *told[40:]])
    assert cache.usage == CachedTokens(prompt_tokens=50_000, cached_tokens=8000, ratio=0.16)
    zero = prompts(50, 20, share=0)
    assert figures([*silent[:40], *told[40:45], *zero[45:]]).usage == CachedTokens(
        prompt_tokens=10_000, cached_tokens=4000, ratio=0.4
    )


def test_a_later_round_shows_what_silence_meant() -> None:
    first = measured(1, prompts(50, 20, share=None), reset=a_reset())
    later = measured(2, prompts(50, 20, share=0.9))
    assert (first.summary.cold, first.summary.cache and first.summary.cache.usage) == (None, None)
    settled, same = settle_silence([first, later])
    assert same is later
    assert settled.summary.cold is True
    assert settled.summary.cache is not None
    assert settled.summary.cache.hit_rate == 0
    assert settled.summary.cache.reset_confirmed is True


@pytest.mark.parametrize("share", [None, 0])
def test_silence_stays_silence_where_nobody_tells_or_zero_is_told(share: float | None) -> None:
    first, later = measured(1, prompts(50, 20, share=None)), measured(2, prompts(50, 20, share=share))
    assert settle_silence([first, later]) == (first, later)


def test_prompts_that_are_new_confirm_no_reset() -> None:
    cold = prompts(50, 20, share=0)
    assert figures(cold, reset=a_reset(), new=True, repeats=False).reset_confirmed is None
    assert figures(cold, reset=a_reset(), repeats=False).reset_confirmed is True
