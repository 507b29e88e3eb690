"""Each fault by what a client sees of it, and that the truth stays the truth."""

from __future__ import annotations

import pytest

from fluxperf_mock.dialects import DIALECTS
from tests.mock.client import Client, Reply, chat, encode
from tests.mock.samples import read
from tests.mock.test_dialects import PROMPT, REFUSALS, RESETS, cached_tokens

VLLM = '{engine="0",model_name="fluxperf-mock"}'

CACHE_SIZE = 'vllm:cache_config_info{engine="0",model_name="fluxperf-mock",block_size="16",num_gpu_blocks="25000"}'


def metrics(client: Client, path: str = "/metrics") -> dict[str, float]:
    page = client.ask("GET", path)
    assert page.status == 200
    return read(page.body.decode())


def vllm(client: Client, name: str) -> float:
    return metrics(client)[f"vllm:{name}{VLLM}"]


def complete(client: Client, number: int, **more: object) -> Reply:
    """The answer to one of many prompts of 108 tokens."""
    return client.chat(f"{number:04}" + PROMPT, **more)


def truth(client: Client, name: str) -> int:
    return int(client.ask("GET", "/truth").json()[name])


def test_the_truth_says_what_was_asked_for() -> None:
    faults = Client(faults="reset-lies,drift").ask("GET", "/truth").json()["faults"]
    assert faults == ["reset-lies", "drift=0.5"]


@pytest.mark.parametrize("engine", RESETS)
def test_a_reset_that_lies_empties_nothing(engine: str) -> None:
    client, honest = Client(engine=engine, faults="reset-lies"), Client(engine=engine)
    for each in (client, honest):
        cached_tokens(each)
    lie = client.ask(*RESETS[engine])
    assert (lie.status, lie.body) == (200, honest.ask(*RESETS[engine]).body)
    assert cached_tokens(client) == 96
    client.send(encode("POST", "/v1/chat/completions", chat(stream=True)))
    assert client.ask_beside(*RESETS[engine]).status == REFUSALS[engine]  # it lies where it could have done it


@pytest.mark.parametrize("engine", RESETS)
def test_a_reset_that_fails_empties_nothing(engine: str) -> None:
    client = Client(engine=engine, faults="reset-fails")
    cached_tokens(client)
    refused = client.ask(*RESETS[engine])
    assert refused.status == REFUSALS[engine]
    assert engine != "vllm" or refused.json() == {"success": False}
    assert cached_tokens(client) == 96


def test_a_wrong_call_of_a_reset_that_lies_is_still_wrong() -> None:
    assert Client(engine="llamacpp", faults="reset-lies").ask("POST", "/slots/64?action=erase").status == 400


@pytest.mark.parametrize("share", [0.05, 0.5])
@pytest.mark.parametrize(
    ("engine", "hits", "others"),
    [
        ("vllm", f"vllm:prefix_cache_hits_total{VLLM}", [f"vllm:prefix_cache_queries_total{VLLM}"]),
        ("vllm", f"vllm:prompt_tokens_cached_total{VLLM}", [f"vllm:prompt_tokens_total{VLLM}"]),
        (
            "sglang",
            'sglang:cached_tokens_total{model_name="fluxperf-mock",cache_source="device"}',
            ['sglang:prompt_tokens_total{model_name="fluxperf-mock"}'],
        ),
        (
            "llamacpp",
            "llamacpp:prompt_tokens_cached_total",
            ["llamacpp:prompt_tokens_total", "llamacpp:prompt_tokens_cached_total"],
        ),
        (
            "lmcache",
            'lmcache:num_hit_tokens_total{model_name="fluxperf-mock"}',
            ['lmcache:num_requested_tokens_total{model_name="fluxperf-mock"}'],
        ),
    ],
)
def test_foreign_traffic_is_a_share_of_what_is_counted(engine: str, hits: str, others: list[str], share: float) -> None:
    client = Client(engine=engine, faults=f"foreign={share}")
    usages = [complete(client, number % 10).json()["usage"] for number in range(20)]
    own = sum(usage["prompt_tokens"] for usage in usages)
    cached = sum(usage["prompt_tokens_details"]["cached_tokens"] for usage in usages)
    samples = metrics(client)
    counted = sum(samples[name] for name in others)
    assert (counted - own) / counted == pytest.approx(share, abs=0.001)
    assert samples[hits] == cached == truth(client, "cached_tokens")
    assert own == truth(client, "prompt_tokens")


