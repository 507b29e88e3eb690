"""The real server over HTTP/2 and TLS, in a process of its own, on real sockets, with clients that are not ours."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import closing

import httpx
import pytest

from tests.mock.certificate import Certificate

PATH = "/v1/chat/completions"
# :method POST, :scheme http, path and authority in plain letters (RFC 7541).
HEAD = b"\x83\x86\x04" + bytes([len(PATH)]) + PATH.encode() + b"\x01\x01h"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.fixture
def h2c(quick_port: int) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{quick_port}", http1=False, http2=True, timeout=20) as client:
        client.post("/reset_prefix_cache")
        client.get("/reset")
        yield client


def chat(content: str = "hello", **more: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": content}], **more}


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def read_until(sock: socket.socket, words: bytes, times: int = 1) -> bytes:
    """What comes up to so many of these words."""
    received = b""
    while received.count(words) < times:
        piece = sock.recv(65536)
        assert piece, f"the server closed after {received!r}"
        received += piece
    return received


def wait_for(client: httpx.Client, name: str, count: int) -> dict[str, int]:
    """The truth, once a count in it is so many."""
    for _ in range(10_000):
        truth: dict[str, int] = client.get("/truth").json()
        if truth[name] == count:
            return truth
    pytest.fail(f"{name} is {truth[name]}, not {count}")


def test_requests_over_one_port_in_either_version_meet_one_cache(h2c: httpx.Client, quick_port: int) -> None:
    usages = [h2c.post(PATH, json=chat("x" * 1000)).json()["usage"]]
    with closing(http.client.HTTPConnection("127.0.0.1", quick_port, timeout=20)) as h1:
        h1.request("POST", PATH, json.dumps(chat("x" * 1000)))
        usages.append(json.loads(h1.getresponse().read())["usage"])
    cold, warm = (usage["prompt_tokens_details"]["cached_tokens"] for usage in usages)
    assert (cold, warm) == (0, 256)
    truth = h2c.get("/truth")
    assert truth.http_version == "HTTP/2"
    assert (truth.json()["requests"], truth.json()["connections"], truth.json()["replicas"]) == (2, 1, 1)


def test_a_stream_over_h2c(h2c: httpx.Client) -> None:
    with h2c.stream("POST", PATH, json=chat(stream=True, max_tokens=5, ignore_eos=True)) as response:
        assert (response.status_code, response.http_version) == (200, "HTTP/2")
        events = [line for line in response.iter_lines() if line]
    assert len(events) == 1 + 5 + 2
    assert events[-1] == "data: [DONE]"
    truth = h2c.get("/truth").json()
    assert (truth["tokens"], truth["ttft_ms"]["n"], truth["itl_ms"]["n"], truth["finished"]) == (5, 1, 4, 1)


def test_a_prompt_of_half_a_megabyte_over_h2c(h2c: httpx.Client) -> None:
    for size in (500_000, 5_000_000):
        answer = h2c.post("/v1/completions", json={"prompt": "x" * size, "max_tokens": 1})
        assert answer.json()["usage"]["prompt_tokens"] == size // 4


def test_the_other_endpoints_over_h2c(h2c: httpx.Client) -> None:
    assert h2c.get("/v1/models").json()["data"][0]["id"] == "fluxperf-mock"
    assert h2c.get("/metrics").text.startswith("# HELP vllm:")
    assert h2c.head("/version").status_code == 200
    assert h2c.get("/nowhere").status_code == 404


def test_a_client_that_closes_takes_its_requests_with_it(serve: Callable[..., int]) -> None:
    port = serve("--decode-ms", "60000", "--overhead-ms", "0")
    settings = frame(4, 0, 0, b"")
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        body = json.dumps(chat(stream=True)).encode()
        for number in (1, 3):
            settings += frame(1, 4, number, HEAD) + frame(0, 1, number, body)
        sock.sendall(PREFACE + settings)
        read_until(sock, b'"role":"assistant"', times=2)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as watch:
        truth = wait_for(watch, "aborted", 2)
    assert (truth["requests"], truth["finished"]) == (2, 0)


def test_a_stream_without_windows_holds_up_no_other(serve: Callable[..., int]) -> None:
    port = serve("--decode-ms", "0", "--overhead-ms", "0")
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        slow, quick = (json.dumps(chat(stream=True, max_tokens=count)).encode() for count in (3000, 3))
        small_windows = frame(4, 0, 0, struct.pack(">HI", 4, 1000))
        wide_connection = frame(8, 0, 0, struct.pack(">I", 1 << 24))
        sock.sendall(PREFACE + small_windows + wide_connection + frame(1, 4, 1, HEAD) + frame(0, 1, 1, slow))
        sock.sendall(frame(1, 4, 3, HEAD) + frame(8, 0, 3, struct.pack(">I", 1 << 20)) + frame(0, 1, 3, quick))
        received = read_until(sock, b"[DONE]")
        done = received.index(b"[DONE]")
        assert received[:done].count(b'"content":"') < 20
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as watch:
        watch.request("GET", "/truth")
        assert json.loads(watch.getresponse().read())["finished"] == 1


@pytest.mark.parametrize("http2", [True, False])
def test_https_in_either_version(serve: Callable[..., int], certificate: Certificate, http2: bool) -> None:
    port = serve(*certificate.options, "--decode-ms", "1", "--overhead-ms", "0", "--prefill-tokens-per-s", "1e9")
    url = f"https://127.0.0.1:{port}"
    with httpx.Client(base_url=url, verify=certificate.trusting(), http2=http2, timeout=20) as client:
        with client.stream("POST", PATH, json=chat(stream=True, max_tokens=4, ignore_eos=True)) as response:
            assert response.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
            assert response.read().count(b'"delta":{"content":"') == 4
        long = client.post("/v1/completions", json={"prompt": "x" * 500_000, "max_tokens": 1})
        assert long.json()["usage"]["prompt_tokens"] == 125_000
        truth = client.get("/truth").json()
        assert (truth["requests"], truth["connections"], truth["tokens"]) == (2, 1, 5)
        assert truth["ttft_ms"]["p50"] > 0


def test_a_client_that_does_not_know_the_authority_does_not_get_through(
    serve: Callable[..., int], certificate: Certificate
) -> None:
    port = serve(*certificate.options)
    with (
        httpx.Client(verify=ssl.create_default_context(), timeout=20) as client,
        pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        client.get(f"https://127.0.0.1:{port}/health")
    with httpx.Client(verify=certificate.trusting(), timeout=20) as client:
        assert client.get(f"https://127.0.0.1:{port}/health").status_code == 200


def test_a_handshake_that_stands_still_holds_up_nobody(serve: Callable[..., int], certificate: Certificate) -> None:
    port = serve(*certificate.options)
    with socket.create_connection(("127.0.0.1", port)) as still:
        still.sendall(b"\x16\x03\x01")  # the first bytes of a hello
        with httpx.Client(verify=certificate.trusting(), timeout=20) as client:
            assert client.get(f"https://127.0.0.1:{port}/health").status_code == 200


def test_plain_http_on_a_tls_port_is_closed(serve: Callable[..., int], certificate: Certificate) -> None:
    port = serve(*certificate.options)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\nhost: h\r\n\r\n")
        assert b"200" not in b"".join(iter(lambda: sock.recv(4096), b""))
