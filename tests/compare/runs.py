"""Runs as values, alike unless told otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from fluxperf.metrics import METRICS
from fluxperf.model import (
    Constraint,
    Outcome,
    RoundName,
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
)

ASKED = {
    "model": "m",
    "dataset_sha256": "d1",
    "mode": "dual_round",
    "seed": 42,
    "num_samples": [4],
    "concurrency": [2],
    "same_samples": False,
    "round1_order": "shuffled",
    "round2_order": "shuffled",
    "control_round": False,
    "salt": False,
    "max_output_tokens": 8,
    "temperature": 0,
    "extra_body": {},
    "endpoint": "http://a/v1/chat/completions",
    "timeout": 300,
    "definitions": 1,
}
FOUND = {
    "model": "m",
    "http_version": "1.1",
    "timestamps": "kernel",
    "tokenizer_sha256": None,
    "output_tokens_from": "usage",
    "num_samples": 4,
    "dataset_sha256": "d1",
    "timeout_s": 300,
    "workers": 1,
}
ENVIRONMENT = {"fluxperf": "1", "host": {"name": "h", "cpu": "c"}, "usable_cores": 2}
SLO = Slo((Constraint("ttft_ms", below=300),))


def a_summary(**changes: Any) -> RoundSummary:
    plain = RoundSummary(
        total_requests=4,
        successful_requests=4,
        failed_requests=0,
        duration_s=2.0,
        avg_input_tokens=10,
        avg_output_tokens=8,
        avg_in_flight=2,
        stats={metric.name: Stats() for metric in METRICS},
        tokens_per_s=16,
        requests_per_s=2,
        goodput=None,
        outcomes={"ok": 4},
        cached_tokens=None,
        verdict=Verdict(status=Status.VALID),
    )
    return replace(plain, **changes)


def requests(indices: Iterable[int]) -> tuple[Timeline, ...]:
    return tuple(
        Timeline(
            index=index,
            outcome=Outcome.OK,
            sent_ns=index * 1_000_000,
            first_output_ns=index * 1_000_000 + 20_000_000,
            last_output_ns=index * 1_000_000 + 90_000_000,
            end_ns=index * 1_000_000 + 91_000_000,
            output_events=8,
            completion_tokens=8,
            prompt_tokens=10,
        )
        for index in indices
    )


def a_round(
    number: RoundName = 1,
    concurrency: int = 2,
    *,
    stage: str | None = None,
    found: Mapping[str, Any] | None = None,
    indices: Iterable[int] = range(4),
    slo: Slo | None = None,
    partial: bool = False,
    **summary: Any,
) -> RoundResult:
    return RoundResult(
        stage=stage,
        concurrency=concurrency,
        round=number,
        configuration=FOUND | dict(found or {}),
        summary=a_summary(**summary),
        requests=requests(indices),
        first_sent_ns=0,
        slo=slo,
        partial=partial,
    )


def a_run(*rounds: RoundResult, asked: Mapping[str, Any] | None = None, **changes: Any) -> RunResult:
    plain = RunResult(
        started_at="2026-01-01T00:00:00Z",
        partial=False,
        environment=ENVIRONMENT,
        labels={},
        configuration=ASKED | dict(asked or {}),
        rounds=rounds or (a_round(1), a_round(2)),
        comparisons=(),
        verdict=Verdict(status=Status.VALID),
    )
    return replace(plain, **changes)


def a_stage(name: str, **changes: Any) -> StageResult:
    asked = changes.pop("asked", {})
    state = changes.pop("state", StageState.COMPLETE)
    return StageResult(name=name, folder=name, state=state, configuration=ASKED | asked, **changes)


def a_recipe(*stages: StageResult, **changes: Any) -> RunResult:
    """A run of stages, with two rounds of each that was run."""
    rounds = [
        a_round(number, stage=stage.name) for stage in stages if stage.state is StageState.COMPLETE for number in (1, 2)
    ]
    return a_run(*rounds, stages=stages, **changes)
