"""The engines whose prefix caches are known: names of counters, and where they stand. A further engine is one row.

Counters only, and never the hit-rate gauges beside them: those are of the last batch, of the last thousand requests, or
1 when nothing was asked. Gathered from the engines' own sources (vLLM, SGLang, llama.cpp, LMCache, TensorRT-LLM).
"""

from __future__ import annotations

from dataclasses import dataclass

METRICS_PAGE = "/metrics"


@dataclass(frozen=True, slots=True)
class Counted:
    """Names of counters whose sums are what hit and what was looked up, in tokens or blocks.

    `hits_born_late`: a page has the hits only once there was one, so where they are missing there was none.
    `block_tokens` is the size of the blocks that the cache holds, unless told otherwise. `counts_prompts`: each prompt
    token of each request is looked up, and counted as one.
    """

    hits: tuple[str, ...]
    queries: tuple[str, ...]
    unit: str = "tokens"
    hits_born_late: bool = False
    block_tokens: int = 16
    counts_prompts: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All that it goes by."""
        return (*self.hits, *self.queries)

    @property
    def needed(self) -> tuple[str, ...]:
        """Those that a page must have."""
        return self.queries if self.hits_born_late else self.names


@dataclass(frozen=True, slots=True)
class Engine:
    """How an engine counts. Of `counted` the first counts that a page has whole is used.

    `prompt_tokens` are the counters whose sum is every prompt token that it was sent. `busy` are gauges
    of requests that run or wait. `capacity` is what says how many tokens the cache holds: by its value, or
    by labels that count blocks and their tokens. `prefix` is what the names of its metrics begin with;
    `digits`: how many digits of a counter are printed (None: all). `hint` is what to do where its counters are not to
    be had.
    """

    name: str
    label: str
    prefix: str
    counted: tuple[Counted, ...]
    prompt_tokens: tuple[str, ...] = ()
    busy: tuple[str, ...] = ()
    preemptions: str | None = None
    capacity: str | None = None
    page: str = METRICS_PAGE
    digits: int | None = None
    hint: str = ""

    @property
    def counters(self) -> frozenset[str]:
        """All counters that are read of it, without `_total`."""
        counted = (name for counted in self.counted for name in counted.names)
        return frozenset((*counted, *self.prompt_tokens, *([self.preemptions] if self.preemptions else [])))

    @property
    def metrics(self) -> frozenset[str]:
        """All metrics that are read of it, without `_total`."""
        return self.counters.union(self.busy, [self.capacity] if self.capacity else [])


_VLLM_BUSY = ("vllm:num_requests_running", "vllm:num_requests_waiting")

ENGINES: dict[str, Engine] = {
    engine.name: engine
    for engine in (
        # LMCache sits inside an engine, and its counters stand beside that engine's: it is looked for first. It is
        # asked for what the engine's own cache does not hold.
        Engine(
            "lmcache",
            "LMCache",
            "lmcache",
            (
                Counted(("vllm:prefix_cache_hits", "lmcache:num_hit_tokens"), ("vllm:prefix_cache_queries",)),
                Counted(("lmcache:num_hit_tokens",), ("lmcache:num_requested_tokens",), block_tokens=256),
                Counted(("lmcache:num_lookup_hits",), ("lmcache:num_lookup_tokens",), block_tokens=256),
                Counted(("lmcache_mp_lookup_hit_tokens",), ("lmcache_mp_lookup_requested_tokens",), block_tokens=256),
            ),
            prompt_tokens=("vllm:prompt_tokens",),
            busy=_VLLM_BUSY,
            preemptions="vllm:num_preemptions",
        ),
        Engine(
            "vllm",
            "vLLM",
            "vllm:",
            (
                Counted(
                    ("vllm:prefix_cache_hits", "vllm:external_prefix_cache_hits"),
                    ("vllm:prefix_cache_queries",),
                    counts_prompts=True,
                ),
                Counted(("vllm:prefix_cache_hits",), ("vllm:prefix_cache_queries",), counts_prompts=True),
                Counted(("vllm:gpu_prefix_cache_hits",), ("vllm:gpu_prefix_cache_queries",), counts_prompts=True),
                Counted(("vllm:prompt_tokens_cached",), ("vllm:prompt_tokens",), counts_prompts=True),
            ),
            prompt_tokens=("vllm:prompt_tokens",),
            busy=_VLLM_BUSY,
            preemptions="vllm:num_preemptions",
            capacity="vllm:cache_config_info",
        ),
        Engine(
            "sglang",
            "SGLang",
            "sglang:",
            (
                Counted(
                    ("sglang:cached_tokens",),
                    ("sglang:prompt_tokens",),
                    hits_born_late=True,
                    block_tokens=1,
                    counts_prompts=True,
                ),
            ),
            prompt_tokens=("sglang:prompt_tokens",),
            busy=("sglang:num_running_reqs", "sglang:num_queue_reqs"),
            capacity="sglang:max_total_num_tokens",
            hint="start it with --enable-metrics",
        ),
        Engine(
            "llamacpp",
            "llama.cpp",
            "llamacpp:",
            # prompt_tokens counts those that were computed, without the cached ones.
            (
                Counted(
                    ("llamacpp:prompt_tokens_cached",),
                    ("llamacpp:prompt_tokens_cached", "llamacpp:prompt_tokens"),
                    block_tokens=1,
                    counts_prompts=True,
                ),
            ),
            prompt_tokens=("llamacpp:prompt_tokens_cached", "llamacpp:prompt_tokens"),
            busy=("llamacpp:requests_processing", "llamacpp:requests_deferred"),
            digits=6,
            hint="start it with --metrics",
        ),
        Engine(
            "trtllm",
            "TensorRT-LLM",
            "trtllm_",
            (
                Counted(
                    ("trtllm_kv_cache_reused_blocks",),
                    ("trtllm_kv_cache_reused_blocks", "trtllm_kv_cache_missed_blocks"),
                    unit="blocks",
                    block_tokens=32,
                ),
            ),
            prompt_tokens=("trtllm_prompt_tokens",),
            busy=("trtllm_num_requests_running", "trtllm_num_requests_waiting"),
            page="/prometheus/metrics",
            hint="start it with return_perf_metrics on",
        ),
    )
}


START_TIME = "process_start_time_seconds"
READ = frozenset({START_TIME}).union(*(engine.metrics for engine in ENGINES.values()))


def is_read(name: str) -> bool:
    """Whether the metric of this name, as a page has it, is one that is read of any engine."""
    return name.removesuffix("_total") in READ
