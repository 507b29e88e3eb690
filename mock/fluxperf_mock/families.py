"""The metrics that each engine shows: its names, its labels, and what of ours stands behind them."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

from fluxperf.units import NS_PER_S
from fluxperf_mock.counters import Buckets, Sample
from fluxperf_mock.exposition import Group, Metric

# A model of 8B parameters, and a token in its KV cache: keys and values, 32 layers, 8 heads of 128, two bytes each.
_MODEL_BYTES = 16_000_000_000
_TOKEN_BYTES = 2 * 32 * 8 * 128 * 2

_CACHE_SIZE = 'block_size="{block_tokens}",num_gpu_blocks="{blocks}"'

_RUNNING = attrgetter("load.running")
_WAITING = attrgetter("load.waiting")
_TTFT = attrgetter("counters.ttft")
_ITL = attrgetter("counters.itl")
_E2E = attrgetter("counters.e2e")


def _total(name: str) -> Callable[[Sample], float | Buckets]:
    return attrgetter(f"counters.totals.{name}")


def _nothing(_: Sample) -> float:
    return 0


def _one(_: Sample) -> float:
    return 1


def _ratio(part: float, whole: float, otherwise: float = 0.0) -> float:
    return part / whole if whole else otherwise


def _cache_usage(sample: Sample) -> float:
    return sample.load.cache_usage(sample.cache_tokens)


def _hit_ratio(sample: Sample) -> float:
    totals = sample.counters.totals
    return _ratio(totals.cache_hits, totals.cache_queries)


def _hit_ratio_or(idle: float) -> Callable[[Sample], float]:
    """The hit rate while there is work to do, and what the gauge falls back to when there is none."""
    return lambda sample: _hit_ratio(sample) if sample.load.running or sample.load.waiting else idle


def _last_hit_ratio(sample: Sample) -> float:
    totals = sample.counters.totals
    return _ratio(totals.last_cached_tokens, totals.last_prompt_tokens)


def _block_hit_ratio(sample: Sample) -> float:
    totals = sample.counters.totals
    return _ratio(totals.reused_blocks, totals.reused_blocks + totals.missed_blocks)


def _computed_tokens(sample: Sample) -> int:
    return int(sample.counters.totals.prompt_tokens - sample.counters.totals.cached_tokens)


def _prefill_s(sample: Sample) -> float:
    return float(sample.counters.totals.prefill_ns / NS_PER_S)


def _decode_s(sample: Sample) -> float:
    return sample.counters.itl.sum_ns / NS_PER_S


def _prefill_tokens_per_s(sample: Sample) -> float:
    return _ratio(_computed_tokens(sample), _prefill_s(sample))


def _decode_tokens_per_s(sample: Sample) -> float:
    return _ratio(sample.counters.totals.generation_tokens, _decode_s(sample))


def _slots_per_decode(sample: Sample) -> float:
    return 1.0 if sample.counters.totals.generation_tokens else 0.0


def _memory_bytes(sample: Sample) -> int:
    return int(_MODEL_BYTES + _TOKEN_BYTES * sample.load.held_tokens)


# All that have metrics have this one: users ask for it by name.
MEMORY = Group(
    "", "", (Metric("memory_usage_bytes", "gauge", "Memory in use, which grows with the load.", _memory_bytes),)
)

# What prometheus-client adds to a Python process's page.
STARTED = Group(
    "",
    "",
    (Metric("process_start_time_seconds", "gauge", "Start of the process, Unix time.", attrgetter("started_s")),),
)


def _ended(reason: str) -> Metric:
    label = f'finished_reason="{reason}"'
    return Metric("request_success_total", "counter", "Requests that ended, by the reason.", _total(reason), label)


_ENDED = (_ended("stop"), _ended("length"), _ended("abort"))
_HISTOGRAMS = (
    Metric("time_to_first_token_seconds", "histogram", "Arrival of the request to its first token.", _TTFT),
    Metric("inter_token_latency_seconds", "histogram", "Time between two tokens of a request.", _ITL),
    Metric("e2e_request_latency_seconds", "histogram", "Arrival of the request to its last token.", _E2E),
)


def _vllm(own_hits: Callable[[Sample], float | Buckets], *external: Callable[[Sample], float | Buckets]) -> Group:
    """vLLM's, with what its own prefix cache hit, and what was asked of an external one and hit there."""
    queries, hits = external
    return Group(
        "vllm:",
        'engine="{engine}",model_name="{model}"',
        (
            Metric("num_requests_running", "gauge", "Number of requests in model execution.", _RUNNING),
            Metric("num_requests_waiting", "gauge", "Number of requests waiting to be processed.", _WAITING),
            Metric("cache_config_info", "gauge", "Size of the KV cache, in its labels.", _one, _CACHE_SIZE),
            Metric("kv_cache_usage_perc", "gauge", "Share of the KV cache that running requests use.", _cache_usage),
            Metric("num_preemptions_total", "counter", "Requests that were preempted.", _total("preemptions")),
            Metric("prefix_cache_queries_total", "counter", "Prompt tokens looked up.", _total("cache_queries")),
            Metric("prefix_cache_hits_total", "counter", "Prompt tokens found in the prefix cache.", own_hits),
            Metric("external_prefix_cache_queries_total", "counter", "Tokens asked of an external cache.", queries),
            Metric("external_prefix_cache_hits_total", "counter", "Tokens found in an external cache.", hits),
            Metric("prompt_tokens_total", "counter", "Prompt tokens, cached ones included.", _total("prompt_tokens")),
            Metric("prompt_tokens_cached_total", "counter", "Prompt tokens from a cache.", _total("cached_tokens")),
            Metric("generation_tokens_total", "counter", "Tokens generated.", _total("generation_tokens")),
            *_ENDED,
            *_HISTOGRAMS,
        ),
    )


