"""The table of other tools: how each defines what it reports. To add one, add a row, and a row in docs/lens.md.

Definitions were read in the tools' sources, in the versions named. Names of figures are those of their own reports.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fluxperf.analysis import lens_rules as rules
from fluxperf.analysis.lens_rules import Formula, Others, Rule
from fluxperf.analysis.lens_spread import Spread
from fluxperf.model import Timeline

MS, PER_S = "ms", "tokens/s"


@dataclass(frozen=True, slots=True)
class Measure:
    """What a tool reports the spread of. `formula` None: the gaps between events, pooled. `ours` comes closest."""

    name: str
    formula: Formula | None
    ours: str | None
    unit: str = MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool's rules. `end` is what its latency counts to, `last` its last token; `others` are events without
    output that are tokens to it.

    `spans_all`: its duration counts to the end of the last response, failed ones included; else to the `end` of those
    that count. `label` makes a figure's name of a statistic and a measure; `totals` has names for what is of a whole
    round. `percentile` says how it takes percentiles. `limits`: what stamps cannot tell of it.
    """

    title: str
    version: str
    start: Rule
    first: Rule
    last: Rule
    end: Rule
    others: Others = rules.NO_OTHERS
    counts: Callable[[Timeline], bool] = rules.is_200_with_events
    spans_all: bool = True
    measures: tuple[Measure, ...]
    statistics: tuple[str, ...]
    label: str
    totals: Mapping[str, str]
    percentile: Callable[[Spread, float], float | None] = Spread.interpolated
    freedom: int = 0
    limits: tuple[str, ...] = ()


_STAMPS = "Its stamps are taken when its event loop comes to an event, these by the kernel: without its own delays."
_ITS_TOKENS = "It counts tokens with a tokenizer unless told otherwise; here they are those of the server's usage."
_DONE = "Its latency ends with [DONE]; here with the response, of which that is nearly always the last."
_ANEW = "It opens a connection for each request; here only connections that FluxPerf opened count."

_VLLM_MEASURES = (
    Measure("ttft", rules.first_token, "ttft_ms"),
    Measure("tpot", rules.rest_per_token, "itl_ms"),
    Measure("itl", None, "chunk_gap_ms"),
    Measure("e2el", rules.whole, "latency_ms"),
)
_VLLM_TOTALS = {
    "completed": "requests",
    "duration": "duration_s",
    "request_throughput": "requests_per_s",
    "output_throughput": "tokens_per_s",
    "total_token_throughput": "all_tokens_per_s",
}
_NVIDIA_STATISTICS = ("avg", "p50", "p90", "p99", "min", "max", "std")
_NVIDIA_TOTALS = {
    "request_count": "requests",
    "request_throughput": "requests_per_s",
    "output_token_throughput": "tokens_per_s",
}

