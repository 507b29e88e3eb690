"""`dial`: opens one connection to the server: TCP, the TLS handshake if there is one, and what HTTP/2 wants settled."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass

import trio

from fluxperf.clock import stamp_receives
from fluxperf.engine.connection import Address, Connection, Owner
from fluxperf.engine.http1 import Http1Session
from fluxperf.engine.http2 import Http2Session
from fluxperf.engine.session import Session
from fluxperf.engine.tls import ALPN_HTTP2, Tls

CONNECT_TIMEOUT_S = 30.0
# Few: streams that share a connection share stamps where their segments merge (docs/connections.md).
STREAMS_PER_CONNECTION = 4
_READ_BYTES = 16_384

NO_ALPN_HTTP2 = "the server does not offer HTTP/2 (ALPN): use --http 1.1"


@dataclass(frozen=True, slots=True)
class Route:
    """How the server is reached: where, in which version of HTTP, and with which encryption (None: with none)."""

    address: Address
    http: str = "1.1"  # as --http has it
    context: ssl.SSLContext | None = None
    hostname: str = ""
    streams_per_connection: int = STREAMS_PER_CONNECTION


async def dial(route: Route, owner: Owner, *, kernel_stamps: bool) -> Connection:
    """A connection that is ready for exchanges. Raises OSError (ssl.SSLError among them) or trio.TooSlowError."""
    sock = socket.socket(route.address.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if kernel_stamps:
            stamp_receives(sock)
        with trio.fail_after(CONNECT_TIMEOUT_S):
            await _connect(sock, route.address)
            tls = None if route.context is None else await _shake(sock, Tls(route.context, route.hostname))
            connection = Connection(sock, owner, _session(route, tls), tls)
            try:
                await connection.settled.wait()
            except BaseException:
                connection.close()
                raise
    except BaseException:
        sock.close()
        raise
    if not connection.is_open:
        raise ConnectionError(connection.complaint or "the server closed the connection at once")
    return connection


def _session(route: Route, tls: Tls | None) -> Session:
    if tls is None:
        return Http2Session() if route.http == "2" else Http1Session()
    if tls.protocol == ALPN_HTTP2:
        return Http2Session()
    if route.http == "2":
        raise ConnectionError(NO_ALPN_HTTP2)
    return Http1Session()


async def _connect(sock: socket.socket, address: Address) -> None:
    code = sock.connect_ex(address.sockaddr)
    if code == errno.EINPROGRESS:
        await trio.lowlevel.wait_writable(sock)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


async def _shake(sock: socket.socket, tls: Tls) -> Tls:
    data = b""
    while True:
        try:
            over = tls.shake(data)
        except ssl.SSLError:
            with suppress(OSError):  # the server is told why
                sock.send(tls.pending())
            raise
        await _send(sock, tls.pending())
        if over:
            return tls
        data = await _receive(sock)
        if not data:
            raise ConnectionError("the server closed the connection during the TLS handshake")


async def _send(sock: socket.socket, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[sock.send(rest) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)


async def _receive(sock: socket.socket) -> bytes:
    while True:
        try:
            return sock.recv(_READ_BYTES)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
