"""The stages of a recipe side by side, one row for each of their levels. Reads a run's values, and judges nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from fluxperf.model import (
    Comparison,
    RoundResult,
    RoundSummary,
    RunResult,
    StageResult,
    StageState,
    Status,
    worst,
)
from fluxperf.model.evaluation import CacheEvaluation
from fluxperf.report.grid import Column, Grid, draw_grid
from fluxperf.report.text import fold, number, printable, rule, usable

_LARGE = 1e6  # from here on a decimal says nothing, and takes too much room
_ERROR_LIMIT = 300
_STATES = {
    StageState.FAILED: "failed",
    StageState.PARTIAL: "stopped before its end",
    StageState.NOT_RUN: "not run",
}

# Of round 1 and round 2; "" where there is no such round.
_Pair: TypeAlias = tuple[str, str]


def render_stages(run: RunResult, columns: int | None) -> str:
    """Every stage with its levels in one table, lines joined by newlines; empty for a run without a recipe.

    No line is wider than `columns` (from 40 on); None: no limit. Where the columns of figures do not fit, the table
    goes on below itself.
    """
    if not run.stages:
        return ""
    columns = usable(columns)
    rows = [row for stage in run.stages for row in _rows_of(run, stage)]
    levels = [row.level for row in rows if row.level is not None]
    twice = any(level.second is not None for level in levels)
    title = f"Stages Side by Side{' (round 1 -> round 2)' if twice else ''}"
    grid = Grid(
        names=Column("Stage", [row.name for row in rows], left=True),
        keys=[_key(rows, levels)],
        columns=list(_columns(rows, levels, twice=twice)),
        sentences={nth: row.sentences for nth, row in enumerate(rows) if row.level is None},
    )
    head = [rule("=", columns), title, rule("=", columns)]
    return "\n".join(fold([*head, *draw_grid(grid, columns)], columns))


@dataclass(frozen=True, slots=True)
class _Level:
    """All rounds of one level of a stage, and what was found out from them together."""

    rounds: Sequence[RoundResult]
    comparison: Comparison | None
    evaluation: CacheEvaluation | None

    @property
    def concurrency(self) -> int:
        return self.rounds[0].concurrency

    @property
    def first(self) -> RoundResult | None:
        return self._find(1)

    @property
    def second(self) -> RoundResult | None:
        return self._find(2)

    def pair(self, figure: Callable[[RoundSummary], float | None]) -> _Pair:
        """A figure of round 1 and of round 2."""
        before, after = (None if one is None else _figure(figure(one.summary)) for one in (self.first, self.second))
        return before or "", after or ""

    def requests(self) -> str:
        """How many succeeded in all rounds, of how many."""
        summaries = [result.summary for result in self.rounds]
        return f"{sum(one.successful_requests for one in summaries)}/{sum(one.total_requests for one in summaries)}"

    def ratio(self) -> str:
        """How long TTFT was in round 2, prompt by prompt, as a share of round 1; where that may be told."""
        if self.comparison is None:
            return "-"
        if self.evaluation is not None:
            holds = self.evaluation.verdict.status is not Status.INVALID
        else:
            holds = self.first is not None and self.first.summary.cold is not False
        return number(self.comparison.mean_ratio, ".3f") if holds else "-"

    def verdict(self) -> str:
        """The worst that was found of a round, or of the evidence on the cache."""
        found = [result.summary.verdict for result in self.rounds]
        if self.evaluation is not None:
            found.append(self.evaluation.verdict)
        statuses = [verdict.status for verdict in found if verdict is not None]
        return worst(statuses).value if statuses else "-"

    def _find(self, nth: int) -> RoundResult | None:
        return next((result for result in self.rounds if result.round == nth), None)


@dataclass(frozen=True, slots=True)
class _Row:
    """One row: of a level, or sentences on its stage."""

    name: str
    level: _Level | None = None
    sentences: tuple[str, ...] = ()


def _rows_of(run: RunResult, stage: StageResult) -> Iterator[_Row]:
    """The stage's levels, then what kept it from its end; only the first has the stage's name."""
    name = printable(stage.name)
    levels = _levels_of(run, stage)
    for nth, level in enumerate(levels):
        yield _Row("" if nth else name, level)
    if levels and stage.state is StageState.COMPLETE:
        return
    said = [_STATES.get(stage.state, "no rounds")]
    if stage.error and stage.error.strip():
        said.append(printable(stage.error.strip().splitlines()[0], _ERROR_LIMIT))
    yield _Row("" if levels else name, sentences=tuple(said))


def _levels_of(run: RunResult, stage: StageResult) -> list[_Level]:
    rounds: dict[int, list[RoundResult]] = {}
    for result in run.rounds:
        if result.stage == stage.name:
            rounds.setdefault(result.concurrency, []).append(result)
    comparisons = {
        found.concurrency: found
        for found in run.comparisons
        if (found.stage, found.metric, found.baseline_round, found.round) == (stage.name, "ttft_ms", 1, 2)
    }
    evaluations = _evaluations_of(run, stage)
    return [
        _Level(results, comparisons.get(concurrency), evaluations.get(concurrency))
        for concurrency, results in rounds.items()
    ]


def _evaluations_of(run: RunResult, stage: StageResult) -> Mapping[int, CacheEvaluation]:
    """By concurrency: what was found of round 2, or of one round alone."""
    return {
        found.concurrency: found
        for found in run.evaluations
        if found.stage == stage.name and (found.round is None or found.round == 2)
    }


def _key(rows: Sequence[_Row], levels: Sequence[_Level]) -> Column:
    """What rows of one stage differ in; without a level there are only sentences."""
    texts = ["" if row.level is None else str(row.level.concurrency) for row in rows]
    return Column("Conc.", texts) if levels else Column("State", texts, left=True)


def _columns(rows: Sequence[_Row], levels: Sequence[_Level], *, twice: bool) -> Iterator[Column]:
    """The columns that some level has figures for, in the order in which they matter."""

    def column(heading: str, text: Callable[[_Level], str], *, left: bool = False) -> Column:
        return Column(heading, ["" if row.level is None else text(row.level) for row in rows], left=left)

    def pairs(heading: str, figure: Callable[[RoundSummary], float | None]) -> Column:
        return Column(heading, _align([("", "") if row.level is None else row.level.pair(figure) for row in rows]))

    if not levels:
        return
    yield column("OK/Total", _Level.requests)
    yield pairs("TTFT p50\nms", lambda summary: summary.stats["ttft_ms"].p50)
    if twice:
        yield column("TTFT\nratio", _Level.ratio)
    yield column("Verdict", _Level.verdict, left=True)
    yield pairs("ITL p50\nms", lambda summary: summary.stats["itl_ms"].p50)
    yield pairs("Latency p50\nms", lambda summary: summary.stats["latency_ms"].p50)
    yield pairs("Throughput\ntokens/s", lambda summary: summary.tokens_per_s)
    summaries = [result.summary for level in levels for result in level.rounds]
    if any(summary.goodput is not None for summary in summaries):
        yield pairs("Goodput\n% of requests", _goodput)
    if any(summary.cached_tokens is not None for summary in summaries):
        yield pairs("Cached\n% of tokens", _cached)


def _align(pairs: Sequence[_Pair]) -> list[str]:
    """The pairs as texts, with their arrows below each other; a single figure stands before the arrow."""
    before = max((len(first) for first, _ in pairs), default=0)
    after = max((len(second) for _, second in pairs), default=0)
    return [
        f"{first:>{before}} -> {second:>{after}}" if second else f"{first:>{before}}{' ' * (after and after + 4)}"
        for first, second in pairs
    ]


def _goodput(summary: RoundSummary) -> float | None:
    ratio = None if summary.goodput is None else summary.goodput.ratio
    return None if ratio is None else ratio * 100


def _cached(summary: RoundSummary) -> float | None:
    ratio = None if summary.cached_tokens is None else summary.cached_tokens.ratio
    return None if ratio is None else ratio * 100


def _figure(value: float | None) -> str:
    return number(value, ".1f" if value is None or abs(value) < _LARGE else ".2e")
