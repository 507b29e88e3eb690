"""The real server, in a process of its own, on real sockets."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from fluxperf.clock import kernel_stamps_work

PATH = "/v1/chat/completions"


@pytest.fixture
def client(quick_port: int) -> Iterator[http.client.HTTPConnection]:
    connection = connect(quick_port)
    with closing(connection):
        ask(connection, "POST", "/reset_prefix_cache")
        ask(connection, "GET", "/reset")
        yield connection


def connect(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=20)


def chat(content: str = "hello", **more: object) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": content}], **more}).encode()


def ask(client: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None) -> Any:
    client.request(method, path, body)
    with client.getresponse() as response:
        assert response.status == 200
        return json.loads(response.read())


def stream(client: http.client.HTTPConnection, content: str = "hello", **more: object) -> list[Any]:
    client.request("POST", PATH, chat(content, stream=True, stream_options={"include_usage": True}, **more))
    with client.getresponse() as response:
        datas = [line[6:] for line in response.read().split(b"\n") if line.startswith(b"data: ")]
    assert datas.pop() == b"[DONE]"
    return [json.loads(data) for data in datas]


def metrics(client: http.client.HTTPConnection) -> dict[str, float]:
    client.request("GET", "/metrics")
    lines = client.getresponse().read().decode().splitlines()
    samples = [line for line in lines if not line.startswith("#") and "le=" not in line]
    return {line.partition("{")[0]: float(line.rpartition(" ")[2]) for line in samples}


def read_role(client: http.client.HTTPConnection, body: bytes) -> http.client.HTTPResponse:
    """Sends a streaming request and reads as far as its acceptance."""
    client.request("POST", PATH, body)
    response = client.getresponse()
    assert b'"role":"assistant"' in response.readline()
    return response


def test_requests_on_one_connection_find_the_cache(client: http.client.HTTPConnection) -> None:
    cold, warm = (stream(client, content="x" * 1000)[-1]["usage"] for _ in range(2))
    assert cold["prompt_tokens_details"]["cached_tokens"] == 0
    assert warm["prompt_tokens_details"]["cached_tokens"] >= 240
    assert warm["prompt_tokens"] == cold["prompt_tokens"]
    counted = metrics(client)
    assert counted["vllm:prefix_cache_hits_total"] >= 240
    assert ask(client, "GET", "/truth")["connections"] == 0


def test_the_truth_is_told(client: http.client.HTTPConnection) -> None:
    tokens = [event for event in stream(client, max_tokens=5) if event["choices"]]
    truth = ask(client, "GET", "/truth")
    assert len(tokens) == 5 + 2
    assert (truth["requests"], truth["tokens"], truth["ttft_ms"]["n"], truth["itl_ms"]["n"]) == (1, 5, 1, 4)
    assert truth["e2e_ms"]["max"] >= truth["ttft_ms"]["max"] > 0
    assert truth["late_ms"]["n"] == 5
    assert truth["late_ms"]["p50"] >= 0


def test_arrivals_are_stamped_by_the_kernel(client: http.client.HTTPConnection) -> None:
    if not kernel_stamps_work():
        pytest.skip("this kernel stamps nothing")
    for _ in range(100):  # it begins some time after it was asked to
        ask(client, "GET", "/reset")
        if ask(client, "GET", "/truth")["user_stamps"] == 0:
            return
    pytest.fail("no arrival was stamped by the kernel")


def test_the_same_seed_gives_the_same_answer(serve: Callable[..., int]) -> None:
    answers = []
    for seed in ("1", "1", "2"):
        with closing(connect(serve("--seed", seed, "--decode-ms", "0"))) as client:
            answers.append(ask(client, "POST", PATH, chat())["choices"][0]["message"]["content"])
    assert answers[0] == answers[1] != answers[2]


def test_requests_beyond_max_num_seqs_wait_and_a_client_that_leaves_makes_room(serve: Callable[..., int]) -> None:
    port = serve("--max-num-seqs", "1", "--decode-ms", "60000", "--overhead-ms", "0")
    with closing(connect(port)) as first, closing(connect(port)) as second, closing(connect(port)) as watch:
        running = read_role(first, chat("first", stream=True))
        assert running.readline() == b"\n"
        assert b'"content":"' in running.readline()
        waiting = read_role(second, chat("second", stream=True, max_tokens=1))
        counted = metrics(watch)
        assert (counted["vllm:num_requests_running"], counted["vllm:num_requests_waiting"]) == (1, 1)
        assert ask(watch, "POST", "/reset_prefix_cache") == {"success": False}
        running.close()
        first.close()
        assert b"[DONE]" in waiting.read()
        truth = ask(watch, "GET", "/truth")
        assert (truth["requests"], truth["aborted"], truth["finished"]) == (2, 1, 1)


def test_a_request_in_many_pieces_is_read(quick_port: int) -> None:
    body = chat("x" * 3_000_000)
    head = f"POST {PATH} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", quick_port), timeout=20) as sock:
        for byte in head:
            sock.send(bytes([byte]))
        sock.sendall(body)
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b'"prompt_tokens":7500' in answer


def test_a_body_in_chunks_is_read(client: http.client.HTTPConnection) -> None:
    body = chat()
    client.request("POST", PATH, iter([body[:5], body[5:]]), encode_chunked=True)
    assert client.getresponse().status == 200


def test_a_client_that_reads_slowly_holds_up_nobody_and_loses_nothing(serve: Callable[..., int]) -> None:
    port = serve("--decode-ms", "0", "--overhead-ms", "0")
    with socket.socket() as slow, closing(connect(port)) as other:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(20)
        slow.connect(("127.0.0.1", port))
        body = chat(stream=True, max_tokens=40_000, ignore_eos=True)
        slow.sendall(
            f"POST {PATH} HTTP/1.1\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
        )
        assert slow.recv(15) == b"HTTP/1.1 200 OK"
        stream(other, max_tokens=3)
        assert ask(other, "GET", "/truth")["finished"] == 1
        received = b"".join(iter(lambda: slow.recv(1 << 20), b""))
        assert received.count(b'"delta":{"content":"') == 40_000
        assert received.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        truth = ask(other, "GET", "/truth")
        assert (truth["finished"], truth["tokens"]) == (2, 40_003)


def test_a_page_that_is_kept_back_comes_and_holds_up_nobody(serve: Callable[..., int]) -> None:
    port = serve("--faults", "slow-metrics=0.05")
    with closing(connect(port)) as slow, closing(connect(port)) as gone, closing(connect(port)) as other:
        for client in (slow, gone):
            client.request("GET", "/metrics")
        gone.close()
        assert ask(other, "GET", "/truth")["faults"] == ["slow-metrics=0.05"]
        assert b"vllm:num_requests_running" in slow.getresponse().read()
        assert ask(other, "GET", "/truth")["engine"] == "vllm"


def test_many_connections_at_once(client: http.client.HTTPConnection, quick_port: int) -> None:
    clients = [connect(quick_port) for _ in range(200)]
    for index, each in enumerate(clients):
        each.request("POST", PATH, chat(f"number {index}", stream=True))
    for each in clients:
        assert b"[DONE]" in each.getresponse().read()
        each.close()
    truth = ask(client, "GET", "/truth")
    assert (truth["connections"], truth["requests"], truth["finished"]) == (200, 200, 200)