VLLM = _vllm(_total("cache_hits"), _nothing, _nothing)
# An engine whose own prefix cache is off: LMCache, behind it, has all hits.
VLLM_WITHOUT_HITS = _vllm(_nothing, _total("cache_queries"), _total("cache_hits"))

LMCACHE = Group(
    "lmcache:",
    'model_name="{model}"',
    (
        Metric("num_requested_tokens_total", "counter", "Tokens to be retrieved.", _total("cache_queries")),
        Metric("num_hit_tokens_total", "counter", "Tokens that were retrieved.", _total("cache_hits")),
        Metric("num_lookup_tokens_total", "counter", "Tokens looked up.", _total("cache_queries")),
        Metric("num_lookup_hits_total", "counter", "Tokens that a lookup found.", _total("cache_hits")),
        Metric("retrieve_hit_rate", "gauge", "Hit rate of retrieves; 1 when idle.", _hit_ratio_or(1.0)),
        Metric("lookup_hit_rate", "gauge", "Hit rate of lookups; 0 when idle.", _hit_ratio_or(0.0)),
    ),
)
LMCACHE_RATE = Group("", "", (Metric("lmcache_hit_rate", "gauge", "Hit rate since the start.", _hit_ratio),))

SGLANG = Group(
    "sglang:",
    'model_name="{model}"',
    (
        Metric("num_running_reqs", "gauge", "Number of running requests.", _RUNNING),
        Metric("num_queue_reqs", "gauge", "Number of requests in the queue.", _WAITING),
        Metric("max_total_num_tokens", "gauge", "Tokens that the KV cache holds.", attrgetter("cache_tokens")),
        Metric("token_usage", "gauge", "Share of the KV cache that running requests use.", _cache_usage),
        Metric("cache_hit_rate", "gauge", "Hit rate of the last prefill batch.", _last_hit_ratio),
        Metric("prompt_tokens_total", "counter", "Prompt tokens, cached ones included.", _total("prompt_tokens")),
        Metric(
            "cached_tokens_total",
            "counter",
            "Prompt tokens from a cache.",
            _total("cached_tokens"),
            'cache_source="device"',
        ),
        Metric("generation_tokens_total", "counter", "Tokens generated.", _total("generation_tokens")),
        *_HISTOGRAMS,
    ),
)

LLAMACPP = Group(
    "llamacpp:",
    "",
    (
        Metric("prompt_tokens_total", "counter", "Prompt tokens computed, without cached ones.", _computed_tokens),
        Metric("prompt_tokens_cached_total", "counter", "Prompt tokens from the cache.", _total("cached_tokens")),
        Metric("prompt_seconds_total", "counter", "Time spent on prompts.", _prefill_s),
        Metric("tokens_predicted_total", "counter", "Tokens generated.", _total("generation_tokens")),
        Metric("tokens_predicted_seconds_total", "counter", "Time spent on generating tokens.", _decode_s),
        Metric("n_decode_total", "counter", "Calls of the decoder: one a token here.", _total("generation_tokens")),
        Metric("n_tokens_max", "counter", "Longest sequence, prompt and answer.", _total("longest_tokens")),
        Metric("spec_decode_num_draft_tokens_total", "counter", "Tokens drafted.", _nothing),
        Metric("spec_decode_num_accepted_tokens_total", "counter", "Drafted tokens that were accepted.", _nothing),
        Metric("spec_decode_num_drafts_total", "counter", "Drafts.", _nothing),
        Metric("prompt_tokens_seconds", "gauge", "Prompt tokens computed a second.", _prefill_tokens_per_s),
        Metric("predicted_tokens_seconds", "gauge", "Tokens generated a second.", _decode_tokens_per_s),
        Metric("requests_processing", "gauge", "Number of requests being processed.", _RUNNING),
        Metric("requests_deferred", "gauge", "Number of requests that wait.", _WAITING),
        Metric("n_busy_slots_per_decode", "gauge", "Busy slots a call of the decoder.", _slots_per_decode),
    ),
)

TRTLLM = Group(
    "trtllm_",
    'model_name="{model}",engine_type="undefined"',
    (
        Metric("num_requests_running", "gauge", "Number of running requests.", _RUNNING),
        Metric("num_requests_waiting", "gauge", "Number of requests in the queue.", _WAITING),
        Metric("kv_cache_utilization", "gauge", "Share of the KV cache that running requests use.", _cache_usage),
        Metric("kv_cache_hit_rate", "gauge", "Reused blocks of all, since the start.", _block_hit_ratio),
        Metric("kv_cache_reused_blocks_total", "counter", "Blocks of prompts found.", _total("reused_blocks")),
        Metric("kv_cache_missed_blocks_total", "counter", "Blocks of prompts not found.", _total("missed_blocks")),
        Metric("prompt_tokens_total", "counter", "Prompt tokens, cached ones included.", _total("prompt_tokens")),
        Metric("generation_tokens_total", "counter", "Tokens generated.", _total("generation_tokens")),
        *_ENDED,
        _HISTOGRAMS[0],
        _HISTOGRAMS[2],
    ),
)
