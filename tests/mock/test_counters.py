from __future__ import annotations

from fluxperf.units import NS_PER_MS, NS_PER_S
from fluxperf_mock.counters import Buckets, Counters, Load, Sample, merge_samples
from tests.mock.samples import idle


def test_a_value_on_a_bound_belongs_to_it() -> None:
    buckets = Buckets((0.01, 0.02))
    for value_ms in (10, 10.000001, 20, 21):
        buckets.observe(round(value_ms * NS_PER_MS))
    assert buckets.counts == [1, 2, 1]


def test_several_servers_are_one() -> None:
    samples = []
    for number in (1, 2, 3):
        counters = Counters()
        counters.totals.prompt_tokens, counters.totals.longest_tokens = 10 * number, 10 - number
        counters.ttft.observe(number * NS_PER_S)
        samples.append(Sample(counters, Load(running=number, held_tokens=7), 100, 1000.0 + number))
    whole = merge_samples(samples)
    assert (whole.counters.totals.prompt_tokens, whole.counters.totals.longest_tokens) == (60, 9)
    assert (whole.counters.ttft.sum_ns, sum(whole.counters.ttft.counts)) == (6 * NS_PER_S, 3)
    assert (whole.load.running, whole.load.held_tokens, whole.cache_tokens, whole.started_s) == (6, 21, 300, 1003.0)
    assert samples[0].counters.totals.prompt_tokens == 10


def test_one_server_is_itself() -> None:
    sample = idle()
    assert merge_samples([sample]) is sample


def test_after_a_restart_all_is_zero() -> None:
    counters = Counters()
    counters.totals.stop, counters.totals.cache_hits = 3, 4
    for buckets in (counters.ttft, counters.itl, counters.e2e):
        buckets.observe(5)
    assert counters.restarted_ns == 0
    counters.restart(77)
    assert counters.restarted_ns == 77
    assert (counters.totals.stop, counters.totals.cache_hits) == (0, 0)
    for buckets in (counters.ttft, counters.itl, counters.e2e):
        assert (sum(buckets.counts), buckets.sum_ns) == (0, 0)
    counters.totals.stop += 1
    assert counters.totals.stop == 1
