"""What there is to watch in tests: pages of a script's own, the mock server, a real Prometheus. Needs no pytest."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import SkipTest

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 30.0
_PORTS_TRIED = 5

Reply = tuple[int, str]
"""A status and a body."""


class Pages(ThreadingHTTPServer):
    """A server whose answers to GET are a function of the path and query; it counts what it is asked."""

    daemon_threads = False
    request_queue_size = 64

    def __init__(self, reply: Callable[[str], Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _Exchange)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.reply = reply
        self.closing = threading.Event()
        self.asked = threading.Semaphore(0)
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []

    def hang(self, path: str) -> Reply:
        """No answer, as long as the test lasts; for use as `reply`."""
        self.closing.wait(TIMEOUT_S)
        return 503, ""

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients go when they like."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT_S
    server: Pages

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.server.headers.append({name.lower(): text for name, text in self.headers.items()})
        self.server.asked.release()
        status, text = self.server.reply(self.path)
        body = text.encode()
        place = f"location: {text}\r\n" if 300 <= status < 400 else ""
        self.wfile.write(f"HTTP/1.1 {status} -\r\n{place}content-length: {len(body)}\r\n\r\n".encode() + body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class has this name
        """Says nothing."""


@contextmanager
def pages(reply: Callable[[str], Reply]) -> Iterator[Pages]:
    """Such a server, for as long as the block lasts."""
    with Pages(reply) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join(TIMEOUT_S)


@contextmanager
def running_mock(*options: str, port: int = 0) -> Iterator[str]:
    """The mock server in a process of its own; gives its URL without a path."""
    command = [sys.executable, str(ROOT / "bin" / "fluxperf"), "mock", "--port", str(port), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip().rpartition(" ")[2]
            assert url.startswith("http://"), "the mock server does not start"
            yield url.removesuffix("/v1/chat/completions")
        finally:
            process.terminate()


def send(url: str, prompt: str, tokens: int) -> None:
    """One request to the mock server, to its end."""
    body = json.dumps({"model": "m", "prompt": prompt, "max_tokens": tokens, "ignore_eos": True}).encode()
    request = urllib.request.Request(f"{url}/v1/completions", body, method="POST")
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        answer.read()


def send_many(url: str, prompts: list[str], tokens: int) -> None:
    """Requests at once, to the end of the last."""
    threads = [threading.Thread(target=send, args=(url, prompt, tokens)) for prompt in prompts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)


@contextmanager
def running_prometheus(target: str, *options: str, interval: str = "1s") -> Iterator[str]:
    """A real Prometheus that scrapes `target` (host:port); gives its URL. Raises SkipTest where there is none."""
    program = shutil.which("prometheus")
    if program is None:
        raise SkipTest("there is no prometheus here (Debian and Ubuntu: apt install prometheus)")
    with tempfile.TemporaryDirectory() as place:
        config = Path(place) / "prometheus.yml"
        job = {"job_name": "mock", "static_configs": [{"targets": [target]}]}
        config.write_text(json.dumps({"global": {"scrape_interval": interval}, "scrape_configs": [job]}))
        # Its port has to be chosen for it, and may be taken meanwhile.
        for _ in range(_PORTS_TRIED):
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            command = [program, f"--config.file={config}", f"--storage.tsdb.path={place}/data"]
            command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=info", *options]
            with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
                try:
                    if _is_ready(process):
                        yield f"http://127.0.0.1:{port}"
                        return
                finally:
                    process.send_signal(signal.SIGKILL)
        raise AssertionError("Prometheus does not start")


def _is_ready(process: subprocess.Popen[str]) -> bool:
    """Reads its log up to the line that says so, and leaves the rest to a thread; False: it ended."""
    assert process.stderr is not None
    log = process.stderr
    for line in log:
        if "ready to receive web requests" in line:

            def drain() -> None:
                with suppress(ValueError, OSError):  # it is closed
                    for _ in log:
                        pass

            threading.Thread(target=drain, daemon=True).start()
            return True
    return False
