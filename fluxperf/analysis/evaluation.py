"""Did the cache help, how much, and how sure is that? From the rounds of a level to a `CacheEvaluation`.

What is said is the most that the evidence bears: a faster round 2 is the cache's doing only if the cache was empty
before, was hit after, and nothing else explains the difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from fluxperf.analysis.eviction import explain_misses
from fluxperf.analysis.evidence import percent
from fluxperf.analysis.questions import TELL, Level, ask, name_of
from fluxperf.analysis.verdict import judge
from fluxperf.model import CONTROL, Comparison, RoundResult, Status
from fluxperf.model.dose import DoseResponse
from fluxperf.model.evaluation import Answer, CacheEvaluation
from fluxperf.model.result import Effect

METRIC = "ttft_ms"
# Below this share of what could have hit, a gain is not the cache's.
LEAST_HIT = 0.1


def evaluate(
    rounds: Sequence[RoundResult], comparisons: Sequence[Comparison], doses: Iterable[tuple[RoundResult, DoseResponse]]
) -> tuple[CacheEvaluation, ...]:
    """An evaluation of each later round of each level; of a level with one round, of that alone."""
    known = [(one.stage, one.concurrency, one.round, dose) for one, dose in doses]
    found: list[CacheEvaluation] = []
    for _, group in groupby(rounds, key=lambda one: (one.stage, one.concurrency)):
        level = Level(rounds=tuple(group))
        later = [one for one in level.rounds[1:] if one.round != CONTROL]
        place = (level.first.stage, level.first.concurrency)
        of_level = [one for one in comparisons if (one.stage, one.concurrency) == place and one.metric == METRIC]
        if not later:
            found += _of_one_round(level)
        for one in later:
            key = (one.stage, one.concurrency, one.round)
            dose = next((dose for *place, dose in known if tuple(place) == key), None)
            found.append(replace(_evaluate(level, one, of_level), dose=dose))
    return tuple(found)


def _of_one_round(level: Level) -> Iterator[CacheEvaluation]:
    """Nothing can be compared, but a reset may have been refused."""
    checks = tuple(check for check in ask(level) if check.name in ("reset", "counters", "traffic", "witnesses"))
    if checks:
        yield CacheEvaluation(
            stage=level.first.stage,
            concurrency=level.first.concurrency,
            round=None,
            answer=Answer.CANNOT_TELL,
            why="there is one round, and nothing to compare it with",
            checks=checks,
            verdict=judge(checks),
        )


def _evaluate(level: Level, later: RoundResult, comparisons: Sequence[Comparison]) -> CacheEvaluation:
    def find(baseline: object, against: object) -> Comparison | None:
        found = (one for one in comparisons if (one.baseline_round, one.round) == (baseline, against))
        return next(found, None)

    gross = find(level.first.round, later.round)
    level = replace(level, later=later, ttft=gross, eviction=explain_misses(level.first, later))
    checks = ask(level)
    verdict = judge(checks)
    control_holds = level.control is not None and level.control.summary.cold is not False
    net = find(CONTROL, later.round) if control_holds else None
    effect = net or gross
    answer, why = _answer(level, later, effect, verdict.status, net=net is not None)
    return CacheEvaluation(
        stage=later.stage,
        concurrency=later.concurrency,
        round=later.round,
        answer=answer,
        why=why,
        effect=effect,
        drift=find(level.first.round, CONTROL),
        eviction=level.eviction,
        checks=checks,
        verdict=verdict,
    )


def _answer(
    level: Level, later: RoundResult, effect: Comparison | None, status: Status, *, net: bool
) -> tuple[Answer, str]:
    """The most that can be said, and the reason for it."""
    name, cache = name_of(later), later.summary.cache
    invalid = next((check for check in ask(level) if check.weight is Status.INVALID), None)
    if status is Status.INVALID and invalid is not None:
        return Answer.CANNOT_TELL, invalid.text
    if effect is None or effect.mean_ratio is None:
        return Answer.CANNOT_TELL, "no prompt succeeded in both rounds"
    if effect.effect is Effect.UNKNOWN:
        return Answer.CANNOT_TELL, (
            f"how sure it is cannot be told from {effect.pairs} prompts at this concurrency, of which too many ran "
            f"together; take at least {4 * level.first.concurrency} prompts (--num-samples)"
        )
    if cache is not None and not cache.repeats:
        return Answer.CANNOT_TELL, f"{name} began with an empty cache too, as was asked for"
    hit, could = (None, None) if cache is None else (cache.hit_rate, cache.expected_rate)
    if effect.effect is Effect.NOT_SHOWN:
        if hit is not None and hit < LEAST_HIT * (could or 1.0):
            return Answer.NO, level.eviction or f"{name} found only {percent(hit)} of its prompt tokens in the cache"
        return Answer.NOT_SHOWN, "a difference, if there is one, is smaller than the noise between prompts"
    if effect.effect is Effect.SLOWER:
        return Answer.NO, f"{name} was slower"
    if hit is not None and hit < LEAST_HIT * (could or 1.0):
        found = f"{name} was faster, but found only {percent(hit)} of its prompt tokens in the cache"
        if net:
            return Answer.CANNOT_TELL, (
                f"{found}, and fresh prompts were not faster: a cache helps that neither usage nor counters count"
            )
        return Answer.NO, f"{found}: the server became faster by itself, or by what it does not count"
    if hit is None and not net:
        return Answer.CANNOT_TELL, (
            f"{name} was faster, and nobody says whether by the cache: {TELL}, or tell a warmer server apart by "
            "--control-round"
        )
    return Answer.YES, f"{name} was faster, and " + (
        f"{percent(hit)} of its prompt tokens came from the cache" if hit is not None else "fresh prompts were not"
    )
