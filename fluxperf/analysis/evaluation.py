"""Did the cache help, how much, and how sure is that? From the rounds of a level to a `CacheEvaluation`.

What is said is the most that the evidence bears: a faster round 2 is the cache's doing only if the cache was empty
before, was hit after, and nothing else explains the difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from fluxperf.analysis.eviction import explain_misses
from fluxperf.analysis.evidence import percent
from fluxperf.analysis.level import Level, name_of
from fluxperf.analysis.questions import TELL, ask
from fluxperf.analysis.verdict import judge
from fluxperf.model import CONTROL, CacheFigures, Comparison, RoundName, RoundResult, Status
from fluxperf.model.dose import DoseResponse
from fluxperf.model.evaluation import Answer, CacheEvaluation
from fluxperf.model.result import Effect

METRIC = "ttft_ms"
# Where less than this share was found of what could have hit and did not in round 1, a gain is not the cache's.
LEAST_GAIN = 0.2
# From this share of the prompt tokens on, single prompts may show what a hit gives.
LEAST_SEEN = 0.05
# What round 1 found is worth a word from this share of its prompt tokens on.
WORTH_A_WORD = 0.1
# So many times as many prompts as run at once make as many stretches as `fluxperf.analysis.clustered` needs.
LEAST_WAVES = 4


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
            found.append(_evaluate(level, one, of_level, dose))
    return tuple(found)


def _of_one_round(level: Level) -> Iterator[CacheEvaluation]:
    """There is no second round, but a reset may have been refused; and a control round needs a cold one."""
    asked = {"reset", "counters", "traffic", "witnesses"} | (set() if level.control is None else {"cold", "control"})
    checks = tuple(check for check in ask(level) if check.name in asked)
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


def _evaluate(
    level: Level, later: RoundResult, comparisons: Sequence[Comparison], dose: DoseResponse | None
) -> CacheEvaluation:
    def find(baseline: RoundName, against: RoundName) -> Comparison | None:
        found = (one for one in comparisons if (one.baseline_round, one.round) == (baseline, against))
        return next(found, None)

    gross = find(level.first.round, later.round)
    before = level.rounds[level.rounds.index(later) - 1]  # the last time that the prompts were sent
    level = replace(level, later=later, ttft=gross, eviction=explain_misses(before, later))
    checks = ask(level)
    found = CacheEvaluation(
        stage=later.stage,
        concurrency=later.concurrency,
        round=later.round,
        answer=Answer.CANNOT_TELL,
        why="",
        effect=(find(CONTROL, later.round) if _is_fresh(level.control) else None) or gross,
        gross=gross,
        drift=find(level.first.round, CONTROL),
        dose=dose,
        eviction=level.eviction,
        checks=checks,
        verdict=judge(checks),
    )
    answer, why = _answer(level, later, found)
    return replace(found, answer=answer, why=why)


def _is_fresh(control: RoundResult | None) -> bool:
    """Whether there is a control round, and it was what it should be."""
    return control is not None and control.summary.cold is not False and control.summary.successful_requests > 0


@dataclass(frozen=True, slots=True)
class _Gain:
    """What a later round found in the cache, beside what round 1 found already: what its prompts have in common."""

    first: CacheFigures | None
    later: RoundResult

    @property
    def hit(self) -> float | None:
        """The later round's hit rate; None: nobody tells."""
        return None if self.later.summary.cache is None else self.later.summary.cache.hit_rate

    @property
    def before(self) -> float:
        """Round 1's."""
        return (None if self.first is None else self.first.hit_rate) or 0.0

    @property
    def is_small(self) -> bool:
        """Whether next to nothing was found that was not found at first."""
        cache = self.later.summary.cache
        if cache is None or self.hit is None:
            return False
        gained = self.hit - self.before
        if gained >= LEAST_GAIN * (1 - self.before):  # of what round 1 had to compute, which may be little
            return False
        possible = (cache.expected_rate or 1.0) - self.before
        return gained < LEAST_GAIN * max(possible, WORTH_A_WORD)

    @property
    def is_worth_looking_at(self) -> bool:
        """Whether enough was found for single prompts to show what that gave."""
        return self.hit is not None and self.hit - self.before >= LEAST_SEEN

    @property
    def share(self) -> str:
        """How much that is, as the beginning of a sentence."""
        if self.before >= WORTH_A_WORD:
            return f"hardly more ({percent(self.hit or 0)}) than in round 1 ({percent(self.before)})"
        return f"only {percent(self.hit)}" if self.hit else "none"


