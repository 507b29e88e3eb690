"""One request beside the run: /v1/models, /metrics, a cache reset, a Prometheus query. Bounded in time and in length.

What the server does wrong is told in the answer, never raised. Each connection is closed at once: servers hold a
thread for it, or count it.
"""

from __future__ import annotations

import functools
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from fluxperf.clock import now_ns
from fluxperf.units import s_to_ns

TIMEOUT_S = 10.0
MAX_BYTES = 32 << 20
STOP_POLL_S = 0.1
STOP_JOIN_S = 0.5
_MOST_REDIRECTS = 3
_REDIRECTS = (301, 302, 303, 307, 308)
# Compressing a page would be the server's work, and it is the server that is measured.
_OURS = {"connection": "close", "accept-encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Access:
    """What requests to a server carry (names in lower case), and how it is spoken to. `context` is for https://."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    context: ssl.SSLContext | None = None
    http2: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `status` None: nothing did; `error` says why there is no whole answer.

    `asked_ns` and `came_ns` are when the request began and its answer ended, on the monotonic clock.
    """

    status: int | None
    asked_ns: int
    came_ns: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether it is whole, and its status says success."""
        return self.error is None and self.status is not None and 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body as UTF-8, with U+FFFD in place of what is not."""
        return self.body.decode("utf-8", "replace")

    @property
    def trouble(self) -> str:
        """Why it is not `ok`, as the rest of a sentence that begins with the URL."""
        return self.error or f"answered with status {self.status}"


class Cut:
    """Breaks off one request, from another thread: its connection is shut down, or will be as soon as there is one."""

    __slots__ = ("_lock", "_socket", "made")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.made = False

    def make(self) -> None:
        """Breaks it off now."""
        with self._lock:
            self.made = True
            self._shut()

    def notice(self, event: str, info: Mapping[str, Any]) -> None:
        """Takes part in the request as httpx's extension `trace` (its documentation, "Extensions")."""
        if event == "connection.connect_tcp.complete":
            with self._lock:
                # A duplicate, since TLS takes the connection away from the socket that it wraps.
                self._socket = info["return_value"].get_extra_info("socket").dup()
                if self.made:
                    self._shut()

    def close(self) -> None:
        """The request is over."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def _shut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # it is gone already
                self._socket.shutdown(socket.SHUT_RDWR)


def fetch(
    url: str,
    access: Access,
    *,
    method: str = "GET",
    timeout_s: float = TIMEOUT_S,
    max_bytes: int = MAX_BYTES,
    cut: Cut | None = None,
) -> Answer:
    """The answer to one request; it never raises for what the server or the network does.

    `timeout_s` is for all of it, also where bytes keep dripping in; only looking up a name and trying its addresses one
    after the other may add to it. `cut` lets another thread end it.
    """
    asked_ns = now_ns()
    status, headers, body = None, {}, bytearray()
    error = None
    cut = cut or Cut()
    try:
        with _at_most(timeout_s, cut), _client(access, timeout_s) as client:
            extensions = {"trace": cut.notice}
            with client.stream(method, url, headers={**access.headers, **_OURS}, extensions=extensions) as answer:
                status, headers = answer.status_code, dict(answer.headers)
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > max_bytes:
                        error = f"is longer than {max_bytes >> 20} MiB"
                        break
    except httpx.TimeoutException:
        error = _late(timeout_s)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as failure:
        error = f"cannot be read: {failure or type(failure).__name__}"
    if cut.made:  # where the end of the connection is the end of the body, nothing else shows it
        error = _late(timeout_s) if now_ns() - asked_ns >= s_to_ns(timeout_s) else "was broken off"
    return Answer(status, asked_ns, now_ns(), bytes(body), headers, error)


def fetch_unless(stop_asked: Callable[[], bool], url: str, access: Access, *, method: str, timeout_s: float) -> Answer:
    """The answer to one request, which is broken off as soon as a stop is asked for; then it tells so.

    It is made in a thread, for as long as it takes. That thread outlives the call only after a stop, while a host is
    searched for or does not take the connection, and for `timeout_s` at most: so not to be called before a fork.
    """
    cut, answers, asked_ns = Cut(), list[Answer](), now_ns()
    thread = threading.Thread(
        target=lambda: answers.append(fetch(url, access, method=method, timeout_s=timeout_s, cut=cut)), daemon=True
    )
    if not stop_asked():
        thread.start()
    try:
        while thread.is_alive() and not stop_asked():
            thread.join(STOP_POLL_S)
    finally:  # also where a signal raises
        if thread.is_alive():
            cut.make()
            thread.join(STOP_JOIN_S)
    return answers[0] if answers else Answer(None, asked_ns, now_ns(), error="was broken off")


def fetch_moved(
    url: str, access: Access, *, timeout_s: float = TIMEOUT_S, ask: Callable[..., Answer] = fetch
) -> tuple[str, Answer]:
    """The URL that `url` leads to on the same server, as from /metrics to /metrics/, and its answer."""
    answer = ask(url, access, timeout_s=timeout_s)
    for _ in range(_MOST_REDIRECTS):
        with suppress(ValueError):  # what a server sends need not be a URL
            target = urljoin(url, answer.headers.get("location", ""))
            if answer.status in _REDIRECTS and urlsplit(target)[:2] == urlsplit(url)[:2]:
                url, answer = target, ask(target, access, timeout_s=timeout_s)
    return url, answer


@contextmanager
def _at_most(timeout_s: float, cut: Cut) -> Iterator[None]:
    """Makes the cut when the time is over: what httpx bounds is each single read."""
    timer = threading.Timer(timeout_s, cut.make)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        cut.close()


def _client(access: Access, timeout_s: float) -> httpx.Client:
    return httpx.Client(
        verify=access.context if access.context is not None else _trust_nobody(),
        http1=not access.http2,
        http2=access.http2,
        trust_env=False,
        timeout=timeout_s,
    )


def _late(timeout_s: float) -> str:
    return f"gave no whole answer within {timeout_s:.3g} s"


@functools.cache
def _trust_nobody() -> ssl.SSLContext:
    """For http://: loading the system's certificates, which httpx would do, takes 20 ms."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
