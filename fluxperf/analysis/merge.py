"""From what is known of a round to its `RoundSummary`: the arithmetic, once its workers' tallies are one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fluxperf.analysis.audit import summarise_audit
from fluxperf.analysis.cache import cached_by_usage, confirm_reset, examine, judge_cold
from fluxperf.analysis.checks import run_checks, unmeasured
from fluxperf.analysis.evidence import Evidence, count_ended
from fluxperf.analysis.turns import figures_by_turn
from fluxperf.analysis.verdict import judge
from fluxperf.metrics import METRICS, Metric
from fluxperf.model import Goodput, Histogram, Outcome, RoundSummary, Slo, Stats
from fluxperf.tally import Tally
from fluxperf.units import ns_to_s


def merge_tallies(tallies: Iterable[Tally], slo: Slo | None = None) -> Tally:
    """The tally of all requests that any of them counted."""
    merged = Tally(slo)
    for tally in tallies:
        merged.merge(tally)
    return merged


def summarise(evidence: Evidence) -> RoundSummary:
    """The figures of a round, and what they are worth."""
    tally = evidence.tally
    sums, outcomes = tally.sums, tally.outcomes
    total = count_ended(tally)
    good = tally.succeeded
    span_ns = (tally.last_done_ns or 0) - (tally.first_sent_ns or 0)
    duration_s = ns_to_s(span_ns)
    cache = examine(evidence)
    checks = run_checks(evidence)
    cold, reason = judge_cold(evidence.history, cache)
    cache = replace(cache, reset_confirmed=confirm_reset(evidence.history, cache, cold))
    return RoundSummary(
        total_requests=total,
        successful_requests=good,
        failed_requests=total - good,
        duration_s=duration_s,
        avg_input_tokens=_share(sums["input_tokens"], good),
        avg_output_tokens=_share(sums["output_tokens"], good),
        avg_in_flight=_share(sums["in_flight_ns"], span_ns),
        stats={metric.name: spread(tally.histograms[metric.name], metric) for metric in METRICS},
        tokens_per_s=_share(sums["output_tokens"], duration_s),
        requests_per_s=_share(good, duration_s),
        goodput=_goodput(tally, total, duration_s),
        outcomes={outcome: outcomes[outcome] for outcome in Outcome if outcomes[outcome]},
        cached_tokens=cached_by_usage(tally),
        cache=cache,
        cold=cold,
        cold_reason=reason,
        checks=checks,
        verdict=judge(checks),
        audit=summarise_audit(evidence),
        unmeasured=unmeasured(tally),
        examples=dict(tally.examples),
        turns=figures_by_turn(evidence.requests) if evidence.sessions else (),
    )


def spread(histogram: Histogram, metric: Metric) -> Stats:
    """A histogram of raw values as figures in the metric's unit."""

    def scaled(raw: float | None) -> float | None:
        return None if raw is None else raw / metric.per_unit

    p50, p90, p95, p99 = map(scaled, histogram.percentiles(50, 90, 95, 99))
    return Stats(
        avg=scaled(histogram.mean),
        p50=p50,
        p90=p90,
        p95=p95,
        p99=p99,
        min=scaled(histogram.min),
        max=scaled(histogram.max),
        stddev=scaled(histogram.stddev),
    )


def _share(amount: float, of: float) -> float | None:
    return amount / of if of > 0 else None


def _goodput(tally: Tally, total: int, duration_s: float) -> Goodput | None:
    if tally.slo is None:
        return None
    requests, tokens = tally.sums["good_requests"], tally.sums["good_tokens"]
    return Goodput(
        name=tally.slo.name,
        requests=requests,
        ratio=_share(requests, total),
        tokens=tokens,
        requests_per_s=_share(requests, duration_s),
        tokens_per_s=_share(tokens, duration_s),
        missed={constraint.metric: tally.missed[constraint.metric] for constraint in tally.slo.constraints},
    )
