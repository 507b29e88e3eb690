"""What is asked of the server before workers exist: where it is, how it is spoken to, and which models it lists.

Synchronous and single-threaded: the parent still has to fork.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from fluxperf.clock import now_ns
from fluxperf.engine.connection import Address
from fluxperf.engine.dial import CONNECT_TIMEOUT_S, NO_ALPN_HTTP2, Route
from fluxperf.engine.http2 import Http2Session
from fluxperf.engine.tls import ALPN_HTTP2, Trust, describe, make_context
from fluxperf.errors import ServerUnreachable
from fluxperf.fetch import Access, fetch

MODELS_TIMEOUT_S = 10.0
MAX_MODELS_BYTES = 4 << 20
_READ_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class Wishes:
    """How the user wants the server to be spoken to, as the options have it."""

    http: str = "auto"
    trust: Trust = field(default_factory=Trust)
    streams_per_connection: int = 4


@dataclass(frozen=True, slots=True)
class Found:
    """The way to the server. `tls` is its version, None without; `http_version` is what the server picked."""

    route: Route
    http_version: str
    tls: str | None


def find_route(endpoint: str, wishes: Wishes) -> Found:
    """The way to the first of the host's addresses (IPv6 and IPv4) that takes a connection as it is wanted.

    Raises ServerUnreachable, named, and UsageError for certificate files that will not do.
    """
    url = httpx.URL(endpoint)
    port = url.port or (443 if url.scheme == "https" else 80)
    host = url.host
    context = make_context(wishes.trust, wishes.http) if url.scheme == "https" else None
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ServerUnreachable(f"cannot find the host {host!r} (DNS): {reason}") from error
    failures, connected = [], False
    for family, _, _, _, sockaddr in addresses:
        route = Route(Address(family, sockaddr), wishes.http, context, host, wishes.streams_per_connection)
        try:
            with socket.socket(family, socket.SOCK_STREAM) as sock:
                sock.settimeout(CONNECT_TIMEOUT_S)
                sock.connect(sockaddr)
                connected = True
                return _greet(sock, route)
        except OSError as error:
            failures.append(f"{route.address}: {_reason(error)}")
    hint = "" if connected else ": is the server up?"
    raise ServerUnreachable(f"cannot connect to {host}:{port} ({'; '.join(failures)}){hint}")


def _greet(sock: socket.socket, route: Route) -> Found:
    """Finds out, on a connected socket, what the server speaks."""
    if route.context is None:
        if route.http == "2":
            _expect_http2(sock)
        return Found(route, "2" if route.http == "2" else "1.1", None)
    with route.context.wrap_socket(sock, server_hostname=route.hostname) as secured:
        picked = secured.selected_alpn_protocol()
        if route.http == "2" and picked != ALPN_HTTP2:
            raise ConnectionError(NO_ALPN_HTTP2)
        return Found(route, "2" if picked == ALPN_HTTP2 else "1.1", secured.version())


def _expect_http2(sock: socket.socket) -> None:
    """Raises ConnectionError unless the server answers our greeting with its settings (RFC 9113 3.4)."""
    session = Http2Session()
    sock.sendall(session.pending())
    while not session.settled:
        data = sock.recv(_READ_BYTES)
        session.feed(data, now_ns())
        if session.complaint is not None or not data:
            closed = "the server closed the connection: if it does not speak HTTP/2, use --http 1.1"
            raise ConnectionError(session.complaint or closed)


def _reason(error: OSError) -> str:
    return f"no answer within {CONNECT_TIMEOUT_S:g} s" if isinstance(error, TimeoutError) else describe(error)


def list_models(endpoint: str, headers: Mapping[str, str], found: Found, trust: Trust) -> list[str] | None:
    """The ids that GET /v1/models beside the endpoint lists; None if there is no such list. Closes its connection."""
    whole = httpx.URL(endpoint)
    path, _, query = whole.raw_path.decode("ascii").partition("?")
    base = path.removesuffix("/").removesuffix("/completions").removesuffix("/chat")
    url = whole.copy_with(raw_path=f"{base}/models{'?' * bool(query)}{query}".encode("ascii"))
    answer = fetch(str(url), make_access(found, trust, headers), timeout_s=MODELS_TIMEOUT_S, max_bytes=MAX_MODELS_BYTES)
    try:
        return [entry["id"] for entry in json.loads(answer.body)["data"] if isinstance(entry["id"], str)]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def make_access(found: Found, trust: Trust, headers: Mapping[str, str]) -> Access:
    """How the server is asked for something beside a run."""
    # A context of its own: httpx changes what it offers.
    context = make_context(trust, found.http_version) if found.tls else None
    return Access(headers, context, http2=found.http_version == "2")
