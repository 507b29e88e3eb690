"""Example results for the reports' tests, and the golden files they are held against."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fluxperf.metrics import METRICS
from fluxperf.model import (
    AuditSummary,
    CacheCounters,
    CachedTokens,
    CacheFigures,
    CacheReset,
    Check,
    Comparison,
    Constraint,
    Extent,
    Goodput,
    Hits,
    Outcome,
    Reading,
    RoundResult,
    RoundSummary,
    RunResult,
    Slo,
    StageResult,
    StageState,
    Stats,
    Status,
    Timeline,
    Verdict,
    WorkerLoad,
)
from fluxperf.model.dose import DoseResponse
from fluxperf.model.evaluation import Answer, CacheEvaluation
from fluxperf.model.result import Effect

GOLDEN = Path(__file__).parent.parent / "golden"
MS = 1_000_000
S = 1_000_000_000

SLO = Slo((Constraint("ttft_ms", below=300), Constraint("itl_ms", below=25)))


def spread(*figures: float) -> Stats:
    """Stats in the order of the table's columns; P95 stands between P90 and P99."""
    avg, p50, p90, p99, least, most, stddev = figures
    return Stats(avg=avg, p50=p50, p90=p90, p95=(p90 + p99) / 2, p99=p99, min=least, max=most, stddev=stddev)


LATE = "the client was 3.1 ms late at p99; use more workers"

