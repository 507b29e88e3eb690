"""Servers to run against: the built-in mock, and one whose every answer is a test's own."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.end_to_end.command import ROOT, TIMEOUT_S

PATH = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Mock:
    """The mock server that listens at `url`."""

    url: str

    def ask(self, path: str, method: str = "GET") -> Any:
        """What it answers."""
        request = urllib.request.Request(self.url.removesuffix(PATH) + path, method=method)
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return json.loads(answer.read())

    def truth(self) -> Any:
        """What it has really done since it was made to forget."""
        return self.ask("/truth")

    def forget(self) -> None:
        """Empties its cache and begins the truth anew."""
        self.ask("/reset_prefix_cache", "POST")
        self.ask("/truth/reset", "POST")


@contextmanager
def running_mock(*options: str) -> Iterator[Mock]:
    """A mock server in a process of its own."""
    command = [sys.executable, str(ROOT / "bin" / "fluxperf"), "mock", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert select.select([process.stdout], [], [], TIMEOUT_S)[0], "the mock server said nothing"
            greeting, _, url = process.stdout.readline().strip().rpartition(" ")
            assert greeting == "fluxperf mock listening on"
            yield Mock(url)
        finally:
            process.terminate()


class Exchange(BaseHTTPRequestHandler):
    """One connection to a `Scripted` server, and what a script can answer with."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = TIMEOUT_S
    server: Scripted
    number: int
    """Which request it is, from 0."""

    def do_GET(self) -> None:
        self.server.gets.append(self.path)
        self.server.look(self)

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        self.number = self.server.take(json.loads(raw), dict(self.headers))
        self.server.script(self)

    def answer(self, status: int, text: str, content_type: str = "text/plain") -> None:
        """A whole answer."""
        body = text.encode()
        head = f"HTTP/1.1 {status} -\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode() + body)

    def stream(self, *words: str, cached_tokens: int | None = None, prompt_tokens: int = 10) -> None:
        """An event stream of these words, with usage."""
        usage: dict[str, Any] = {"prompt_tokens": prompt_tokens, "completion_tokens": len(words)}
        if cached_tokens is not None:
            usage["prompt_tokens_details"] = {"cached_tokens": cached_tokens}
        chunks: list[Any] = [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in words]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage})
        events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
        self.answer(200, events + "data: [DONE]\n\n", "text/event-stream")

    def hang(self) -> None:
        """No answer, as long as the test lasts."""
        self.server.closing.wait(TIMEOUT_S)
        self.close_connection = True

    def begin(self, word: str) -> None:
        """The beginning of an event stream, its first word included."""
        event = f'data: {{"choices": [{{"index": 0, "delta": {{"content": "{word}"}}}}]}}\n\n'
        head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 99999\r\n\r\n"
        self.wfile.write((head + event).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class has this name
        """Says nothing."""


Script = Callable[[Exchange], None]
Serve = Callable[[Script], "Scripted"]


class Scripted(ThreadingHTTPServer):
    """A server whose answers to POST are a script's (to GET: `look`'s), and which counts what reaches it."""

    daemon_threads = False  # so that closing it waits for them
    request_queue_size = 256

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.url = f"http://127.0.0.1:{self.server_port}{PATH}"
        self.script = script
        self.look: Script = lambda exchange: exchange.answer(404, "there is only one path here")
        self.connections = 0
        self.gets: list[str] = []
        self.bodies: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.closing = threading.Event()
        self.changed = threading.Condition()

    @property
    def prompts(self) -> list[str]:
        """What was asked, in the order in which it came."""
        return [body["messages"][-1]["content"] for body in self.bodies]

    def take(self, body: Any, headers: dict[str, str]) -> int:
        """Notes a request and gives its number."""
        with self.changed:
            self.bodies.append(body)
            self.headers.append(headers)
            self.changed.notify_all()
            return len(self.bodies) - 1

    def wait_for(self, count: int) -> None:
        """Waits until so many requests have come."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.bodies) >= count, TIMEOUT_S), f"only {len(self.bodies)} came"

    def die(self) -> None:
        """Listens no more, and breaks off the answers under way."""
        self.shutdown()
        self.socket.close()
        self.closing.set()

    def process_request(self, request: Any, client_address: Any) -> None:
        """One more connection."""
        self.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients go when they like."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def scripted_servers() -> Iterator[Serve]:
    """Starts servers, and ends them with the block."""
    with ExitStack() as stack:

        def start(script: Script) -> Scripted:
            server = stack.enter_context(Scripted(script))  # leaving it waits for its connections to end
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            stack.callback(thread.join, TIMEOUT_S)
            stack.callback(server.shutdown)
            stack.callback(server.closing.set)
            thread.start()
            return server

        yield start
