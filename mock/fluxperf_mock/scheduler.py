"""The model of the server: who runs when, and when each token is due. No clock: time comes in as numbers.

Requests wait in one queue. The first in it starts when a place among `max_num_seqs` is free and no
other prompt is being computed (prefill is one after another); `overhead_ms` after its arrival at the
earliest. Its prefill takes the tokens that the cache does not hold, at `prefill_tokens_per_s`, and
ends with the first token; each further token is due one gap after the *due time* of the one before,
so that a late write delays no other.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush, heapreplace

from fluxperf.units import NS_PER_MS, NS_PER_S
from fluxperf_mock.answers import TABLE_LENGTH, Answer, AnswerBook
from fluxperf_mock.cache import PrefixCache
from fluxperf_mock.counters import Load
from fluxperf_mock.prompts import TOKEN_BYTES, chain_blocks, count_tokens
from fluxperf_mock.settings import MockSettings

_CLIP_SIGMAS = 3.0
_WARM_UP_REQUESTS = 50  # after so many, a server that warms up has half of it behind it


class Timing:
    """How long things take, ns: jitter is drawn once into a table, which each answer reads from its own place."""

    def __init__(self, settings: MockSettings) -> None:
        draw = random.Random(settings.seed).gauss  # noqa: S311 (repeatable, not secret)
        sigmas = (max(-_CLIP_SIGMAS, min(_CLIP_SIGMAS, draw(0, 1))) for _ in range(TABLE_LENGTH))
        self._factors = [1 + settings.jitter * sigma for sigma in sigmas]
        self._gaps_ns = [round(settings.decode_ms * NS_PER_MS * factor) for factor in self._factors]
        self._prefill_ns = NS_PER_S / settings.prefill_tokens_per_s
        self._overhead_ns = round(settings.overhead_ms * NS_PER_MS)
        self._warm = settings.read_faults()["drift"]

    def overhead_ns(self, number: int) -> int:
        """The time before the prefill of the request that is the `number`th to run (from 0 on)."""
        return round(self._overhead_ns * self._warmth(number))

    def prefill_ns(self, answer: Answer, tokens: int, number: int) -> int:
        """The time to compute `tokens` tokens of the answer's prompt, for the `number`th request to run."""
        return round(tokens * self._prefill_ns * self._factors[answer.place] * self._warmth(number))

    def gap_ns(self, answer: Answer, index: int) -> int:
        """The time from the answer's token `index - 1` to its token `index`."""
        return self._gaps_ns[(answer.place + index) % TABLE_LENGTH]

    def _warmth(self, number: int) -> float:
        """What the fault `drift` leaves of the time that a request takes before its first token."""
        warm = self._warm
        return warm if warm == 1 else warm + (1 - warm) * 2 ** (-number / _WARM_UP_REQUESTS)


@dataclass(slots=True, eq=False)
class Sequence:
    """One request in the model: its prompt and answer, and how far it has come.

    `due_ns` is when the newest of its `produced` tokens was due. `cached_tokens` and `prefill_ns`, the time that the
    rest of its prompt takes, are known once it runs.
    """

    number: int
    arrived_ns: int
    prompt: bytes
    answer: Answer
    keys: list[int] = field(default_factory=list)
    running: bool = False
    over: bool = False
    cached_tokens: int = 0
    prefill_ns: int = 0
    produced: int = 0
    due_ns: int = 0
    prompt_tokens: int = field(init=False)

    def __post_init__(self) -> None:
        self.prompt_tokens = count_tokens(self.prompt)


