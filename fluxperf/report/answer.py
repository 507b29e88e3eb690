"""The last lines of a run: did the cache help, how much, and how sure is that? In words that need no manual."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fluxperf.model import CONTROL, CacheFigures, Comparison, Reading, RoundName, RoundResult, RunResult, Status
from fluxperf.model.evaluation import Answer, CacheEvaluation
from fluxperf.model.result import Effect
from fluxperf.report.text import fold, number, printable, usable

TITLE = "Did the cache help?"
_WORDS = {
    Answer.YES: "yes",
    Answer.NO: "no",
    Answer.NOT_SHOWN: "no difference can be shown",
    Answer.CANNOT_TELL: "that cannot be told",
}
# A ratio this near to 1 is neither faster nor slower, with the digits that are shown.
_ALIKE = 0.005
# Rounds whose hit rates are further apart are no measure of the server itself.
_APART = 0.1


def render_answer(run: RunResult, columns: int | None) -> str:
    """A few lines for each later round of each level, joined by newlines; empty if there is none.

    No line is wider than `columns` (from 40 on); None: no limit.
    """
    levels: dict[tuple[str | None, int], list[CacheEvaluation]] = {}
    for one in run.evaluations:
        if one.round is not None:
            levels.setdefault((one.stage, one.concurrency), []).append(one)
    told = [_Told(run, one, level) for level in levels.values() for one in level]
    lines = [line for one in told for line in one.lines()]
    return "\n".join(fold([TITLE, *lines], usable(columns))) if lines else ""


@dataclass(frozen=True, slots=True)
class _Told:
    run: RunResult
    found: CacheEvaluation
    level: Sequence[CacheEvaluation]

    @property
    def _earlier(self) -> Sequence[CacheEvaluation]:
        """What is told of the level before this one, and need not be told again."""
        return self.level[: self.level.index(self.found)]

    def lines(self) -> Iterator[str]:
        """The sentence that answers, then what it stands on."""
        yield f"{self._place()}: {self._head()}"
        details = (self._how_much(), self._how_sure(), self._cached(), self._by_itself(), self._eviction(), self._but())
        for line in details:
            if line:
                yield f"  {line}"

    def _place(self) -> str:
        place = f"Concurrency {self.found.concurrency}"
        if self.found.stage is not None:
            place = f"Stage {printable(self.found.stage)}, concurrency {self.found.concurrency}"
        return f"{place}, round {self.found.round}" if len(self.level) > 1 else place

    def _head(self) -> str:
        if self.found.answer is Answer.CANNOT_TELL and any(one.why == self.found.why for one in self._earlier):
            return f"{_WORDS[self.found.answer]} either, for the same reason."
        reserved = self.found.answer is Answer.YES and self.found.verdict.status is not Status.VALID
        return f"{_WORDS[self.found.answer]}{', with reservations' if reserved else ''}. {_sentence(self.found.why)}"

    def _how_much(self) -> str:
        """In milliseconds, which is what users feel, and as a factor; where no answer is given, only what was seen."""
        effect = self.found.effect
        baseline = self._find(1 if effect is None else effect.baseline_round)
        later = self._find(self.found.round)
        if baseline is None or later is None:
            return ""
        before, after = (one.summary.stats["ttft_ms"].p50 for one in (baseline, later))
        if before is None or after is None:
            return ""
        whose = " (fresh prompts)" if baseline.round == CONTROL else ""
        text = f"TTFT {number(before, '.1f')}{whose} -> {number(after, '.1f')} ms at the median"
        gross = self.found.gross
        # Where the evidence does not hold, a factor would be read as an answer.
        if effect is not None and effect.mean_ratio is not None and self.found.verdict.status is not Status.INVALID:
            text += f"; prompt by prompt {_factor(effect.mean_ratio)}"
            if self.found.is_net and gross is not None and gross.mean_ratio is not None:
                text += f" {_than(effect.mean_ratio)} they were, and {_factor(gross.mean_ratio)}"
                text += f" {_than(gross.mean_ratio)} in round 1"
        return f"{'How much' if self.found.answer is Answer.YES else 'Seen'}: {text}{self._by_token()}."

    def _by_token(self) -> str:
        """What each cached token saved, where that can be told apart from nothing."""
        dose = self.found.dose
        told = self.found.answer in (Answer.YES, Answer.NOT_SHOWN)
        if not told or dose is None or dose.slope_ci95 is None or dose.slope_ci95[0] <= 0:
            return ""
        low, high = (number(bound, ".1f") for bound in dose.slope_ci95)
        return f"; {number(dose.slope_us_per_token, '.1f')} us less for each cached token ({low} to {high})"

    def _how_sure(self) -> str:
        effect = self.found.effect
        if effect is None or effect.ratio_ci95 is None or self.found.verdict.status is Status.INVALID:
            return ""
        return f"How sure: with 95% confidence {_range(effect.ratio_ci95)} ({_chance(effect)}, {effect.pairs} prompts)."

    def _by_itself(self) -> str:
        """Whether the server would have become faster anyway: by the control round, if there was one."""
        drift = self.found.drift
        if self._earlier:
            return ""
        if self.found.verdict.status is Status.INVALID:
            return ""
        if drift is None or drift.mean_ratio is None:
            if all(one.answer is not Answer.YES for one in self.level):
                return ""
            return "Not ruled out: a server that became faster by itself (--control-round tells)."
        first, fresh = self._cache(1), self._cache(CONTROL)
        found = (None if one is None else one.hit_rate for one in (first, fresh))
        before, after = ((rate or 0.0) for rate in found)
        if before - after > _APART:
            return (
                f"Whether the server became faster by itself is not known: {_share(before)} of round 1's prompt tokens "
                f"were in the cache already, which its prompts have in common, and {_share(after)} of the fresh ones'."
            )
        sure = "" if drift.ratio_ci95 is None else f", {_range(drift.ratio_ci95)} with 95% confidence"
        net = "; what is told is net of that" if drift.effect is Effect.NOT_SHOWN else "; round 2 is held against them"
        net = net if self.found.is_net else ""
        return f"The server by itself: fresh prompts were {_factor(drift.mean_ratio)} at the end{sure}{net}."

    def _cached(self) -> str:
        """What the witnesses say was in the cache."""
        first, later = self._cache(1), self._cache(self.found.round)
        if first is None or later is None:
            return ""
        told = []
        if first.usage is not None and later.usage is not None:
            told.append(f"{_share(first.usage.ratio)} -> {_share(later.usage.ratio)} by usage")
        if later.counters is not None and later.counters.reading is Reading.OK:
            name = later.counters.label or "the server"
            told.append(f"{_share(first.counted_rate)} -> {_share(later.counted_rate)} by {name}'s counters")
        if not told:
            return ""
        could = ""
        if later.repeats and later.expected_rate is not None and later.expected_rate >= max(later.rates, default=0.0):
            could = f" ({_share(later.expected_rate)} possible)"
        again = "" if later.counters is None else later.counters.preemptions or ""
        twice = f"; {again} requests were given up, and looked up once more" if again else ""
        return f"Prompt tokens from the cache: {', '.join(told)}{could}{twice}."

    def _eviction(self) -> str:
        """Why prompts that were sent before were not found."""
        known = self.found.eviction
        if known is None or known in self.found.why or self._is_faster_without_a_hit():
            return ""
        return f"Why not more: {printable(known)}."

    def _is_faster_without_a_hit(self) -> bool:
        """Then that nothing was found is in doubt itself."""
        effect, later = self.found.effect, self._cache(self.found.round)
        return effect is not None and effect.effect is Effect.FASTER and later is not None and not later.hit_rate

    def _but(self) -> str:
        """What weighs most against it. What else does stands in the verdict."""
        reasons = self.found.verdict.reasons[:1]
        if reasons in ((), (self.found.why,)) or any(one.verdict.reasons[:1] == reasons for one in self._earlier):
            return ""
        return f"But: {printable(reasons[0])}."

    def _find(self, name: RoundName | None) -> RoundResult | None:
        place = (self.found.stage, self.found.concurrency, name)
        return next((one for one in self.run.rounds if (one.stage, one.concurrency, one.round) == place), None)

    def _cache(self, name: RoundName | None) -> CacheFigures | None:
        one = self._find(name)
        return None if one is None else one.summary.cache


def _sentence(text: str) -> str:
    text = printable(text)
    return f"{text[:1].upper()}{text[1:]}."


def _chance(effect: Comparison) -> str:
    p_value = effect.p_value or 0.0
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def _range(ratios: tuple[float, float]) -> str:
    """An interval of ratios: `27x to 91x faster`, or `4.6x faster to 1.6x slower`."""
    first, last = map(_factor, sorted(ratios, reverse=max(ratios) < 1))  # from little to much, or from fast to slow
    if first == last:
        return first
    factor, _, way = first.partition(" ")
    return f"{factor} to {last}" if last.endswith(f"x {way}") else f"{first} to {last}"


def _factor(ratio: float) -> str:
    """A ratio of times in words: `2.6x faster`, `1.33x slower`, `as fast`."""
    if abs(ratio - 1) < _ALIKE:
        return "as fast"
    factor = max(ratio, 1 / ratio) if ratio > 0 else float("inf")
    digits = 0 if factor >= 10 else 1 if factor >= 2 else 2
    return f"{factor:.{digits}f}x {'faster' if ratio < 1 else 'slower'}"


def _than(ratio: float) -> str:
    """The word that follows `_factor`, if something is to be named."""
    return "as" if abs(ratio - 1) < _ALIKE else "than"


def _share(value: float | None) -> str:
    exact = value is None or 0.1 <= value < 0.995 or value in (0, 1)
    return number(value, ".0%" if exact else ".1%")
