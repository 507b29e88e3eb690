from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from fluxperf.units import NS_PER_MS, NS_PER_S
from fluxperf_mock.exposition import Buckets, Counters, Sample, render

SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)+)\} ([0-9.e+-]+|NaN)')


def read(text: str) -> dict[str, float]:
    """Name and labels -> value; what is no line of the format fails."""
    samples = {}
    for line in text.splitlines():
        if not line.startswith("# "):
            found = SAMPLE.fullmatch(line)
            assert found, line
            key = f"{found[1]}{{{found[2]}}}"
            assert key not in samples
            samples[key] = float(found[3])
    return samples


def idle() -> Sample:
    return Sample(Counters(), running=0, waiting=0, cache_usage=0.0)


def test_every_family_has_help_and_type_before_its_samples() -> None:
    lines = render([idle(), idle()], "m").splitlines()
    family = ""
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("# HELP "):
            family = line.split()[2]
        elif line.startswith("# TYPE "):
            assert before.startswith(f"# HELP {family} ")
            assert line.split()[2:] in ([family, "counter"], [family, "gauge"], [family, "histogram"])
        else:
            assert line.startswith(family)


def test_the_names_are_those_of_vllm() -> None:
    counters = Counters()
    totals = counters.totals
    totals.prompt_tokens, totals.generation_tokens, totals.cache_queries, totals.cache_hits = 10, 3, 10, 8
    totals.stop = 2
    samples = read(render([Sample(counters, running=1, waiting=2, cache_usage=0.5)], "m"))
    labels = 'engine="0",model_name="m"'
    for name, value in {
        "prompt_tokens_total": 10,
        "generation_tokens_total": 3,
        "prefix_cache_queries_total": 10,
        "prefix_cache_hits_total": 8,
        "num_requests_running": 1,
        "num_requests_waiting": 2,
        "kv_cache_usage_perc": 0.5,
        "time_to_first_token_seconds_count": 0,
        "inter_token_latency_seconds_count": 0,
        "e2e_request_latency_seconds_sum": 0,
    }.items():
        assert samples[f"vllm:{name}{{{labels}}}"] == value
    for reason, value in {"stop": 2, "length": 0, "abort": 0}.items():
        assert samples[f'vllm:request_success_total{{{labels},finished_reason="{reason}"}}'] == value


def test_a_model_name_is_escaped() -> None:
    text = render([idle()], 'a"b\\c\nd')
    assert 'model_name="a\\"b\\\\c\\nd"' in text
    assert read(text)


@given(st.lists(st.integers(0, 100 * NS_PER_S)))
def test_buckets_are_cumulative_and_their_bounds_inclusive(values: list[int]) -> None:
    sample = idle()
    counters = sample.counters
    for value in values:
        counters.itl.observe(value)
    name, labels = "vllm:inter_token_latency_seconds", 'engine="0",model_name="m"'
    samples = read(render([sample], "m"))
    for bound in counters.itl.bounds_s:
        below = sum(value <= bound * NS_PER_S for value in values)
        assert samples[f'{name}_bucket{{{labels},le="{bound}"}}'] == below
    assert samples[f'{name}_bucket{{{labels},le="+Inf"}}'] == samples[f"{name}_count{{{labels}}}"] == len(values)
    assert samples[f"{name}_sum{{{labels}}}"] == sum(values) / NS_PER_S


def test_a_value_on_a_bound_belongs_to_it() -> None:
    buckets = Buckets((0.01, 0.02))
    for value_ms in (10, 10.000001, 20, 21):
        buckets.observe(round(value_ms * NS_PER_MS))
    assert buckets.counts == [1, 2, 1]


def test_each_engine_has_its_own_samples() -> None:
    engines = [idle(), idle()]
    engines[1].counters.totals.prompt_tokens = 5
    engines[1].counters.e2e.observe(NS_PER_S)
    samples = read(render(engines, "m"))
    for engine, prompt_tokens, count in ((0, 0, 0), (1, 5, 1)):
        labels = f'engine="{engine}",model_name="m"'
        assert samples[f"vllm:prompt_tokens_total{{{labels}}}"] == prompt_tokens
        assert samples[f"vllm:e2e_request_latency_seconds_count{{{labels}}}"] == count
