"""The engine: starts generations, brings them a token further when it is due, and counts. No clock, no socket."""

from __future__ import annotations

from fluxperf_mock.accounts import Accounts
from fluxperf_mock.answers import AnswerBook, Limits
from fluxperf_mock.figures import Board
from fluxperf_mock.generation import Call, Generation
from fluxperf_mock.repeats import Repeats
from fluxperf_mock.scheduler import Scheduler, Sequence
from fluxperf_mock.settings import MockSettings
from fluxperf_mock.truth import Trace


class Engine:
    """The scheduler's sequences joined with their clients, the counters and the truth."""

    def __init__(self, settings: MockSettings, board: Board) -> None:
        self._board = board
        self.truth = board.figures.truth
        self.counters = board.figures.counters
        self._load = board.figures.load
        self._accounts = Accounts(settings, board.figures)
        self._repeats = Repeats(settings.read_faults())
        self._book = AnswerBook(settings.seed, settings.tokens)
        self._scheduler = Scheduler(settings, self._book, self._load)
        self._generations: dict[Sequence, Generation] = {}

    def start(self, call: Call, prompt: bytes, limits: Limits, arrived_ns: int) -> Generation:
        """Accepts a request that arrived at `arrived_ns`; raises Rejection if a fault has it fail."""
        if self._load.cache_resets != self._board.cache_resets:
            self._load.cache_resets = self._board.cache_resets
            self._scheduler.empty_cache()
        answer = self._repeats.alter(prompt, self._book.draw(prompt, limits))
        sequence = Sequence(call.identity.number, arrived_ns, prompt, answer)
        generation = Generation(call, sequence, self._book, Trace(self.truth, arrived_ns))
        self._generations[sequence] = generation
        self._accounts.accept(generation.streams)
        self._scheduler.submit(sequence)
        generation.open()
        return generation

    def next_due_ns(self) -> int | None:
        """When `step` will have something to do; None: once a request has come."""
        return self._scheduler.next_due_ns()

    def step(self, now_ns: int) -> bool:
        """Produces and sends the token that is due first; False if none is due by now."""
        sequence = self._scheduler.step(now_ns)
        if sequence is None:
            return False
        generation = self._generations[sequence]
        self.counters.totals.generation_tokens += 1
        if sequence.produced == 1:
            self._accounts.begin(sequence)
            self.counters.ttft.observe(now_ns - sequence.arrived_ns)
        else:
            self.counters.itl.observe(now_ns - generation.token_ns)
        generation.token_ns = now_ns
        if sequence.over:
            del self._generations[sequence]
            self.counters.e2e.observe(now_ns - sequence.arrived_ns)
            self._end(sequence, sequence.answer.finish_reason, now_ns)
            generation.send_end(self._accounts.usage(sequence))
        else:
            generation.send_token()
        return True

    def cancel(self, generation: Generation, at_ns: int) -> None:
        """Drops a generation whose client went away at `at_ns`; nothing if it is over."""
        sequence = generation.sequence
        if self._generations.pop(sequence, None) is not None:
            self._scheduler.cancel(sequence, at_ns)
            self._accounts.abort()
            self._end(sequence, "abort", at_ns)

    def _end(self, sequence: Sequence, reason: str, at_ns: int) -> None:
        if self._accounts.end(sequence, reason, at_ns):
            self._scheduler.empty_cache()
