"""The compiled test server, and a peer for each protocol to talk to it with."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from fluxperf.calibrate.server import Schedule, TestServer, compile_server, compiled_server

TIMEOUT_S = 20.0
PATH = "/v1/chat/completions"
Start = Callable[..., TestServer]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled server."""
    compiled = compile_server(tmp_path_factory.mktemp("program"))
    if compiled is None:
        pytest.skip("there is no C compiler")
    return compiled


@pytest.fixture
def start(program: Path) -> Iterator[Start]:
    """Starts servers, which end with the test."""
    with ExitStack() as stack:

        def start(*more: str, ttft_ms: float = 2, itl_ms: float = 0.5, tokens: int = 5) -> TestServer:
            core = min(os.sched_getaffinity(0))
            return stack.enter_context(compiled_server(program, Schedule(ttft_ms, itl_ms, tokens), core, more))

        yield start


def connect(server: TestServer) -> socket.socket:
    parts = urlsplit(server.url)
    assert parts.hostname is not None
    return socket.create_connection((parts.hostname, parts.port or 80), timeout=TIMEOUT_S)


def body(prompt: str = "hello", **more: Any) -> bytes:
    """A request for an answer."""
    messages = [{"role": "user", "content": prompt}]
    return json.dumps({"model": "exact", "messages": messages, "stream": True, **more}).encode()


@dataclass(slots=True)
class Answer:
    """The events of an answer, in order, each as it came."""

    pieces: list[bytes] = field(default_factory=list)

    @property
    def chunks(self) -> list[Any]:
        """The JSON of all events but [DONE]."""
        lines = b"".join(self.pieces).split(b"\n\n")
        assert lines.pop() == b""
        assert lines.pop() == b"data: [DONE]"
        return [json.loads(line.removeprefix(b"data: ")) for line in lines]

    @property
    def contents(self) -> list[str]:
        """What is in the deltas."""
        deltas = [chunk["choices"][0]["delta"] for chunk in self.chunks if chunk["choices"]]
        return [delta["content"] for delta in deltas if delta.get("content")]

    @property
    def finish_reason(self) -> Any:
        """As the last choice has it."""
        return [chunk["choices"][0]["finish_reason"] for chunk in self.chunks if chunk["choices"]][-1]

    @property
    def usage(self) -> Any:
        """As the last event has it."""
        return self.chunks[-1]["usage"]
