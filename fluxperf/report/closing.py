"""The closing comparison: what each later round gained over round 1. Reads comparisons, and makes none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fluxperf.metrics import BY_NAME
from fluxperf.model import Comparison, RoundResult, RunResult, Stats, Status
from fluxperf.model.evaluation import CacheEvaluation
from fluxperf.model.result import Effect
from fluxperf.report.text import cached_text, cold_text, count, fold, number, printable, round_name, rule, usable
from fluxperf.report.turns import compared_turn_lines

_METRIC = "ttft_ms"
_METRICS = (_METRIC, "itl_ms", "latency_ms")
_ALIKE = 1.05  # below this factor, words for faster and slower would say too much


def render_comparison(run: RunResult, columns: int | None) -> str:
    """Round 1 against each later round of its level, lines joined by newlines; empty if no level has two rounds.

    No line is wider than `columns` (from 40 on); None: no limit.
    """
    columns = usable(columns)
    lines = [line for pair in _paired(run) for line in ("", *pair.lines(columns))]
    if not lines:
        return ""
    head = [rule("=", columns), "Comparison of Rounds", rule("=", columns)]
    return "\n".join(fold([*head, *lines[1:]], columns))


def _paired(run: RunResult) -> Iterator[_Pair]:
    """Every round that has an earlier one of the same stage and level to be compared with."""
    comparisons = {
        (found.stage, found.concurrency, found.baseline_round, found.round, found.metric): found
        for found in run.comparisons
    }
    evaluations = {(found.stage, found.concurrency, found.round): found for found in run.evaluations}
    baselines: dict[tuple[str | None, int], RoundResult] = {}
    for result in run.rounds:
        level = (result.stage, result.concurrency)
        first = baselines.setdefault(level, result)
        if first is not result:
            compared = {name: comparisons.get((*level, first.round, result.round, name)) for name in _METRICS}
            yield _Pair(first, result, compared, evaluations.get((*level, result.round)))


@dataclass(frozen=True, slots=True)
class _Pair:
    first: RoundResult
    later: RoundResult
    compared: Mapping[str, Comparison | None]
    found: CacheEvaluation | None

    @property
    def _holds(self) -> bool:
        """Whether a gain may be told. Without an evaluation, where the first round was cold or may have been."""
        if self.found is None:
            return self.first.summary.cold is not False
        return self.found.verdict.status is not Status.INVALID

    def lines(self, columns: int | None) -> list[str]:
        """The block for this pair: one sentence, then the figures behind it."""
        place = f"Concurrency {self.later.concurrency}"
        if self.later.stage is not None:
            place = f"Stage {printable(self.later.stage)}, concurrency {self.later.concurrency}"
        failed = [result.round for result in (self.first, self.later) if not result.summary.successful_requests]
        if failed:
            which = " and ".join(map(round_name, failed))
            return [f"{place}: no comparison, because no request of {which} succeeded."]
        sentence = self._gain() if self._holds else self._refusal()
        turns = compared_turn_lines(self.first, self.later, columns)
        return [f"{place}: {sentence}", *self._figures(), *turns, *self._caveats()]

    def _refusal(self) -> str:
        if self.found is not None:
            return "a gain by the cache cannot be told, for the reason at the end."
        reason = self.first.summary.cold_reason
        because = f" ({printable(reason)})" if reason else ""
        return f"{round_name(self.first.round)} was not cold{because}, so a gain by the cache cannot be told."

    def _gain(self) -> str:
        before, after = _ttft(self.first).p50, _ttft(self.later).p50
        ratio = _ratio(before, after)
        if ratio is None:
            return f"{round_name(self.later.round)} cannot be compared, because a TTFT is missing."
        factor = max(ratio, 1 / ratio)
        if factor < _ALIKE:
            verdict = "about the same"
        else:
            verdict = f"{factor:.{1 if factor < 100 else 0}f}x {'slower' if ratio > 1 else 'faster'}"
        paired = self.compared[_METRIC]
        if paired is not None and paired.effect is Effect.NOT_SHOWN and factor >= _ALIKE:
            verdict = "not clearly different"
        change = f"{number(before, '.1f')} -> {number(after, '.1f')} ms over {self._population()}"
        return f"{round_name(self.later.round)}'s TTFT was {verdict} at the median ({change}){self._cached_share()}."

    def _population(self) -> str:
        first, later = self.first.summary.successful_requests, self.later.summary.successful_requests
        return count(first, "prompt") if first == later else f"{first} and {count(later, 'prompt')}"

    def _cached_share(self) -> str:
        before, after = self.first.summary.cached_tokens, self.later.summary.cached_tokens
        if before is None or after is None:
            return ""
        return f", cached tokens {number(before.ratio, '.0%')} -> {number(after.ratio, '.0%')}"

    def _figures(self) -> list[str]:
        """The figures; ratios, which say how much was gained, only where a gain may be told."""
        gain = self._holds
        before, after = _ttft(self.first), _ttft(self.later)
        lines = [_change("p50", before.p50, after.p50, gain), _change("p99", before.p99, after.p99, gain)]
        if gain:
            lines += [*self._prompt_by_prompt(), *self._means(), *self._dose()]
        if self.first.summary.cached_tokens or self.later.summary.cached_tokens:
            lines.append(
                f"  Cached prompt tokens: {cached_text(self.first.summary)} -> {cached_text(self.later.summary)}"
            )
        return lines

    def _prompt_by_prompt(self) -> list[str]:
        paired = self.compared[_METRIC]
        if paired is None or paired.median_ratio is None:
            return []
        unpaired = f", {paired.dropped} without a pair" if paired.dropped else ""
        if paired.dropped_reasons:
            unpaired += f" ({', '.join(f'{amount} {reason}' for reason, amount in paired.dropped_reasons.items())})"
        ratio = number(paired.median_ratio, ".3f")
        found = paired.percentiles_of_ratios
        named = [f", {name} of the ratios {number(found[name], '.3f')}" for name in ("p90", "p99") if name in found]
        pairs = f"over {count(paired.pairs, 'pair')}{unpaired}"
        return [f"  Prompt by prompt: median ratio {ratio}{''.join(named)} {pairs}"]

    def _means(self) -> list[str]:
        """Of each metric the mean of the ratios, prompt by prompt."""
        lines = []
        for name, paired in self.compared.items():
            if paired is None or paired.mean_ratio is None or paired.ratio_ci95 is None:
                continue
            low, high = (number(bound, ".3f") for bound in paired.ratio_ci95)
            label = BY_NAME[name].label.partition(" (")[0]
            mean = number(paired.mean_ratio, ".3f")
            lines.append(f"  {label}: mean ratio {mean} (95% interval {low} to {high}), {paired.effect}")
        return lines

    def _dose(self) -> list[str]:
        """Which part of the gain goes with the tokens that were cached."""
        dose = None if self.found is None else self.found.dose
        if dose is None or dose.slope_us_per_token is None or dose.slope_ci95 is None or dose.intercept_ms is None:
            return []
        low, high = (number(bound, ".1f") for bound in dose.slope_ci95)
        slope, intercept = number(dose.slope_us_per_token, ".1f"), number(dose.intercept_ms, ".1f")
        interval = f"95% interval {low} to {high}"
        return [f"  TTFT saved by each cached token: {slope} us ({interval}), and {intercept} ms whatever was cached"]

    def _caveats(self) -> list[str]:
        caveats = []
        if self.first.summary.cold is None:
            why = cold_text(self.first.summary)
            if why is None and self.first.summary.cached_tokens is None:
                why = "the server does not tell cached tokens"
            caveats.append(f"  Whether round {self.first.round} was cold is not known" + (f": {why}." if why else "."))
        caveats += [
            f"  {round_name(result.round, start=True)} was stopped before its end."
            for result in (self.first, self.later)
            if result.partial
        ]
        return caveats


def _ttft(result: RoundResult) -> Stats:
    return result.summary.stats[_METRIC]


def _ratio(before: float | None, after: float | None) -> float | None:
    return after / before if before and after else None


def _change(name: str, before: float | None, after: float | None, with_ratio: bool) -> str:
    ratio = f" (ratio of the {name}s {number(_ratio(before, after), '.3f')})" if with_ratio else ""
    return f"  TTFT {name}: {number(before)} -> {number(after)} ms{ratio}"
