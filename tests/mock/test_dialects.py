"""What each engine shows and does, against what the real one does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fluxperf_mock.dialects import DIALECTS
from tests.mock.client import Client, Reply, chat, encode
from tests.mock.samples import read

PROMPT = "x" * 400
RESETS = {
    "vllm": ("POST", "/reset_prefix_cache"),
    "sglang": ("POST", "/flush_cache"),
    "llamacpp": ("POST", "/slots/0?action=erase"),
    "lmcache": ("POST", "/cache/clear"),
}
REFUSALS = {"vllm": 200, "sglang": 400, "llamacpp": 501, "lmcache": 500}
# The names in a page of a real llama.cpp server.
LLAMACPP_NAMES = {
    "prompt_tokens_total",
    "prompt_tokens_cached_total",
    "prompt_seconds_total",
    "tokens_predicted_total",
    "tokens_predicted_seconds_total",
    "n_decode_total",
    "n_tokens_max",
    "spec_decode_num_draft_tokens_total",
    "spec_decode_num_accepted_tokens_total",
    "spec_decode_num_drafts_total",
    "prompt_tokens_seconds",
    "predicted_tokens_seconds",
    "requests_processing",
    "requests_deferred",
    "n_busy_slots_per_decode",
}


def counted(client: Client, path: str = "/metrics") -> dict[str, float]:
    """Its metrics by name and labels, without buckets."""
    samples = read(client.ask("GET", path).body.decode())
    return {name: value for name, value in samples.items() if "_bucket{" not in name}


def ask_while_running(client: Client, method: str, path: str) -> Reply:
    """What is answered while a request runs, which is then left."""
    client.send(encode("POST", "/v1/chat/completions", chat(stream=True)))
    reply = client.ask_beside(method, path)
    client.connection.lose(1)
    client.connect()
    return reply


def cached_tokens(client: Client) -> int:
    return int(client.chat(PROMPT).json()["usage"]["prompt_tokens_details"]["cached_tokens"])


@pytest.mark.parametrize("engine", RESETS)
def test_a_reset_empties_the_cache(engine: str) -> None:
    client = Client(engine=engine)
    assert [cached_tokens(client) for _ in range(2)] == [0, 96]
    assert client.ask(*RESETS[engine]).status == 200
    assert [cached_tokens(client) for _ in range(2)] == [0, 96]


@pytest.mark.parametrize("engine", RESETS)
def test_a_reset_is_refused_while_requests_run_as_the_engine_does(engine: str) -> None:
    client = Client(engine=engine)
    cached_tokens(client)
    refused = ask_while_running(client, *RESETS[engine])
    assert refused.status == REFUSALS[engine]
    assert cached_tokens(client) == 96


@pytest.mark.parametrize("engine", DIALECTS)
def test_the_resets_of_other_engines_are_not_there(engine: str) -> None:
    client = Client(engine=engine)
    for other, (method, path) in RESETS.items():
        assert client.ask(method, path).status == (200 if other == engine else 404)


def test_what_resets_answer() -> None:
    assert Client(engine="vllm").ask("POST", "/reset_prefix_cache").json() == {"success": True}
    for method in ("GET", "POST"):
        flushed = Client(engine="sglang").ask(method, "/flush_cache")
        assert flushed.headers[b"content-type"].startswith(b"text/plain")
        assert flushed.body.startswith(b"Cache flushed.")
    lmcache = Client(engine="lmcache")
    assert lmcache.ask("POST", "/cache/clear").json() == {"status": "ok"}
    cached_tokens(lmcache)
    assert lmcache.ask("DELETE", "/cache/clear").json() == {"status": "success", "num_removed": 96}


def test_llamacpp_erases_slot_by_slot() -> None:
    client = Client(engine="llamacpp", max_num_seqs=3)
    assert client.ask("GET", "/slots").json() == [{"id": number, "is_processing": False} for number in range(3)]
    cached_tokens(client)
    erased = [client.ask("POST", f"/slots/{number}?action=erase").json() for number in range(3)]
    assert erased == [{"id_slot": number, "n_erased": 0 if number else 96} for number in range(3)]
    assert cached_tokens(client) == 0
    for path, status in (
        ("/slots/3?action=erase", 400),
        ("/slots/x?action=erase", 400),
        ("/slots/-1?action=erase", 400),
        ("/slots/?action=erase", 400),
        (f"/slots/{'9' * 5000}?action=erase", 400),
        ("/slots/0", 400),
        ("/slots/0?action=burn", 400),
        ("/slots/0?action=save", 501),
        ("/slots/0/1?action=erase", 404),
    ):
        refused = client.ask("POST", path)
        assert (refused.status, path) == (status, path)
        assert refused.json()["error"]["message"]
    assert cached_tokens(client) == 96
    assert client.ask("GET", "/slots/0").status == 405


def test_a_slot_is_processing_while_a_request_runs() -> None:
    client = Client(engine="llamacpp", max_num_seqs=2)
    slots = ask_while_running(client, "GET", "/slots").json()
    assert [slot["is_processing"] for slot in slots] == [True, False]
    assert client.ask("GET", "/props").json()["total_slots"] == 2


INFO: dict[str, dict[str, Any]] = {
    "vllm": {"/version": "version"},
    "lmcache": {"/version": "version"},
    "trtllm": {"/version": "version"},
    "sglang": {"/get_server_info": "version", "/server_info": "version"},
    "llamacpp": {"/props": "build_info"},
    "none": {},
}


@pytest.mark.parametrize("engine", DIALECTS)
def test_what_an_engine_tells_of_itself(engine: str) -> None:
    client = Client(engine=engine)
    for path in {path for paths in INFO.values() for path in paths}:
        key = INFO[engine].get(path)
        reply = client.ask("GET", path)
        assert reply.status == (404 if key is None else 200)
        assert key is None or reply.json()[key]
    truth = client.ask("GET", "/truth").json()
    assert (truth["engine"], truth["faults"]) == (engine, [])


def serve_twice(engine: str) -> tuple[Client, int, int]:
    """A client whose prompt was asked for twice; its tokens and those that were cached."""
    client = Client(engine=engine)
    usages = [client.chat(PROMPT, max_tokens=4, ignore_eos=True).json()["usage"] for _ in range(2)]
    cached = usages[1]["prompt_tokens_details"]["cached_tokens"]
    assert cached == 96
    return client, usages[0]["prompt_tokens"], cached


def test_the_counters_of_vllm() -> None:
    client, prompt, cached = serve_twice("vllm")
    samples = counted(client)
    labels = '{engine="0",model_name="fluxperf-mock"}'
    for name, value in {
        "prefix_cache_queries_total": 2 * prompt,
        "prefix_cache_hits_total": cached,
        "external_prefix_cache_queries_total": 0,
        "external_prefix_cache_hits_total": 0,
        "prompt_tokens_total": 2 * prompt,
        "prompt_tokens_cached_total": cached,
        "generation_tokens_total": 8,
        "num_preemptions_total": 0,
        "num_requests_running": 0,
        "num_requests_waiting": 0,
        "kv_cache_usage_perc": 0,
        "time_to_first_token_seconds_count": 2,
        "inter_token_latency_seconds_count": 6,
        "e2e_request_latency_seconds_count": 2,
    }.items():
        assert samples[f"vllm:{name}{labels}"] == value
    ended = {"stop": 0, "length": 2, "abort": 0}
    for reason, value in ended.items():
        assert samples[f'vllm:request_success_total{labels[:-1]},finished_reason="{reason}"}}'] == value
    assert samples["process_start_time_seconds"] == 0  # the test's clock began with the epoch


def test_the_counters_of_sglang() -> None:
    client, prompt, cached = serve_twice("sglang")
    samples = counted(client)
    labels = '{model_name="fluxperf-mock"}'
    for name, value in {
        "prompt_tokens_total": 2 * prompt,
        "generation_tokens_total": 8,
        "num_running_reqs": 0,
        "num_queue_reqs": 0,
        "cache_hit_rate": cached / prompt,  # of the last, not of both
        "time_to_first_token_seconds_count": 2,
        "inter_token_latency_seconds_count": 6,
        "e2e_request_latency_seconds_count": 2,
    }.items():
        assert samples[f"sglang:{name}{labels}"] == value
    assert samples['sglang:cached_tokens_total{model_name="fluxperf-mock",cache_source="device"}'] == cached


def test_the_counters_of_llamacpp() -> None:
    client, prompt, cached = serve_twice("llamacpp")
    samples = counted(client)
    assert samples.pop("memory_usage_bytes") > 0
    assert samples.keys() == {f"llamacpp:{name}" for name in LLAMACPP_NAMES}
    for name, value in {
        "prompt_tokens_total": 2 * prompt - cached,
        "prompt_tokens_cached_total": cached,
        "prompt_seconds_total": (2 * prompt - cached) / 1000,
        "tokens_predicted_total": 8,
        "n_tokens_max": prompt + 4,
        "prompt_tokens_seconds": 1000,
        "requests_processing": 0,
        "requests_deferred": 0,
    }.items():
        assert samples[f"llamacpp:{name}"] == pytest.approx(value)


def test_the_longest_sequence_stays_the_longest() -> None:
    client = Client(engine="llamacpp")
    for prompt in (PROMPT, "short"):
        client.chat(prompt, max_tokens=4, ignore_eos=True)
    assert counted(client)["llamacpp:n_tokens_max"] > 100


def test_llamacpp_says_who_it_is_and_when_it_started() -> None:
    client = Client(engine="llamacpp")
    page = client.ask("GET", "/metrics")
    assert (page.headers[b"server"], page.headers[b"process-start-time-unix"]) == (b"llama.cpp", b"0")
    for reply in (
        client.chat(stream=True),
        client.chat(),
        client.ask("GET", "/nowhere"),
        client.ask("POST", "/v1/chat/completions", b"{"),
    ):
        assert reply.headers[b"server"] == b"llama.cpp"
        assert b"process-start-time-unix" not in reply.headers
    assert b"server" not in Client().chat().headers


def test_the_counters_of_lmcache() -> None:
    client, prompt, cached = serve_twice("lmcache")
    samples = counted(client)
    own = '{engine="0",model_name="fluxperf-mock"}'
    assert samples[f"vllm:prefix_cache_queries_total{own}"] == 2 * prompt
    assert samples[f"vllm:prefix_cache_hits_total{own}"] == 0
    assert samples[f"vllm:external_prefix_cache_hits_total{own}"] == cached
    labels = '{model_name="fluxperf-mock"}'
    for name, value in {
        "num_requested_tokens_total": 2 * prompt,
        "num_hit_tokens_total": cached,
        "num_lookup_tokens_total": 2 * prompt,
        "num_lookup_hits_total": cached,
        "retrieve_hit_rate": 1,
        "lookup_hit_rate": 0,
    }.items():
        assert samples[f"lmcache:{name}{labels}"] == value
    assert samples["lmcache_hit_rate"] == pytest.approx(cached / (2 * prompt))


def test_the_gauges_of_lmcache_tell_something_while_a_request_runs() -> None:
    client, prompt, cached = serve_twice("lmcache")
    samples = read(ask_while_running(client, "GET", "/metrics").body.decode())
    for name in ("retrieve_hit_rate", "lookup_hit_rate"):
        assert samples[f'lmcache:{name}{{model_name="fluxperf-mock"}}'] == pytest.approx(cached / (2 * prompt))


def test_the_counters_of_trtllm() -> None:
    client, prompt, cached = serve_twice("trtllm")
    samples = counted(client, "/prometheus/metrics")
    labels = '{model_name="fluxperf-mock",engine_type="undefined"}'
    reused, missed = cached // 16, 2 * -(-prompt // 16) - cached // 16
    assert samples[f"trtllm_kv_cache_reused_blocks_total{labels}"] == reused
    assert samples[f"trtllm_kv_cache_missed_blocks_total{labels}"] == missed
    assert samples[f"trtllm_kv_cache_hit_rate{labels}"] == pytest.approx(reused / (reused + missed))
    page = client.ask("GET", "/metrics")
    assert (page.status, page.headers[b"content-type"], page.json()) == (200, b"application/json", [])


@pytest.mark.parametrize("engine", [name for name in DIALECTS if name != "none"])
def test_memory_in_use_grows_with_the_load(engine: str) -> None:
    client = Client(engine=engine)
    path = DIALECTS[engine].metrics_path
    assert path is not None
    idle = read(client.ask("GET", path).body.decode())["memory_usage_bytes"]
    busy = read(ask_while_running(client, "GET", path).body.decode())["memory_usage_bytes"]
    assert 10**9 < idle < busy < 10**11


def test_an_engine_that_is_none_shows_nothing() -> None:
    client = Client(engine="none")
    for _ in range(2):
        assert client.chat(PROMPT).json()["usage"].keys() == {"prompt_tokens", "completion_tokens", "total_tokens"}
    events = client.chat(PROMPT, stream=True, stream_options={"include_usage": True}).events()
    assert b"cached" not in json.dumps(events).encode()
    for path in ("/metrics", "/prometheus/metrics"):
        assert client.ask("GET", path).status == 404
    assert client.ask("GET", "/truth").json()["cached_tokens"] == 2 * 96


def test_only_trtllm_has_its_page_elsewhere() -> None:
    for engine in DIALECTS:
        client = Client(engine=engine)
        assert (client.ask("GET", "/prometheus/metrics").status == 200) == (engine == "trtllm")
