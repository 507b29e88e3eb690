"""The JSON files: `concurrency_{C}_round_{R}.json` with every request, and `run.json` over all rounds.

Text comes out in pieces, a request at a time, because a round may have more requests than memory.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any

import msgspec

from fluxperf.metrics import METRICS, came_at_once, missed, value
from fluxperf.model import (
    CachedTokens,
    Comparison,
    Goodput,
    RoundResult,
    RoundSummary,
    RunResult,
    StageResult,
    Timeline,
    TurnFigures,
    Verdict,
)
from fluxperf.model.gate import GateResult
from fluxperf.report.cache_json import cache_entry, evaluation_entry
from fluxperf.report.text import cold_text
from fluxperf.report.values import MS_DIGITS, S_DIGITS, encodable, rounded, spread
from fluxperf.units import ns_to_ms, ns_to_s

ROUND_SCHEMA = "fluxperf.round/1"
RUN_SCHEMA = "fluxperf.run/1"
_NOT_ALWAYS = ("ended_at", "resumed_at", "server", "recipe")
_RUN_KEYS = (
    *("started_at", "ended_at", "resumed_at", "partial", "environment", "labels", "configuration"),
    *("server", "recipe"),
)


def round_file_name(result: RoundResult) -> str:
    """The name of the round's own file."""
    return f"concurrency_{result.concurrency}_round_{result.round}.json"


def round_json(result: RoundResult) -> Iterator[str]:
    """The round's file, one line a request. Milliseconds have six decimals, seconds nine: a nanosecond."""
    yield f'{{"schema": "{ROUND_SCHEMA}",\n'
    yield f'"configuration": {_encode(result.configuration)},\n'
    yield f'"summary": {_encode(_summary(result))},\n'
    if result.series:
        yield f'"series": {_encode(result.series)},\n'
    yield '"requests": '
    yield from _array(request_row(request, result) for request in result.requests)
    yield "}\n"


def run_json(run: RunResult) -> Iterator[str]:
    """`run.json`, one line a stage, a round and a comparison. What only some runs have is there only if it is known."""
    yield f'{{"schema": "{RUN_SCHEMA}",\n'
    for key in _RUN_KEYS:
        entry = getattr(run, key)
        if key not in _NOT_ALWAYS or entry:
            yield f'"{key}": {_encode(entry)},\n'
    if run.stages:
        yield '"stages": '
        yield from _array(_stage_entry(stage) for stage in run.stages)
        yield ",\n"
    folders = {stage.name: stage.folder for stage in run.stages}
    yield '"rounds": '
    yield from _array(_round_entry(result, folders) for result in run.rounds)
    yield ',\n"comparisons": '
    yield from _array(_comparison(comparison) for comparison in run.comparisons)
    yield ',\n"evaluations": '
    yield from _array(evaluation_entry(found) for found in run.evaluations)
    if run.gates:
        yield ',\n"gates": '
        yield from _array(_gate(found) for found in run.gates)
    yield f',\n"verdict": {_encode(None if run.verdict is None else _run_verdict(run.verdict))}}}\n'


def request_row(request: Timeline, result: RoundResult) -> dict[str, Any]:
    """One request as JSON has it. A failed one keeps the stamps it got; what does not exist is None."""
    figures = {metric.name: rounded(value(metric, request)) for metric in METRICS if metric.formula}
    row = {
        "index": request.index,
        "session_id": request.session_id,
        "turn": request.turn,
        "outcome": request.outcome.value,
        "success": request.success,
        "finish_reason": request.finish_reason,
        "status": request.status,
        "sent_s": _sent_s(request, result),
        "ttft_ms": figures["ttft_ms"],
        "ttfo_ms": figures["ttfo_ms"],
        "itl_ms": figures["itl_ms"],
        "latency_ms": figures["latency_ms"],
        "first_byte_ms": _since_sent_ms(request, request.first_byte_ns),
        "last_output_ms": _since_sent_ms(request, request.last_output_ns),
        "end_ms": _since_sent_ms(request, request.end_ns),
        "max_gap_ms": _max_gap_ms(request),
        "output_events": request.output_events,
        "input_tokens": request.input_tokens,
        "output_tokens": request.output_tokens,
        "cached_tokens": request.cached_tokens,
        "meets_slo": _meets_slo(request, result),
        "worker": request.worker,
        "connect_ms": figures["connect_ms"],
        "wait_ms": figures["wait_ms"],
        "resent": request.resent,
        "error": request.error,
        "coalesced_events": request.coalesced_events,
        "dropped_turns": request.dropped_turns,
        "first_silent_ms": _since_sent_ms(request, request.first_silent_ns),
        "last_silent_ms": _since_sent_ms(request, request.last_silent_ns),
        "silent_events": request.silent_events,
        "first_blank_ms": _since_sent_ms(request, request.first_blank_ns),
        "last_blank_ms": _since_sent_ms(request, request.last_blank_ns),
        "blank_events": request.blank_events,
        "last_event_ms": _since_sent_ms(request, request.last_event_ns),
    }
    return row | figures  # further rows of the table of metrics follow


def _sent_s(request: Timeline, result: RoundResult) -> float | None:
    if request.sent_ns is None or result.first_sent_ns is None:
        return None
    return round(ns_to_s(request.sent_ns - result.first_sent_ns), S_DIGITS)


def _since_sent_ms(request: Timeline, stamp_ns: int | None) -> float | None:
    if stamp_ns is None or request.sent_ns is None:
        return None
    return round(ns_to_ms(stamp_ns - request.sent_ns), MS_DIGITS)


def _max_gap_ms(request: Timeline) -> float | None:
    if request.max_gap_ns is None or came_at_once(request):
        return None
    return round(ns_to_ms(request.max_gap_ns), MS_DIGITS)


