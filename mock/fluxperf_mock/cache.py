"""The prefix cache: which blocks of past prompts are still held. Knows keys, not tokens or text."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence


class PrefixCache:
    """Blocks under chained keys (`prompts.chain_blocks`), at most `capacity` of them; the least recently used go first.

    Within one chain the later blocks go first, as in vLLM: without its head the rest of a chain could not be found.
    """

    __slots__ = ("_blocks", "capacity")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._blocks: OrderedDict[int, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._blocks)

    def match(self, keys: Sequence[int]) -> int:
        """How many of the chain's first blocks are held, without a gap."""
        blocks = self._blocks
        for count, key in enumerate(keys):
            if key not in blocks:
                return count
        return len(keys)

    def store(self, keys: Sequence[int]) -> None:
        """Holds the chain's blocks (as many of its first as there is room for) as the most recently used."""
        blocks = self._blocks
        for key in reversed(keys[: self.capacity]):
            if key in blocks:
                blocks.move_to_end(key)
            else:
                if len(blocks) >= self.capacity:
                    blocks.popitem(last=False)
                blocks[key] = None

    def clear(self) -> None:
        """Forgets everything."""
        self._blocks.clear()
