"""Counters under vLLM's names, and the Prometheus text that shows them. They count from the start and are never reset.

The text is the exposition format 0.0.4 (prometheus.io, "Exposition formats").
"""

from __future__ import annotations

import ctypes
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fluxperf.units import NS_PER_S
from fluxperf_mock.shared import share, share_numbers

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

# What is shown: the name, the attribute it is from, what it is.
_GAUGES = (
    ("num_requests_running", "running", "Number of requests in model execution."),
    ("num_requests_waiting", "waiting", "Number of requests waiting to be processed."),
    ("kv_cache_usage_perc", "cache_usage", "Share of the KV cache in use by running requests, 0 to 1."),
)
_COUNTERS = (
    ("prefix_cache_queries_total", "cache_queries", "Prompt tokens looked up in the prefix cache."),
    ("prefix_cache_hits_total", "cache_hits", "Prompt tokens found in the prefix cache."),
    ("prompt_tokens_total", "prompt_tokens", "Prompt tokens processed, cached ones included."),
    ("prompt_tokens_cached_total", "cached_tokens", "Prompt tokens taken from the cache."),
    ("generation_tokens_total", "generation_tokens", "Tokens generated."),
)
_HISTOGRAMS = (
    ("time_to_first_token_seconds", "ttft", "Arrival of the request to its first token."),
    ("inter_token_latency_seconds", "itl", "Time between two tokens of a request."),
    ("e2e_request_latency_seconds", "e2e", "Arrival of the request to its last token."),
)


class Buckets:
    """A Prometheus histogram of durations."""

    __slots__ = ("_bounds_ns", "_numbers", "bounds_s")

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self.bounds_s = bounds_s
        self._bounds_ns = [round(bound * NS_PER_S) for bound in bounds_s]
        self._numbers = share_numbers(len(bounds_s) + 2)  # the last is the sum

    def observe(self, value_ns: int) -> None:
        """Counts one duration."""
        self._numbers[bisect_left(self._bounds_ns, value_ns)] += 1
        self._numbers[-1] += value_ns

    @property
    def counts(self) -> list[int]:
        """How many durations each bucket holds; the last one is of those beyond all bounds."""
        return self._numbers[:-1].tolist()

    @property
    def sum_ns(self) -> int:
        """All durations together."""
        return int(self._numbers[-1])


class Totals(ctypes.Structure):
    """What is counted one by one; the last three are requests that ended, by the reason."""

    prompt_tokens: int
    cached_tokens: int
    generation_tokens: int
    cache_queries: int
    cache_hits: int
    stop: int
    length: int
    abort: int

    _fields_ = tuple((name, ctypes.c_int64) for name in __annotations__)


class Counters:
    """What one process has done since it started, as its engine sees it (not its sockets: that is `truth`)."""

    __slots__ = ("e2e", "itl", "totals", "ttft")

    def __init__(self) -> None:
        self.totals = share(Totals)
        self.ttft = Buckets(_TTFT_S)
        self.itl = Buckets(_ITL_S)
        self.e2e = Buckets(_E2E_S)


@dataclass(frozen=True, slots=True)
class Sample:
    """One engine at this moment: what it has done, and what runs, waits and takes room."""

    counters: Counters
    running: int
    waiting: int
    cache_usage: float


def render(engines: Sequence[Sample], model: str) -> str:
    """The exposition text, ending with a line feed. Each engine has its own samples, as in vLLM."""
    name = _escape(model)
    labelled = [(f'engine="{number}",model_name="{name}"', engine) for number, engine in enumerate(engines)]
    return "\n".join(_lines(labelled)) + "\n"


def _lines(engines: Sequence[tuple[str, Sample]]) -> Iterator[str]:
    for name, attribute, text in _GAUGES:
        yield from _header(name, "gauge", text)
        for labels, engine in engines:
            yield f"vllm:{name}{{{labels}}} {float(getattr(engine, attribute))}"
    for name, attribute, text in _COUNTERS:
        yield from _header(name, "counter", text)
        for labels, engine in engines:
            yield f"vllm:{name}{{{labels}}} {float(getattr(engine.counters.totals, attribute))}"
    yield from _header("request_success_total", "counter", "Requests that ended, by the reason.")
    for labels, engine in engines:
        for reason in ("stop", "length", "abort"):
            count = getattr(engine.counters.totals, reason)
            yield f'vllm:request_success_total{{{labels},finished_reason="{reason}"}} {float(count)}'
    for name, attribute, text in _HISTOGRAMS:
        yield from _header(name, "histogram", text)
        for labels, engine in engines:
            yield from _histogram(f"vllm:{name}", getattr(engine.counters, attribute), labels)


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
