"""What is asked of the server before workers exist: where it is, and which models it lists.

Synchronous and single-threaded: the parent still has to fork.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping

import httpx

from fluxperf.clock import now_ns
from fluxperf.engine.pool import CONNECT_TIMEOUT_S, Address
from fluxperf.errors import ServerUnreachable
from fluxperf.units import s_to_ns

MODELS_TIMEOUT_S = 10.0
MAX_MODELS_BYTES = 4 << 20


def find_address(endpoint: str) -> Address:
    """The first of the host's addresses (IPv6 and IPv4) that accepts a connection. Raises ServerUnreachable, named."""
    url = httpx.URL(endpoint)
    port = url.port or (443 if url.scheme == "https" else 80)
    host = url.host
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ServerUnreachable(f"cannot find the host {host!r} (DNS): {reason}") from error
    failures = []
    for family, kind, protocol, _, sockaddr in found:
        address = Address(family, sockaddr)
        try:
            with socket.socket(family, kind, protocol) as sock:
                sock.settimeout(CONNECT_TIMEOUT_S)
                sock.connect(sockaddr)
        except OSError as error:
            failures.append(f"{address}: {_reason(error)}")
        else:
            return address
    raise ServerUnreachable(f"cannot connect to {host}:{port} ({'; '.join(failures)}): is the server up?")


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_TIMEOUT_S:g} s"
    return (error.strerror or str(error)).lower()


def list_models(endpoint: str, headers: Mapping[str, str]) -> list[str] | None:
    """The ids that GET /v1/models beside the endpoint lists; None if there is no such list. Closes its connection."""
    whole = httpx.URL(endpoint)
    path, _, query = whole.raw_path.decode("ascii").partition("?")
    base = path.removesuffix("/").removesuffix("/completions").removesuffix("/chat")
    url = whole.copy_with(raw_path=f"{base}/models{'?' * bool(query)}{query}".encode("ascii"))
    try:
        with httpx.Client(trust_env=False, timeout=MODELS_TIMEOUT_S) as client:
            listed = json.loads(_read(client, url, {**headers, "connection": "close"}))["data"]
            return [entry["id"] for entry in listed if isinstance(entry["id"], str)]
    except (httpx.HTTPError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _read(client: httpx.Client, url: httpx.URL, headers: Mapping[str, str]) -> bytes:
    """The body, as far as it comes in time and is of a reasonable length."""
    deadline_ns = now_ns() + s_to_ns(MODELS_TIMEOUT_S)
    body = bytearray()
    with client.stream("GET", url, headers=headers) as answer:
        for piece in answer.iter_bytes():
            body += piece
            if len(body) > MAX_MODELS_BYTES or now_ns() > deadline_ns:
                break
    return bytes(body)
