"""`Worker`: one event loop's share of a run. It keeps its connections from round to round and reports each round.

It knows what to send and what to record; how it is told, and by whom, is the launcher's business.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from fluxperf.api import Api
from fluxperf.engine.board import Board, Column
from fluxperf.engine.bodies import Bodies, Prepared, Tickets
from fluxperf.engine.dial import Route
from fluxperf.engine.exchange import Template, perform
from fluxperf.engine.lifelog import LifeLog
from fluxperf.engine.observer import Observer, Transcript
from fluxperf.engine.pool import Pool
from fluxperf.engine.reactor import Reactor
from fluxperf.engine.recorder import Recorder
from fluxperf.engine.transport import Client as HttpClient
from fluxperf.masking import scrub
from fluxperf.model import Slo, Timeline
from fluxperf.model.audit import Audit
from fluxperf.tally import Tally

# A request leaves no cycles behind (a test holds it to that), so the collector runs only if something piles up all the
# same. A thousand requests in flight are 150,000 objects, and each look at them would be a pause of 10 ms.
OBJECTS_TO_COLLECT = 400_000
PREPARATION_POLL_S = 0.001


@dataclass(frozen=True, slots=True)
class Client:
    """How all workers of a run speak to the server."""

    template: Template
    route: Route
    api: Api
    kernel_stamps: bool
    slo: Slo | None = None
    keep_transcripts: bool = False
    debug: str | None = None  # None, "lines" or "payloads"
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shared:
    """What all workers of a run draw from and write to; made before they are forked."""

    bodies: Bodies
    tickets: Tickets
    board: Board


@dataclass(frozen=True, slots=True)
class RoundOrder:
    """One worker's part in a round: how many requests at once, and where it may write."""

    lanes: int
    total_requests: int
    concurrency: int
    spool: Path
    transcripts: Path | None = None
    debug_log: Path | None = None

    @property
    def refusals_to_stop(self) -> int:
        """After so many first answers that all refuse alike, the round is not worth going on with."""
        return min(self.concurrency, self.total_requests)


class Worker:
    """Made by `open_worker`; then `run_round` for each round. `stop` may be called at any time."""

    def __init__(self, number: int, client: Client, shared: Shared, pool: Pool, http: HttpClient) -> None:
        self._number = number
        self._client = client
        self._shared = shared
        self._pool = pool
        self._reactor = pool.reactor
        self._http = http
        self._busy_lanes = 0
        self._opened = 0  # connections, before the round was warmed up for
        self._scope: trio.CancelScope | None = None

    async def warm(self, lanes: int) -> None:
        """Opens the connections that a round needs. Raises OSError or trio.TooSlowError if one cannot be had."""
        self._opened = self._pool.opened
        with trio.CancelScope() as self._scope:
            if not self._shared.board.stopped:  # a stop that came earlier found no scope to cancel
                await self._pool.warm(lanes)

    async def run_round(self, order: RoundOrder, start: Callable[[], Awaitable[int]]) -> tuple[Tally, Audit]:
        """Runs this worker's part of a round; returns what its requests add up to, and how well it kept up.

        The first wave is prepared up to its last byte; then `start` is awaited, which gives the
        instant (monotonic, ns) at which all workers let go. A round that is stopped ends with what
        was finished; requests in flight are recorded as cut off.
        """
        recorder = Recorder(self._shared.board, order.spool, self._client.slo, order.transcripts)
        log = LifeLog(order.debug_log, payloads=self._client.debug == "payloads") if order.debug_log else None
        gc.disable()
        self._reactor.hold()
        warmed = self._pool.opened
        try:
            with trio.CancelScope() as self._scope:
                async with trio.open_nursery() as nursery:
                    self._busy_lanes = order.lanes
                    for _ in range(order.lanes):
                        nursery.start_soon(self._serve_lane, order, recorder, log)
                    while self._reactor.queued < self._busy_lanes:
                        await trio.sleep(PREPARATION_POLL_S)
                    start_ns, warmed = await start(), self._pool.opened
                    self._reactor.call_at(start_ns, partial(self._let_go, start_ns))
        finally:
            self._scope = None
            self._reactor.release()
            recorder.close()
            gc.enable()
        audit = self._reactor.gauge.take()
        audit.away = self._reactor.attention.take()
        audit.opened, audit.reopened = warmed - self._opened, self._pool.opened - warmed
        return recorder.tally, audit

    def _let_go(self, start_ns: int) -> None:
        """The round begins; what the client noticed about itself before is of no interest."""
        self._reactor.gauge.take()
        self._reactor.attention.take()
        self._reactor.release(start_ns)

    def stop(self) -> None:
        """Ends the round that is under way at once."""
        if self._scope is not None:
            self._scope.cancel()

    async def _serve_lane(self, order: RoundOrder, recorder: Recorder, log: LifeLog | None) -> None:
        """One of the round's concurrent places: draws tickets until there are no more."""
        shared = self._shared
        free_ns: int | None = None
        try:
            while not shared.board.stopped and (ticket := shared.tickets.draw()) is not None:
                observer = await self._serve(shared.bodies[ticket], recorder, log)
                self._note_turnaround(free_ns, observer.timeline)
                free_ns = observer.timeline.end_ns
                if observer.refusal is not None and shared.board.all_refused(order.refusals_to_stop) is not None:
                    shared.board.stop()
        finally:
            self._busy_lanes -= 1

    def _note_turnaround(self, free_ns: int | None, request: Timeline) -> None:
        """The lane was free; how long did it take us to send its next request?"""
        if free_ns is not None and request.sent_ns is not None and not request.resent:
            self._reactor.gauge.turned(request.sent_ns - free_ns - request.wait_ns - request.connect_ns)

    async def _serve(self, prepared: Prepared, recorder: Recorder, log: LifeLog | None) -> Observer:
        """Sends one request and records it; returns what was observed."""
        observer = Observer(self._timeline(prepared), self._client.api, self._reactor.gauge, self._transcript())
        self._shared.board.add(self._number, Column.SENT)
        try:
            await perform(self._http, self._client.template.request(prepared.body, observer), observer)
        finally:
            observer.scrub(self._client.secrets)
            body = self._fit_to_show(prepared.body)
            recorder.finish(observer, body)
            self._reactor.glance()
            if log is not None:
                log.write(observer, body)
        if gc.get_count()[0] > OBJECTS_TO_COLLECT:
            gc.collect(1)
        return observer

    def _fit_to_show(self, body: bytes) -> bytes:
        kept = self._client.keep_transcripts or self._client.debug == "payloads"
        if not kept or not self._client.secrets:
            return body
        return scrub(body.decode(), self._client.secrets).encode()

    def _timeline(self, prepared: Prepared) -> Timeline:
        return Timeline(
            index=prepared.index,
            session_id=prepared.session_id,
            worker=self._number,
            prompt_tokens_estimate=prepared.prompt_tokens_estimate,
        )

    def _transcript(self) -> Transcript | None:
        if self._client.debug == "payloads":
            return Transcript(payloads=[])
        return Transcript() if self._client.keep_transcripts else None


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
