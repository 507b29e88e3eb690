from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fluxperf.analysis.evidence import Evidence, History
from fluxperf.analysis.merge import merge_tallies, spread, summarise
from fluxperf.analysis.verdict import judge
from fluxperf.metrics import BY_NAME, METRICS
from fluxperf.model import (
    CachedTokens,
    CacheReset,
    Constraint,
    Goodput,
    Histogram,
    Outcome,
    RoundSummary,
    Slo,
    Stats,
    Status,
    Verdict,
)
from fluxperf.tally import Tally

MS = 1_000_000
S = 1_000_000_000
SLO = Slo((Constraint("ttft_ms", below=150), Constraint("latency_ms", below=250)), name="interactive")

TallyOf = Callable[..., Tally]


def later_round(tally: Tally) -> RoundSummary:
    return summarise(Evidence(tally=tally, history=History(round=2, repeats=True)))


def first_round(tally: Tally, sent_before: str | None = None) -> RoundSummary:
    return summarise(Evidence(tally=tally, history=History(sent_before=sent_before)))


def at(sent_ms: int, done_ms: int, **facts: Any) -> dict[str, Any]:
    """The facts of a request that lasts from one to the other."""
    return {"sent_ns": sent_ms * MS, "end_ns": done_ms * MS, "done_ns": done_ms * MS, **facts}


def test_merged_counts_what_each_counted(tally_of: TallyOf) -> None:
    merged = merge_tallies([tally_of(at(0, 5)), Tally(), tally_of(at(3, 9), at(1, 2))], SLO)
    assert merged.slo is SLO
    assert merged.outcomes == {"ok": 3}
    assert (merged.first_sent_ns, merged.last_done_ns) == (0, 9 * MS)
    assert vars(merge_tallies([])) == vars(Tally())


def test_figures_of_a_round(tally_of: TallyOf) -> None:
    tally = tally_of(
        at(1000, 2000, prompt_tokens=10, completion_tokens=20),
        at(1500, 3000, prompt_tokens=20, completion_tokens=40, outcome=Outcome.LENGTH),
        at(2500, 5000, outcome=Outcome.TIMEOUT, error="too slow"),
    )
    summary = later_round(tally)
    assert (summary.total_requests, summary.successful_requests, summary.failed_requests) == (3, 2, 1)
    assert summary.duration_s == 4  # from the first send to the last end, of failures too
    assert (summary.avg_input_tokens, summary.avg_output_tokens) == (15, 30)
    assert (summary.tokens_per_s, summary.requests_per_s) == (15, 0.5)
    assert summary.avg_in_flight == (1 + 1.5 + 2.5) / 4
    assert summary.outcomes == {"ok": 1, "length": 1, "timeout": 1}
    assert summary.examples == {"timeout": "too slow"}
    assert summary.goodput is None
    assert list(summary.stats) == [metric.name for metric in METRICS]
    assert [check.name for check in summary.checks] == ["token_counts", "tokens_per_event", "coalescing"]


def test_outcomes_are_in_the_order_of_their_list(tally_of: TallyOf) -> None:
    summary = later_round(tally_of(*({"outcome": outcome} for outcome in reversed(Outcome))))
    assert list(summary.outcomes) == list(Outcome)


def test_what_was_cut_off_is_outside_every_denominator(tally_of: TallyOf) -> None:
    counted = (at(1000, 1200), at(1000, 3000, outcome=Outcome.RESET))
    cut_off = at(500, 9000, outcome=Outcome.CUT_OFF)
    without = later_round(tally_of(*counted, slo=SLO))
    with_it = later_round(tally_of(*counted, cut_off, slo=SLO))
    assert with_it.outcomes == {"ok": 1, "reset": 1, "cut_off": 1}
    assert with_it.total_requests == 2
    assert facts(with_it) == facts(without)


def facts(summary: RoundSummary) -> dict[str, Any]:
    """All of the summary but its outcomes."""
    return {name: getattr(summary, name) for name in RoundSummary.__slots__ if name != "outcomes"}


@pytest.mark.parametrize(
    "requests", [(), ({"outcome": Outcome.CUT_OFF},), ({"outcome": Outcome.CONNECT, "sent_ns": None},)]
)
def test_a_round_without_a_success_has_no_averages(tally_of: TallyOf, requests: tuple[dict[str, Any], ...]) -> None:
    summary = first_round(tally_of(*requests, slo=SLO))
    assert (summary.successful_requests, summary.duration_s) == (0, 0)
    assert (summary.avg_input_tokens, summary.avg_output_tokens, summary.avg_in_flight) == (None, None, None)
    assert (summary.tokens_per_s, summary.requests_per_s) == (None, None)
    assert set(summary.stats.values()) == {Stats()}
    assert summary.checks == ()
    assert summary.cold is None


