"""The questions on which the answer about the cache hangs. One function and one line in the table each.

Each is asked of a level as a whole and answered by a `Check`: one sentence with its numbers, and what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fluxperf.analysis.cache import MOST_CACHED_WHEN_COLD
from fluxperf.analysis.evidence import percent
from fluxperf.model import CONTROL, CacheFigures, Check, Comparison, Reading, RoundResult, Status, worst

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
# Of what could have hit, a warm round should find so much.
WARM = 0.5

TELL = "have the server tell cached tokens (vLLM --enable-prompt-tokens-details, SGLang --enable-cache-report)"
COLD = "empty the cache with --reset-cache-url, begin prompts with --salt, or take prompts that it has not seen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The rounds of one level, in order, and the comparison of TTFT that is asked about; None: there is none."""

    rounds: Sequence[RoundResult]
    later: RoundResult | None = None
    ttft: Comparison | None = None
    eviction: str | None = None

    @property
    def first(self) -> RoundResult:
        """Round 1."""
        return self.rounds[0]

    @property
    def control(self) -> RoundResult | None:
        """The round of fresh prompts."""
        return next((one for one in self.rounds if one.round == CONTROL), None)

    @property
    def seen(self) -> Iterator[tuple[RoundResult, CacheFigures]]:
        """The rounds with their cache figures."""
        for one in self.rounds:
            if one.summary.cache is not None:
                yield one, one.summary.cache


def name_of(one: RoundResult) -> str:
    """How a round is named in a sentence."""
    return "the control round" if one.round == CONTROL else f"round {one.round}"


def cold(level: Level) -> Check | None:
    """Whether the cold round was cold."""
    summary = level.first.summary
    if summary.cold is False:
        found = max(summary.cache.rates, default=1.0) if summary.cache is not None else 1.0
        text = f"round 1 was not cold: {summary.cold_reason}"
        if found <= MOST_CACHED_WHEN_COLD:  # sent before, and forgotten since
            return Check(name="cold", ok=False, text=f"{text}; but no more than {percent(found)} of them were cached")
        return Check(name="cold", ok=False, text=f"{text}; {COLD}", weight=Status.INVALID)
    if summary.cold is None:
        return Check(name="cold", ok=False, text=f"whether round 1 was cold is not known: {TELL}, or use --salt")
    rate = summary.cache.hit_rate if summary.cache is not None else None
    if rate is None:
        return Check(name="cold", ok=True, text="round 1 was cold: its prompts were new to the server")
    return Check(name="cold", ok=True, text=f"round 1 was cold: {percent(rate)} of its prompt tokens were cached")


def warm(level: Level) -> Check | None:
    """Whether the warm round found what it could."""
    later = level.later
    cache = later.summary.cache if later is not None else None
    if later is None or cache is None or not cache.repeats:
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
        status = "" if call.status is None else f" with status {call.status}"
        if not call.accepted:
            answer = call.answer or "it said nothing"
            text = f"{before} was not done: {call.url} answered{status}: {answer}; the cache may not be empty"
        elif cache.reset_confirmed is None:
            text = f"{before} was accepted, but nobody confirms it, neither counters nor cached tokens: {TELL}"
        elif cache.reset_confirmed is False:
            found = max(cache.rates, default=0.0)
            text = (
                f"{before} was said to be done, but {percent(found)} of the prompt tokens after it were still cached: "
                "it does nothing, or another tier keeps them; restart the server instead, or use --salt"
            )
        else:
            continue
        return Check(name="reset", ok=False, text=text, weight=Status.INVALID)
    if not asked:
        return None
    return Check(name="reset", ok=True, text="every reset was accepted, and what came after it found nothing")


