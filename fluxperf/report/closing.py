"""The closing comparison: what each later round gained over round 1. Reads comparisons, and makes none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fluxperf.model import Comparison, RoundResult, RunResult, Stats
from fluxperf.report.text import cached_text, cold_text, count, fold, number, printable, rule, usable

_METRIC = "ttft_ms"
_ALIKE = 1.05  # below this factor, words for faster and slower would say too much


def render_comparison(run: RunResult, columns: int | None) -> str:
    """Round 1 against each later round of its level, lines joined by newlines; empty if no level has two rounds.

    No line is wider than `columns` (from 40 on); None: no limit.
    """
    columns = usable(columns)
    lines = [line for pair in _paired(run) for line in ("", *pair.lines())]
    if not lines:
        return ""
    head = [rule("=", columns), "Comparison of Rounds", rule("=", columns)]
    return "\n".join(fold([*head, *lines[1:]], columns))


def _paired(run: RunResult) -> Iterator[_Pair]:
    """Every round that has an earlier one of the same stage and level to be compared with."""
    comparisons = {
        (found.stage, found.concurrency, found.baseline_round, found.round): found
        for found in run.comparisons
        if found.metric == _METRIC
    }
    baselines: dict[tuple[str | None, int], RoundResult] = {}
    for result in run.rounds:
        level = (result.stage, result.concurrency)
        first = baselines.setdefault(level, result)
        if first is not result:
            yield _Pair(first, result, comparisons.get((*level, first.round, result.round)))


@dataclass(frozen=True, slots=True)
class _Pair:
    first: RoundResult
    later: RoundResult
    comparison: Comparison | None

    def lines(self) -> list[str]:
        """The block for this pair: one sentence, then the figures behind it."""
        place = f"Concurrency {self.later.concurrency}"
        if self.later.stage is not None:
            place = f"Stage {printable(self.later.stage)}, concurrency {self.later.concurrency}"
        failed = [result.round for result in (self.first, self.later) if not result.summary.successful_requests]
        if failed:
            which = " and ".join(f"round {nth}" for nth in failed)
            return [f"{place}: no comparison, because no request of {which} succeeded."]
        if self.first.summary.cold is False:
            reason = self.first.summary.cold_reason
            because = f" ({printable(reason)})" if reason else ""
            sentence = f"round {self.first.round} was not cold{because}, so a gain by the cache cannot be told."
        else:
            sentence = self._gain()
        return [f"{place}: {sentence}", *self._figures(), *self._caveats()]

    def _gain(self) -> str:
        before, after = _ttft(self.first).p50, _ttft(self.later).p50
        ratio = _ratio(before, after)
        if ratio is None:
            return f"round {self.later.round} cannot be compared, because a TTFT is missing."
        factor = max(ratio, 1 / ratio)
        if factor < _ALIKE:
            verdict = "about the same"
        else:
            verdict = f"{factor:.{1 if factor < 100 else 0}f}x {'slower' if ratio > 1 else 'faster'}"
        change = f"{number(before, '.1f')} -> {number(after, '.1f')} ms over {self._population()}"
        return f"round {self.later.round}'s TTFT was {verdict} at the median ({change}){self._cached_share()}."

    def _population(self) -> str:
        first, later = self.first.summary.successful_requests, self.later.summary.successful_requests
        return count(first, "prompt") if first == later else f"{first} and {count(later, 'prompt')}"

    def _cached_share(self) -> str:
        before, after = self.first.summary.cached_tokens, self.later.summary.cached_tokens
        if before is None or after is None:
            return ""
        return f", cached tokens {number(before.ratio, '.0%')} -> {number(after.ratio, '.0%')}"

    def _figures(self) -> list[str]:
        """The figures; ratios, which say how much was gained, only where the first round was cold or may have been."""
        gain = self.first.summary.cold is not False
        before, after = _ttft(self.first), _ttft(self.later)
        lines = [_change("p50", before.p50, after.p50, gain), _change("p99", before.p99, after.p99, gain)]
        if gain:
            lines += self._prompt_by_prompt()
        if self.first.summary.cached_tokens or self.later.summary.cached_tokens:
            lines.append(
                f"  Cached prompt tokens: {cached_text(self.first.summary)} -> {cached_text(self.later.summary)}"
            )
        return lines

    def _prompt_by_prompt(self) -> list[str]:
        paired = self.comparison
        if paired is None or paired.median_ratio is None:
            return []
        unpaired = f", {paired.dropped} without a pair" if paired.dropped else ""
        ratio = number(paired.median_ratio, ".3f")
        return [f"  Prompt by prompt: median ratio {ratio} over {count(paired.pairs, 'pair')}{unpaired}"]

    def _caveats(self) -> list[str]:
        caveats = []
        if self.first.summary.cold is None:
            why = cold_text(self.first.summary)
            if why is None and self.first.summary.cached_tokens is None:
                why = "the server does not tell cached tokens"
            caveats.append(f"  Whether round {self.first.round} was cold is not known" + (f": {why}." if why else "."))
        caveats += [
            f"  Round {result.round} was stopped before its end."
            for result in (self.first, self.later)
            if result.partial
        ]
        return caveats


def _ttft(result: RoundResult) -> Stats:
    return result.summary.stats[_METRIC]


def _ratio(before: float | None, after: float | None) -> float | None:
    return after / before if before and after else None


def _change(name: str, before: float | None, after: float | None, with_ratio: bool) -> str:
    ratio = f" (ratio {number(_ratio(before, after), '.3f')})" if with_ratio else ""
    return f"  TTFT {name}: {number(before)} -> {number(after)} ms{ratio}"
