"""The questions on which the answer about the cache hangs. One function and one line in the table each.

Each is asked of a level as a whole and answered by a `Check`: one sentence with its numbers, and what to do.
"""

from __future__ import annotations

from collections.abc import Callable

from fluxperf.analysis.cache import MOST_CACHED_WHEN_COLD
from fluxperf.analysis.evidence import percent
from fluxperf.analysis.level import Level, name_of
from fluxperf.model import Check, Reading, RoundResult, Status, worst

# Other traffic above these shares of what the server counted.
MUCH_TRAFFIC, TOO_MUCH_TRAFFIC = 0.02, 0.25
# Counters that counted so much less than was sent are not of this server, or not all of it.
LEAST_COUNTED = -0.05
# Witnesses that are further apart than this share of the prompt tokens contradict each other.
MOST_APART = 0.05
# Mean answers that differ by more are not the same work.
MOST_LENGTH_CHANGE = 0.05
# Shares of prompts without a pair, and how far shares of failures may be apart.
MANY_DROPPED, MOST_DROPPED, MOST_FAILURES_APART = 0.10, 0.50, 0.05
# What checks of the client call the figures that an effect comes from.
TYPICAL_TTFT = {"ttft_ms", "ttft_ms.p50"}
# Of what could have hit, a warm round should find so much.
WARM = 0.5

TELL = "have the server tell cached tokens (vLLM --enable-prompt-tokens-details, SGLang --enable-cache-report)"
COLD = "empty the cache with --reset-cache-url, begin prompts with --salt, or take prompts that it has not seen"


def cold(level: Level) -> Check | None:
    """Whether the cold round was cold."""
    summary = level.first.summary
    if not summary.successful_requests:
        return None
    rate = None if summary.cache is None else summary.cache.found_rate
    if summary.cold is False:
        text = f"round 1 was not cold: {summary.cold_reason}"
        if rate is not None and rate <= MOST_CACHED_WHEN_COLD:  # sent before, and forgotten since
            text += f"; but {percent(rate)} of its prompt tokens were cached"
            return Check(name="cold", ok=False, text=text)
        return Check(name="cold", ok=False, text=f"{text}; {COLD}", weight=Status.INVALID)
    if summary.cold is None:
        return Check(name="cold", ok=False, text=f"whether round 1 was cold is not known: {TELL}, or use --salt")
    if rate is None:
        return Check(name="cold", ok=True, text="round 1 was cold: its prompts were new to the server")
    return Check(name="cold", ok=True, text=f"round 1 was cold: {percent(rate)} of its prompt tokens were cached")


def warm(level: Level) -> Check | None:
    """Whether the warm round found what it could."""
    later = level.later
    cache = later.summary.cache if later is not None else None
    if later is None or cache is None or not cache.repeats or not later.summary.successful_requests:
        return None
    name = name_of(later)
    if cache.hit_rate is None:
        return Check(name="warm", ok=False, text=f"whether {name} was served from the cache is not known: {TELL}")
    could = "" if cache.expected_rate is None else f", {percent(cache.expected_rate)} could have"
    text = f"{percent(cache.hit_rate)} of {name}'s prompt tokens came from the cache{could}"
    if cache.expected_rate is None or cache.hit_rate >= WARM * cache.expected_rate:
        return Check(name="warm", ok=True, text=text)
    return Check(name="warm", ok=False, text=f"{text}: {level.eviction}" if level.eviction else text)


def reset(level: Level) -> Check | None:
    """Whether every reset that was asked for emptied the cache."""
    asked = [(one, cache, cache.reset) for one, cache in level.seen if cache.reset is not None]
    for one, cache, call in asked:
        before = f"the reset before {name_of(one)}"
        if not call.accepted:
            status = "" if call.status is None else f" answered with status {call.status}"
            said = f"{call.url}{status}: {call.answer}" if call.answer else f"{call.url}{status}"
            text = f"{before} was not done, and the cache may not be empty: {said}"
        elif cache.new:
            continue  # nothing hangs on it: these prompts cannot be in the cache
        elif cache.reset_confirmed is None:
            text = f"{before} was accepted, but nobody confirms it, neither counters nor cached tokens: {TELL}"
        elif cache.reset_confirmed is False:
            text = (
                f"{before} was said to be done, but {percent(cache.found_rate or 0)} of the prompt tokens after it "
                "were still cached: it does nothing, or another tier keeps them; restart the server instead, or use "
                "--salt"
            )
        else:
            continue
        return Check(name="reset", ok=False, text=text, weight=Status.INVALID)
    if not asked:
        return None
    return Check(name="reset", ok=True, text="every reset was accepted, and nothing was found after it")