def _answer(level: Level, later: RoundResult, found: CacheEvaluation) -> tuple[Answer, str]:
    """The most that can be said, and the reason for it."""
    effect = found.effect
    if found.verdict.status is Status.INVALID:
        return Answer.CANNOT_TELL, found.verdict.reasons[0]
    if effect is None or effect.mean_ratio is None:
        return Answer.CANNOT_TELL, "no prompt succeeded in both rounds"
    contradiction = next((check for check in found.checks if check.name == "witnesses" and not check.ok), None)
    if contradiction is not None:
        return Answer.CANNOT_TELL, contradiction.text
    if later.summary.cache is not None and not later.summary.cache.repeats:
        return Answer.CANNOT_TELL, _began_empty(later, effect)
    if effect.effect is Effect.UNKNOWN:
        return Answer.CANNOT_TELL, _too_few(effect)
    return _of_effect(_Gain(level.first.summary.cache, later), found, effect.effect)


def _began_empty(later: RoundResult, effect: Comparison) -> str:
    text = f"{name_of(later)} began with an empty cache too, as was asked for"
    if effect.effect is not Effect.FASTER:
        return text
    return f"{text}, and was faster all the same: the server became faster by itself, or the cache was not all emptied"


def _too_few(effect: Comparison) -> str:
    needed = LEAST_WAVES * max(effect.concurrency, 1)
    prompts = "1 prompt is" if effect.pairs == 1 else f"{effect.pairs} prompts, {effect.concurrency} at a time, are"
    text = f"{prompts} too few to say how sure it is"
    return f"{text}: {needed} or more must be compared (--num-samples)"


def _of_effect(gain: _Gain, found: CacheEvaluation, effect: Effect) -> tuple[Answer, str]:
    """Where the comparison says whether there is one."""
    name, hit = name_of(gain.later), gain.hit
    than = " than fresh prompts" if found.is_net else ""
    cached = "" if hit is None else f"{percent(hit)} of its prompt tokens came from the cache"
    if cached and gain.before >= WORTH_A_WORD:
        cached += f" ({percent(gain.before)} of round 1's)"
    indistinct = f"{name} was neither clearly faster nor clearly slower{than}"
    if effect is Effect.NOT_SHOWN and gain.is_worth_looking_at and saves(found.dose):
        return (
            Answer.YES,
            f"the more of a prompt was found, the faster it was: {cached}; over all prompts, {indistinct}",
        )
    if gain.is_small:
        return _of_few_hits(name, found, effect, gain.share)
    if effect is Effect.NOT_SHOWN:
        return Answer.NOT_SHOWN, f"{indistinct}, though {cached}" if cached else indistinct
    if found.is_net and found.gross is not None and found.gross.effect is not effect:
        return Answer.CANNOT_TELL, _at_odds(name, found.gross.effect, effect)
    if effect is Effect.SLOWER:
        return Answer.NO, f"{name} was slower{than}{f', though {cached}' if cached else ''}"
    if hit is None and not found.is_net:
        return Answer.CANNOT_TELL, (
            f"{name} was faster, and nobody says whether by the cache: {TELL}, or tell a warmer server apart by "
            "--control-round"
        )
    than = " than round 1 and than fresh prompts" if found.is_net else ""
    return Answer.YES, f"{name} was faster{than}{f', and {cached}' if cached else ''}"


_SEEN = {
    Effect.FASTER: "faster than",
    Effect.SLOWER: "slower than",
    Effect.NOT_SHOWN: "not clearly different from",
    Effect.UNKNOWN: "not to be compared with",
}


def _at_odds(name: str, gross: Effect, net: Effect) -> str:
    """What stands between the two comparisons is a server that changed meanwhile, before or after the later round."""
    return (
        f"{name} was {_SEEN[gross]} round 1, and {_SEEN[net]} the fresh prompts after it: the server itself changed "
        "meanwhile, or there were too few prompts; run again, with more of them"
    )


def saves(dose: DoseResponse | None) -> bool:
    """Whether each cached token surely saved something."""
    return dose is not None and dose.slope_ci95 is not None and dose.slope_ci95[0] > 0


def _of_few_hits(name: str, found: CacheEvaluation, effect: Effect, share: str) -> tuple[Answer, str]:
    """Where `share` says that next to nothing of what could have hit did."""
    cached = f"{share} of {name}'s prompt tokens came from the cache"
    if found.is_net and found.gross is not None and found.gross.effect is not effect:
        return Answer.CANNOT_TELL, f"{cached}, and {_at_odds(name, found.gross.effect, effect)}"
    if effect is not Effect.FASTER:
        return Answer.NO, f"{cached}; {found.eviction}" if found.eviction else cached
    if found.is_net:
        return Answer.CANNOT_TELL, (
            f"{name} was faster than fresh prompts, but {cached}: something helps that neither usage nor counters count"
        )
    return Answer.NO, (
        f"the server became faster by itself, or by what it does not count (--control-round tells which): {cached}"
    )
