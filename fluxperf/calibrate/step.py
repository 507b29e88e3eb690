"""`Step`: one load of a calibration: what the client said, what was true, what it cost, and who was the limit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

# A figure may be off by the smaller of these.
RELATIVE_BOUND = 0.01
ABSOLUTE_BOUND_MS = 1.0
# A worker that is busier than this has no time left: with more streams it would not get more done, only more late.
MOST_CPU_SHARE = 0.9

Limit = Literal["client", "server"]
_FIGURES = {"ttft": ("ttft_ms", "ttft_ms"), "gap": ("chunk_gap_ms", "itl_ms")}  # ours, and the truth's name of it
_POINTS = ("p50", "p99")


def allowed_ms(true_ms: float) -> float:
    """By how much a figure that is really `true_ms` may be off."""
    return min(true_ms * RELATIVE_BOUND, ABSOLUTE_BOUND_MS)


@dataclass(frozen=True, slots=True)
class Figure:
    """A percentile as the client said it, and as it really was; None: it said nothing."""

    said_ms: float | None
    true_ms: float

    @property
    def error_ms(self) -> float | None:
        """What it said less what was true."""
        return None if self.said_ms is None else self.said_ms - self.true_ms

    @property
    def excess(self) -> float:
        """The error as a share of what is allowed: above 1 it is too much."""
        error_ms, allowed = self.error_ms, allowed_ms(self.true_ms)
        return abs(error_ms) / allowed if error_ms is not None and allowed > 0 else float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One load. `figures` has ttft_p50, ttft_p99, gap_p50, gap_p99; `lost` counts requests and tokens that one side
    knows of and the other does not. `cpu_share` is of one core, over the round; `answer_ms` is the schedule's.
    """

    streams: int
    requests: int
    duration_s: float
    tokens_per_s: float
    figures: Mapping[str, Figure]
    lost: int
    cpu_s: float
    cpu_share: float
    tokens: int
    late_mean_ms: float
    late_p99_ms: float
    answer_ms: float
    timestamps: str

    @property
    def cpu_us_per_token(self) -> float:
        """The client's worker's."""
        return self.cpu_s * 1e6 / self.tokens if self.tokens else 0.0

    @property
    def client_excess(self) -> float:
        """The client's worst error as a share of what is allowed: above 1 it cannot be trusted."""
        return float("inf") if self.lost else max(figure.excess for figure in self.figures.values())

    @property
    def limit(self) -> Limit | None:
        """Who could not keep up; None: the client is to be trusted at this load.

        The server could not where its writes were too late on average. Some late writes are no harm by
        themselves, as the client is held against what was really done; but where the client fails too,
        the bursts in which such writes come may be why.
        """
        allowed = allowed_ms(self.answer_ms)
        if self.late_mean_ms > allowed:
            return "server"
        if self.cpu_share > MOST_CPU_SHARE:
            return "client"
        if self.client_excess <= 1:
            return None
        return "server" if self.late_p99_ms > allowed else "client"

    def to_dict(self) -> dict[str, Any]:
        """The step as calibration.json has it."""
        return {
            "streams": self.streams,
            "requests": self.requests,
            "duration_s": round(self.duration_s, 3),
            "tokens_per_s": round(self.tokens_per_s, 1),
            **{name: _figure_to_dict(figure) for name, figure in self.figures.items()},
            "lost": self.lost,
            "client_cpu_share": round(self.cpu_share, 4),
            "client_cpu_us_per_token": round(self.cpu_us_per_token, 3),
            "server_late_mean_ms": round(self.late_mean_ms, 6),
            "server_late_p99_ms": round(self.late_p99_ms, 6),
            "timestamps": self.timestamps,
            "limit": self.limit,
        }


def read_step(round_json: Mapping[str, Any], truth: Mapping[str, Any], answer_ms: float) -> Step:
    """The step from the client's file of the round and the server's truth about it."""
    configuration, said = round_json["configuration"], round_json["summary"]
    tokens = said_tokens(said)
    late = truth["late_ms"]
    audit = said["audit"] or {}
    cpu_s = audit.get("cpu_s") or 0.0
    asked = said["total_requests"]
    return Step(
        streams=configuration["concurrency"],
        requests=asked,
        duration_s=said["duration_s"],
        tokens_per_s=said["throughput"]["tokens_per_s"] or 0.0,
        figures={
            f"{name}_{point}": Figure(said[ours][point], truth[theirs][point] or 0.0)
            for name, (ours, theirs) in _FIGURES.items()
            for point in _POINTS
        },
        lost=2 * asked - said["successful_requests"] - truth["finished"] + abs(tokens - truth["tokens"]),
        cpu_s=cpu_s,
        cpu_share=audit.get("cpu_share") or cpu_s / (said["duration_s"] or math.inf),
        tokens=truth["tokens"],
        late_mean_ms=late["mean"] or 0.0,
        late_p99_ms=late["p99"] or 0.0,
        answer_ms=answer_ms,
        timestamps=configuration["timestamps"],
    )


def said_tokens(summary: Mapping[str, Any]) -> int:
    """All output tokens that the client counted."""
    return round(float(summary["avg_output_tokens"] or 0) * int(summary["successful_requests"]))


def _figure_to_dict(figure: Figure) -> dict[str, float | None]:
    error_ms = figure.error_ms
    return {
        "said_ms": figure.said_ms,
        "true_ms": figure.true_ms,
        "error_ms": None if error_ms is None else round(error_ms, 6),
    }
