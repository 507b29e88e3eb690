"""Rounds of few facts, for the tests of what two rounds say about each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fluxperf.metrics import METRICS
from fluxperf.model import Outcome, RoundResult, RoundSummary, Stats, Timeline
from fluxperf.model.result import RoundName

MS = 1_000_000


def request(index: int, ttft_ms: float, *, tokens: int = 11, **facts: Any) -> Timeline:
    """A request that ends 100 ms after its first of `tokens` tokens; by itself in time unless `sent_ns` is given."""
    sent = facts.pop("sent_ns", 1000 * MS * (index + 1))
    first = (sent or 0) + round(ttft_ms * MS)
    plain: dict[str, Any] = {
        "outcome": Outcome.OK,
        "sent_ns": sent,
        "first_output_ns": first,
        "last_output_ns": first + 100 * MS,
        "end_ns": first + 100 * MS,
        "output_events": tokens,
    }
    return Timeline(index=index, **plain | facts)


def a_round(name: RoundName, requests: Iterable[Timeline], concurrency: int = 5) -> RoundResult:
    summary = RoundSummary(
        total_requests=0,
        successful_requests=0,
        failed_requests=0,
        duration_s=0,
        avg_input_tokens=None,
        avg_output_tokens=None,
        avg_in_flight=None,
        stats={metric.name: Stats() for metric in METRICS},
        tokens_per_s=None,
        requests_per_s=None,
        goodput=None,
        outcomes={},
        cached_tokens=None,
    )
    return RoundResult(
        stage="x",
        concurrency=concurrency,
        round=name,
        configuration={},
        summary=summary,
        requests=tuple(requests),
        first_sent_ns=None,
    )
