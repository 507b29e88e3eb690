"""What is known of the cache in one round: two witnesses side by side, and whether the round was cold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fluxperf.analysis.evidence import Evidence, History
from fluxperf.analysis.expected import expected_at_first, expected_when_repeated
from fluxperf.model import CacheCounters, CachedTokens, CacheFigures, Reading, RoundResult
from fluxperf.tally import Tally

# Above this share of prompt tokens that came from the cache, beyond what its prompts have in common, a round was not
# cold.
MOST_CACHED_WHEN_COLD = 0.10
DEFAULT_BLOCK = 16
# Above this share of prompt tokens that is our own estimate, other traffic is not told from an error of that.
MOST_ESTIMATED = 0.01


def examine(evidence: Evidence) -> CacheFigures:
    """The round's cache figures."""
    tally, history, counters = evidence.tally, evidence.history, evidence.counters
    usage = _usage_with_silence(tally)
    estimated = _estimated_tokens(tally)
    sent = tally.sums["usage_prompt_tokens"] + estimated
    silent = tally.sums["input_tokens"] - tally.sums["usage_prompt_tokens"]
    # Held against an estimate, the server's count would tell of traffic that there is none of.
    counted = _counted(counters, sent) if silent <= MOST_ESTIMATED * sent and not evidence.stopped else None
    # Of requests without an answer nobody knows whether the server counted them, so they explain what they can.
    ours = sent if counted is None else min(max(counted, sent - estimated), sent)
    if counted is not None and counters is not None and abs(counted - ours) <= counters.resolution_tokens:
        ours = counted  # it is printed in so few digits
    return CacheFigures(
        usage=usage,
        counters=counters,
        sent_tokens=sent,
        estimated_tokens=estimated,
        foreign_tokens=None if counted is None else counted - ours,
        foreign_share=(counted - ours) / counted if counted else None,
        unexplained_hits=_unexplained(counters, usage),
        expected=_expected(evidence),
        block_tokens=DEFAULT_BLOCK if counters is None else counters.block_tokens,
        repeats=history.repeats,
        new=history.new,
        silent_tokens=tally.sums["usage_prompt_tokens"] - tally.sums["cache_prompt_tokens"],
        zeros_told=tally.sums["cache_told_zero"],
        reset=history.reset,
    )


def cached_by_usage(tally: Tally) -> CachedTokens | None:
    """What the answers' usage says; None: nothing."""
    sums = tally.sums
    if not sums["cache_told"]:
        return None
    prompt, cached = sums["cache_prompt_tokens"], sums["cached_tokens"]
    return CachedTokens(prompt_tokens=prompt, cached_tokens=cached, ratio=cached / prompt if prompt else None)


def _usage_with_silence(tally: Tally) -> CachedTokens | None:
    """The same, with answers that are silent for 0 where that is what silence means.

    vLLM leaves `prompt_tokens_details` out where nothing was cached. A server that never tells 0, and tells more of
    some answers and nothing of others, is taken to be of that kind.
    """
    told, sums = cached_by_usage(tally), tally.sums
    if told is None or sums["cache_told_zero"]:
        return told
    prompt = sums["usage_prompt_tokens"]
    return CachedTokens(prompt_tokens=prompt, cached_tokens=told.cached_tokens, ratio=told.cached_tokens / prompt)


def settle_silence(rounds: Sequence[RoundResult]) -> tuple[RoundResult, ...]:
    """The rounds of a level, those that told nothing taken for 0 if later ones show that this is what silence means."""
    caches = [one.summary.cache for one in rounds if one.summary.cache is not None]
    told = [cache for cache in caches if cache.usage is not None]
    if not told or any(cache.zeros_told for cache in caches):
        return tuple(rounds)
    return tuple(_settled(one) for one in rounds)


def _settled(one: RoundResult) -> RoundResult:
    cache, summary = one.summary.cache, one.summary
    if cache is None or cache.usage is not None or not cache.silent_tokens:
        return one
    usage = CachedTokens(prompt_tokens=cache.silent_tokens, cached_tokens=0, ratio=0.0)
    cache = replace(cache, usage=usage, unexplained_hits=_unexplained(cache.counters, usage))
    if summary.cold is None and not cache.repeats:
        if cache.reset is not None and cache.reset.accepted and not cache.new:
            cache = replace(cache, reset_confirmed=True)
        summary = replace(summary, cold=True, cold_reason=None)
    return replace(one, summary=replace(summary, cache=cache))


def judge_cold(history: History, figures: CacheFigures) -> tuple[bool | None, str | None]:
    """Whether the round found nothing in the cache, and if not, or if nobody knows, why.

    Nothing is said of rounds that repeat prompts: those are meant to find them.
    """
    if history.repeats:
        return None, None
    found = figures.found_rate
    if history.sent_before is not None:
        return False, f"sent before {history.sent_before}"
    if found is None:
        if history.new:
            return True, None
        return None, "the server does not tell how many prompt tokens were cached"
    expected = figures.expected_rate or 0.0
    if found > expected + MOST_CACHED_WHEN_COLD:
        own = f", where what they have in common explains {expected:.1%}" if expected >= 0.01 else ""
        return False, f"{found:.1%} of its prompt tokens were already cached{own}"
    return True, None


def confirm_reset(history: History, figures: CacheFigures, cold: bool | None) -> bool | None:
    """Whether what came after a reset bears it out; None: there was none, or nobody tells.

    Prompts that are new by themselves confirm nothing: they would not have been found in any case.
    """
    if history.reset is None:
        return None
    if not history.reset.accepted:
        return False
    return cold if figures.rates and not history.new else None


def _estimated_tokens(tally: Tally) -> int:
    """Of answers without usage, and of requests that came to nothing: those may have been computed."""
    return tally.sums["input_tokens"] - tally.sums["usage_prompt_tokens"] + tally.sums["unanswered_tokens"]


def _counted(counters: CacheCounters | None, sent: int) -> int | None:
    """The prompt tokens that the server counted, from whomever; None: its counters do not tell.

    Some servers count what they were sent, some what was looked up, most both. A request that was given up and begun
    again is looked up twice, so then only the first is heard.
    """
    if counters is None or counters.reading is not Reading.OK or not sent:
        return None
    looked_up = counters.queries if counters.counts_prompts else None
    if counters.prompt_tokens is None:
        return looked_up
    return counters.prompt_tokens if counters.preemptions else max(counters.prompt_tokens, looked_up or 0)


def _unexplained(counters: CacheCounters | None, usage: CachedTokens | None) -> int | None:
    if counters is None or counters.hits is None or counters.unit != "tokens" or usage is None:
        return None
    return counters.hits - usage.cached_tokens


def _expected(evidence: Evidence) -> dict[int, float]:
    successes = (request for request in evidence.requests if request.success)
    if evidence.history.repeats:
        return expected_when_repeated(successes)
    if evidence.prompts is None and not evidence.sessions:
        return {}
    counters, answers = evidence.counters, evidence.tally.succeeded
    counted = counters is not None and counters.hits is not None and counters.unit == "tokens"
    hits = counters.hits / answers if counters is not None and counters.hits is not None and counted and answers else 0
    return expected_at_first(successes, evidence.prompts or (), 0 if evidence.sessions else hits)