TOOLS: dict[str, Tool] = {
    "vllm": Tool(
        title="vllm bench serve (openai-chat)",
        version="0.33.0",
        start=rules.BEFORE_CONNECTING,
        first=rules.FIRST_SHOWN,
        last=rules.LAST_SHOWN,
        end=rules.LAST_SHOWN,
        others=rules.BLANK,
        measures=_VLLM_MEASURES,
        statistics=("mean", "median", "std", "p99"),
        label="{statistic}_{measure}_ms",
        totals=_VLLM_TOTALS,
        limits=(
            _STAMPS,
            "Events whose only output is `reasoning_content` or a refusal are no tokens to it; here they are.",
        ),
    ),
    "vllm-0.28": Tool(
        title="vllm bench serve (openai-chat)",
        version="0.28.0 and before",
        start=rules.BEFORE_CONNECTING,
        first=rules.FIRST_CHOICE,
        last=rules.LAST_CHOICE,
        end=rules.LAST_EVENT,
        others=rules.SILENT,
        measures=_VLLM_MEASURES,
        statistics=("mean", "median", "std", "p99"),
        label="{statistic}_{measure}_ms",
        totals=_VLLM_TOTALS,
        limits=(_STAMPS,),
    ),
    "aiperf": Tool(
        title="aiperf (chat, streaming)",
        version="0.13.0",
        start=rules.BEFORE_CONNECTING,
        first=rules.FIRST_OUTPUT,
        last=rules.LAST_OUTPUT,
        end=rules.LAST_OUTPUT,
        counts=rules.is_2xx_with_events,
        spans_all=False,
        measures=(
            Measure("time_to_first_token", rules.first_token, "ttft_ms"),
            Measure("inter_token_latency", rules.rest_per_token, "itl_ms"),
            Measure("inter_chunk_latency", None, "chunk_gap_ms"),
            Measure("request_latency", rules.whole, "latency_ms"),
            Measure("output_token_throughput_per_user", rules.rest_rate, None, PER_S),
        ),
        statistics=_NVIDIA_STATISTICS,
        label="{measure}.{statistic}",
        totals={**_NVIDIA_TOTALS, "benchmark_duration": "duration_s"},
        limits=(_STAMPS, _ITS_TOKENS),
    ),
    "genai-perf": Tool(
        title="genai-perf (chat, streaming)",
        version="0.0.16",
        start=rules.BEFORE_CONNECTING,
        first=rules.FIRST_ANSWER,
        last=rules.LAST_OUTPUT,
        end=rules.LAST_OUTPUT,
        spans_all=False,
        measures=(
            Measure("time_to_first_token", rules.first_token, "ttft_ms"),
            Measure("inter_token_latency", rules.rest_per_token, "itl_ms"),
            Measure("request_latency", rules.whole, "latency_ms"),
            Measure("output_token_throughput_per_user", rules.rest_rate, None, PER_S),
        ),
        statistics=_NVIDIA_STATISTICS,
        label="{measure}.{statistic}",
        totals=_NVIDIA_TOTALS,
        limits=(_STAMPS, _ITS_TOKENS, "Reasoning and tool calls are no tokens to it; here the last event may be one."),
    ),
    "sglang": Tool(
        title="sglang.bench_serving (sglang-oai-chat)",
        version="0.5.23",
        start=rules.BEFORE_CONNECTING,
        first=rules.FIRST_OUTPUT,
        last=rules.LAST_OUTPUT,
        end=rules.END,
        measures=(
            Measure("ttft", rules.first_token, "ttft_ms"),
            Measure("tpot", rules.rest_per_token, "itl_ms"),
            Measure("itl", None, "chunk_gap_ms"),
            Measure("e2e_latency", rules.whole, "latency_ms"),
        ),
        statistics=("mean", "median", "std", "p95", "p99"),
        label="{statistic}_{measure}_ms",
        totals={
            "completed": "requests",
            "duration": "duration_s",
            "request_throughput": "requests_per_s",
            "output_throughput": "tokens_per_s",
            "concurrency": "in_flight",
        },
        limits=(
            _STAMPS,
            _ANEW,
            _DONE,
            "Where the stream has no usage it takes the number of tokens that was asked for; tool calls are no tokens.",
        ),
    ),
    "guidellm": Tool(
        title="guidellm (http, chat completions)",
        version="0.8.1",
        start=rules.SENT,
        first=rules.FIRST_OUTPUT,
        last=rules.LAST_OUTPUT,
        end=rules.END,
        counts=rules.is_2xx_without_error,
        measures=(
            Measure("time_to_first_token_ms", rules.first_token, "ttft_ms"),
            Measure("inter_token_latency_ms", rules.rest_by_token, "itl_ms"),
            Measure("time_per_output_token_ms", rules.all_by_token, None),
            Measure("request_latency", rules.whole, "latency_ms", "s"),
        ),
        statistics=("mean", "median", "p95", "p99", "std_dev"),
        label="{measure}.{statistic}",
        totals={"requests_per_second.mean": "requests_per_s", "output_tokens_per_second.mean": "tokens_per_s"},
        percentile=Spread.reached,
        limits=(
            _STAMPS,
            _DONE,
        ),
    ),
    "llmperf": Tool(
        title="llmperf (openai)",
        version="(git 004d3af)",
        start=rules.BEFORE_CONNECTING,
        first=rules.FIRST_ANSWER,
        last=rules.LAST_OUTPUT,
        end=rules.END,
        counts=rules.is_2xx_without_error,
        measures=(
            Measure("ttft_s", rules.first_token, "ttft_ms", "s"),
            Measure("inter_token_latency_s", rules.all_per_token, "itl_ms", "s"),
            Measure("end_to_end_latency_s", rules.whole, "latency_ms", "s"),
            Measure("request_output_throughput_token_per_s", rules.token_rate, "output_token_throughput", PER_S),
        ),
        statistics=("mean", "p50", "p90", "p99", "min", "max", "stddev"),
        label="{measure}.{statistic}",
        totals={"mean_output_throughput_token_per_s": "tokens_per_s", "num_completed_requests": "requests"},
        freedom=1,
        limits=(_STAMPS, _ITS_TOKENS, _ANEW, "Reasoning and tool calls are no tokens to it."),
    ),
}
