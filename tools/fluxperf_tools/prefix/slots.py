"""What llama.cpp's server should hit, one request after the other. Pure; knows nothing of texts, servers and time.

It has no blocks. Each slot holds the last prompt that it computed, with the answer, token by token; a request reuses
what its prompt and the slot's begin with alike. What a slot would lose it first copies to host memory, from where a
later request may take it back. The rules are those of its `server_context` and `server_prompt_cache`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fluxperf_tools.prefix.tree import Chain, shared_tokens

# What a server has that is told nothing of slots, and then --kv-unified.
DEFAULT_SLOTS = 4
# Of the prompt: below, a slot is not chosen for what it holds (--slot-prompt-similarity).
SIMILAR = 0.1
# Of what a slot holds: if less of it will be kept, it is copied before it is overwritten.
WORTH_COPYING = 0.5
# Of a copy: if less of it would be used, it is left where it is.
WORTH_TAKING = 0.25


@dataclass(frozen=True, slots=True)
class SlotCache:
    """A server: `-np`, whether it has the cache in host memory (`--cache-ram`, here without end), `--kv-unified`."""

    slots: int
    host_memory: bool
    unified: bool
    answer_tokens: int


@dataclass(slots=True)
class _Slot:
    prompt: int | None = None
    used: int = -1


def hit_tokens(cache: SlotCache, chains: Sequence[Chain], order: Sequence[int]) -> Iterator[int]:
    """The cached tokens of each request; `order` holds the indices of `chains` as they are sent, one at a time."""
    server = _Server(cache, chains)
    for number, index in enumerate(order):
        yield server.take(index, number)


def _branches(chains: Sequence[Chain]) -> list[int]:
    """Of each prompt a number that others have, too, if a copy of theirs could be of use to it.

    What all prompts begin with (a chat template) is no reason to take a copy, unless prompts are tiny.
    """
    firsts = {chain.steps[0] for chain in chains if chain.steps}
    root_tokens = next(iter(firsts))[1] if len(firsts) == 1 else 0
    if root_tokens >= WORTH_TAKING * min((chain.tokens for chain in chains), default=0):
        return [0] * len(chains)
    depth = 1 if root_tokens else 0
    return [chain.steps[depth][0] for chain in chains]


class _Server:
    """The slots, and the copies in host memory, oldest first. A prompt stands for itself and its answer."""

    def __init__(self, cache: SlotCache, chains: Sequence[Chain]) -> None:
        self._cache = cache
        self._chains = chains
        self._drawn = max(cache.answer_tokens - 1, 0)  # the last token of an answer is never computed
        self._slots = [_Slot() for _ in range(cache.slots)]
        self._branches = _branches(chains)
        self._copies: dict[int, dict[int, None]] = {}  # by branch

    def take(self, index: int, number: int) -> int:
        """Serves a prompt, and says how many of its tokens were cached."""
        slot = self._choose(index)
        cached = self._shared(slot.prompt, index)
        slot.prompt = self._chains[index].twin
        slot.used = number
        if self._cache.host_memory:
            for other in self._slots:
                if other is not slot:
                    self._copy(other.prompt)
                    if self._cache.unified:
                        other.prompt = None
        return min(cached, self._chains[index].tokens - 1)

    def _choose(self, index: int) -> _Slot:
        """The slot that is most like the prompt, if any is enough, else the one that was not used for longest."""
        tokens = self._chains[index].tokens
        # Of equals the first that is alike, and the last that was not used for longest.
        alike = max(self._slots, key=lambda slot: self._shared(slot.prompt, index))
        shared = self._shared(alike.prompt, index)
        if shared / tokens > SIMILAR:
            if shared / self._length(alike.prompt) < WORTH_COPYING:
                self._exchange(alike, index)
            return alike
        oldest = min(reversed(self._slots), key=lambda slot: slot.used)
        self._exchange(oldest, index)
        return oldest

    def _exchange(self, slot: _Slot, index: int) -> None:
        """Copies what a slot holds, and gives it the copy that suits the prompt best, if one is better."""
        if not self._cache.host_memory:
            return
        self._copy(slot.prompt)
        most = self._shared(slot.prompt, index)
        kept = most / self._length(slot.prompt) if slot.prompt is not None else -1.0
        best = None
        copies = self._copies.get(self._branches[index], {})
        for copy in copies:
            shared = self._shared(copy, index)
            if shared <= most:
                continue
            kept_of_copy = shared / self._length(copy)
            if kept_of_copy >= WORTH_TAKING and kept_of_copy > kept:
                best, kept, most = copy, kept_of_copy, shared
        if best is not None:
            slot.prompt = best
            del copies[best]

    def _copy(self, prompt: int | None) -> None:
        """Puts a prompt with its answer among the copies, in place of those that are its beginning."""
        if prompt is None:
            return
        copies = self._copies.setdefault(self._branches[prompt], {})
        if not self._drawn:  # then a prompt may be the whole beginning of another
            if any(self._is_beginning(prompt, copy) for copy in copies):
                return
            for copy in [copy for copy in copies if self._is_beginning(copy, prompt)]:
                del copies[copy]
        copies.setdefault(prompt)  # the place of one that is there stays

    def _length(self, prompt: int | None) -> int:
        return 0 if prompt is None else self._chains[prompt].tokens + self._drawn

    def _shared(self, held: int | None, index: int) -> int:
        """Tokens that what is held and a prompt begin with alike."""
        return 0 if held is None else shared_tokens(self._chains[held], self._chains[index])

    def _is_beginning(self, one: int, other: int) -> bool:
        """Whether a prompt is the beginning of another one, or the same."""
        return shared_tokens(self._chains[one], self._chains[other]) == self._chains[one].tokens
