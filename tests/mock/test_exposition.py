from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.units import NS_PER_S
from fluxperf_mock.counters import Sample
from fluxperf_mock.dialects import DIALECTS, Dialect
from fluxperf_mock.exposition import Group, Metric, render
from fluxperf_mock.families import VLLM
from tests.mock.samples import idle, read

SHOWN = [pytest.param(dialect, id=name) for name, dialect in DIALECTS.items() if dialect.metrics]


@pytest.mark.parametrize("dialect", SHOWN)
def test_every_family_has_help_and_type_before_its_samples(dialect: Dialect) -> None:
    text = render(dialect.metrics, [idle(), idle()], "m")
    assert read(text)
    families = []
    lines = text.splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("# HELP "):
            families.append(line.split()[2])
        elif line.startswith("# TYPE "):
            assert before.startswith(f"# HELP {families[-1]} ")
            kind = line.split()[3]
            assert line.split()[2:] == [families[-1], kind]
            assert kind in ("counter", "gauge", "histogram")
        else:
            assert line.startswith(families[-1])
    assert len(set(families)) == len(families)
    assert text.endswith("\n")


def test_a_model_name_is_escaped() -> None:
    text = render([VLLM], [idle()], 'a"b\\c\nd{e}')
    assert 'model_name="a\\"b\\\\c\\nd{e}"' in text
    assert read(text)


@given(st.lists(st.integers(0, 100 * NS_PER_S)))
def test_buckets_are_cumulative_and_their_bounds_inclusive(values: list[int]) -> None:
    sample = idle()
    counters = sample.counters
    for value in values:
        counters.itl.observe(value)
    name, labels = "vllm:inter_token_latency_seconds", 'engine="0",model_name="m"'
    samples = read(render([VLLM], [sample], "m"))
    for bound in counters.itl.bounds_s:
        below = sum(value <= bound * NS_PER_S for value in values)
        assert samples[f'{name}_bucket{{{labels},le="{bound}"}}'] == below
    assert samples[f'{name}_bucket{{{labels},le="+Inf"}}'] == samples[f"{name}_count{{{labels}}}"] == len(values)
    assert samples[f"{name}_sum{{{labels}}}"] == sum(values) / NS_PER_S


def served(prompt_tokens: int) -> Sample:
    sample = idle()
    sample.counters.totals.prompt_tokens = prompt_tokens
    sample.counters.e2e.observe(prompt_tokens * NS_PER_S)
    return sample


def test_each_engine_has_its_own_samples_where_a_label_names_it() -> None:
    samples = read(render([VLLM], [idle(), served(5)], "m"))
    for engine, prompt_tokens, total_s in ((0, 0, 0), (1, 5, 5)):
        labels = f'engine="{engine}",model_name="m"'
        assert samples[f"vllm:prompt_tokens_total{{{labels}}}"] == prompt_tokens
        assert samples[f"vllm:e2e_request_latency_seconds_sum{{{labels}}}"] == total_s


def test_elsewhere_there_is_one_sample_of_all() -> None:
    tokens = Metric("tokens_total", "counter", "Tokens.", lambda sample: sample.counters.totals.prompt_tokens)
    e2e = Metric("seconds", "histogram", "Time.", lambda sample: sample.counters.e2e, 'kind="all"')
    samples = read(render([Group("a_", "", (tokens, e2e))], [served(2), idle(), served(6)], "m"))
    assert samples["a_tokens_total"] == 8
    assert samples['a_seconds_sum{kind="all"}'] == 8
    assert samples['a_seconds_bucket{kind="all",le="2.5"}'] == 1
    assert samples['a_seconds_bucket{kind="all",le="+Inf"}'] == 2
