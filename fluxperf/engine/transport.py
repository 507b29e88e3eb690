"""`Transport`: httpx over the pool's connections. It names what goes wrong as httpx does.

A request's task sleeps until its response is complete; the response's bytes go straight to the sink
in `request.extensions["sink"]`, or into the response if there is none.
`request.extensions["timeout_ns"]` bounds the exchange from sent to end.
"""

from __future__ import annotations

import httpx
import trio

from fluxperf.clock import now_ns
from fluxperf.engine.http1 import BrokenResponse, MalformedResponse, ResponseReader
from fluxperf.engine.pool import CONNECT_TIMEOUT_S, Connection, Exchange, Pool
from fluxperf.engine.sink import Collector, Sink


class Transport(httpx.AsyncBaseTransport):
    """Sends httpx's requests over the pool's connections.

    Raises httpx.ConnectError, ConnectTimeout, ReadTimeout, ReadError (the connection broke) or
    RemoteProtocolError (not HTTP). A request on a reused connection that breaks before any byte of
    the response came is sent once more on a new connection: that is the keep-alive race
    (RFC 9112 9.3.1), not the server's failure, and the sink is told.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx.AsyncBaseTransport."""
        collector = Collector()
        sink: Sink = request.extensions.get("sink", collector)
        wire = encode_request(request, await request.aread())
        timeout_ns: int | None = request.extensions.get("timeout_ns")
        connection = self._pool.take()
        try:
            while True:
                connect_ns, fresh = 0, connection is None
                if connection is None:
                    connection, connect_ns = await self._open(request)
                sink.opened(0, connect_ns)
                exchange, reused = Exchange(sink, timeout_ns), connection.persistence.served > 0
                try:
                    reader = await _perform(connection, exchange, wire)
                    break
                except BrokenResponse as error:
                    # One that broke while it waited for its turn was never sent.
                    if fresh or (exchange.begun and not (reused and error.untouched)):
                        raise
                if exchange.begun:
                    sink.resent()
                    self._pool.lost += 1
                connection = None
        except BrokenResponse as error:
            raise httpx.ReadError(str(error), request=request) from error
        except MalformedResponse as error:
            raise httpx.RemoteProtocolError(str(error), request=request) from error
        except TimeoutError as error:
            raise httpx.ReadTimeout(str(error), request=request) from error
        stream = httpx.ByteStream(bytes(collector.data))
        return httpx.Response(reader.status or 0, headers=reader.headers, stream=stream, request=request)

    async def _open(self, request: httpx.Request) -> tuple[Connection, int]:
        begun_ns = now_ns()
        try:
            connection = await self._pool.open()
        except trio.TooSlowError as error:
            raise httpx.ConnectTimeout(f"no connection within {CONNECT_TIMEOUT_S:g} s", request=request) from error
        except OSError as error:
            raise httpx.ConnectError((error.strerror or str(error)).lower(), request=request) from error
        return connection, now_ns() - begun_ns

    async def aclose(self) -> None:
        """Closes the idle connections."""
        self._pool.close()


async def _perform(connection: Connection, exchange: Exchange, wire: bytes) -> ResponseReader:
    connection.start(exchange, wire)
    try:
        await exchange.wait()
    except trio.Cancelled:
        connection.abandon(exchange)
        raise
    return exchange.reader


def encode_request(request: httpx.Request, body: bytes) -> bytes:
    """The request as HTTP/1.1 bytes (RFC 9112)."""
    method = request.method.encode("ascii")
    head = [b"%s %s HTTP/1.1" % (method, request.url.raw_path)]
    head += [b"%s: %s" % field for field in request.headers.raw]
    return b"\r\n".join([*head, b"", body])