def counters(level: Level) -> Check | None:
    """Whether the server's counters could be read, and went on counting."""
    for one, cache in level.seen:
        found = cache.counters
        if found is None or found.reading in (Reading.OK, Reading.ABSENT):
            continue
        text = f"{name_of(one)}: {found.why}"
        if found.reading is Reading.RESET:
            text += ", and so did its cache, empty; run again, and keep the server up"
            return Check(name="counters", ok=False, text=text, weight=Status.INVALID)
        return Check(name="counters", ok=False, text=text)
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
    text = f"the server counted {sent + foreign:,} prompt tokens in {name_of(one)}, and {sent:,} were ours"
    if share < LEAST_COUNTED:
        text += ": the counters are not of this server, or not of all of it; check the URL, and for replicas behind it"
        return Check(name="traffic", ok=False, text=text, weight=Status.DEGRADED)
    if share <= MUCH_TRAFFIC:
        return Check(name="traffic", ok=True, text=text)
    text += f": {percent(share)} came from others, who use the cache and the server too; keep them away"
    weight = Status.INVALID if share > TOO_MUCH_TRAFFIC else Status.DEGRADED
    return Check(name="traffic", ok=False, text=text, weight=weight)


def witnesses(level: Level) -> Check | None:
    """Whether usage and counters tell the same."""
    told = False
    for one, cache in level.seen:
        usage, found, unexplained = cache.usage, cache.counters, cache.unexplained_hits
        if usage is None or found is None or found.hits is None or unexplained is None:
            continue
        told = True
        if abs(unexplained) > MOST_APART * max(usage.prompt_tokens, 1) and not found.preemptions:
            text = (
                f"{name_of(one)}: the server's counters have {found.hits:,} cached tokens, its usage "
                f"{usage.cached_tokens:,}, and {unexplained:+,} are unexplained; one of them is wrong"
            )
            return Check(name="witnesses", ok=False, text=text, weight=Status.DEGRADED)
    return Check(name="witnesses", ok=True, text="usage and counters tell the same of the cache") if told else None


def lengths(level: Level) -> Check | None:
    """Whether both rounds were answered at the same length: a shorter answer is not the cache's gain."""
    if level.later is None:
        return None
    before, after = level.first.summary.avg_output_tokens, level.later.summary.avg_output_tokens
    if not before or not after:
        return None
    text = f"answers had {before:.1f} tokens on average in round 1 and {after:.1f} in {name_of(level.later)}"
    if abs(after / before - 1) <= MOST_LENGTH_CHANGE:
        return Check(name="lengths", ok=True, text=text)
    text += ": a change in latency is not the cache's; fix the length with --min-output-tokens or --temperature 0"
    return Check(name="lengths", ok=False, text=text, weight=Status.DEGRADED, figures=("latency_ms",))


def errors(level: Level) -> Check | None:
    """Whether failures hit both rounds alike, and left enough prompts to compare."""
    if level.later is None or level.ttft is None:
        return None
    first, later = (_failures(one) for one in (level.first, level.later))
    pairs, dropped = level.ttft.pairs, level.ttft.dropped
    share = dropped / (pairs + dropped) if pairs + dropped else 0.0
    text = f"{percent(first)} of requests failed in round 1, {percent(later)} in {name_of(level.later)}"
    if share <= MANY_DROPPED and abs(first - later) <= MOST_FAILURES_APART:
        return Check(name="errors", ok=True, text=text)
    text += f"; {dropped} of {pairs + dropped} prompts have no pair, and who is left is not who was asked"
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
            f"the control round's prompts should be new, and {fresh.summary.cold_reason}: the net effect is too small"
        )
        return Check(name="control", ok=False, text=text, weight=Status.DEGRADED)
    return Check(name="control", ok=True, text="the control round's prompts were new to the server")


def client(level: Level) -> Check | None:
    """Whether the client kept up: the self-audit of every round."""
    statuses = [(name_of(one), one.summary.verdict.status) for one in level.rounds if one.summary.verdict is not None]
    if not statuses:
        return None
    status = worst(status for _, status in statuses)
    if status is Status.VALID:
        return Check(name="client", ok=True, text="the client kept up in every round")
    names = ", ".join(name for name, found in statuses if found is status)
    # What it is stands in the verdicts of the rounds, which weigh by themselves.
    return Check(name="client", ok=False, text=f"the client's own figures are {status} in {names}")


QUESTIONS: tuple[Callable[[Level], Check | None], ...] = (
    reset,
    cold,
    warm,
    counters,
    traffic,
    witnesses,
    lengths,
    errors,
    control,
    client,
)


def ask(level: Level) -> tuple[Check, ...]:
    """The answers of all questions that have something to say."""
    return tuple(check for check in (question(level) for question in QUESTIONS) if check is not None)
