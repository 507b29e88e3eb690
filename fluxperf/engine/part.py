"""`Part`: one worker's part in a round: lanes that draw sessions, and send their turns one after the other.

A prompt without further turns is a session of one.
"""

from __future__ import annotations

import gc
from contextlib import ExitStack
from random import Random

import trio

from fluxperf.engine.answers import AnswerReader, AnswerWriter
from fluxperf.engine.board import Column
from fluxperf.engine.bodies import Prepared
from fluxperf.engine.conversation import Answer, Conversation, Request
from fluxperf.engine.exchange import perform
from fluxperf.engine.lifelog import LifeLog
from fluxperf.engine.observer import Observer, Transcript
from fluxperf.engine.orders import Client, RoundOrder, Shared
from fluxperf.engine.reactor import Reactor
from fluxperf.engine.recorder import Recorder
from fluxperf.engine.transport import Client as HttpClient
from fluxperf.masking import scrub
from fluxperf.model import Outcome, Timeline

# A request leaves no cycles behind (a test holds it to that), so the collector runs only if something piles up all the
# same. A thousand requests in flight are 150,000 objects, and each look at them would be a pause of 10 ms.
OBJECTS_TO_COLLECT = 400_000
TELL_EVERY_S = 0.25


class Part:
    """Made for a round; `serve_lane` runs once for each lane at the same time. Close it afterwards."""

    def __init__(
        self, number: int, order: RoundOrder, tools: tuple[Client, Shared], lines: tuple[HttpClient, Reactor]
    ) -> None:
        self._number = number
        self._order = order
        self._client, self._shared = tools
        self._http, self._reactor = lines
        outlets = order.outlets
        self.busy_lanes = order.lanes
        self.recorder = Recorder(self._shared.board, outlets, self._client.slo, self._client.tokens)
        payloads = self._client.debug == "payloads"
        self._in_flight: dict[int, Timeline] = {}  # by index; in the order in which they set out
        self._lanes_end = trio.CancelScope()
        self._log = LifeLog(outlets.debug_log, payloads=payloads) if outlets.debug_log else None
        self._open = ExitStack()
        self._kept = self._replayed = None
        if outlets.answers is not None:
            self._kept = AnswerWriter(outlets.answers)
            self._open.callback(self._kept.close)
        if order.replayed and self._shared.answers is not None:
            self._replayed = AnswerReader(self._shared.answers, order.replayed)
            self._open.callback(self._replayed.close)

    async def count_tokens(self) -> None:
        """Counts the tokens of answers without usage, unless the round is stopped; hears what it is told meanwhile."""
        for _ in self.recorder.settle(lambda: not self._shared.board.stopped):
            await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Closes the files."""
        self.recorder.close()
        self._open.close()

    async def serve_lane(self) -> None:
        """One of the round's concurrent places: draws sessions until there are no more."""
        shared = self._shared
        free_ns: int | None = None
        try:
            while not shared.board.stopped and (ticket := shared.tickets.draw()) is not None:
                free_ns = await self._serve_session(shared.bodies[ticket], free_ns)
        finally:
            self.busy_lanes -= 1
            if not self.busy_lanes:
                self._lanes_end.cancel()

    async def tell(self) -> None:
        """While there are lanes, tells those who look on what only this process sees: outputs, and what hangs."""
        board, gauge = self._shared.board, self._reactor.gauge
        with self._lanes_end:
            while True:
                board.tell(self._number, gauge.outputs, next(iter(self._in_flight.values()), None))
                await trio.sleep(TELL_EVERY_S)
        board.tell(self._number, gauge.outputs, None)

    async def _serve_session(self, prepared: Prepared, free_ns: int | None) -> int | None:
        """Sends the turns of a session, as long as there is an answer to each. The lane is free since `free_ns`.

        Returns since when it is free afterwards.
        """
        talk = Conversation(prepared, self._client.sessions.most_context_tokens)
        while True:
            if talk.turn and await self._think(prepared, talk.turn):
                free_ns = None  # it was not our doing that the turn came later
            earlier = None if self._replayed is None else self._replayed.read(prepared.index, talk.turn)
            request = talk.ask(None if earlier is None else earlier.dropped_turns)
            observer = await self._send(prepared, request, keep_text=talk.goes_on and earlier is None)
            self._note_turnaround(free_ns, observer.timeline)
            free_ns = observer.timeline.end_ns
            self._stop_if_refused(observer)
            if not talk.goes_on:
                self._keep(observer, Answer(b"", 0, request.dropped_turns))
                return free_ns
            answer = earlier or self._answer(observer, request)
            if answer is None:
                self._give_up(prepared, talk.turn + 1, observer.timeline)
                return free_ns
            if self._shared.board.stopped:
                self.recorder.leave(self._timeline(prepared, talk.turn + 1), on_board=False)
                return free_ns
            talk.hear(answer, observer.timeline.prompt_tokens)

    async def _think(self, prepared: Prepared, turn: int) -> bool:
        """Waits as somebody does who reads an answer. Returns whether there was anything to wait for."""
        rules = self._client.sessions
        if rules.think_time_s == (0, 0):
            return False
        draw = Random(f"{rules.seed}/{prepared.index}/{turn}")  # noqa: S311 (a draw, not a secret)
        try:
            await trio.sleep(draw.uniform(*rules.think_time_s))
        except trio.Cancelled:
            self.recorder.leave(self._timeline(prepared, turn), on_board=False)
            raise
        return True

    async def _send(self, prepared: Prepared, request: Request, *, keep_text: bool) -> Observer:
        """Sends one request and records it; returns what was observed."""
        timeline = self._timeline(prepared, request.turn)
        timeline.prompt_tokens_estimate = request.tokens
        timeline.dropped_turns = request.dropped_turns
        observer = Observer(timeline, self._client.api, self._reactor.gauge, self._transcript(keep_text=keep_text))
        self._shared.board.add(self._number, Column.SENT)
        self._in_flight[prepared.index] = timeline
        try:
            await perform(self._http, self._client.template.request(request.body, observer), observer)
        finally:
            del self._in_flight[prepared.index]
            observer.scrub(self._client.secrets)
            body = self._fit_to_show(request.body)
            self.recorder.finish(observer, body)
            self._reactor.glance()
            if self._log is not None:
                self._log.write(observer, body)
        if gc.get_count()[0] > OBJECTS_TO_COLLECT:
            gc.collect(1)
        return observer

    def _answer(self, observer: Observer, request: Request) -> Answer | None:
        """What the history has of it: the answer's text, without its reasoning; None: there is none."""
        timeline, transcript = observer.timeline, observer.transcript
        if not timeline.success or transcript is None:
            return None
        message = self._client.api.encode_messages([{"role": "assistant", "content": "".join(transcript.text)}])
        # Of reasoning the history has nothing, and usage does not say how long it was.
        tokens = timeline.output_tokens if transcript.is_whole else sum(map(bool, transcript.text))
        answer = Answer(message, tokens, request.dropped_turns)
        self._keep(observer, answer)
        return answer

    def _keep(self, observer: Observer, answer: Answer) -> None:
        """Writes it down for later rounds, which also have to know what was left out of the last request."""
        if self._kept is not None:
            self._kept.write(observer.timeline.index, observer.timeline.turn, answer)

    def _give_up(self, prepared: Prepared, turn: int, failed: Timeline) -> None:
        """Without an answer there is no history for the turns from `turn` on."""
        if failed.outcome is Outcome.CUT_OFF or self._shared.board.stopped:
            return
        for later in range(turn, prepared.turns):
            timeline = self._timeline(prepared, later)
            timeline.outcome = Outcome.NOT_SENT
            timeline.error = f"turn {failed.turn} of the session had no answer to go on from ({failed.outcome})"
            self.recorder.leave(timeline)

    def _stop_if_refused(self, observer: Observer) -> None:
        board = self._shared.board
        if observer.refusal is not None and board.all_refused(self._order.refusals_to_stop) is not None:
            board.stop()

    def _note_turnaround(self, free_ns: int | None, request: Timeline) -> None:
        """The lane was free; how long did it take us to send its next request?"""
        if free_ns is not None and request.sent_ns is not None and not request.resent:
            self._reactor.gauge.turned(request.sent_ns - free_ns - request.wait_ns - request.connect_ns)

    def _fit_to_show(self, body: bytes) -> bytes:
        kept = self._client.keep_transcripts or self._client.debug == "payloads"
        if not kept or not self._client.secrets:
            return body
        return scrub(body.decode(), self._client.secrets).encode()

    def _timeline(self, prepared: Prepared, turn: int) -> Timeline:
        return Timeline(index=prepared.index, session_id=prepared.session_id, turn=turn, worker=self._number)

    def _transcript(self, *, keep_text: bool) -> Transcript | None:
        client = self._client
        if client.debug == "payloads":
            return Transcript(payloads=[])
        if client.keep_transcripts:
            return Transcript()
        return Transcript(event_ns=None) if keep_text or client.tokens is not None else None
