"""What the server does wrong: counted and named where it happens now and then, said at once where nothing can come."""

from __future__ import annotations

import json

import pytest

from tests.end_to_end.command import Fluxperf
from tests.end_to_end.servers import Exchange, Serve

REFUSALS = {
    401: ('{"error": {"message": "no such key", "type": "auth"}}', "HTTP 401: no such key", "--api-key"),
    404: ('{"detail": "Not Found"}', "HTTP 404: Not Found", "/v1/chat/completions"),
    200: ("<html><title>Welcome</title></html>", "not an event stream: Welcome", "does the server stream?"),
}


@pytest.mark.parametrize("status", REFUSALS)
def test_a_server_that_refuses_everything_is_asked_no_further(fluxperf: Fluxperf, serve: Serve, status: int) -> None:
    body, message, advice = REFUSALS[status]
    server = serve(lambda it: it.answer(status, body, "text/html") if it.number < 3 else it.hang())
    fluxperf.write_prompts(20)
    ended = fluxperf.measure(server.url, "--concurrency 3")
    assert ended.code == 3
    (last,) = [line for line in ended.err.splitlines() if "refuses every request" in line]
    assert message in last
    assert advice in last
    # Three answers decide it; before the third is in, two more may have gone out.
    assert 3 <= len(server.bodies) <= 5
    assert fluxperf.run_json()["partial"] is True
    assert fluxperf.round(3, 1)["summary"]["successful_requests"] == 0


def test_if_nothing_succeeds_the_run_has_failed(fluxperf: Fluxperf, serve: Serve) -> None:
    server = serve(lambda exchange: exchange.answer(500, "out of memory"))
    fluxperf.write_prompts(4)
    ended = fluxperf.measure(server.url, "--concurrency 2")
    assert ended.code == 3
    assert ended.err.splitlines()[-1] == (
        "fluxperf: not one request succeeded: 8 x http_status (HTTP 500: out of memory)"
    )
    assert len(server.bodies) == 8  # nothing is asked twice
    for number in (1, 2):
        summary = fluxperf.round(2, number)["summary"]
        assert summary["outcomes"] == {"http_status": 4}
        assert (summary["ttft_ms"]["p50"], summary["avg_output_tokens"]) == (None, None)
    assert "http_status: 4, for example: HTTP 500: out of memory" in ended.out
    assert fluxperf.run_json()["partial"] is False


def answer_in_every_way(exchange: Exchange) -> None:
    """A different end for each prompt, by the number it begins with."""
    prompt = exchange.server.bodies[exchange.number]["messages"][-1]["content"]
    match prompt.split()[0]:
        case "0":
            exchange.answer(429, '{"error": {"message": "slow down"}}')
        case "1":
            exchange.answer(
                200, "data: " + json.dumps({"error": {"message": "overload"}}) + "\n\n", "text/event-stream"
            )
        case "2":
            exchange.begin("half")
            exchange.close_connection = True
        case "3":
            exchange.hang()
        case "4":
            exchange.answer(200, 'data: {"choices": [{"delta": {"content": "a"}}]}\n\n', "text/event-stream")
        case "5":
            exchange.stream()
        case "6":
            exchange.answer(200, "data: {\n\n", "text/event-stream")
        case "7":
            exchange.answer(418, "teapot")
        case _:
            exchange.stream("a", "b")


def test_every_failure_is_counted_under_its_name(fluxperf: Fluxperf, serve: Serve) -> None:
    server = serve(answer_in_every_way)
    fluxperf.write_prompts(10)
    ended = fluxperf.measure(server.url, "--concurrency 4 --rounds 1 --timeout 0.3")
    assert ended.code == 0
    found = fluxperf.round(4, 1)
    names = "rejected error_in_stream reset timeout truncated empty malformed http_status ok ok"
    assert [row["outcome"] for row in found["requests"]] == names.split()
    summary = found["summary"]
    assert [summary[f"{kind}_requests"] for kind in ("total", "successful", "failed")] == [10, 2, 8]
    assert summary["outcomes"] == {name: names.split().count(name) for name in names.split()}
    errors = [row["error"] for row in found["requests"]]
    assert errors[:2] == ["HTTP 429: slow down", "overload"]
    assert errors[8:] == [None, None]
    assert all(errors[:8])
    for name in set(names.split()) - {"ok"}:
        assert f"\n  {name}: 1, for example: {summary['examples'][name]}" in ended.out
    half, timed_out = found["requests"][2], found["requests"][3]
    assert half["ttft_ms"] > 0  # a failure keeps the stamps it got
    assert (half["output_events"], half["end_ms"], half["latency_ms"]) == (1, None, None)
    assert (timed_out["status"], timed_out["first_byte_ms"], timed_out["ttft_ms"]) == (None, None, None)


def test_a_server_that_dies_in_the_middle(fluxperf: Fluxperf, serve: Serve) -> None:
    def script(exchange: Exchange) -> None:
        if exchange.number < 4:
            exchange.stream("a", "b")
        else:
            exchange.begin("half")
            exchange.hang()

    server = serve(script)
    fluxperf.write_prompts(10)
    running = fluxperf.start(fluxperf.measuring(server.url, "--concurrency 2"))
    server.wait_for(6)
    server.die()
    ended = running.end()
    assert ended.code == 3
    assert "connection refused" in ended.err.lower()
    assert fluxperf.round(2, 1)["summary"]["outcomes"] == {"ok": 4, "reset": 2, "connect": 4}
    assert [entry["round"] for entry in fluxperf.run_json()["rounds"]] == [1]
    assert fluxperf.run_json()["partial"] is True


def test_of_several_models_one_must_be_chosen(fluxperf: Fluxperf, serve: Serve) -> None:
    server = serve(lambda exchange: exchange.stream("a"))
    models = json.dumps({"data": [{"id": "small"}, {"id": "large"}]})
    server.look = lambda exchange: exchange.answer(200, models, "application/json")
    fluxperf.write_prompts(3)
    ended = fluxperf(f"--endpoint {server.url} --dataset prompts.jsonl")
    assert ended.code == 2
    assert "choose one: small, large" in ended.err
    assert (server.gets, server.bodies) == (["/v1/models"], [])


def test_without_a_list_of_models_there_is_a_default(fluxperf: Fluxperf, serve: Serve) -> None:
    server = serve(lambda exchange: exchange.stream("a"))
    fluxperf.write_prompts(3)
    assert fluxperf(f"--endpoint {server.url} --dataset prompts.jsonl --output-dir out --rounds 1").code == 0
    assert {body["model"] for body in server.bodies} == {"gpt-3.5-turbo"}
    assert fluxperf.round(10, 1)["configuration"]["model"] == "gpt-3.5-turbo"
    assert server.gets[0] == "/v1/models"
    assert server.gets[1] == "/metrics"
    assert len(server.bodies) == 3  # no probe
    assert "authorization" not in {name.lower() for name in server.headers[0]}