def counters(level: Level) -> Check | None:
    """Whether the server's counters could be read, and went on counting."""
    for one, cache in level.seen:
        found = cache.counters
        if found is None or found.reading in (Reading.OK, Reading.ABSENT):
            continue
        if found.reading is not Reading.RESET:
            return Check(name="counters", ok=False, text=f"in {name_of(one)}, {found.why}")
        text = (
            f"in {name_of(one)} the server's counters began again, as after a restart, and so did its cache, empty; "
            "run again, and keep the server up"
        )
        return Check(name="counters", ok=False, text=text, weight=Status.INVALID)
    return None


def traffic(level: Level) -> Check | None:
    """Whether anybody else used the server meanwhile, and whether the counters are this server's."""
    shares = [
        (cache.foreign_share, cache.foreign_tokens, cache.sent_tokens, one)
        for one, cache in level.seen
        if cache.foreign_share is not None and cache.foreign_tokens is not None
    ]
    if not shares:
        return None
    share, foreign, sent, one = max(shares, key=lambda found: abs(found[0]))
    if share < LEAST_COUNTED:
        text = (
            f"in {name_of(one)} the server counted {-foreign:,} prompt tokens less than the {sent:,} that it was sent: "
            "the counters are not of this server, or not of all of it; check the URL, and for replicas behind it"
        )
        return Check(name="traffic", ok=False, text=text, weight=Status.DEGRADED)
    if share <= MUCH_TRAFFIC:
        text = f"at most {percent(max(share, 0))} of the prompt tokens that the server counted in a round were not ours"
        return Check(name="traffic", ok=True, text=text)
    text = (
        f"{percent(share)} of the prompt tokens that the server counted in {name_of(one)} came from others "
        f"({foreign:,} beside our {sent:,}), who use the server and its cache too; keep them away"
    )
    weight = Status.INVALID if share > TOO_MUCH_TRAFFIC else Status.DEGRADED
    return Check(name="traffic", ok=False, text=text, weight=weight)


def witnesses(level: Level) -> Check | None:
    """Whether usage and counters tell the same."""
    told = False
    for one, cache in level.seen:
        usage, found, unexplained = cache.usage, cache.counters, cache.unexplained_hits
        if usage is None or found is None or found.hits is None or unexplained is None or one.partial:
            continue  # who was cut off may have hit as well
        told = True
        error = MOST_APART * max(usage.prompt_tokens, 1)
        # Others hit the cache too, and so did requests that did not come to an answer that tells.
        explained = max(cache.foreign_tokens or 0, 0) + max(cache.sent_tokens - usage.prompt_tokens, 0)
        if not -error <= unexplained <= error + explained and not found.preemptions:
            text = (
                f"in {name_of(one)} the server's counters have {found.hits:,} cached tokens and the usage of its "
                f"answers {usage.cached_tokens:,}: one of them is wrong"
            )
            return Check(name="witnesses", ok=False, text=text, weight=Status.DEGRADED)
    return Check(name="witnesses", ok=True, text="usage and counters tell the same of the cache") if told else None


def lengths(level: Level) -> Check | None:
    """Whether both rounds were answered at the same length: a shorter answer is not the cache's gain."""
    if level.later is None:
        return None
    before, after = (level.ttft.output_tokens if level.ttft is not None else None) or (0.0, 0.0)
    if not before or not after:
        return None
    text = f"answers had {before:.1f} tokens on average in round 1 and {after:.1f} in {name_of(level.later)}"
    if abs(after / before - 1) <= MOST_LENGTH_CHANGE:
        return Check(name="lengths", ok=True, text=text)
    text += ": a change in latency is not the cache's; fix the length with --min-output-tokens or --temperature 0"
    return Check(name="lengths", ok=False, text=text, weight=Status.DEGRADED, figures=("latency_ms",))