def test_foreign_traffic_is_counted_in_blocks_too() -> None:
    client = Client(engine="trtllm", faults="foreign=0.2")
    for number in range(20):
        complete(client, number)
    samples = metrics(client, "/prometheus/metrics")
    labels = '{model_name="fluxperf-mock",engine_type="undefined"}'
    own = 20 * -(-truth(client, "prompt_tokens") // 20 // 16)
    counted = sum(samples[f"trtllm_kv_cache_{name}_blocks_total{labels}"] for name in ("reused", "missed"))
    assert (counted - own) / counted == pytest.approx(0.2, abs=0.01)


def test_the_counters_restart_once_and_the_cache_is_gone() -> None:
    client = Client(faults="counters-restart=3")
    started = metrics(client)["process_start_time_seconds"]
    for _ in range(2):
        client.chat(PROMPT)
    assert vllm(client, "time_to_first_token_seconds_count") == 2
    assert cached_tokens(client) == 96
    samples = metrics(client)
    restarted = samples.pop("process_start_time_seconds")
    assert restarted >= started + 1
    assert samples.pop("memory_usage_bytes") > 0
    assert {name: value for name, value in samples.items() if value} == {CACHE_SIZE: 1}
    assert cached_tokens(client) == 0
    for _ in range(3):
        assert cached_tokens(client) == 96
    assert vllm(client, "prefix_cache_hits_total") == 3 * 96
    assert vllm(client, "time_to_first_token_seconds_count") == 4
    assert metrics(client)["process_start_time_seconds"] == restarted
    assert (truth(client, "requests"), truth(client, "cached_tokens")) == (7, 5 * 96)


def test_a_restart_moves_the_header_that_tells_the_start() -> None:
    client = Client(engine="llamacpp", faults="counters-restart=1")
    client.send(encode("POST", "/v1/chat/completions", chat()))
    client.run(until_ns=500_000_000)  # within the second in which it was started
    assert client.figures.truth.counts.finished == 1
    client.connect()
    assert int(client.ask("GET", "/metrics").headers[b"process-start-time-unix"]) >= 1


def test_requests_in_flight_are_counted_on_after_a_restart() -> None:
    client = Client(faults="counters-restart=1")
    client.send(encode("POST", "/v1/chat/completions", chat("long", stream=True, max_tokens=9, ignore_eos=True)))
    client.connect()
    client.chat("short", max_tokens=1)  # ends before the long one, and both are run to their end
    assert truth(client, "finished") == 2
    assert vllm(client, "e2e_request_latency_seconds_count") == 1
    assert 0 < vllm(client, "generation_tokens_total") < 9
    assert vllm(client, "num_requests_running") == 0


PAGES = {engine: dialect.metrics_path for engine, dialect in DIALECTS.items() if dialect.metrics_path is not None}


@pytest.mark.parametrize(("engine", "path"), PAGES.items())
def test_a_page_of_metrics_that_is_broken(engine: str, path: str) -> None:
    assert Client(engine=engine, faults="metrics-500").ask("GET", path).status == 500
    garbage = Client(engine=engine, faults="metrics-garbage").ask("GET", path)
    assert (garbage.status, garbage.headers[b"content-type"]) == (200, b"text/html; charset=utf-8")
    assert garbage.body.startswith(b"<!DOCTYPE html>")


def test_a_page_of_metrics_that_is_slow_is_as_of_when_it_comes() -> None:
    client = Client(faults="slow-metrics=3")
    client.send(encode("GET", "/metrics") + encode("GET", "/health"))
    assert client.sink.writes == []
    assert client.ask_beside("GET", "/truth").status == 200
    client.figures.counters.totals.preemptions = 7
    ((delay_s, act),) = client.timer.kept
    act()
    page, health = client.replies()
    assert (delay_s, health.body) == (3, b"")
    assert read(page.body.decode())[f"vllm:num_preemptions_total{VLLM}"] == 7


def test_a_slow_page_that_nobody_waits_for_is_not_made() -> None:
    client = Client(faults="slow-metrics=3")
    client.send(encode("GET", "/metrics"))
    client.connection.lose(1)
    assert client.timer.kept == []


def test_usage_without_details() -> None:
    client = Client(faults="no-cached-tokens")
    for _ in range(2):
        assert "prompt_tokens_details" not in client.chat(PROMPT).json()["usage"]
    assert vllm(client, "prefix_cache_hits_total") == truth(client, "cached_tokens") == 96


def test_a_cache_that_is_hidden_still_works() -> None:
    client = Client(faults="hidden-cache", prefill_tokens_per_s=1000)
    assert [cached_tokens(client) for _ in range(2)] == [0, 0]
    assert (vllm(client, "prefix_cache_hits_total"), vllm(client, "prompt_tokens_cached_total")) == (0, 0)
    assert truth(client, "cached_tokens") == 96
    own = truth(client, "prompt_tokens") - 96
    assert client.figures.counters.totals.prefill_ns == own * 10**6


def test_answers_shrink_when_their_prompt_comes_again() -> None:
    client = Client(faults="answers-shrink=0.25")
    first = client.chat(max_tokens=40, ignore_eos=True).json()
    assert (first["usage"]["completion_tokens"], first["choices"][0]["finish_reason"]) == (40, "length")
    for _ in range(2):
        again = client.chat(max_tokens=40, ignore_eos=True).json()
        assert (again["usage"]["completion_tokens"], again["choices"][0]["finish_reason"]) == (10, "stop")
    assert client.chat("another", max_tokens=40, ignore_eos=True).json()["usage"]["completion_tokens"] == 40
    assert client.chat("another", max_tokens=1).json()["usage"]["completion_tokens"] == 1


def test_a_share_of_the_prompts_that_come_again_fails() -> None:
    client = Client(faults="errors=0.2")
    statuses = [[complete(client, number).status for number in range(10)] for _ in range(3)]
    assert statuses[0] == [200] * 10
    assert [row.count(500) for row in statuses] == [0, 2, 2]
    failed = Client(faults="errors=1")
    failed.chat()
    error = failed.chat(stream=True).json()["error"]
    assert (error["code"], error["type"]) == (500, "InternalServerError")
    assert truth(client, "requests") == truth(client, "finished") == 26
    assert client.figures.load.running == client.figures.load.waiting == 0


@pytest.mark.parametrize("engine", ["vllm", "lmcache"])
def test_a_share_of_the_requests_is_looked_up_twice(engine: str) -> None:
    client = Client(engine=engine, faults="preempt=0.1")
    for number in range(20):
        complete(client, number)
    own = truth(client, "prompt_tokens")
    assert vllm(client, "num_preemptions_total") == 2
    assert vllm(client, "prompt_tokens_total") == own
    assert vllm(client, "prefix_cache_queries_total") == own * 22 / 20
    assert vllm(client, "prompt_tokens_cached_total") == truth(client, "cached_tokens")


def test_faults_go_together() -> None:
    client = Client(faults="hidden-cache,foreign=0.5,preempt=1,no-cached-tokens")
    for _ in range(2):
        assert "prompt_tokens_details" not in complete(client, 1).json()["usage"]
    own = truth(client, "prompt_tokens")
    assert vllm(client, "prompt_tokens_total") == 2 * own
    assert vllm(client, "prefix_cache_queries_total") == 3 * own
    assert vllm(client, "prefix_cache_hits_total") == 0
