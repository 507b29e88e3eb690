"""A server that says what a test has written down for each call, and pages of metrics for it. Needs no pytest."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeAlias

from fluxperf.watch.engines import is_read
from fluxperf.watch.exposition import parse
from fluxperf.watch.readings import Pages, started_at

PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. `hangs`: it never comes; `breaks_off`: its body stops before its end."""

    status: int = 200
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    hangs: bool = False
    breaks_off: bool = False


Script: TypeAlias = Mapping[str, "Reply | list[Reply]"]
"""Method and path -> the answer, or several in turn, of which the last stays."""


class Server(ThreadingHTTPServer):
    """Answers by the script, everything else with 404; it keeps what it was asked."""

    daemon_threads = False

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), _Exchange)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.closing = threading.Event()
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self._script = {call: list(said) if isinstance(said, list) else [said] for call, said in script.items()}

    def reply(self, call: str) -> Reply:
        """The next answer to this call."""
        left = self._script.get(call, [Reply(404, "Not Found")])
        return left.pop(0) if len(left) > 1 else left[0]

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients go when they like."""


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = PATIENCE_S
    server: Server

    def _answer(self) -> None:
        call = f"{self.command} {self.path}"
        self.server.asked.append(call)
        self.server.headers.append({name.lower(): text for name, text in self.headers.items()})
        reply = self.server.reply(call)
        if reply.hangs:
            self.server.closing.wait(PATIENCE_S)
            self.close_connection = True
            return
        body = reply.body.encode()
        fields = "".join(f"{name}: {text}\r\n" for name, text in reply.headers.items())
        head = f"HTTP/1.1 {reply.status} -\r\n{fields}content-length: {len(body) + reply.breaks_off}\r\n\r\n"
        self.wfile.write(head.encode() + body)
        self.close_connection = reply.breaks_off

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class has this name
        """Says nothing."""


@contextmanager
def answering(script: Script) -> Iterator[Server]:
    """Such a server, for as long as the block lasts."""
    with Server(script) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join(PATIENCE_S)


def closed_url() -> str:
    """A URL at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


# Pages.

STARTED = "process_start_time_seconds"


def page(**counts: float) -> str:
    """A page with these; of their names each `__` is a colon."""
    return "".join(f"{name.replace('__', ':')} {value}\n" for name, value in counts.items())


def labelled(name: str, label: str, **values: float) -> str:
    """A metric's lines, one for each value of one label."""
    return "".join(f'{name}{{{label}="{which}",model_name="m"}} {value}\n' for which, value in values.items())


def reading(text: str, header: str | None = None) -> Pages:
    """A page as it is read."""
    scrape = parse(text, 0, is_read)
    return Pages(scrape, started=started_at(scrape, header))


VLLM_NAMES = ("prefix_cache_hits_total", "prefix_cache_queries_total", "prompt_tokens_total")


def vllm_page(hits: float, queries: float, *, engine: str = "0", running: int = 0) -> str:
    """What vLLM shows of one engine that was sent what it looked up."""
    counters = zip(VLLM_NAMES, (hits, queries, queries), strict=True)
    shown = "".join(labelled(f"vllm:{name}", "engine", **{engine: value}) for name, value in counters)
    return shown + labelled("vllm:num_requests_running", "engine", **{engine: running})


def sglang_page(hits: float | None, queries: float) -> str:
    """What SGLang shows; `hits` None: there was none yet, and it has no line for them."""
    found = "" if hits is None else f'sglang:cached_tokens_total{{cache_source="device"}} {hits}\n'
    return f'sglang:prompt_tokens_total{{is_streaming="true"}} {queries}\nsglang:num_running_reqs 0\n' + found


def llamacpp_page(computed: int, cached: int, processing: int = 0) -> str:
    """What llama.cpp shows, which counts what was computed apart from what was cached."""
    return (
        "# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed, excluding cached tokens\n"
        "# TYPE llamacpp:prompt_tokens_total counter\n"
        f"llamacpp:prompt_tokens_total {computed}\n"
        "# TYPE llamacpp:prompt_tokens_cached_total counter\n"
        f"llamacpp:prompt_tokens_cached_total {cached}\n"
        f"# TYPE llamacpp:requests_processing gauge\nllamacpp:requests_processing {processing}\n"
        "llamacpp:requests_deferred 0\n"
    )


def trtllm_page(reused: int, missed: int) -> str:
    """What TensorRT-LLM shows, in blocks."""
    return page(trtllm_kv_cache_reused_blocks_total=reused, trtllm_kv_cache_missed_blocks_total=missed)
