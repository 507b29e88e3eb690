"""A round's summary as run.json has it, back as a `RoundSummary`. Older versions wrote less; that is None or empty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from fluxperf.metrics import METRICS
from fluxperf.model import (
    AuditSummary,
    CacheCounters,
    CachedTokens,
    CacheFigures,
    CacheReset,
    Check,
    Goodput,
    RoundSummary,
    Stats,
    TurnFigures,
    Verdict,
)

T = TypeVar("T")


def read_summary(entry: Mapping[str, Any]) -> RoundSummary:
    """The summary. Raises KeyError, TypeError, ValueError or msgspec.ValidationError (a ValueError)."""
    throughput = entry.get("throughput") or {}
    return RoundSummary(
        total_requests=int(entry["total_requests"]),
        successful_requests=int(entry["successful_requests"]),
        failed_requests=int(entry["failed_requests"]),
        duration_s=float(entry["duration_s"] or 0),
        avg_input_tokens=entry.get("avg_input_tokens"),
        avg_output_tokens=entry.get("avg_output_tokens"),
        avg_in_flight=entry.get("avg_in_flight"),
        stats={metric.name: msgspec.convert(entry.get(metric.name) or {}, Stats) for metric in METRICS},
        tokens_per_s=throughput.get("tokens_per_s"),
        requests_per_s=throughput.get("requests_per_s"),
        goodput=_optional(entry.get("goodput"), Goodput),
        outcomes=entry.get("outcomes") or {},
        cached_tokens=_optional(entry.get("cached_tokens"), CachedTokens),
        cache=_cache(entry.get("cache")),
        cold=entry.get("cold"),
        cold_reason=_cold_reason(entry),
        prometheus=entry.get("prometheus") or {},
        checks=msgspec.convert(entry.get("checks") or [], tuple[Check, ...]),
        verdict=_optional(entry.get("verdict"), Verdict),
        audit=_optional(entry.get("audit"), AuditSummary),
        unmeasured=entry.get("unmeasured") or {},
        examples=entry.get("examples") or {},
        turns=tuple(_turn(turn) for turn in entry.get("turns") or ()),
    )


def _cold_reason(entry: Mapping[str, Any]) -> str | None:
    """The bare reason, without what every report puts before it."""
    text = entry.get("cold_reason")
    return None if text is None or text == "not cold" else str(text).removeprefix("not cold: ")


def _turn(entry: Mapping[str, Any]) -> TurnFigures:
    return msgspec.convert({**entry, "successful": entry["successful_requests"]}, TurnFigures)


def _cache(entry: Mapping[str, Any] | None) -> CacheFigures | None:
    if entry is None:
        return None
    reset = entry.get("reset")
    return CacheFigures(
        usage=_optional(entry.get("usage"), CachedTokens),
        counters=_optional(entry.get("server"), CacheCounters),
        sent_tokens=entry.get("sent_tokens") or 0,
        estimated_tokens=entry.get("estimated_tokens") or 0,
        foreign_tokens=entry.get("foreign_tokens"),
        foreign_share=entry.get("foreign_share"),
        unexplained_hits=entry.get("unexplained_hits"),
        expected={int(block): share for block, share in (entry.get("expected") or {}).items()},
        block_tokens=entry.get("block_tokens") or 1,
        repeats=bool(entry.get("repeats")),
        reset=_optional(reset, CacheReset),
        reset_confirmed=None if reset is None else reset.get("confirmed"),
    )


def _optional(entry: Any, to: type[T]) -> T | None:
    return None if entry is None else msgspec.convert(entry, to)
