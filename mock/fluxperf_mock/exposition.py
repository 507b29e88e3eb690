"""Counters under vLLM's names, and the Prometheus text that shows them. They count from the start and are never reset.

The text is the exposition format 0.0.4 (prometheus.io, "Exposition formats").
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

from fluxperf.units import NS_PER_S

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# vLLM's buckets, in seconds.
_TTFT_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
_ITL_S = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
_E2E_S = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0),
    *(40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)


class Buckets:
    """A Prometheus histogram of durations."""

    __slots__ = ("_bounds_ns", "bounds_s", "counts", "sum_ns")

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self.bounds_s = bounds_s
        self._bounds_ns = [round(bound * NS_PER_S) for bound in bounds_s]
        self.counts = [0] * (len(bounds_s) + 1)
        self.sum_ns = 0

    def observe(self, value_ns: int) -> None:
        """Counts one duration."""
        self.counts[bisect_left(self._bounds_ns, value_ns)] += 1
        self.sum_ns += value_ns


@dataclass(slots=True)
class Counters:
    """What the server has done since it started, as its own engine sees it (not its sockets: that is `truth`)."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    generation_tokens: int = 0
    cache_queries: int = 0
    cache_hits: int = 0
    success: dict[str, int] = field(default_factory=lambda: {"stop": 0, "length": 0, "abort": 0})
    ttft: Buckets = field(default_factory=lambda: Buckets(_TTFT_S))
    itl: Buckets = field(default_factory=lambda: Buckets(_ITL_S))
    e2e: Buckets = field(default_factory=lambda: Buckets(_E2E_S))


@dataclass(frozen=True, slots=True)
class Gauges:
    """What is so at this moment."""

    running: int
    waiting: int
    cache_usage: float


def render(counters: Counters, gauges: Gauges, model: str) -> str:
    """The exposition text, ending with a line feed."""
    return "\n".join(_lines(counters, gauges, f'engine="0",model_name="{_escape(model)}"')) + "\n"


def _lines(counters: Counters, gauges: Gauges, labels: str) -> Iterator[str]:
    for name, text, gauge in (
        ("num_requests_running", "Number of requests in model execution.", gauges.running),
        ("num_requests_waiting", "Number of requests waiting to be processed.", gauges.waiting),
        ("kv_cache_usage_perc", "Share of the KV cache in use by running requests, 0 to 1.", gauges.cache_usage),
    ):
        yield from _header(name, "gauge", text)
        yield f"vllm:{name}{{{labels}}} {float(gauge)}"
    for name, text, count in (
        ("prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache.", counters.cache_queries),
        ("prefix_cache_hits_total", "Prompt tokens found in the prefix cache.", counters.cache_hits),
        ("prompt_tokens_total", "Prompt tokens processed, cached ones included.", counters.prompt_tokens),
        ("prompt_tokens_cached_total", "Prompt tokens taken from the cache.", counters.cached_tokens),
        ("generation_tokens_total", "Tokens generated.", counters.generation_tokens),
    ):
        yield from _header(name, "counter", text)
        yield f"vllm:{name}{{{labels}}} {float(count)}"
    yield from _header("request_success_total", "counter", "Requests that ended, by the reason.")
    for reason, count in counters.success.items():
        yield f'vllm:request_success_total{{{labels},finished_reason="{reason}"}} {float(count)}'
    for name, text, buckets in (
        ("time_to_first_token_seconds", "Arrival of the request to its first token.", counters.ttft),
        ("inter_token_latency_seconds", "Time between two tokens of a request.", counters.itl),
        ("e2e_request_latency_seconds", "Arrival of the request to its last token.", counters.e2e),
    ):
        yield from _header(name, "histogram", text)
        yield from _histogram(f"vllm:{name}", buckets, labels)


def _header(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP vllm:{name} {text}", f"# TYPE vllm:{name} {kind}"


def _histogram(name: str, buckets: Buckets, labels: str) -> Iterator[str]:
    below = 0
    for bound, count in zip((*buckets.bounds_s, "+Inf"), buckets.counts, strict=True):
        below += count
        yield f'{name}_bucket{{{labels},le="{bound}"}} {float(below)}'
    yield f"{name}_count{{{labels}}} {float(below)}"
    yield f"{name}_sum{{{labels}}} {buckets.sum_ns / NS_PER_S}"


def _escape(value: str) -> str:
    """A label's value as the format wants it."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
