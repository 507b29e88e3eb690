"""Results as a run leaves them, of any size, with numbers that can be told in advance. No server is needed for them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from fluxperf.metrics import METRICS
from fluxperf.model import Histogram, Outcome, RoundResult, RoundSummary, RunResult, Stats, Status, Timeline, Verdict
from fluxperf.model.evaluation import Answer, CacheEvaluation
from fluxperf.model.result import AuditSummary, Comparison, Effect, Extent, WorkerLoad
from fluxperf.report import round_file_name, round_json, run_json

MS = 1_000_000
S = 1_000_000_000
GAP_MS = 10.0
TOKENS = 11
VALID = Verdict(status=Status.VALID)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What results are to be like. `failing` is the share of requests that fail in round 2."""

    levels: Sequence[int] = (2, 4, 8)
    rounds: int = 2
    requests: int = 40
    failing: float = 0.0
    model: str = "a-model"
    labels: Mapping[str, str] = field(default_factory=dict)
    series: bool = True
    verdict: Verdict = VALID


def make_run(made: Made) -> RunResult:
    """The run, with its requests in memory."""
    rounds = [_round(made, level, number) for level in made.levels for number in range(1, made.rounds + 1)]
    later = [one for one in rounds if one.round != 1]
    comparisons = tuple(_comparison(made, one) for one in later)
    return RunResult(
        started_at="2026-01-31T12:00:00Z",
        ended_at="2026-01-31T12:05:00Z",
        partial=False,
        environment={"fluxperf": "0", "host": {"cpu": "a processor"}},
        labels=made.labels,
        configuration={
            "dataset": "prompts.jsonl",
            "endpoint": "http://127.0.0.1:8000/v1/chat/completions",
            "endpoint_given": "http://127.0.0.1:8000/v1/chat/completions",
            "model": made.model,
            "model_from": "listed by the server",
            "concurrency": list(made.levels),
            "seed": 7,
        },
        rounds=tuple(rounds),
        comparisons=comparisons,
        evaluations=tuple(_evaluation(made, one) for one in comparisons),
        verdict=made.verdict,
    )


