"""Bytes in, bytes out: the whole mock server but for its sockets and its clock."""

from __future__ import annotations

import json

import pytest

from fluxperf.clock import now_ns
from fluxperf_mock import MockSettings
from fluxperf_mock.http1_connection import Http1Connection
from fluxperf_mock.truth import describe
from tests.mock.client import Client, Sink, chat, encode


def test_a_stream_in_its_order() -> None:
    reply = Client().chat(stream=True, max_tokens=2, stream_options={"include_usage": True})
    assert reply.status == 200
    assert reply.headers[b"content-type"] == b"text/event-stream; charset=utf-8"
    role, first, second, finish, usage, done = reply.events()
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert all(event["choices"][0]["delta"]["content"] for event in (first, second))
    assert finish["choices"][0]["finish_reason"] == "length"
    assert (usage["usage"]["completion_tokens"], done) == (2, "DONE")


def test_one_write_a_token_and_the_end_with_the_last() -> None:
    client = Client()
    client.send(encode("POST", "/v1/chat/completions", chat(stream=True, max_tokens=3)))
    client.run()
    assert [data.count(b'"content":"') for data in client.sink.writes] == [1, 1, 1, 1]
    assert client.sink.writes[-1].endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    truth = describe([client.service.engine.truth])
    assert truth["tokens"] == 3
    assert truth["ttft_ms"] == {"n": 1, "mean": 1, "p50": 1, "p90": 1, "p99": 1, "max": 1}
    assert truth["itl_ms"] == {"n": 2, "mean": 1, "p50": 1, "p90": 1, "p99": 1, "max": 1}
    assert truth["e2e_ms"] == {"n": 1, "mean": 3, "p50": 3, "p90": 3, "p99": 3, "max": 3}


def test_a_stream_and_an_answer_in_one_piece_say_the_same() -> None:
    client = Client()
    streamed, whole = client.chat(stream=True), client.chat()
    assert streamed.content() == whole.json()["choices"][0]["message"]["content"]
    assert whole.json()["choices"][0]["finish_reason"] == "stop"
    assert whole.json()["usage"]["completion_tokens"] == len(streamed.content()) // 4


def test_completions_share_the_cache() -> None:
    client = Client()
    body = json.dumps({"prompt": "x" * 400, "max_tokens": 1}).encode()
    cached = [
        client.ask("POST", "/v1/completions", body).json()["usage"]["prompt_tokens_details"]["cached_tokens"]
        for _ in range(2)
    ]
    assert cached == [0, 96]


def test_a_history_is_found_in_the_cache_with_the_answer_in_it() -> None:
    client = Client(MockSettings(tokens=100))
    messages = [{"role": "user", "content": "tell me a story"}]
    answer = client.ask("POST", "/v1/chat/completions", json.dumps({"messages": messages}).encode()).json()
    messages += [answer["choices"][0]["message"], {"role": "user", "content": "and then?"}]
    usage = client.ask("POST", "/v1/chat/completions", json.dumps({"messages": messages}).encode()).json()["usage"]
    before = answer["usage"]["total_tokens"]
    assert before - 17 <= usage["prompt_tokens_details"]["cached_tokens"] <= before


def test_resetting_the_cache_makes_it_cold() -> None:
    client = Client()
    client.chat("x" * 400)
    assert client.ask("POST", "/reset_prefix_cache").json() == {"success": True}
    assert client.chat("x" * 400).json()["usage"]["prompt_tokens_details"]["cached_tokens"] == 0


