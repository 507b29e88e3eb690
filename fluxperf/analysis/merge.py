"""From what is known of a round to its `RoundSummary`: the arithmetic, once its workers' tallies are one."""

from __future__ import annotations

from collections.abc import Iterable

from fluxperf.analysis.audit import summarise_audit
from fluxperf.analysis.checks import run_checks, unmeasured
from fluxperf.analysis.evidence import Evidence
from fluxperf.analysis.verdict import judge
from fluxperf.metrics import METRICS, Metric
from fluxperf.model import CachedTokens, Goodput, Histogram, Outcome, RoundSummary, Slo, Stats
from fluxperf.tally import Tally
from fluxperf.units import ns_to_s

# Above this share of prompt tokens that came from the cache, a first round was not cold.
MOST_CACHED_WHEN_COLD = 0.10


def merge_tallies(tallies: Iterable[Tally], slo: Slo | None = None) -> Tally:
    """The tally of all requests that any of them counted."""
    merged = Tally(slo)
    for tally in tallies:
        merged.merge(tally)
    return merged


def summarise(evidence: Evidence, *, first_round: bool, sent_before_at: int | None) -> RoundSummary:
    """The figures of a round, and what they are worth.

    `sent_before_at`: the concurrency at which its prompts were sent before, or None.
    """
    tally = evidence.tally
    sums, outcomes = tally.sums, tally.outcomes
    total = sum(outcomes.values()) - outcomes[Outcome.CUT_OFF]
    good = tally.succeeded
    span_ns = (tally.last_done_ns or 0) - (tally.first_sent_ns or 0)
    duration_s = ns_to_s(span_ns)
    cached = _cached(tally)
    checks = run_checks(evidence)
    cold, reason = _judge_cold(cached, sent_before_at) if first_round else (None, None)
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
        cached_tokens=cached,
        cold=cold,
        cold_reason=reason,
        checks=checks,
        verdict=judge(checks),
        audit=summarise_audit(evidence),
        unmeasured=unmeasured(tally),
        examples=dict(tally.examples),
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


def _cached(tally: Tally) -> CachedTokens | None:
    sums = tally.sums
    if not sums["cache_told"]:
        return None
    prompt, cached = sums["cache_prompt_tokens"], sums["cached_tokens"]
    return CachedTokens(prompt_tokens=prompt, cached_tokens=cached, ratio=_share(cached, prompt))


def _judge_cold(cached: CachedTokens | None, sent_before_at: int | None) -> tuple[bool | None, str | None]:
    if sent_before_at is not None:
        return False, f"sent before at concurrency {sent_before_at}"
    if cached is None or cached.ratio is None:
        return None, "the server does not tell how many prompt tokens were cached"
    if cached.ratio > MOST_CACHED_WHEN_COLD:
        return False, f"{cached.ratio:.1%} of its prompt tokens were already cached"
    return True, None


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