def _meets_slo(request: Timeline, result: RoundResult) -> bool | None:
    """None without an SLO, and for a request that was cut off or not sent: it is outside every denominator."""
    if result.slo is None or not request.outcome.counted:
        return None
    return request.success and not missed(result.slo, request)


def _summary(result: RoundResult) -> dict[str, Any]:
    summary = result.summary
    return {
        "total_requests": summary.total_requests,
        "successful_requests": summary.successful_requests,
        "failed_requests": summary.failed_requests,
        "duration_s": rounded(summary.duration_s, S_DIGITS),
        "avg_input_tokens": rounded(summary.avg_input_tokens),
        "avg_output_tokens": rounded(summary.avg_output_tokens),
        "avg_in_flight": rounded(summary.avg_in_flight),
        **{metric.name: spread(summary.stats[metric.name]) for metric in METRICS},
        "throughput": {
            "tokens_per_s": rounded(summary.tokens_per_s),
            "requests_per_s": rounded(summary.requests_per_s),
        },
        "goodput": None if summary.goodput is None else _goodput(summary.goodput),
        "outcomes": summary.outcomes,
        "cached_tokens": _cached_tokens(summary),
        "cache": None if summary.cache is None else cache_entry(summary.cache),
        "cold": summary.cold,
        "cold_reason": cold_text(summary),
        "prometheus": summary.prometheus,
        "checks": [{"name": check.name, "ok": check.ok, "text": check.text} for check in summary.checks],
        "verdict": None if summary.verdict is None else _verdict(summary.verdict),
        "audit": None if summary.audit is None else _rounded_all(asdict(summary.audit)),
        "unmeasured": summary.unmeasured,
        "examples": summary.examples,
        **({"turns": [_turn_entry(turn) for turn in summary.turns]} if summary.turns else {}),
        "notes": result.notes,
        "partial": result.partial,
    }


def _turn_entry(turn: TurnFigures) -> dict[str, Any]:
    cached = turn.cached_tokens
    return {
        "turn": turn.turn,
        "requests": turn.requests,
        "successful_requests": turn.successful,
        "ttft_ms": spread(turn.ttft_ms),
        "avg_input_tokens": rounded(turn.avg_input_tokens),
        "cached_tokens": None if cached is None else _cached_entry(cached),
        "shortened": turn.shortened,
    }


def _goodput(goodput: Goodput) -> dict[str, Any]:
    return {
        "name": goodput.name,
        "requests": goodput.requests,
        "ratio": rounded(goodput.ratio),
        "tokens": goodput.tokens,
        "requests_per_s": rounded(goodput.requests_per_s),
        "tokens_per_s": rounded(goodput.tokens_per_s),
        "missed": goodput.missed,
    }


def _cached_tokens(summary: RoundSummary) -> dict[str, Any] | None:
    return None if summary.cached_tokens is None else _cached_entry(summary.cached_tokens)


def _cached_entry(cached: CachedTokens) -> dict[str, Any]:
    return {
        "prompt_tokens": cached.prompt_tokens,
        "cached_tokens": cached.cached_tokens,
        "ratio": rounded(cached.ratio),
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return _run_verdict(verdict) | {"figures": verdict.figures}


def _run_verdict(verdict: Verdict) -> dict[str, Any]:
    return {"status": verdict.status, "reasons": verdict.reasons}


def _rounded_all(value: object) -> object:
    """`value` with every float in it rounded."""
    if isinstance(value, float):
        return rounded(value)
    if isinstance(value, Mapping):
        return {key: _rounded_all(entry) for key, entry in value.items()}
    return [_rounded_all(entry) for entry in value] if isinstance(value, tuple) else value


def _round_entry(result: RoundResult, folders: Mapping[str, str]) -> dict[str, Any]:
    """`folders` has the place of each stage's files by its name."""
    place = {"stage": result.stage, "concurrency": result.concurrency, "round": result.round}
    folder = None if result.stage is None else folders.get(result.stage)
    file = f"{folder}/{round_file_name(result)}" if folder else round_file_name(result)
    return place | {"file": file} | _summary(result)


def _stage_entry(stage: StageResult) -> dict[str, Any]:
    entry = {field.name: getattr(stage, field.name) for field in fields(stage)}
    if stage.repeat is None:
        del entry["repeat"]
    return entry | {"verdict": None if stage.verdict is None else _run_verdict(stage.verdict)}


def _comparison(comparison: Comparison) -> dict[str, Any]:
    entry: dict[str, Any] = asdict(comparison)
    return entry | {
        "median_difference_ms": rounded(comparison.median_difference_ms),
        "difference_ci95_ms": comparison.difference_ci95_ms and [*map(rounded, comparison.difference_ci95_ms)],
    }


def _gate(found: GateResult) -> dict[str, Any]:
    """Where there is no bound, it is null."""
    entry: dict[str, Any] = asdict(found)
    return entry | {"bounds": found.bounds and [rounded(bound) for bound in found.bounds]}


def _array(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """A JSON array, one row a line."""
    before = "[\n"
    for row in rows:
        yield before + _encode(row)
        before = ",\n"
    yield "[]" if before == "[\n" else "\n]"


def _encode(value: object) -> str:
    """`value` as JSON on one line, which UTF-8 can hold: as msgspec has it, or with more care."""
    try:
        return msgspec.json.encode(value, enc_hook=str).decode()
    except (UnicodeEncodeError, OverflowError, TypeError):  # half a surrogate pair, more than 64 bits, odd keys
        return encodable(json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, default=str))


def _plain(value: object) -> object:
    """`value` as JSON can hold it: NaN and the infinities, which it cannot, are null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value