def prompts(level: Level) -> Check | None:
    """Whether sessions that went on from answers of their own sent as much in both rounds."""
    if level.later is None or not level.first.summary.turns:
        return None
    before, after = level.first.summary.avg_input_tokens, level.later.summary.avg_input_tokens
    if not before or not after or abs(after / before - 1) <= MOST_LENGTH_CHANGE:
        return None
    text = (
        f"prompts had {before:.1f} tokens on average in round 1 and {after:.1f} in {name_of(level.later)}, because "
        "their histories have other answers: a change is not the cache's alone; leave --own-history out"
    )
    return Check(name="prompts", ok=False, text=text, weight=Status.DEGRADED)


def errors(level: Level) -> Check | None:
    """Whether failures hit both rounds alike, and left enough prompts to compare."""
    if level.later is None or level.ttft is None:
        return None
    first, later = (_failures(one) for one in (level.first, level.later))
    # What a stopped round did not come to is no choice of the server's.
    reasons = level.ttft.dropped_reasons.items()
    stopped = sum(count for reason, count in reasons if reason.startswith(("not sent", "cut off")))
    dropped, pairs = level.ttft.dropped - stopped, level.ttft.pairs
    share = dropped / (pairs + dropped) if pairs + dropped else 0.0
    text = f"{percent(first)} of the requests failed in round 1, and {percent(later)} in {name_of(level.later)}"
    if share <= MANY_DROPPED and abs(first - later) <= MOST_FAILURES_APART:
        return Check(name="errors", ok=True, text=text)
    left = f"{dropped} of {pairs + dropped} prompts cannot be compared, and those that are left may be the easy ones"
    text += f": {left if pairs else 'no prompt can be compared'}"
    weight = Status.INVALID if share > MOST_DROPPED else Status.DEGRADED
    return Check(name="errors", ok=False, text=text, weight=weight)


def _failures(one: RoundResult) -> float:
    return one.summary.failed_requests / one.summary.total_requests if one.summary.total_requests else 0.0


def control(level: Level) -> Check | None:
    """Whether the control round found nothing, as it should."""
    fresh = level.control
    if fresh is None:
        return None
    if fresh.summary.cold is False:
        text = (
            f"the control round's prompts should be new, but {fresh.summary.cold_reason}: it cannot tell whether the "
            "server became faster by itself"
        )
        return Check(name="control", ok=False, text=text, weight=Status.DEGRADED)
    before, after = level.first.summary.avg_input_tokens, fresh.summary.avg_input_tokens
    if before and after and abs(after / before - 1) > MOST_LENGTH_CHANGE:
        text = (
            f"the control round's prompts had {after:.1f} tokens on average, and round 1's {before:.1f}: what is told "
            "net of it is off by as much"
        )
        return Check(name="control", ok=False, text=text, weight=Status.DEGRADED)
    return Check(name="control", ok=True, text="the control round's prompts were new to the server, and as long")


def complete(level: Level) -> Check | None:
    """Whether the rounds that are compared came to their end."""
    stopped = [name_of(one) for one in level.concerned if one.partial]
    if not stopped:
        return None
    text = f"{' and '.join(stopped)} was stopped before its end, and only what it came to is compared"
    return Check(name="complete", ok=False, text=text, weight=Status.DEGRADED)


def client(level: Level) -> Check | None:
    """Whether the client kept up, as far as TTFT is concerned: the rounds' own checks."""
    statuses = [(name_of(one), _worth_of_ttft(one)) for one in level.concerned if one.summary.checks]
    if not statuses:
        return None
    status = worst(status for _, status in statuses)
    if status is Status.VALID:
        return Check(name="client", ok=True, text="TTFT was measured well in every round")
    names = " and ".join(name for name, found in statuses if found is status)
    text = f"the TTFT of {names} is {status} itself, as the verdict on it says"
    return Check(name="client", ok=False, text=text, weight=status)


def _worth_of_ttft(one: RoundResult) -> Status:
    """By the checks that take from all of it or from its median, or that leave nothing: its p99 makes no effect."""
    return worst(
        check.weight
        for check in one.summary.checks
        if TYPICAL_TTFT & set(check.figures) or (not check.figures and check.weight is Status.INVALID)
    )


QUESTIONS: tuple[Callable[[Level], Check | None], ...] = (
    reset,
    cold,
    warm,
    counters,
    traffic,
    witnesses,
    lengths,
    prompts,
    errors,
    control,
    complete,
    client,
)


def ask(level: Level) -> tuple[Check, ...]:
    """The answers of all questions that have something to say."""
    return tuple(check for check in (question(level) for question in QUESTIONS) if check is not None)
