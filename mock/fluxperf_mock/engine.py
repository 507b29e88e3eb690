"""The engine: starts generations, brings them a token further when it is due, and counts. No clock, no socket."""

from __future__ import annotations

from fluxperf_mock.answers import AnswerBook, Limits
from fluxperf_mock.exposition import Counters, Gauges
from fluxperf_mock.generation import Call, Generation
from fluxperf_mock.scheduler import Scheduler, Sequence
from fluxperf_mock.settings import MockSettings
from fluxperf_mock.truth import Trace, Truth


class Engine:
    """The scheduler's sequences joined with their clients, the counters and the truth."""

    def __init__(self, settings: MockSettings) -> None:
        self.truth = Truth()
        self.counters = Counters()
        self._book = AnswerBook(settings.seed, settings.tokens)
        self._scheduler = Scheduler(settings, self._book)
        self._generations: dict[Sequence, Generation] = {}

    def start(self, call: Call, prompt: bytes, limits: Limits, arrived_ns: int) -> Generation:
        """Accepts a request that arrived at `arrived_ns`."""
        sequence = Sequence(call.identity.number, arrived_ns, prompt, self._book.draw(prompt, limits))
        generation = Generation(call, sequence, self._book, Trace(self.truth, arrived_ns))
        self._generations[sequence] = generation
        self.truth.requests += 1
        self.truth.streamed += generation.streams
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
        self.counters.generation_tokens += 1
        if sequence.produced == 1:
            self._count_start(sequence)
            self.counters.ttft.observe(now_ns - sequence.arrived_ns)
        else:
            self.counters.itl.observe(now_ns - generation.token_ns)
        generation.token_ns = now_ns
        if sequence.over:
            del self._generations[sequence]
            self.counters.e2e.observe(now_ns - sequence.arrived_ns)
            self.counters.success[sequence.answer.finish_reason] += 1
            generation.send_end()
        else:
            generation.send_token()
        return True

    def cancel(self, generation: Generation, at_ns: int) -> None:
        """Drops a generation whose client went away at `at_ns`; nothing if it is over."""
        if self._generations.pop(generation.sequence, None) is not None:
            self._scheduler.cancel(generation.sequence, at_ns)
            self.truth.aborted += 1
            self.counters.success["abort"] += 1

    def reset_cache(self) -> bool:
        """Empties the prefix cache; False, and nothing done, while requests run, as in vLLM."""
        if self._generations:
            return False
        self._scheduler.cache.clear()
        return True

    def gauges(self) -> Gauges:
        """What runs, waits and takes room now."""
        return Gauges(self._scheduler.running, self._scheduler.waiting, self._scheduler.cache_usage)

    def _count_start(self, sequence: Sequence) -> None:
        counters, truth = self.counters, self.truth
        prompt_tokens, cached_tokens = sequence.prompt_tokens, sequence.cached_tokens
        truth.prompt_tokens += prompt_tokens
        truth.cached_tokens += cached_tokens
        counters.prompt_tokens += prompt_tokens
        counters.cached_tokens += cached_tokens
        if self._scheduler.cache.capacity:
            counters.cache_queries += prompt_tokens
            counters.cache_hits += cached_tokens
