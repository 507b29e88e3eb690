"""The command as its users run it, each run in a session of its own, and the servers that it is run against."""

from __future__ import annotations

import csv
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATH = "/v1/chat/completions"
# Far more than anything here takes: what hangs fails with what it had said.
TIMEOUT_S = 20.0

HIDDEN = ("FLUXPERF_API_KEY", "OPENAI_API_KEY", "http_proxy", "https_proxy", "all_proxy", "COLUMNS", "FORCE_COLOR")


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Ours, without what would change a run."""
    kept = {name: text for name, text in os.environ.items() if name not in HIDDEN and name.lower() not in HIDDEN}
    return {**kept, **more}


def session_members(session: int) -> set[int]:
    """The processes of a session, those that only wait to be reaped left out."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, its_session, *_ = path.read_text(errors="replace").rpartition(")")[2].split()
            if int(its_session) == session and state not in "ZX":
                found.add(int(path.parent.name))
    return found


def ended(pid: int, timeout_s: float) -> bool:
    """Waits for a process that need not be a child of ours."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], timeout_s)[0])
    finally:
        os.close(fd)


class Ended(NamedTuple):
    """How a run ended, and what it had said."""

    code: int
    out: str
    err: str


class Running:
    """A run under way, the leader of a session of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.pid = process.pid

    @property
    def others(self) -> set[int]:
        """Its workers, and its mock server if it has one."""
        return session_members(self.pid) - {self.pid}

    def press_ctrl_c(self) -> None:
        """SIGINT to the whole group, as a terminal sends it."""
        os.killpg(self.pid, signal.SIGINT)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """For what only /proc or the file system tells; fails when the run ends, or after a while."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while not condition():
            assert not ended(self.pid, 0.01), f"it ended too early: {self.end()}"
            assert time.monotonic() < deadline_s, f"it did not come to this: {self.end()}"

    def end(self) -> Ended:
        """Waits for its end, with which every process that it started must end too."""
        try:
            out, err = self.process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(f"it did not end within {TIMEOUT_S:g} s: {self.process.communicate()}")
        left = [pid for pid in session_members(self.pid) if not ended(pid, TIMEOUT_S)]
        assert not left, f"processes were left behind: {left}"
        return Ended(self.process.returncode, out or "", err or "")

    def kill(self) -> None:
        """Ends it and all that it started."""
        for pid in session_members(self.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@dataclass(slots=True)
class Fluxperf:
    """`bin/fluxperf`, in a directory of its own. What a run wrote is read from `out`, where `measure` has it written."""

    place: Path
    runs: list[Running] = field(default_factory=list)

    @property
    def out(self) -> Path:
        """The output directory of `measure`."""
        return self.place / "out"

    def start(self, *words: str | Path, env: Mapping[str, str] | None = None, **popen: Any) -> Running:
        """Starts the command with these words. Its output goes to pipes, unless `popen` has it elsewhere."""
        command = [sys.executable, str(ROOT / "bin" / "fluxperf"), *map(str, words)]
        outputs = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process: subprocess.Popen[str] = subprocess.Popen(
            command, cwd=self.place, env=environment(env or {}), text=True, start_new_session=True, **(outputs | popen)
        )
        self.runs.append(Running(process))
        return self.runs[-1]

    def __call__(self, *words: str | Path, env: Mapping[str, str] | None = None) -> Ended:
        """Runs the command to its end."""
        return self.start(*words, env=env).end()

    def measuring(self, url: str, *words: str | Path) -> tuple[str | Path, ...]:
        """The words of a run against `url` with what `write_prompts` wrote."""
        return ("--endpoint", url, "--model", "m", "--dataset", "prompts.jsonl", "--output-dir", "out", *words)

    def measure(self, url: str, *words: str | Path, env: Mapping[str, str] | None = None) -> Ended:
        """A run against `url` with what `write_prompts` wrote."""
        return self(*self.measuring(url, *words), env=env)

    def write_prompts(self, count: int, name: str = "prompts.jsonl", *, words: int = 3) -> None:
        """A dataset of prompts that have no beginning in common."""
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps({"text": f"{number} of {count}, says number {number}, " * words}) for number in range(count))
        path.write_text("".join(f"{line}\n" for line in lines))

    def round(self, concurrency: int, number: int) -> Any:
        """The file of a round."""
        return json.loads((self.out / f"concurrency_{concurrency}_round_{number}.json").read_text("utf-8"))

    def run_json(self) -> Any:
        """The file of the run."""
        return json.loads((self.out / "run.json").read_text("utf-8"))

    def csv_rows(self) -> list[dict[str, str]]:
        """The rows of the summary."""
        with (self.out / "metrics_summary.csv").open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))


@contextmanager
def fluxperf_in(place: Path) -> Iterator[Fluxperf]:
    command = Fluxperf(place)
    yield command
    for running in command.runs:
        running.kill()
        running.process.communicate()


@pytest.fixture
def fluxperf(tmp_path: Path) -> Iterator[Fluxperf]:
    """The command, for one test."""
    with fluxperf_in(tmp_path) as command:
        yield command


@pytest.fixture(scope="module")
def shared_fluxperf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fluxperf]:
    """The command, for a run whose result several tests look at."""
    with fluxperf_in(tmp_path_factory.mktemp("run")) as command:
        yield command


@dataclass(frozen=True, slots=True)
class Mock:
    """The built-in mock server, in a process of its own."""

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


@pytest.fixture(scope="session")
def mock_process() -> Iterator[Mock]:
    """The one that all tests share; `mock` is the same, made to forget."""
    options = ("--port 0 --prefill-tokens-per-s 1e6 --decode-ms 0.5 --overhead-ms 1 --tokens 6 --max-num-seqs 256").split()
    with subprocess.Popen(
        [sys.executable, str(ROOT / "bin" / "fluxperf"), "mock", *options], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], TIMEOUT_S)[0], "the mock server said nothing"
        greeting, _, url = process.stdout.readline().strip().rpartition(" ")
        assert greeting == "fluxperf mock listening on"
        yield Mock(url)
        process.terminate()


@pytest.fixture
def mock(mock_process: Mock) -> Mock:
    """A mock server with an empty cache."""
    mock_process.forget()
    return mock_process


class Exchange(BaseHTTPRequestHandler):
    """One connection to a `Scripted` server: what a script answers with."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = TIMEOUT_S
    server: Scripted

    def do_GET(self) -> None:
        self.answer(404, "there is only one path here")

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        self.number = self.server.take(json.loads(raw), dict(self.headers))
        self.server.script(self)

    @property
    def prompt(self) -> str:
        """The last message's text."""
        return str(self.server.bodies[self.number]["messages"][-1]["content"])

    def answer(self, status: int, text: str, content_type: str = "text/plain") -> None:
        """A whole answer."""
        body = text.encode()
        head = f"HTTP/1.1 {status} -\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode() + body)

    def stream(self, *words: str, cached_tokens: int | None = None, prompt_tokens: int = 10) -> None:
        """An event stream of these words, with usage."""
        details = None if cached_tokens is None else {"cached_tokens": cached_tokens}
        usage = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": len(words),
            "prompt_tokens_details": details,
        }
        chunks = [
            *({"choices": [{"index": 0, "delta": {"content": word}}]} for word in words),
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage},
        ]
        events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
        self.answer(200, events + "data: [DONE]\n\n", "text/event-stream")

    def hang(self) -> None:
        """No answer, as long as the test lasts."""
        assert self.server.closing.wait(TIMEOUT_S)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Says nothing."""


Script = Callable[[Exchange], None]


class Scripted(ThreadingHTTPServer):
    """A server whose every answer is a test's own, and which counts what reaches it."""

    daemon_threads = False  # so that closing it waits for them
    request_queue_size = 256

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.script = script
        self.connections = 0
        self.bodies: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.closing = threading.Event()
        self.changed = threading.Condition()

    @cached_property
    def url(self) -> str:
        """Of chat completions."""
        return f"http://127.0.0.1:{self.server_port}{PATH}"

    @property
    def prompts(self) -> Sequence[str]:
        """What was asked, in the order in which it came."""
        return [body["messages"][-1]["content"] for body in self.bodies]

    def take(self, body: Any, headers: dict[str, str]) -> int:
        """Notes a request and gives its number, from 0."""
        with self.changed:
            self.bodies.append(body)
            self.headers.append(headers)
            self.changed.notify_all()
            return len(self.bodies) - 1

    def wait_for(self, count: int) -> None:
        """Waits until so many requests have come."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.bodies) >= count, TIMEOUT_S), f"only {len(self.bodies)} came"

    def process_request(self, request: Any, client_address: Any) -> None:
        """One more connection."""
        self.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients go when they like."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@pytest.fixture
def serve() -> Iterator[Callable[[Script], Scripted]]:
    """Starts servers, and ends them."""
    with ExitStack() as stack:

        def start(script: Script) -> Scripted:
            server = stack.enter_context(Scripted(script))  # closes it, which waits for its connections
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            stack.callback(thread.join, TIMEOUT_S)
            stack.callback(server.shutdown)
            stack.callback(server.closing.set)
            thread.start()
            return server

        yield start
