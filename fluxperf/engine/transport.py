"""`Transport`: httpx over the pool's connections. It names what goes wrong as httpx does.

A request's task sleeps until its response is complete; the response's bytes go straight to the sink
in `request.extensions["sink"]`, or into the response if there is none.
`request.extensions["timeout_ns"]` bounds the exchange from sent to end; `["body"]` is the body, if it is at hand.
"""

from __future__ import annotations

from typing import Any

import httpx
import trio

from fluxperf.engine.connection import Connection
from fluxperf.engine.dial import CONNECT_TIMEOUT_S
from fluxperf.engine.pool import Pool
from fluxperf.engine.session import BrokenResponse, Exchange, MalformedResponse, Request
from fluxperf.engine.sink import Collector, Sink
from fluxperf.engine.tls import describe

MOST_DISOWNED = 10


class Client(httpx.AsyncClient):
    """httpx over a pool of ours, without what no measurement asks for: proxies, cookies, redirects, hooks.

    A cookie would tie the requests that follow to one replica.
    """

    def __init__(self, pool: Pool) -> None:
        self._straight = Transport(pool)
        super().__init__(transport=self._straight, trust_env=False)

    async def send(self, request: httpx.Request, *, stream: bool = False, **_: Any) -> httpx.Response:
        """See httpx.AsyncClient. Straight to the transport: a fifth of a short request's time would go elsewhere."""
        response = await self._straight.handle_async_request(request)
        if not stream:
            await response.aread()
        return response


class Transport(httpx.AsyncBaseTransport):
    """Sends httpx's requests over the pool's connections.

    Raises httpx.ConnectError, ConnectTimeout, ReadTimeout, ReadError (the connection broke) or
    RemoteProtocolError (not HTTP). A request is sent once more, on another connection, if the
    one it was given to had served before, idled, and broke before any byte of the response came: that
    is the keep-alive race (RFC 9112 9.3.1), not the server's failure. Nor is a GOAWAY that disowns it
    (RFC 9113 6.8), which may happen a few times: servers take so many requests a connection, and
    connections that were opened together reach that number together. The sink is told.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx.AsyncBaseTransport."""
        collector = Collector()
        sink: Sink = request.extensions.get("sink", collector)
        outgoing = make_request(request, request.extensions.get("body") or await request.aread())
        timeout_ns: int | None = request.extensions.get("timeout_ns")
        raced = disowned = 0
        try:
            while True:
                connection, fresh = await self._acquire(request, sink)
                exchange = Exchange(sink, timeout_ns)
                try:
                    await _perform(connection, exchange, outgoing)
                    break
                except BrokenResponse as error:
                    disowned += error.disowned
                    raced += exchange.begun and not error.disowned
                    if raced > 1 or disowned > MOST_DISOWNED or not _is_our_race(exchange, error, fresh=fresh):
                        raise
                if exchange.begun:
                    sink.resent()
                    self._pool.lost_early += exchange.on_idle
        except BrokenResponse as error:
            raise httpx.ReadError(str(error), request=request) from error
        except MalformedResponse as error:
            raise httpx.RemoteProtocolError(str(error), request=request) from error
        except TimeoutError as error:
            raise httpx.ReadTimeout(str(error), request=request) from error
        headers = exchange.headers if sink is collector else None  # the sink has them
        stream = httpx.ByteStream(bytes(collector.data))
        return httpx.Response(exchange.status or 0, headers=headers, stream=stream, request=request)

    async def _acquire(self, request: httpx.Request, sink: Sink) -> tuple[Connection, bool]:
        try:
            connection, wait_ns, connect_ns = await self._pool.acquire()
        except trio.TooSlowError as error:
            raise httpx.ConnectTimeout(f"no connection within {CONNECT_TIMEOUT_S:g} s", request=request) from error
        except OSError as error:
            raise httpx.ConnectError(describe(error), request=request) from error
        sink.opened(wait_ns, connect_ns)
        return connection, connect_ns > 0

    async def aclose(self) -> None:
        """Closes the idle connections."""
        self._pool.close()


async def _perform(connection: Connection, exchange: Exchange, request: Request) -> None:
    connection.start(exchange, request)
    try:
        await exchange.wait()
    except trio.Cancelled:
        connection.abandon(exchange)
        raise


def _is_our_race(exchange: Exchange, error: BrokenResponse, *, fresh: bool) -> bool:
    """Whether the server cannot be blamed. What broke while it waited for its turn was never sent."""
    if error.disowned:
        return True
    return not fresh if not exchange.begun else exchange.on_idle and error.untouched


def make_request(request: httpx.Request, body: bytes) -> Request:
    """Httpx's request in the terms of a session."""
    url = request.url
    return Request(request.method.encode("ascii"), url.raw_scheme, url.raw_path, request.headers.raw, body)
