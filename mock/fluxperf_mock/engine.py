"""The engine: starts generations, brings them a token further when it is due, and counts. No clock, no socket."""

from __future__ import annotations

from fluxperf_mock.answers import AnswerBook, Limits
from fluxperf_mock.figures import Board
from fluxperf_mock.generation import Call, Generation
from fluxperf_mock.scheduler import Scheduler, Sequence
from fluxperf_mock.settings import MockSettings
from fluxperf_mock.truth import Trace


class Engine:
    """The scheduler's sequences joined with their clients, the counters and the truth."""

    def __init__(self, settings: MockSettings, board: Board) -> None:
        self._board = board
        self.truth = board.figures.truth
        self.counters = board.figures.counters
        self._cache_resets = board.cache_resets
        self._book = AnswerBook(settings.seed, settings.tokens)
        self._scheduler = Scheduler(settings, self._book, board.figures.load)
        self._generations: dict[Sequence, Generation] = {}

    def start(self, call: Call, prompt: bytes, limits: Limits, arrived_ns: int) -> Generation:
        """Accepts a request that arrived at `arrived_ns`."""
        if self._cache_resets != self._board.cache_resets:
            self._cache_resets = self._board.cache_resets
            self._scheduler.cache.clear()
        sequence = Sequence(call.identity.number, arrived_ns, prompt, self._book.draw(prompt, limits))
        generation = Generation(call, sequence, self._book, Trace(self.truth, arrived_ns))
        self._generations[sequence] = generation
        self.truth.counts.requests += 1
        self.truth.counts.streamed += generation.streams
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
            self._count_start(sequence)
            self.counters.ttft.observe(now_ns - sequence.arrived_ns)
        else:
            self.counters.itl.observe(now_ns - generation.token_ns)
        generation.token_ns = now_ns
        if sequence.over:
            del self._generations[sequence]
            self.counters.e2e.observe(now_ns - sequence.arrived_ns)
            self._count_end(sequence.answer.finish_reason)
            generation.send_end()
        else:
            generation.send_token()
        return True

    def cancel(self, generation: Generation, at_ns: int) -> None:
        """Drops a generation whose client went away at `at_ns`; nothing if it is over."""
        if self._generations.pop(generation.sequence, None) is not None:
            self._scheduler.cancel(generation.sequence, at_ns)
            self.truth.counts.aborted += 1
            self._count_end("abort")

    def _count_end(self, reason: str) -> None:
        totals = self.counters.totals
        setattr(totals, reason, getattr(totals, reason) + 1)

    def _count_start(self, sequence: Sequence) -> None:
        totals, counts = self.counters.totals, self.truth.counts
        prompt_tokens, cached_tokens = sequence.prompt_tokens, sequence.cached_tokens
        counts.prompt_tokens += prompt_tokens
        counts.cached_tokens += cached_tokens
        totals.prompt_tokens += prompt_tokens
        totals.cached_tokens += cached_tokens
        if self._scheduler.cache.capacity:
            totals.cache_queries += prompt_tokens
            totals.cache_hits += cached_tokens
