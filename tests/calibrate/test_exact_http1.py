"""The exact-schedule server over HTTP/1.1, and its truth."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from fluxperf.calibrate.server import SOURCES, TestServer, find_compiler
from tests.calibrate.conftest import PATH, TIMEOUT_S, Answer, Start, body, connect


class Peer:
    """One connection to the server."""

    def __init__(self, server: TestServer) -> None:
        self.sock = connect(server)
        self.file = self.sock.makefile("rb")

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.sock.close()

    def post(self, content: bytes, *headers: str, path: str = PATH) -> None:
        lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(content)}", *headers, "", ""]
        self.sock.sendall("\r\n".join(lines).encode() + content)

    def read_head(self) -> tuple[int, dict[str, str]]:
        status = int(self.file.readline().split()[1])
        lines = iter(lambda: self.file.readline().decode().strip(), "")
        return status, dict(line.lower().split(": ", 1) for line in lines)

    def read_answer(self) -> Answer:
        status, headers = self.read_head()
        assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        answer = Answer()
        while size := int(self.file.readline(), 16):
            answer.pieces.append(self.file.read(size))
            assert self.file.readline() == b"\r\n"
        assert self.file.readline() == b"\r\n"
        return answer

    def read_json(self) -> tuple[int, Any]:
        status, headers = self.read_head()
        return status, json.loads(self.file.read(int(headers["content-length"])))


def test_it_compiles_without_a_warning() -> None:
    compiler = find_compiler()
    if compiler is None:
        pytest.skip("there is no C compiler")
    strict = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror", "-fsyntax-only"]
    done = subprocess.run([*compiler, *strict, *SOURCES.glob("*.c")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_answer_is_a_role_one_piece_a_token_and_an_end(start: Start) -> None:
    with Peer(start(tokens=3)) as peer:
        peer.post(body())
        answer = peer.read_answer()
    assert answer.contents == ["token00000 ", "token00001 ", "token00002 "]
    assert len(answer.pieces) == 1 + 3 + 1
    assert answer.chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert answer.finish_reason == "stop"
    assert answer.usage["completion_tokens"] == 3


@pytest.mark.parametrize(
    ("more", "tokens", "reason"),
    [
        ({"max_tokens": 2}, 2, "length"),
        ({"max_completion_tokens": 1}, 1, "length"),
        ({"max_tokens": 5}, 5, "stop"),
        ({"max_tokens": 100}, 5, "stop"),
        ({"max_tokens": None}, 5, "stop"),
        ({"stop": "max_tokens"}, 5, "stop"),
        ({"user": 'x "max_tokens": 1 x'}, 5, "stop"),
    ],
)
def test_max_tokens_bounds_an_answer(start: Start, more: dict[str, Any], tokens: int, reason: str) -> None:
    with Peer(start(tokens=5)) as peer:
        peer.post(body(**more))
        answer = peer.read_answer()
    assert (len(answer.contents), answer.finish_reason) == (tokens, reason)


def test_a_prompt_cannot_pass_for_max_tokens(start: Start) -> None:
    with Peer(start(tokens=3)) as peer:
        peer.post(body('say "max_tokens": 1 and no more'))
        assert len(peer.read_answer().contents) == 3


@pytest.mark.parametrize("size", [500_000, 3_000_000])
def test_large_bodies(start: Start, size: int) -> None:
    with Peer(start(tokens=3)) as peer:
        peer.post(body("x" * size, max_tokens=2))
        answer = peer.read_answer()
    assert answer.usage["completion_tokens"] == 2
    assert answer.usage["prompt_tokens"] == len(body("x" * size, max_tokens=2)) // 4


def test_requests_follow_each_other_on_a_connection_also_ahead_of_answers(start: Start) -> None:
    server = start(tokens=2)
    with Peer(server) as peer:
        for _ in range(3):
            peer.post(body())
        for _ in range(3):
            assert len(peer.read_answer().contents) == 2
    truth = server.truth()
    assert (truth["requests"], truth["finished"], truth["tokens"], truth["connections"]) == (3, 3, 6, 1)


def test_a_body_that_waits_for_leave_gets_it(start: Start) -> None:
    content = body()
    with Peer(start()) as peer:
        peer.post(b"", "Expect: 100-continue", f"Content-Length: {len(content)}")
        assert peer.file.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert peer.file.readline() == b"\r\n"
        peer.sock.sendall(content)
        assert len(peer.read_answer().contents) == 5


def test_connection_close_is_obeyed(start: Start) -> None:
    with Peer(start()) as peer:
        peer.post(body(), "Connection: close")
        assert len(peer.read_answer().contents) == 5
        assert peer.file.read() == b""


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"POST /v1/embeddings HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}", 404),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /truth HTTP/1.0\r\n\r\n", 400),
        (b"POST /v1/chat/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\n".ljust(65_537, b"x"), 431),
    ],
)
def test_what_it_cannot_answer_is_refused(start: Start, request_bytes: bytes, status: int) -> None:
    with Peer(start()) as peer:
        peer.sock.sendall(request_bytes)
        assert peer.read_json()[0] == status


def test_models_are_listed(start: Start) -> None:
    with Peer(start()) as peer:
        peer.sock.sendall(b"GET /v1/models HTTP/1.1\r\n\r\n")
        assert peer.read_json() == (200, {"object": "list", "data": [{"id": "exact", "object": "model"}]})


def test_the_truth_is_never_before_its_time(start: Start) -> None:
    server = start(ttft_ms=3, itl_ms=1, tokens=4)
    with Peer(server) as peer:
        for _ in range(2):
            peer.post(body())
            peer.read_answer()
    truth = server.truth()
    counts = {name: truth[name]["n"] for name in ("ttft_ms", "itl_ms", "e2e_ms", "late_ms")}
    assert counts == {"ttft_ms": 2, "itl_ms": 6, "e2e_ms": 2, "late_ms": 8}
    assert 3 <= truth["ttft_ms"]["p50"] <= truth["ttft_ms"]["p90"] <= truth["ttft_ms"]["p99"] == truth["ttft_ms"]["max"]
    assert truth["e2e_ms"]["p50"] >= 6
    assert 0 <= truth["late_ms"]["p50"] <= truth["late_ms"]["mean"] * 8
    assert (truth["aborted"], truth["held"]) == (0, 0)


def test_the_truth_can_be_started_anew(start: Start) -> None:
    server = start()
    with Peer(server) as peer:
        peer.post(body())
        peer.read_answer()
    assert server.truth()["requests"] == 1
    server.reset()
    truth = server.truth()
    assert (truth["requests"], truth["tokens"], truth["ttft_ms"]["n"], truth["ttft_ms"]["p50"]) == (0, 0, 0, None)


def test_without_a_time_between_tokens_they_come_as_fast_as_they_are_taken(start: Start) -> None:
    with Peer(start(ttft_ms=0, itl_ms=0, tokens=100_000)) as peer:
        peer.post(body())
        contents = peer.read_answer().contents
    assert contents[-1] == "token99999 "
    assert len(contents) == 100_000


def test_a_client_that_leaves_is_counted(start: Start) -> None:
    server = start(ttft_ms=1, itl_ms=10_000, tokens=2)
    with Peer(server) as peer:
        peer.post(body())
        peer.read_head()
    with Peer(server) as other:  # the server takes one thing after the other
        other.sock.sendall(b"GET /v1/models HTTP/1.1\r\n\r\n")
        other.read_json()
    assert server.truth()["aborted"] == 1


def test_a_client_that_stops_reading_holds_up_nobody_else_and_misses_nothing(start: Start) -> None:
    server = start(ttft_ms=0, itl_ms=0, tokens=100_000)  # far more than sockets hold
    with Peer(server) as lazy, Peer(server) as quick:
        lazy.post(body())
        deadline_s = time.monotonic() + TIMEOUT_S
        while not server.truth()["held"]:
            assert time.monotonic() < deadline_s
        quick.post(body(max_tokens=3))
        assert len(quick.read_answer().contents) == 3
        assert len(lazy.read_answer().contents) == 100_000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--port", "x"], "'x' must be a whole number from 0 to 65535"),
        (["--tokens", "0"], "'0' must be a whole number from 1"),
        (["8001"], "unexpected '8001'"),
        (["--frobnicate"], "frobnicate"),
    ],
)
def test_wrong_options_are_named(program: Path, words: list[str], message: str) -> None:
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_a_port_that_is_taken_is_said(program: Path, start: Start) -> None:
    port = start().url.split(":")[2].split("/")[0]
    done = subprocess.run([program, "--port", port], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot listen on 127.0.0.1: Address already in use" in done.stderr
