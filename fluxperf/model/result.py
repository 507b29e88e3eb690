"""What a round found out, and two rounds together, as values.

Numbers here are in the units of their names, unrounded. Reporters read these values and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from fluxperf.model.cache import CachedTokens, CacheFigures
from fluxperf.model.slo import Slo
from fluxperf.model.stats import Stats
from fluxperf.model.timeline import Timeline
from fluxperf.model.turns import TurnFigures

RoundName: TypeAlias = int | str
"""Rounds of the same prompts count from 1; the one of fresh prompts is CONTROL."""
CONTROL = "control"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goodput:
    """Requests that met every SLO constraint. `ratio` is out of all; `missed` counts requests by constraint."""

    name: str | None
    requests: int
    ratio: float | None
    tokens: int
    requests_per_s: float | None
    tokens_per_s: float | None
    missed: Mapping[str, int]


class Status(StrEnum):
    """What figures are worth, from good to bad."""

    VALID = "valid"
    DEGRADED = "degraded"
    INVALID = "invalid"

    @property
    def rank(self) -> int:
        """Its place in that order; the worst of several has the highest."""
        return list(Status).index(self)


def worst(statuses: Iterable[Status]) -> Status:
    """The one that decides; VALID if there is none."""
    return max(statuses, key=lambda status: status.rank, default=Status.VALID)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A question about the measurement itself, and its answer in one sentence.

    `weight` is what the round's figures are worth by this answer alone; a check that is not ok and
    weighs nothing (VALID) only warns. `figures` names those that it takes from, as `ttft_ms.p99`.
    """

    name: str
    ok: bool
    text: str
    weight: Status = Status.VALID
    figures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What figures are worth, and why: the texts of the checks that weigh, and the figures that they take from."""

    status: Status
    reasons: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How far something went; None: it did not happen."""

    p50: float | None = None
    p99: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLoad:
    """How one worker fared. `stalls` counts how often it stood still for 10 ms or more."""

    worker: int
    cpu_share: float | None
    longest_stall_ms: float | None
    stalls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSummary:
    """What the client noticed about its own work in a round; see `fluxperf.model.audit` for what is counted.

    `chunk_gap_error_ms` and `ttft_error_ms` are by how much single stamps may be late. A connection
    that was `reopened` was opened while the round ran.
    """

    receive_lag_ms: Extent
    schedule_lag_ms: Extent
    turnaround_ms: Extent
    away_ms: Extent
    chunk_gap_error_ms: Extent
    ttft_error_ms: Extent
    collections: int
    collection_max_ms: float | None
    collection_total_ms: float
    cpu_s: float
    cpu_share: float | None
    workers: tuple[WorkerLoad, ...]
    reads: int
    shared_reads: int
    shared_read_share: float | None
    unstamped_reads: int
    voided_reads: int
    connections_opened: int
    connections_reopened: int
    waits: int
    wait_p99_ms: float | None
    tokens_per_chunk: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundSummary:
    """The figures of one round. Requests that were cut off by the end of the run are in `outcomes` only.

    `stats` has one entry for each row of `fluxperf.metrics.METRICS`. `cold` says whether the round's
    prompts were new to the server (None: not known, or not a round that should be cold); `examples` gives
    one message for each failed outcome. `cache` has what usage and the server's counters say of the cache.
    `unmeasured` names metrics whose values are not the server's, with the sentence that takes their place
    in a table. `audit` is None if no worker lived to tell. `turns`: the figures of each turn, where prompts are
    sessions.
    """

    total_requests: int
    successful_requests: int
    failed_requests: int
    duration_s: float
    avg_input_tokens: float | None
    avg_output_tokens: float | None
    avg_in_flight: float | None
    stats: Mapping[str, Stats]
    tokens_per_s: float | None
    requests_per_s: float | None
    goodput: Goodput | None
    outcomes: Mapping[str, int]
    cached_tokens: CachedTokens | None
    cache: CacheFigures | None = None
    cold: bool | None = None
    cold_reason: str | None = None
    prometheus: Mapping[str, Any] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    verdict: Verdict | None = None
    audit: AuditSummary | None = None
    unmeasured: Mapping[str, str] = field(default_factory=dict)
    examples: Mapping[str, str] = field(default_factory=dict)
    turns: tuple[TurnFigures, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundResult:
    """One round at one level. `requests` is in order of index, then turn, and can be iterated more than once.

    `requests` may live on disk. `first_sent_ns` is the round's first send, on the clock of the
    timelines; `notes` are sentences that belong above the figures (a short sample, prompts cut).
    `histograms` has for each metric with values its histogram, in the metric's raw unit, as HdrHistogram's V2 encoding
    (compressed, not base64). `series` has samples of server metrics: seconds since the first send, and the value.
    """

    stage: str | None
    concurrency: int
    round: RoundName
    configuration: Mapping[str, Any]
    summary: RoundSummary
    requests: Collection[Timeline]
    first_sent_ns: int | None
    slo: Slo | None = None
    notes: tuple[str, ...] = ()
    partial: bool = False
    histograms: Mapping[str, bytes] = field(default_factory=dict)
    series: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)


class Effect(StrEnum):
    """What a comparison shows, at a level of 5 %. Throughput is faster when it is more, a time when it is less."""

    FASTER = "faster"
    SLOWER = "slower"
    NOT_SHOWN = "no difference shown"
    UNKNOWN = "cannot tell"  # too few stretches of requests that did not run together


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One metric of a round against the same metric of its baseline round, over the prompts that succeeded in both.

    Ratios are round / baseline, prompt by prompt; `mean_ratio` is their geometric mean, and what `ratio_ci95`,
    `p_value` and `effect` are about, so that they never disagree. `difference_ci95_ms` says the same in the
    metric's unit: what those ratios make of the baseline's geometric mean. `log_ratio_error` is the standard
    error of the mean of the ratios' logarithms; `clusters` is how many stretches of time it comes from.
    `ratio_of_percentiles` has the round's percentiles over the baseline's (p50, p90, p99), of the pairs' values;
    `percentiles_of_ratios` those of the pairs' ratios (p10, p50, p90, p99); both by nearest rank.
    `dropped_reasons` counts the prompts that make no pair by the first thing that kept them from it.
    `output_tokens` is the mean length of the pairs' answers in either round.
    """

    stage: str | None
    concurrency: int
    metric: str
    pairs: int
    dropped: int
    baseline_round: RoundName
    round: RoundName
    median_ratio: float | None
    mean_ratio: float | None
    ratio_ci95: tuple[float, float] | None
    median_difference_ms: float | None
    difference_ci95_ms: tuple[float, float] | None
    p_value: float | None
    share_slower: float | None
    effect: Effect = Effect.UNKNOWN
    clusters: int = 0
    log_ratio_error: float | None = None
    ratio_of_percentiles: Mapping[str, float] = field(default_factory=dict)
    percentiles_of_ratios: Mapping[str, float] = field(default_factory=dict)
    dropped_reasons: Mapping[str, int] = field(default_factory=dict)
    output_tokens: tuple[float, float] | None = None