class Scheduler:
    """The queue, the running sequences and their next tokens, in order of time. `load` says how many there are."""

    def __init__(self, settings: MockSettings, book: AnswerBook, load: Load) -> None:
        self.load = load
        self._timing = Timing(settings)
        self._book = book
        self._block_tokens = settings.block_tokens
        self._max_running = settings.max_num_seqs
        self.cache = PrefixCache(settings.cache_tokens // settings.block_tokens)
        self._queue: deque[Sequence] = deque()
        self._tokens: list[tuple[int, int, Sequence]] = []  # a heap of (due_ns, number, sequence)
        self._prefilling: Sequence | None = None
        self._free_ns = 0  # since when the first in the queue could have started
        self._started = 0

    def submit(self, sequence: Sequence) -> None:
        """Puts a sequence that has arrived in the queue, or starts it."""
        if self.cache.capacity:
            sequence.keys = chain_blocks(sequence.prompt, self._block_tokens)
        self._queue.append(sequence)
        self.load.waiting += 1
        self._start_next()

    def cancel(self, sequence: Sequence, at_ns: int) -> None:
        """Drops a sequence whose client has gone: its place and its prefill end at `at_ns`."""
        if sequence.over:
            return
        if sequence.running:
            self._end(sequence, at_ns)
        else:
            sequence.over = True
            self._queue.remove(sequence)
            self.load.waiting -= 1

    def empty_cache(self) -> None:
        """Forgets all prompts and answers."""
        self.cache.clear()
        self.load.kept_tokens = 0

    def next_due_ns(self) -> int | None:
        """When the next token is due; None: nothing runs."""
        tokens = self._tokens
        while tokens and tokens[0][2].over:
            heappop(tokens)
        return tokens[0][0] if tokens else None

    def step(self, now_ns: int) -> Sequence | None:
        """The sequence whose token is due by now and was due first, one token further; None: nothing is due.

        A sequence that has all its tokens is `over`, and its place is free from that token's due time on.
        """
        due_ns = self.next_due_ns()
        if due_ns is None or due_ns > now_ns:
            return None
        sequence = self._tokens[0][2]
        sequence.due_ns = due_ns
        sequence.produced += 1
        self.load.held_tokens += 1
        if sequence.produced < sequence.answer.length:
            next_ns = due_ns + self._timing.gap_ns(sequence.answer, sequence.produced)
            heapreplace(self._tokens, (next_ns, sequence.number, sequence))
            if sequence is self._prefilling:
                self._end_prefill(due_ns)
        else:
            heappop(self._tokens)
            self._keep_answer(sequence)
            self._end(sequence, due_ns)
        return sequence

    def _start_next(self) -> None:
        """Starts the first in the queue if a place and the prefill are free."""
        if not self._queue or self._prefilling is not None or self.load.running >= self._max_running:
            return
        sequence = self._queue.popleft()
        self.load.waiting -= 1
        self._prefilling = sequence
        sequence.running = True
        self.load.running += 1
        # The last token is computed in any case: the first one of the answer comes out of it.
        most_blocks = (sequence.prompt_tokens - 1) // self._block_tokens
        sequence.cached_tokens = self._block_tokens * min(self.cache.match(sequence.keys), most_blocks)
        self._store(sequence.keys)
        self.load.held_tokens += sequence.prompt_tokens
        timing, number = self._timing, self._started
        self._started += 1
        start_ns = max(sequence.arrived_ns + timing.overhead_ns(number), self._free_ns)
        uncached_tokens = sequence.prompt_tokens - sequence.cached_tokens
        sequence.prefill_ns = timing.prefill_ns(sequence.answer, uncached_tokens, number)
        due_ns = start_ns + sequence.prefill_ns
        heappush(self._tokens, (due_ns, sequence.number, sequence))

    def _end_prefill(self, at_ns: int) -> None:
        self._prefilling = None
        self._free_ns = max(self._free_ns, at_ns)
        self._start_next()

    def _end(self, sequence: Sequence, at_ns: int) -> None:
        """Gives a running sequence's place to the next; a sequence still in the heap is skipped there."""
        sequence.over = True
        sequence.running = False
        self.load.held_tokens -= sequence.prompt_tokens + sequence.produced
        if self.load.running == self._max_running:
            self._free_ns = max(self._free_ns, at_ns)
        self.load.running -= 1
        if sequence is self._prefilling:
            self._end_prefill(at_ns)
        else:
            self._start_next()

    def _keep_answer(self, sequence: Sequence) -> None:
        """Puts the answer's blocks in the cache behind the prompt's; its last token was never computed, only drawn."""
        if not self.cache.capacity:
            return
        keys = sequence.keys
        begun = sequence.prompt[len(keys) * self._block_tokens * TOKEN_BYTES :]
        text = begun + self._book.text(sequence.answer, sequence.answer.length - 1)
        keys += chain_blocks(text, self._block_tokens, keys[-1] if keys else 0)
        self._store(keys)

    def _store(self, keys: list[int]) -> None:
        self.cache.store(keys)
        self.load.kept_tokens = len(self.cache) * self._block_tokens
