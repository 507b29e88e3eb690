"""`metrics_summary.csv`: one row for each stage, level and round, for spreadsheets."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence

from fluxperf.metrics import METRICS
from fluxperf.model import RoundResult, RoundSummary, RunResult
from fluxperf.report.text import cold_text
from fluxperf.report.values import S_DIGITS, STATS, encodable, rounded, spread

_BOM = "\ufeff"  # without it Excel does not take the file for UTF-8
_PROMETHEUS_STATS = (*STATS, "delta", "rate_per_s")
_CACHE = ("cached_ratio", "server_hit_rate", "expected_hit_rate", "foreign_share", "reset_confirmed")

_Cell = str | int | float | None


def metrics_summary(run: RunResult) -> Iterator[str]:
    """The file's text, a row at a time: BOM and header first, rows ending as RFC 4180 has it (CRLF).

    What is null stands empty, and so does what could not be measured. The Prometheus columns are those
    of every round; `cold_reason` (`not cold: ...`), `partial`, the status of the `verdict` and what is known of the
    cache follow them: the share of prompt tokens that came from it by usage and by the server's counters, and what
    could have, the share of other traffic, and whether the reset before the round was confirmed.
    """
    prometheus = dict.fromkeys(encodable(name) for result in run.rounds for name in result.summary.prometheus)
    header = [
        *("stage", "concurrency", "round", "requests", "ok", "failed", "cold"),
        *("duration_s", "tokens_per_s", "requests_per_s", "goodput_ratio"),
        *(f"{metric.name}_{stat}" for metric in METRICS for stat in STATS),
        *(f"{name}_{stat}" for name in prometheus for stat in _PROMETHEUS_STATS),
        *("cold_reason", "partial", "verdict"),
        *_CACHE,
    ]
    yield _BOM + _line(header)
    for result in run.rounds:
        cells = _cells(result)
        yield _line([cells.get(column) for column in header])


def _cells(result: RoundResult) -> dict[str, _Cell]:
    """The row by column."""
    summary = result.summary
    cells: dict[str, _Cell] = {
        "stage": None if result.stage is None else _harmless(encodable(result.stage)),
        "concurrency": result.concurrency,
        "round": result.round,
        "requests": summary.total_requests,
        "ok": summary.successful_requests,
        "failed": summary.failed_requests,
        "cold": _boolean(summary.cold),
        "duration_s": rounded(summary.duration_s, S_DIGITS),
        "tokens_per_s": rounded(summary.tokens_per_s),
        "requests_per_s": rounded(summary.requests_per_s),
        "goodput_ratio": rounded(summary.goodput.ratio) if summary.goodput else None,
        "cold_reason": _harmless(cold_text(summary) or ""),
        "partial": _boolean(result.partial),
        "verdict": None if summary.verdict is None else summary.verdict.status,
    }
    for metric in METRICS:
        if metric.name not in summary.unmeasured:  # a cell has no room for a reservation
            cells |= _named(metric.name, spread(summary.stats[metric.name]))
    for name, figures in summary.prometheus.items():
        cells |= _named(encodable(name), {stat: _as_it_is(figures.get(stat)) for stat in _PROMETHEUS_STATS})
    return cells | _cache_cells(summary)


def _cache_cells(summary: RoundSummary) -> dict[str, _Cell]:
    cache = summary.cache
    cached = None if summary.cached_tokens is None else rounded(summary.cached_tokens.ratio)
    if cache is None:
        return {"cached_ratio": cached}
    rates = (
        None if cache.counters is None else cache.counters.ratio,
        cache.expected_rate,
        cache.foreign_share,
    )
    confirmed = None if cache.reset is None else _boolean(cache.reset_confirmed)
    return dict(zip(_CACHE, (cached, *map(rounded, rates), confirmed), strict=True))


def _as_it_is(value: float | None) -> float | None:
    """Not rounded, because the unit may be any; None for what is no number."""
    return None if value is None or not math.isfinite(value) else value


def _named(name: str, figures: Mapping[str, float | None]) -> dict[str, float | None]:
    return {f"{name}_{stat}": value for stat, value in figures.items()}


def _boolean(value: bool | None) -> str | None:
    return None if value is None else str(value).lower()


def _harmless(text: str) -> str:
    """`text`, with an apostrophe before what a spreadsheet would run as a formula (OWASP, CSV injection)."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _line(cells: Sequence[_Cell]) -> str:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerow(cells)
    return buffer.getvalue()
