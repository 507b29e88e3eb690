"""`Worker`: one event loop's share of a run. It keeps its connections from round to round and reports each round.

It knows what to send and what to record; how it is told, and by whom, is the launcher's business.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import trio

from fluxperf.engine.orders import Client, RoundOrder, Shared
from fluxperf.engine.part import Part
from fluxperf.engine.pool import Pool
from fluxperf.engine.reactor import Reactor
from fluxperf.engine.transport import Client as HttpClient
from fluxperf.model.audit import Audit
from fluxperf.tally import Tally

PREPARATION_POLL_S = 0.001


class Worker:
    """Made by `open_worker`; then `run_round` for each round. `stop` may be called at any time."""

    def __init__(self, number: int, client: Client, shared: Shared, pool: Pool, http: HttpClient) -> None:
        self._number = number
        self._client = client
        self._shared = shared
        self._pool = pool
        self._reactor = pool.reactor
        self._http = http
        self._opened = 0  # connections, before the round was warmed up for
        self._scope: trio.CancelScope | None = None

    async def warm(self, lanes: int) -> None:
        """Opens the connections that a round needs. Raises OSError or trio.TooSlowError if one cannot be had."""
        self._opened = self._pool.opened
        with trio.CancelScope() as self._scope:
            if not self._shared.board.stopped:  # a stop that came earlier found no scope to cancel
                await self._pool.warm(lanes)

    async def run_round(
        self, order: RoundOrder, start: Callable[[], Awaitable[int]], await_others: Callable[[], Awaitable[None]]
    ) -> tuple[Tally, Audit]:
        """Runs this worker's part of a round; returns what its requests add up to, and how well it kept up.

        The first wave is prepared up to its last byte; then `start` is awaited, which gives the
        instant (monotonic, ns) at which all workers let go. A round that is stopped ends with what
        was finished; requests in flight are recorded as cut off. `await_others` is awaited before tokens
        are counted, if they are: it waits until no worker has a request left.
        """
        part = Part(self._number, order, (self._client, self._shared), (self._http, self._reactor))
        gc.disable()
        self._reactor.hold()
        warmed = self._pool.opened
        try:
            with trio.CancelScope() as self._scope:
                async with trio.open_nursery() as nursery:
                    for _ in range(order.lanes):
                        nursery.start_soon(part.serve_lane)
                    nursery.start_soon(part.tell)
                    while self._reactor.queued < part.busy_lanes:
                        await trio.sleep(PREPARATION_POLL_S)
                    start_ns, warmed = await start(), self._pool.opened
                    self._reactor.call_at(start_ns, partial(self._let_go, start_ns))
            self._reactor.release()
            audit = self._reactor.gauge.take()
            audit.away = self._reactor.attention.take()
            if self._client.tokens is not None:
                await await_others()
                await part.count_tokens()
        finally:
            self._scope = None
            self._reactor.release()
            part.close()
            gc.enable()
        audit.opened, audit.reopened = warmed - self._opened, self._pool.opened - warmed
        return part.recorder.tally, audit

    def _let_go(self, start_ns: int) -> None:
        """The round begins; what the client noticed about itself before is of no interest."""
        self._reactor.gauge.take()
        self._reactor.attention.take()
        self._shared.board.start(start_ns)
        self._reactor.release(start_ns)

    def stop(self) -> None:
        """Ends the round that is under way at once."""
        if self._scope is not None:
            self._scope.cancel()


@contextlib.asynccontextmanager
async def open_worker(number: int, client: Client, shared: Shared) -> AsyncIterator[Worker]:
    """A worker with its reactor running and its connections its own; both end with the block."""
    reactor = Reactor()
    pool = Pool(reactor, client.route, kernel_stamps=client.kernel_stamps)
    http = HttpClient(pool)
    gc.callbacks.append(reactor.gauge.watch_collector)
    try:
        async with http, trio.open_nursery() as nursery:
            nursery.start_soon(reactor.run)
            try:
                yield Worker(number, client, shared, pool, http)
            finally:
                nursery.cancel_scope.cancel()
    finally:
        gc.callbacks.remove(reactor.gauge.watch_collector)
        reactor.close()