def test_the_cache_is_not_reset_while_a_request_runs() -> None:
    client = Client()
    client.send(encode("POST", "/v1/chat/completions", chat(stream=True)))
    other = Sink()
    Http1Connection(other, client.service).receive(encode("POST", "/reset_prefix_cache"), 0)
    assert other.writes[0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert other.writes[0].endswith(b'{"success":false}')


def test_any_model_is_served_unless_one_was_named() -> None:
    assert Client().chat(model="gpt-4").json()["model"] == "gpt-4"
    assert Client().chat().json()["model"] == "fluxperf-mock"
    strict = Client(MockSettings(model="tiny"))
    for model in ("tiny", "", None):
        assert strict.chat(model=model).json()["model"] == "tiny"
    refused = strict.chat(model="gpt-4")
    assert refused.status == 404
    assert "`tiny`" in refused.json()["error"]["message"]
    assert strict.ask("GET", "/v1/models").json()["data"][0]["id"] == "tiny"


@pytest.mark.parametrize("body", [b"{", b"{}", chat(max_tokens=0), chat(n=3), chat(min_tokens=9, max_tokens=3)])
def test_a_bad_body_is_answered_with_400_and_the_connection_stays(body: bytes) -> None:
    client = Client()
    reply = client.ask("POST", "/v1/chat/completions", body)
    assert reply.status == reply.json()["error"]["code"] == 400
    assert client.chat().status == 200


def test_an_empty_prompt_is_refused() -> None:
    assert Client().ask("POST", "/v1/completions", b'{"prompt":""}').status == 400


def test_other_endpoints() -> None:
    client = Client()
    assert client.ask("GET", "/health?x=1").body == b""
    assert client.ask("GET", "/version").json()["version"]
    assert client.ask("GET", "/metrics").headers[b"content-type"].startswith(b"text/plain; version=0.0.4")
    missing = client.ask("GET", "/v2")
    assert (missing.status, missing.json()["error"]["type"]) == (404, "NotFoundError")
    for method, path, allowed in (
        ("GET", "/v1/chat/completions", b"POST"),
        ("DELETE", "/truth", b"GET"),
        ("GET", "/reset_prefix_cache", b"POST"),
    ):
        wrong = client.ask(method, path)
        assert (wrong.status, wrong.headers[b"allow"]) == (405, allowed)


@pytest.mark.parametrize(("method", "path"), [("GET", "/reset"), ("POST", "/truth/reset")])
def test_the_truth_counts_from_its_reset_and_the_counters_from_the_start(method: str, path: str) -> None:
    client = Client()
    client.chat(stream=True)
    assert client.ask("GET", "/truth").json()["requests"] == 1
    client.ask(method, path)
    assert client.ask("GET", "/truth").json()["requests"] == 0
    assert b'vllm:time_to_first_token_seconds_count{engine="0",model_name="fluxperf-mock"} 1' in (
        client.ask("GET", "/metrics").body
    )


def test_requests_sent_ahead_are_answered_in_order() -> None:
    client = Client()
    client.send(
        encode("POST", "/v1/chat/completions", chat(stream=True))
        + encode("GET", "/version")
        + encode("POST", "/v1/chat/completions", chat())
        + encode("GET", "/nowhere")
    )
    client.run()
    replies = list(client.replies())
    assert [reply.status for reply in replies] == [200, 200, 200, 404]
    assert replies[0].events()[-1] == "DONE"
    assert replies[2].json()["object"] == "chat.completion"


def test_a_request_sent_ahead_arrives_when_the_one_before_it_is_done() -> None:
    client = Client()
    client.send(encode("POST", "/v1/chat/completions", chat(stream=True)) * 2)
    before = now_ns()
    client.run(until_ns=10**9)
    due_ns = client.service.engine.next_due_ns()
    assert due_ns is not None
    assert due_ns > before


def test_too_many_requests_sent_ahead_are_refused() -> None:
    client = Client()
    client.send(encode("POST", "/v1/chat/completions", chat(stream=True)))
    client.send(encode("GET", "/health") * 65)
    client.run()
    assert b"HTTP/1.1 400 Bad Request" in client.sink.writes[-1]
    assert client.sink.finished


def test_close_is_obeyed() -> None:
    client = Client()
    client.send(encode("POST", "/v1/chat/completions", chat(stream=True), headers="Connection: close\r\n"))
    assert not client.sink.finished
    client.run()
    (reply,) = client.replies()
    assert reply.headers[b"connection"] == b"close"
    assert client.sink.finished


def test_a_client_of_1_0_gets_a_stream_that_ends_with_the_connection() -> None:
    client = Client()
    client.send(encode("POST", "/v1/chat/completions", chat(stream=True, max_tokens=1), version="1.0"))
    client.run()
    head, _, body = b"".join(client.sink.writes).partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert body.startswith(b"data: {")
    assert body.endswith(b"data: [DONE]\n\n")
    assert client.sink.finished


def test_a_client_that_waits_for_it_is_told_to_go_on() -> None:
    client = Client()
    body = chat()
    whole = encode("POST", "/v1/chat/completions", body, headers="Expect: 100-continue\r\n")
    client.send(whole[: -len(body)])
    assert client.sink.writes == [b"HTTP/1.1 100 Continue\r\n\r\n"]
    client.sink.writes.clear()
    client.send(body)
    client.run()
    assert [reply.status for reply in client.replies()] == [200]


def test_bytes_that_are_no_request_get_400_and_a_close() -> None:
    client = Client()
    client.send(b"rubbish\r\n\r\n")
    client.send(encode("GET", "/health"))
    (reply,) = client.replies()
    assert (reply.status, reply.json()["error"]["code"]) == (400, 400)
    assert client.sink.finished


def test_rubbish_during_a_stream_is_answered_after_it() -> None:
    client = Client()
    client.send(encode("POST", "/v1/chat/completions", chat(stream=True)))
    client.send(b"rubbish\r\n\r\n")
    client.run()
    stream, refusal = client.replies()
    assert stream.events()[-1] == "DONE"
    assert refusal.status == 400


def test_a_client_that_goes_away_frees_its_place() -> None:
    client = Client(MockSettings(max_num_seqs=1, jitter=0))
    client.send(encode("POST", "/v1/chat/completions", chat(stream=True)))
    other = Sink()
    waiting = Http1Connection(other, client.service)
    waiting.receive(encode("POST", "/v1/chat/completions", chat("other", stream=True, max_tokens=1)), 0)
    assert client.figures.load.waiting == 1
    client.connection.lose(1)
    client.run()
    assert other.writes[-1].endswith(b"0\r\n\r\n")
    assert len(client.sink.writes) == 1
    counts, totals = client.figures.truth.counts, client.figures.counters.totals
    assert (counts.requests, counts.aborted, counts.finished) == (2, 1, 1)
    assert (totals.stop, totals.length, totals.abort) == (0, 1, 1)
    assert client.figures.load.running == 0


def test_the_counters_tell_the_hits() -> None:
    client = Client()
    for _ in range(2):
        client.chat("x" * 400)
    totals = client.figures.counters.totals
    assert totals.cache_queries == totals.prompt_tokens
    assert totals.cache_hits == totals.cached_tokens == client.figures.truth.counts.cached_tokens > 90


def test_without_a_cache_nothing_is_looked_up() -> None:
    client = Client(MockSettings(cache_tokens=0))
    client.chat("x" * 400)
    totals = client.figures.counters.totals
    assert (totals.cache_queries, totals.cache_hits) == (0, 0)
    assert totals.prompt_tokens > 100
