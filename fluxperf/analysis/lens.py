"""`apply_lens`: a run's stamps under another tool's definitions, beside our figures, and what makes them differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fluxperf.analysis.lens_reasons import Reasons
from fluxperf.analysis.lens_sight import Sight
from fluxperf.analysis.lens_spread import Spread
from fluxperf.analysis.lens_tools import TOOLS, Measure, Tool
from fluxperf.errors import UsageError
from fluxperf.metrics import BY_NAME
from fluxperf.model import RoundResult, RunResult
from fluxperf.model.lens import LensFigure, LensRound, LensView
from fluxperf.units import NS_PER_MS, NS_PER_S

LENSES = tuple(TOOLS)
"""The names that `--as` takes."""

_MEANS = ("mean", "avg")
_OUR_NAMES = {"mean": "avg", "median": "p50", "std": "stddev", "std_dev": "stddev"}
_PER_UNIT = {"ms": NS_PER_MS, "s": NS_PER_S}
_UNITS = {
    "duration_s": "s",
    "requests_per_s": "1/s",
    "tokens_per_s": "tokens/s",
    "all_tokens_per_s": "tokens/s",
    "in_flight": "requests on average",
}


def apply_lens(tool: str, run: RunResult) -> LensView:
    """Each round of the run as the tool would have told it. Reads all requests, once.

    Raises UsageError for a tool that there is no row of, and where stored requests cannot be read.
    """
    row = find_tool(tool)
    rounds = tuple(_look(row, result) for result in run.rounds)
    return LensView(tool=tool, title=row.title, version=row.version, rounds=rounds, limits=row.limits)


def find_tool(name: str) -> Tool:
    """The row of the tool. Raises UsageError where there is none."""
    if name not in TOOLS:
        raise UsageError(f"--as {name}: there is no such tool: take one of {', '.join(LENSES)}")
    return TOOLS[name]


def _look(tool: Tool, result: RoundResult) -> LensRound:
    sight = Sight(tool, result)
    reasons = Reasons(sight)
    figures = [figure for measure in tool.measures for figure in _figures(sight, measure, reasons)]
    figures += _totals(sight, reasons)
    return LensRound(
        stage=result.stage,
        concurrency=result.concurrency,
        round=result.round,
        figures=tuple(figures),
        reasons=reasons.told,
    )


def _figures(sight: Sight, measure: Measure, reasons: Reasons) -> Iterator[LensFigure]:
    """The statistics of one measure."""
    tool, formula, gaps = sight.tool, measure.formula, sight.gaps
    if formula is None:
        spread, mean = gaps.spread(), gaps.mean_ns()
        is_exact = gaps.are_stored and not gaps.inner and sight.counts_alike
    else:
        values = (formula(seen) for seen in sight.seen)
        spread, is_exact = Spread(value for value in values if value is not None), True
        mean = spread.mean()
    per_unit = _PER_UNIT.get(measure.unit, 1)
    for statistic in tool.statistics:
        found = mean if statistic in _MEANS else _statistic(tool, spread, statistic)
        figure = LensFigure(
            name=tool.label.format(measure=measure.name, statistic=statistic),
            unit=measure.unit,
            value=None if found is None else found / per_unit,
            why=reasons.of(measure, statistic),
            is_exact=is_exact or statistic in _MEANS,
        )
        yield figure if measure.ours is None else _beside(figure, sight.result, measure.ours, statistic)


def _beside(figure: LensFigure, result: RoundResult, metric: str, statistic: str) -> LensFigure:
    """The figure with ours that is closest, in the same unit."""
    name = _OUR_NAMES.get(statistic, statistic)
    value: float | None = getattr(result.summary.stats[metric], name)
    if value is not None and BY_NAME[metric].unit == "ms":
        value *= NS_PER_MS / _PER_UNIT[figure.unit]
    return replace(figure, ours=f"{metric}.{name}", our_value=value)


def _statistic(tool: Tool, spread: Spread, name: str) -> float | None:
    if name.startswith("std"):
        return spread.std(tool.freedom)
    if name in ("min", "max"):
        return spread.least() if name == "min" else spread.most()
    return tool.percentile(spread, 50 if name == "median" else float(name.removeprefix("p")))


def _totals(sight: Sight, reasons: Reasons) -> Iterator[LensFigure]:
    summary = sight.result.summary
    ours: dict[str, tuple[str, float | None]] = {
        "requests": ("successful_requests", summary.successful_requests),
        "duration_s": ("duration_s", summary.duration_s),
        "requests_per_s": ("requests_per_s", summary.requests_per_s),
        "tokens_per_s": ("tokens_per_s", summary.tokens_per_s),
        "in_flight": ("avg_in_flight", summary.avg_in_flight),
    }
    duration_s = sight.duration_ns / NS_PER_S
    output_tokens = sum(seen.tokens for seen in sight.seen)
    sums = {
        "requests_per_s": len(sight.seen),
        "tokens_per_s": output_tokens,
        "all_tokens_per_s": output_tokens + sight.input_tokens,
        "in_flight": sum(seen.end - seen.start for seen in sight.seen) / NS_PER_S,
    }
    values: dict[str, float] = {"requests": len(sight.seen), "duration_s": duration_s}
    values |= {kind: total / duration_s for kind, total in sums.items() if duration_s}
    for name, kind in sight.tool.totals.items():
        our_name, our_value = ours.get(kind, (None, None))
        yield LensFigure(
            name=name,
            unit=_UNITS.get(kind, ""),
            value=values.get(kind),
            ours=our_name,
            our_value=our_value,
            why=() if our_name is None else reasons.of_total(),
        )
