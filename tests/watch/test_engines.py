from __future__ import annotations

import pytest

from fluxperf.watch.engines import ENGINES, Engine, is_read

ALL = pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)


def test_an_engine_goes_by_its_name() -> None:
    assert all(engine.name == name for name, engine in ENGINES.items())
    assert len({engine.label for engine in ENGINES.values()}) == len(ENGINES)


def test_lmcache_is_looked_for_before_the_engine_that_it_sits_in() -> None:
    assert next(iter(ENGINES)) == "lmcache"


@ALL
def test_what_is_read_of_an_engine_is_read_with_and_without_total(engine: Engine) -> None:
    for name in engine.metrics:
        assert is_read(name)
        assert is_read(f"{name}_total")
        assert not name.endswith("_total")


@ALL
def test_its_own_counters_begin_as_it_is_told_by(engine: Engine) -> None:
    assert any(name.startswith(engine.prefix) for name in engine.counters)


@ALL
def test_counters_are_no_gauges(engine: Engine) -> None:
    assert not engine.counters & {*engine.busy, engine.capacity}


@ALL
def test_what_must_be_there_is_what_it_goes_by_but_for_late_hits(engine: Engine) -> None:
    for counted in engine.counted:
        missing = set(counted.names) - set(counted.needed)
        assert missing == (set(counted.hits) - set(counted.queries) if counted.hits_born_late else set())


@pytest.mark.parametrize(
    "gauge",
    [
        "vllm:gpu_prefix_cache_hit_rate",
        "vllm:cpu_prefix_cache_hit_rate",
        "sglang:cache_hit_rate",
        "lmcache:retrieve_hit_rate",
        "lmcache:lookup_hit_rate",
        "lmcache_hit_rate",
        "trtllm_kv_cache_hit_rate",
        "vllm:prefix_cache_hits_created",
        "vllm:time_to_first_token_seconds_bucket",
        "go_goroutines",
    ],
)
def test_rates_and_what_else_a_page_has_is_not_read(gauge: str) -> None:
    assert not is_read(gauge)