def write_run(folder: Path, run: RunResult) -> Path:
    """The files of a run: run.json, and those of its rounds."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text("".join(run_json(run)), "utf-8")
    for result in run.rounds:
        with (folder / round_file_name(result)).open("w", encoding="utf-8") as file:
            file.writelines(round_json(result))
    return folder


def write_results(folder: Path, made: Made | None = None) -> Path:
    """Results of such a kind."""
    return write_run(folder, make_run(made or Made()))


def change(folder: Path, **changes: Any) -> None:
    """Other values in a run.json; None takes a key out."""
    file = folder / "run.json"
    found = json.loads(file.read_text("utf-8")) | changes
    file.write_text(json.dumps({key: value for key, value in found.items() if value is not None}), "utf-8")


def _ttft_ms(random: Random, level: int, number: int) -> float:
    base = 60 + 40 * level if number == 1 else 20 + 2 * level
    return base * random.lognormvariate(0, 0.3)


def _requests(made: Made, level: int, number: int) -> Iterator[Timeline]:
    random = Random(f"{level}/{number}")
    free = [0] * level
    for index in range(made.requests):
        sent = min(free)
        ttft = round(_ttft_ms(random, level, number) * MS)
        end = sent + ttft + round(GAP_MS * (TOKENS - 1) * MS) + MS
        free[free.index(sent)] = end
        if number > 1 and random.random() < made.failing:
            error = "HTTP 500: <b>oops</b>"
            yield Timeline(index=index, outcome=Outcome.HTTP_STATUS, status=500, sent_ns=sent, end_ns=end, error=error)
            continue
        prompt = 100 + 13 * (index % 50)
        yield Timeline(
            index=index,
            session_id=f"<i>{index}</i>",
            outcome=Outcome.OK,
            status=200,
            finish_reason="stop",
            sent_ns=sent,
            first_byte_ns=sent + ttft - MS,
            first_output_ns=sent + ttft,
            first_answer_ns=sent + ttft,
            last_output_ns=end - MS,
            end_ns=end,
            done_ns=end,
            output_events=TOKENS,
            prompt_tokens=prompt,
            completion_tokens=TOKENS,
            cached_tokens=0 if number == 1 else prompt // 16 * 16,
        )


def _round(made: Made, level: int, number: int) -> RoundResult:
    requests = tuple(_requests(made, level, number))
    done = [one for one in requests if one.success]
    duration_s = max((one.end_ns or 0 for one in requests), default=0) / S
    histograms = {metric.name: Histogram() for metric in METRICS if metric.formula}
    for metric in METRICS:
        if metric.formula:
            values = (metric.formula(one) for one in done)
            histograms[metric.name].record_all(value for value in values if value is not None)
    stats = {
        metric.name: _stats(histograms[metric.name], metric.per_unit) if metric.formula else Stats()
        for metric in METRICS
    }
    failed = len(requests) - len(done)
    return RoundResult(
        stage=None,
        concurrency=level,
        round=number,
        configuration={"model": made.model, "endpoint": "http://127.0.0.1:8000/v1/chat/completions"},
        summary=RoundSummary(
            total_requests=len(requests),
            successful_requests=len(done),
            failed_requests=failed,
            duration_s=duration_s,
            avg_input_tokens=400.0 if done else None,
            avg_output_tokens=float(TOKENS) if done else None,
            avg_in_flight=float(level),
            stats=stats,
            tokens_per_s=TOKENS * len(done) / duration_s if duration_s else None,
            requests_per_s=len(done) / duration_s if duration_s else None,
            goodput=None,
            outcomes={"ok": len(done), **({"http_status": failed} if failed else {})},
            examples={"http_status": "HTTP 500: <b>oops</b>"} if failed else {},
            cached_tokens=None,
            cold=True if number == 1 else None,
            verdict=VALID,
            audit=_audit(),
        ),
        requests=requests,
        first_sent_ns=0 if requests else None,
        series={"queue": tuple((nth * duration_s / 50, float(nth % 7)) for nth in range(50))} if made.series else {},
    )


def _stats(histogram: Histogram, per_unit: int) -> Stats:
    if not histogram.count:
        return Stats()
    p50, p90, p95, p99 = (found / per_unit for found in histogram.percentiles(50, 90, 95, 99) if found is not None)
    low, high, mean, spread = histogram.min or 0, histogram.max or 0, histogram.mean or 0.0, histogram.stddev or 0.0
    return Stats(
        avg=mean / per_unit,
        p50=p50,
        p90=p90,
        p95=p95,
        p99=p99,
        min=low / per_unit,
        max=high / per_unit,
        stddev=spread / per_unit,
    )


def _audit() -> AuditSummary:
    extent = Extent(p50=0.01, p99=0.2, max=0.5)
    return AuditSummary(
        receive_lag_ms=extent,
        schedule_lag_ms=extent,
        turnaround_ms=extent,
        away_ms=extent,
        chunk_gap_error_ms=extent,
        ttft_error_ms=extent,
        collections=1,
        collection_max_ms=0.4,
        collection_total_ms=0.4,
        cpu_s=1.0,
        cpu_share=0.12,
        workers=(WorkerLoad(worker=0, cpu_share=0.12, longest_stall_ms=None, stalls=0),),
        reads=100,
        shared_reads=1,
        shared_read_share=0.01,
        unstamped_reads=0,
        voided_reads=0,
        connections_opened=2,
        connections_reopened=0,
        waits=0,
        wait_p99_ms=None,
        tokens_per_chunk=1.0,
    )


def _comparison(made: Made, later: RoundResult) -> Comparison:
    return Comparison(
        stage=None,
        concurrency=later.concurrency,
        metric="ttft_ms",
        pairs=made.requests,
        dropped=0,
        baseline_round=1,
        round=later.round,
        median_ratio=0.2,
        mean_ratio=0.2,
        ratio_ci95=(0.16, 0.25),
        median_difference_ms=-100.0,
        difference_ci95_ms=(-120.0, -80.0),
        p_value=0.0001,
        share_slower=0.0,
        effect=Effect.FASTER,
    )


def _evaluation(made: Made, comparison: Comparison) -> CacheEvaluation:
    return CacheEvaluation(
        stage=None,
        concurrency=comparison.concurrency,
        round=comparison.round,
        answer=Answer.YES,
        why="round 2 was faster",
        effect=comparison,
        gross=comparison,
        verdict=made.verdict,
    )
