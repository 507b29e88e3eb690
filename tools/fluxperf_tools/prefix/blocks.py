"""What a cache of blocks should hit, one request after the other. Pure; knows nothing of texts, servers and time.

The rules are vLLM's: a prompt is cut into blocks; only whole blocks are kept, each under all that stands before it;
a request finds its blocks from the first on, up to the first that is missing; its last token is always computed, so
the block that it is in never hits. Once it ends, the blocks of its answer are kept too (but for its last token, which
was only drawn). The least recently used go first, and of one prompt the last.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from fluxperf_tools.prefix.tree import Chain


@dataclass(frozen=True, slots=True)
class BlockCache:
    """Its kind: tokens in a block, tokens that it holds (None: no end), and the tokens of each answer."""

    block_tokens: int
    cache_tokens: int | None
    answer_tokens: int


@dataclass(frozen=True, slots=True)
class _Run:
    """A prompt as the cache sees it: runs of blocks (name, how many), that of its answer, and how many may hit."""

    runs: tuple[tuple[Hashable, int], ...]
    answer: tuple[Hashable, int]
    most: int


def hit_tokens(cache: BlockCache, chains: Sequence[Chain], order: Sequence[int]) -> Iterator[int]:
    """The cached tokens of each request; `order` holds the indices of `chains` as they are sent, one at a time.

    No prompt with its answer may be larger than the cache.
    """
    runs = [_cut(chain, cache) for chain in chains]
    held = _Held(None if cache.cache_tokens is None else cache.cache_tokens // cache.block_tokens)
    for index in order:
        run = runs[index]
        yield min(held.match(run.runs), run.most) * cache.block_tokens
        held.keep(run.runs)
        if run.answer[1]:
            held.keep((*run.runs, run.answer))


def _cut(chain: Chain, cache: BlockCache) -> _Run:
    """A block belongs to the node that its last token is in: two prompts share it if they share that node."""
    size = cache.block_tokens
    ends = [0, *(end // size for _, end in chain.steps)]
    lengths = [end - start for start, end in pairwise(ends)]
    nodes = [node for node, _ in chain.steps]
    runs = tuple((node, length) for node, length in zip(nodes, lengths, strict=True) if length)
    drawn = max(cache.answer_tokens - 1, 0)
    answer = (("answer", chain.twin), (chain.whole_tokens + drawn) // size - chain.whole_tokens // size)
    return _Run(runs, answer, (chain.tokens - 1) // size)


class _Held:
    """The blocks that are held, as runs that are used together; each lost its last blocks first.

    A run is always used whole, and after its prompt's later runs were, so its blocks stand next to each other in
    the order of use. That makes it exact, and as fast for long prompts as for short ones.
    """

    def __init__(self, capacity: int | None) -> None:
        self._capacity = capacity
        self._runs: OrderedDict[Hashable, int] = OrderedDict()
        self._blocks = 0

    def match(self, runs: Sequence[tuple[Hashable, int]]) -> int:
        """How many of the first blocks are held, without a gap."""
        found = 0
        for name, length in runs:
            held = self._runs.get(name, 0)
            found += held
            if held < length:
                break
        return found

    def keep(self, runs: Sequence[tuple[Hashable, int]]) -> None:
        """Holds all blocks of a prompt as the most recently used, its first ones as the very last to go."""
        for name, length in reversed(runs):
            self._blocks += length - self._runs.get(name, 0)
            self._runs[name] = length
            self._runs.move_to_end(name)
        while self._capacity is not None and self._blocks > self._capacity:
            name, length = next(iter(self._runs.items()))
            left = max(length - (self._blocks - self._capacity), 0)
            self._blocks -= length - left
            if left:
                self._runs[name] = left
            else:
                del self._runs[name]
