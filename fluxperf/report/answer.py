"""The last lines of a run: did the cache help, how much, and how sure is that? In words that need no manual."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fluxperf.model import CONTROL, CacheFigures, Comparison, Reading, RoundResult, RunResult, Status
from fluxperf.model.evaluation import Answer, CacheEvaluation
from fluxperf.report.text import count, fold, number, printable, round_name, usable

TITLE = "Did the cache help?"
_LABELS = {"vllm": "vLLM", "sglang": "SGLang", "llamacpp": "llama.cpp", "lmcache": "LMCache", "trtllm": "TensorRT-LLM"}
_WORDS = {
    Answer.YES: "yes",
    Answer.NO: "no",
    Answer.NOT_SHOWN: "no difference can be shown",
    Answer.CANNOT_TELL: "that cannot be told",
}


def render_answer(run: RunResult, columns: int | None) -> str:
    """A few lines for each level with two rounds, joined by newlines; empty if there is none.

    No line is wider than `columns` (from 40 on); None: no limit.
    """
    found = [one for one in run.evaluations if one.round is not None]
    if not found:
        return ""
    return "\n".join(fold([TITLE, *(line for one in found for line in _Told(run, one).lines())], usable(columns)))


@dataclass(frozen=True, slots=True)
class _Told:
    run: RunResult
    found: CacheEvaluation

    def lines(self) -> Iterator[str]:
        """The sentence that answers, then what it stands on."""
        place = f"Concurrency {self.found.concurrency}"
        if self.found.stage is not None:
            place = f"Stage {printable(self.found.stage)}, concurrency {self.found.concurrency}"
        if len(self._later_rounds()) > 1:
            place += f", round {self.found.round}"
        sentences = [f"{place}: {_WORDS[self.found.answer]}."]
        effect = self.found.effect
        if self.found.answer is not Answer.YES:
            sentences.append(_sentence(self.found.why))
        # Where the evidence does not hold, a ratio would be read as an answer.
        if effect is not None and self.found.verdict.status is not Status.INVALID:
            sentences.append(self._effect(effect))
        yield " ".join(sentences)
        for line in (self._typical(), self._drift(), self._hits(), self._eviction()):
            if line:
                yield f"  {line}"

    def _effect(self, effect: Comparison) -> str:
        """How much, and how sure."""
        baseline = "fresh prompts'" if effect.baseline_round == CONTROL else f"{round_name(effect.baseline_round)}'s"
        if effect.mean_ratio is None:
            return f"No prompt can be compared with {baseline}."
        ratio = effect.mean_ratio
        factor = f"{_factor(max(ratio, 1 / ratio))}x {'faster' if ratio < 1 else 'slower'}"
        sure = f"from {count(effect.pairs, 'prompt')}"
        if effect.ratio_ci95 is not None:
            low, high = effect.ratio_ci95
            p_value = effect.p_value or 0.0
            told = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
            sure = f"95% interval {_ratio(low)} to {_ratio(high)}, {told}, {sure}"
        return f"{round_name(effect.round, start=True)}'s TTFT was {_ratio(ratio)} times {baseline}, {factor} ({sure})."

    def _typical(self) -> str:
        """In milliseconds, which is what users feel."""
        effect = self.found.effect
        before = self._find(1 if effect is None else effect.baseline_round)
        later = self._find(self.found.round)
        if before is None or later is None:
            return ""
        p50s = [one.summary.stats["ttft_ms"].p50 for one in (before, later)]
        if None in p50s:
            return ""
        text = f"TTFT at the median: {number(p50s[0], '.1f')} -> {number(p50s[1], '.1f')} ms"
        dose = self.found.dose
        low, high = (dose.slope_ci95 if dose is not None else None) or (0.0, 0.0)
        if self.found.answer is Answer.YES and dose is not None and low > 0:
            slope = number(dose.slope_us_per_token, ".1f")
            text += f"; each cached token saved {slope} us ({number(low, '.1f')} to {number(high, '.1f')})"
        return f"{text}."

    def _drift(self) -> str:
        """What else changed, by the control round."""
        drift = self.found.drift
        if drift is None or drift.mean_ratio is None:
            return ""
        text = f"Fresh prompts took {_ratio(drift.mean_ratio)} times as long after it as in round 1"
        if drift.ratio_ci95 is not None:
            text += f" ({_ratio(drift.ratio_ci95[0])} to {_ratio(drift.ratio_ci95[1])})"
        return f"{text}: what is told is net of that." if self._is_net() else f"{text}."

    def _is_net(self) -> bool:
        return self.found.effect is not None and self.found.effect.baseline_round == CONTROL

    def _hits(self) -> str:
        """What the witnesses say was in the cache."""
        first, later = self._cache(1), self._cache(self.found.round)
        if first is None or later is None:
            return ""
        told = []
        if first.usage is not None and later.usage is not None:
            told.append(f"{_share(first.usage.ratio)} -> {_share(later.usage.ratio)} by usage")
        counters = later.counters
        if counters is not None and counters.reading is Reading.OK:
            before = first.counters.ratio if first.counters is not None else None
            name = _LABELS.get(counters.engine or "", "the server")
            told.append(f"{_share(before)} -> {_share(counters.ratio)} by {name}'s counters")
        if not told:
            return ""
        could = f" ({_share(later.expected_rate)} could have)" if later.expected_rate is not None else ""
        unexplained = later.unexplained_hits
        apart = "" if not unexplained else f"; {unexplained:+,} cached tokens are unexplained"
        return f"Prompt tokens from the cache: {', '.join(told)}{could}{apart}."

    def _eviction(self) -> str:
        """Why prompts that were sent before were not found."""
        known = self.found.eviction
        return "" if known is None or known in self.found.why else _sentence(known)

    def _find(self, name: object) -> RoundResult | None:
        place = (self.found.stage, self.found.concurrency, name)
        return next((one for one in self.run.rounds if (one.stage, one.concurrency, one.round) == place), None)

    def _cache(self, name: object) -> CacheFigures | None:
        one = self._find(name)
        return None if one is None else one.summary.cache

    def _later_rounds(self) -> list[CacheEvaluation]:
        place = (self.found.stage, self.found.concurrency)
        return [one for one in self.run.evaluations if (one.stage, one.concurrency) == place]


def _sentence(text: str) -> str:
    text = printable(text)
    return f"{text[:1].upper()}{text[1:]}."


def _ratio(value: float) -> str:
    """With three digits that say something."""
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _factor(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 2 else f"{value:.2f}"


def _share(value: float | None) -> str:
    return number(value, ".0%") if value is None or value >= 0.1 or not value else number(value, ".1%")