EMPTY = {metric.name: Stats() for metric in METRICS}
THREE_ROWS = {
    **EMPTY,
    "ttft_ms": spread(245.32, 238.15, 298.45, 312.45, 210.12, 328.91, 25.67),
    "itl_ms": spread(18.25, 17.82, 23.12, 25.33, 12.34, 28.14, 3.45),
    "latency_ms": spread(2456.78, 2401.23, 2789.34, 2901.12, 2123.45, 3012.34, 198.76),
}
ALL_ROWS = {
    **THREE_ROWS,
    "ttfo_ms": spread(845.32, 838.15, 898.45, 912.45, 810.12, 928.91, 25.67),
    "chunk_gap_ms": spread(18.31, 17.9, 24.02, 31.5, 0.01, 40.25, 4.2),
    "output_token_throughput": spread(52.3, 53.1, 58.8, 60.2, 44.1, 61.0, 3.9),
    "connect_ms": spread(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "wait_ms": spread(0.01, 0.0, 0.02, 0.4, 0.0, 0.55, 0.05),
}


def timelines() -> tuple[Timeline, ...]:
    """Four requests: a success, one that misses the SLO, a failure with what it got, and one that was cut off."""
    first = Timeline(
        index=0,
        session_id="alpha",
        worker=1,
        outcome=Outcome.OK,
        status=200,
        finish_reason="stop",
        sent_ns=5 * S,
        first_byte_ns=5 * S + 19 * MS,
        first_output_ns=5 * S + 20 * MS + 123,
        first_answer_ns=5 * S + 20 * MS + 123,
        last_output_ns=5 * S + 110 * MS + 123,
        end_ns=5 * S + 111 * MS,
        max_gap_ns=11 * MS + 1,
        output_events=10,
        prompt_tokens=15,
        completion_tokens=10,
        cached_tokens=0,
        first_silent_ns=5 * S + 19 * MS + 500,
        last_silent_ns=5 * S + 110 * MS + 200_000,
        silent_events=2,
        first_blank_ns=5 * S + 110 * MS + 200_000,
        last_blank_ns=5 * S + 110 * MS + 200_000,
        blank_events=1,
        last_event_ns=5 * S + 110 * MS + 300_000,
    )
    late = replace(
        first,
        index=3,
        session_id=None,
        worker=0,
        outcome=Outcome.LENGTH,
        finish_reason="length",
        sent_ns=5 * S + 1,
        first_output_ns=5 * S + 301 * MS,
        first_answer_ns=None,
        last_output_ns=5 * S + 301 * MS,
        end_ns=5 * S + 302 * MS,
        max_gap_ns=None,
        output_events=1,
        prompt_tokens=None,
        completion_tokens=None,
        cached_tokens=None,
        prompt_tokens_estimate=12,
        wait_ns=MS // 2,
        resent=1,
        first_silent_ns=None,
        last_silent_ns=None,
        silent_events=0,
        first_blank_ns=None,
        last_blank_ns=None,
        blank_events=0,
        last_event_ns=5 * S + 301 * MS,
    )
    failed = Timeline(
        index=4,
        turn=2,
        outcome=Outcome.HTTP_STATUS,
        status=500,
        error='{"detail":\n"kaputt \u2028 \ud800 \x1b[31m"}',
        sent_ns=6 * S,
        first_byte_ns=6 * S + MS,
        end_ns=6 * S + 2 * MS,
    )
    return first, late, failed, Timeline(index=7, sent_ns=7 * S)


def make_audit(**changes: Any) -> AuditSummary:
    """What a client of two workers noticed that kept up without effort."""
    plain = AuditSummary(
        receive_lag_ms=Extent(p50=0.0612345, p99=0.21, max=1.5),
        schedule_lag_ms=Extent(p50=0.08, p99=0.35, max=0.36),
        turnaround_ms=Extent(p50=0.4, p99=0.9, max=1.1),
        away_ms=Extent(p50=0.09, p99=0.5, max=1.25),
        chunk_gap_error_ms=Extent(p50=0.0, p99=0.02, max=0.3),
        ttft_error_ms=Extent(p50=0.0, p99=0.01, max=0.01),
        collections=0,
        collection_max_ms=None,
        collection_total_ms=0.0,
        cpu_s=1.5,
        cpu_share=0.12 / 3,
        workers=(
            WorkerLoad(worker=0, cpu_share=0.02, longest_stall_ms=1.25, stalls=0),
            WorkerLoad(worker=1, cpu_share=0.12 / 3, longest_stall_ms=1.5, stalls=0),
        ),
        reads=6480,
        shared_reads=2,
        shared_read_share=2 / 6480,
        unstamped_reads=0,
        voided_reads=1,
        connections_opened=5,
        connections_reopened=0,
        waits=0,
        wait_p99_ms=0.0,
        tokens_per_chunk=1.0,
    )
    return replace(plain, **changes)


def make_summary(**changes: Any) -> RoundSummary:
    """The summary of a plain round: three rows, an SLO, nothing failed, nothing further to tell."""
    plain = RoundSummary(
        total_requests=50,
        successful_requests=50,
        failed_requests=0,
        duration_s=25.43,
        avg_input_tokens=15.2,
        avg_output_tokens=128.6,
        avg_in_flight=4.97,
        stats=THREE_ROWS,
        tokens_per_s=52.14,
        requests_per_s=0.41,
        goodput=Goodput(
            name=None, requests=45, ratio=0.9, tokens=5800, requests_per_s=0.369, tokens_per_s=47.1, missed={}
        ),
        outcomes={"ok": 50},
        cached_tokens=None,
        verdict=Verdict(status=Status.VALID),
        audit=make_audit(),
    )
    return replace(plain, **changes)


def make_round(**changes: Any) -> RoundResult:
    """A plain round; `summary` may be a mapping of what differs in the summary."""
    if isinstance(changes.get("summary"), dict):
        changes["summary"] = make_summary(**changes["summary"])
    plain = RoundResult(
        stage=None,
        concurrency=5,
        round=1,
        configuration={"endpoint": "http://127.0.0.1:8001/v1/chat/completions", "model": "mock", "temperature": 0.0},
        summary=make_summary(),
        requests=timelines(),
        first_sent_ns=5 * S,
        slo=SLO,
    )
    return replace(plain, **changes)


def make_full_round() -> RoundResult:
    """A round that has everything there is to tell."""
    return make_round(
        stage="nightly",
        partial=True,
        notes=("only 50 of 80 samples asked for are in the dataset", "3 prompts were cut to 1000 tokens"),
        summary={
            "total_requests": 50,
            "successful_requests": 46,
            "failed_requests": 4,
            "stats": ALL_ROWS,
            "goodput": Goodput(
                name="chat",
                requests=42,
                ratio=0.84,
                tokens=5400,
                requests_per_s=1.65,
                tokens_per_s=212.3,
                missed={"ttft_ms": 1, "itl_ms": 3},
            ),
            "outcomes": {"ok": 45, "length": 1, "reset": 1, "http_status": 3, "cut_off": 2},
            "examples": {
                "reset": "connection closed after 12 events",
                "http_status": "500: \x1b[31mCUDA out of memory\n" + "while allocating a block " * 20,
            },
            "cached_tokens": CachedTokens(prompt_tokens=2000, cached_tokens=1234, ratio=0.617),
            "cache": make_cache(reset=RESET, reset_confirmed=False),
            "cold": False,
            "cold_reason": "sent before at concurrency 2",
            "prometheus": {
                "cache_usage": GAUGE,
                'requests_running{engine="0",model="a model with a name"}': GAUGE
                | {"avg": 4.75, "p50": 5.0, "max": 5.0},
                "queue_time_seconds": HISTOGRAM,
                "prompt_tokens_total": COUNTER,
                "absent": {"unavailable": "no such metric"},
            },
            "checks": (
                Check(name="client_lag", ok=False, text=LATE, weight=Status.DEGRADED, figures=("ttft_ms.p99",)),
                Check(name="coalescing", ok=True, text="no read carried more than one event"),
                Check(name="resent", ok=False, text="1 request was sent again"),
            ),
            "verdict": Verdict(
                status=Status.INVALID, reasons=("worker 1 died", LATE), figures=("ttft_ms.p99", "throughput")
            ),
            "unmeasured": {"chunk_gap_ms": "62% of the gaps are within one read, where nobody can see them"},
        },
    )


GAUGE: dict[str, Any] = {
    "kind": "gauge",
    "avg": 0.5,
    "p50": 0.0012,
    "p90": 0.625,
    "p95": 0.75,
    "p99": 0.75,
    "min": 0.0,
    "max": 0.75,
    "stddev": float("nan"),
    "delta": None,
    "rate_per_s": None,
    "samples": 12,
    "note": "no sample fell into the round",
}
HISTOGRAM: dict[str, Any] = dict.fromkeys(("min", "max", "stddev")) | {
    "kind": "histogram",
    "avg": 0.0421,
    "p50": 0.04,
    "p90": 0.09,
    "p95": 0.095,
    "p99": 0.099,
    "delta": 50.0,
    "rate_per_s": 1.9662,
}
COUNTER: dict[str, Any] = dict.fromkeys(("avg", "p50", "p90", "p95", "p99", "min", "max", "stddev")) | {
    "kind": "counter",
    "delta": 2105.0,
    "rate_per_s": 82.77624852536374,
}
RESET = CacheReset(
    url="http://127.0.0.1:8001/reset_prefix_cache", accepted=True, status=200, answer='{"success": true}', attempts=2
)


def make_counters(**changes: Any) -> CacheCounters:
    """What vLLM counted in a round of two engines."""
    plain = CacheCounters(
        engine="vllm",
        label="vLLM",
        counts_prompts=True,
        version="0.33.0",
        reading=Reading.OK,
        hits=1300,
        queries=2105,
        prompt_tokens=2105,
        preemptions=0,
        capacity_tokens=400_000,
        by_engine={"0": Hits(hits=700, queries=1005), "1": Hits(hits=600, queries=1100)},
    )
    return replace(plain, **changes)


def make_cache(**changes: Any) -> CacheFigures:
    """What both witnesses say of a round that other traffic disturbed."""
    plain = CacheFigures(
        usage=CachedTokens(prompt_tokens=2000, cached_tokens=1234, ratio=0.617),
        counters=make_counters(),
        sent_tokens=2000,
        foreign_tokens=105,
        foreign_share=105 / 2105,
        unexplained_hits=66,
        expected={1: 0.999, 16: 0.992},
        block_tokens=16,
        repeats=True,
    )
    return replace(plain, **changes)


def make_comparison(**changes: Any) -> Comparison:
    """Round 2 of concurrency 5 against its round 1, in TTFT."""
    plain = Comparison(
        stage=None,
        concurrency=5,
        metric="ttft_ms",
        pairs=49,
        dropped=1,
        baseline_round=1,
        round=2,
        median_ratio=0.3215,
        mean_ratio=0.33,
        ratio_ci95=(0.28, 0.389),
        median_difference_ms=-165.1234567,
        difference_ci95_ms=(-171.1234567, -145.5),
        p_value=0.00012,
        share_slower=0.02,
        effect=Effect.FASTER,
        clusters=8,
        log_ratio_error=0.07,
        ratio_of_percentiles={"p50": 0.332, "p90": 0.302, "p99": 0.304},
        percentiles_of_ratios={"p10": 0.25, "p50": 0.3215, "p90": 0.41, "p99": 0.52},
        dropped_reasons={"failed in round 2": 1},
    )
    return replace(plain, **changes)


DOSE = DoseResponse(
    pairs=49, slope_us_per_token=4.21, slope_ci95=(2.9, 5.52), intercept_ms=12.3, intercept_ci95=(-3.2, 27.8), r2=0.84
)


def make_usage(cached: CachedTokens, **changes: Any) -> CacheFigures:
    """What is known of the cache of a server without counters."""
    return make_cache(
        usage=cached,
        counters=None,
        foreign_tokens=None,
        foreign_share=None,
        unexplained_hits=None,
        **{"repeats": False} | changes,
    )


def make_evaluation(**changes: Any) -> CacheEvaluation:
    """That the cache helped in round 2 of concurrency 5, without anything against it."""
    plain = CacheEvaluation(
        stage=None,
        concurrency=5,
        round=2,
        answer=Answer.YES,
        why="round 2 was faster, and 93.0% of its prompt tokens came from the cache",
        effect=make_comparison(),
        dose=DOSE,
        checks=(Check(name="cold", ok=True, text="round 1 was cold: 0% of its prompt tokens were cached"),),
        verdict=Verdict(status=Status.VALID),
    )
    return replace(plain, **changes)


def make_run(*rounds: RoundResult, **changes: Any) -> RunResult:
    """A run of `rounds`; without any, two rounds of which the second found the cache."""
    cold = CachedTokens(prompt_tokens=2000, cached_tokens=0, ratio=0.0)
    warm = CachedTokens(prompt_tokens=2000, cached_tokens=1860, ratio=0.93)
    faster = {**THREE_ROWS, "ttft_ms": spread(80.1, 79.0, 90.2, 95.1, 70.0, 99.9, 5.5)}
    plain = RunResult(
        started_at="2026-01-31T12:00:00Z",
        partial=False,
        environment={"python": "3.11.7", "cpus": 2},
        labels={"ref": "main"},
        configuration={"seed": 42},
        rounds=rounds
        or (
            make_round(summary={"cached_tokens": cold, "cold": True, "cache": make_usage(cold)}),
            make_round(
                round=2, summary={"cached_tokens": warm, "stats": faster, "cache": make_usage(warm, repeats=True)}
            ),
        ),
        comparisons=(make_comparison(),),
        evaluations=() if rounds else (make_evaluation(),),
        verdict=Verdict(status=Status.VALID),
    )
    return replace(plain, **changes)


def make_recipe_run(**changes: Any) -> RunResult:
    """A run of a recipe: a stage of two levels, one that failed in its second round, and one that was never begun."""
    plain = make_run()
    warm, burst, never = "Warm-up/Stage 1: Low Concurrency", "Stress/Stage 2: Burst", "Stress/Stage 3: Never"
    levels = [(warm, 2), (warm, 4), (burst, 16)]
    rounds = [replace(one, stage=stage, concurrency=level) for stage, level in levels for one in plain.rounds]
    verdicts = {2: Verdict(status=Status.VALID), 4: Verdict(status=Status.INVALID, reasons=("because",))}
    stages = (
        StageResult(
            name=warm,
            folder="Warm-up/Stage_1__Low_Concurrency",
            state=StageState.COMPLETE,
            started_at="2026-01-31T12:00:00Z",
            ended_at="2026-01-31T12:01:00Z",
            env={"CUDA_VISIBLE_DEVICES": "0", "HF_TOKEN": "****", "PROXY": None},
            configuration={"seed": 42},
            server={"command": "mock --port 8001", "restart": "per_stage"},
            verdict=verdicts[4],
        ),
        StageResult(
            name=burst,
            folder="Stress/Stage_2__Burst",
            state=StageState.FAILED,
            error="the server ended with exit status 1 while round 2 ran; its log is Stress/Stage_2__Burst/server.log"
            "\n  out of memory",
        ),
        StageResult(name=never, folder="Stress/Stage_3__Never"),
    )
    run = replace(
        plain,
        rounds=tuple(rounds[:-1]),
        comparisons=tuple(make_comparison(stage=warm, concurrency=level) for level in verdicts),
        evaluations=tuple(
            make_evaluation(stage=warm, concurrency=level, verdict=verdict) for level, verdict in verdicts.items()
        ),
        ended_at="2026-01-31T12:02:00Z",
        resumed_at=("2026-01-31T12:01:30Z",),
        recipe={"path": "recipe.yaml", "sha256": "ab" * 32, "text": "stages: []\n"},
        stages=stages,
    )
    return replace(run, **changes)


@pytest.fixture(scope="session")
def a_recipe_run() -> Callable[..., RunResult]:
    return make_recipe_run


@pytest.fixture(scope="session")
def a_round() -> Callable[..., RoundResult]:
    return make_round


@pytest.fixture(scope="session")
def a_run() -> Callable[..., RunResult]:
    return make_run


@pytest.fixture
def full_round() -> RoundResult:
    return make_full_round()


@pytest.fixture(scope="session")
def a_comparison() -> Callable[..., Comparison]:
    return make_comparison


@pytest.fixture(scope="session")
def an_evaluation() -> Callable[..., CacheEvaluation]:
    return make_evaluation


@pytest.fixture(scope="session")
def a_cache() -> Callable[..., CacheFigures]:
    return make_cache


@pytest.fixture(scope="session")
def counters() -> Callable[..., CacheCounters]:
    return make_counters


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Asserts that a text is what the golden file says. FLUXPERF_WRITE_GOLDEN=1 writes the file instead: look at it."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if os.environ.get("FLUXPERF_WRITE_GOLDEN"):
            path.write_bytes(text.encode())
        assert text == path.read_bytes().decode()

    return check