def test_a_round_of_failures_has_a_duration_and_no_throughput(tally_of: TallyOf) -> None:
    summary = later_round(tally_of(at(0, 4000, outcome=Outcome.HTTP_STATUS), slo=SLO))
    assert (summary.duration_s, summary.requests_per_s, summary.tokens_per_s) == (4, 0, 0)
    assert summary.avg_output_tokens is None
    assert summary.goodput is not None
    assert (summary.goodput.requests, summary.goodput.ratio) == (0, 0)


def test_goodput_is_out_of_all_requests(tally_of: TallyOf) -> None:
    tally = tally_of(
        {},
        {"completion_tokens": 22},
        {"first_output_ns": 1160 * MS},  # TTFT 160 ms
        {"first_output_ns": 1160 * MS, "end_ns": 1300 * MS, "done_ns": 2000 * MS},  # TTFT 160 ms, latency 300 ms
        {"outcome": Outcome.REJECTED},
        slo=SLO,
    )
    assert later_round(tally).goodput == Goodput(
        name="interactive",
        requests=2,
        ratio=2 / 5,
        tokens=33,
        requests_per_s=2,
        tokens_per_s=33,
        missed={"ttft_ms": 2, "latency_ms": 1},
    )


def test_goodput_names_constraints_that_nobody_missed(tally_of: TallyOf) -> None:
    goodput = later_round(tally_of({}, slo=SLO)).goodput
    assert goodput is not None
    assert goodput.missed == {"ttft_ms": 0, "latency_ms": 0}


# What the figures are worth.


def test_a_summary_has_the_verdict_of_its_checks_and_the_audit_of_its_workers(
    evidence_of: Callable[..., Evidence],
) -> None:
    summary = summarise(evidence_of(cpu_ns=99, span_ns=100))
    assert summary.verdict == judge(summary.checks)
    assert summary.verdict.status is Status.DEGRADED
    assert summary.audit is not None
    assert summary.audit.cpu_share == 0.99
    assert summary.unmeasured == {}


def test_without_reports_there_is_no_audit(tally_of: TallyOf) -> None:
    summary = later_round(tally_of({}))
    assert summary.audit is None
    assert summary.verdict == Verdict(status=Status.VALID)


# The cache. How it is judged is in test_cache.py.


def cached(tokens: int | None, of: int = 100) -> dict[str, int | None]:
    return {"cached_tokens": tokens, "prompt_tokens": of}


def test_a_summary_has_what_is_known_of_the_cache(tally_of: TallyOf) -> None:
    summary = first_round(tally_of(cached(11)))
    assert (summary.cold, summary.cold_reason) == (False, "11.0% of its prompt tokens were already cached")
    assert summary.cache is not None
    assert summary.cache.usage == summary.cached_tokens
    assert (summary.cache.repeats, summary.cache.reset, summary.cache.reset_confirmed) == (False, None, None)
    again = later_round(tally_of(cached(90)))
    assert (again.cold, again.cold_reason) == (None, None)
    assert again.cache is not None
    assert again.cache.repeats


def test_prompt_tokens_of_all_requests_count_and_not_shares_of_each(tally_of: TallyOf) -> None:
    assert first_round(tally_of(cached(100), cached(0, of=1000))).cold is True


@pytest.mark.parametrize("accepted", [True, False])
def test_a_reset_is_confirmed_or_not_by_the_round_after_it(tally_of: TallyOf, accepted: bool) -> None:
    call = CacheReset(url="u", accepted=accepted, status=200, answer="", attempts=1)
    summary = summarise(Evidence(tally=tally_of(cached(0)), history=History(reset=call)))
    assert summary.cache is not None
    assert (summary.cache.reset, summary.cache.reset_confirmed) == (call, accepted)


def test_cached_tokens_are_of_the_successes_that_tell(tally_of: TallyOf) -> None:
    tally = tally_of(cached(40), cached(None), cached(0), cached(90) | {"outcome": Outcome.TRUNCATED})
    assert later_round(tally).cached_tokens == CachedTokens(prompt_tokens=200, cached_tokens=40, ratio=0.2)
    assert later_round(tally_of(cached(None))).cached_tokens is None


# Figures in the metric's unit.


def test_spread_is_in_the_metrics_unit() -> None:
    histogram = Histogram()
    histogram.record_all([1000, 1000, 2000, 2000])
    assert spread(histogram, BY_NAME["ttft_ms"]) == Stats(
        avg=0.0015, p50=0.001, p90=0.002, p95=0.002, p99=0.002, min=0.001, max=0.002, stddev=0.0005
    )


def test_spread_of_a_rate() -> None:
    histogram = Histogram()
    histogram.record(54_726)
    found = spread(histogram, BY_NAME["output_token_throughput"])
    assert (found.avg, found.p99, found.min, found.stddev) == (54.726, 54.726, 54.726, 0)
