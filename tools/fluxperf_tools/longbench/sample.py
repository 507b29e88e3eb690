"""Which of many entries become the dataset, without duplicates, in an order that a seed decides. Knows no texts.

An entry is a `Row` of numbers among others in a mapped file, so the number of entries takes no memory.
The order is that of a keyed hash of what an entry is known by: whichever file it is read from, and in
whatever order, the same entries come out in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from heapq import heappush, heapreplace
from itertools import chain, groupby, pairwise
from typing import NamedTuple

from fluxperf.mapped import in_order, mapped
from fluxperf.meter import track

_HALF = 1 << 64
_KEPT_KEYS = 50_000


class Row(NamedTuple):
    """An entry as integers below 2**64. `place` and `size` are of its text, or 0 and 0 if that cannot be chosen.

    Entries with an `_id` are named, and their key is of that; that of others is of what they say, as `alike` is of all.
    """

    key_high: int
    key_low: int
    is_named: int
    alike: int
    content: int
    group: int
    is_outside: int  # of the limits on tokens
    tokens: int
    place: int
    size: int


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be chosen: `count` entries (None: all), shuffled, or as they stand in the sources."""

    count: int | None
    seed: int
    shuffle: bool

    def rank(self, key: bytes) -> int:
        """A number of 128 bits by which entries with equal keys have equal places in the shuffled order."""
        seed = str(self.seed).encode()
        return int.from_bytes(blake2b(seed + b"\0" + key, digest_size=16).digest(), "big")


def digest(text: str) -> int:
    """64 bits that tell apart the texts of entries with the same key."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def split(rank: int) -> tuple[int, int]:
    """The upper and the lower 64 bits."""
    return divmod(rank, _HALF)


class Sieve:
    """Tells while entries are read which of them can still be chosen, so that no other text has to be kept.

    It is for entries that are named. Which of the others are duplicates is known when all have been read.
    """

    def __init__(self, wish: Wish) -> None:
        self._count = wish.count
        self._shuffle = wish.shuffle
        self._known: set[int] = set()
        self._largest: list[int] = []  # a heap of the known ranks, negated

    def admits(self, rank: int) -> bool:
        """Whether the entry of that rank may be among the chosen, as far as is known."""
        if self._count is None or self._count > _KEPT_KEYS or rank in self._known:
            return True
        if len(self._known) < self._count:
            self._known.add(rank)
            if self._shuffle:
                heappush(self._largest, -rank)
            return True
        if not self._shuffle or rank > -self._largest[0]:
            return False
        self._known.remove(-heapreplace(self._largest, -rank))
        self._known.add(rank)
        return True


class Draw:
    """What was chosen of rows: `chosen` are their numbers, in the order of the dataset.

    `duplicates` were left out since another entry has the same key, `outside` since no entry with
    their key is within the limits on tokens; `left` is what there was to choose from.
    """

    def __init__(self, rows: Iterable[Row], wish: Wish) -> None:
        """Takes the rows in, in the order of the sources, and chooses."""
        self._named = 0
        self._numbers = mapped(chain.from_iterable(self._count_named(rows)))
        self.read = len(self._numbers) // len(Row._fields)
        self.duplicates = 0
        self.outside = 0
        self.left = 0
        if 0 < self._named < self.read:
            self._join(wish.shuffle)
        kept = self._distinct(wish.shuffle)
        self.chosen = mapped(self._take(kept if wish.shuffle else in_order(kept), wish.count))

    def __getitem__(self, number: int) -> Row:
        """The row of that number, from 0."""
        width = len(Row._fields)
        return Row(*self._numbers[number * width : (number + 1) * width])

    @property
    def repeated(self) -> int:
        """How many of the chosen have the same text as another that was chosen before, under another key."""
        contents = in_order(self[number].content for number in self.chosen)
        return sum(one == other for one, other in pairwise(contents))

    def _count_named(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            self._named += row.is_named
            yield row

    def _join(self, shuffle: bool) -> None:
        """Gives entries that are not named the key of a named one that says the same, if there is one.

        Of several it is the one of the least key, or that is first in the sources.
        """

        def order(number: int) -> tuple[int, int, int, int, int]:
            row = self[number]
            key = (row.key_high, row.key_low) if shuffle else (0, 0)
            return row.alike, not row.is_named, *key, number

        width = len(Row._fields)
        numbers = in_order(track(range(self.read), "Comparing", self.read), key=order)
        for _, same in groupby(numbers, key=lambda number: self[number].alike):
            first, *others = same
            if self[first].is_named:
                for other in others:
                    if not self[other].is_named:
                        self._numbers[other * width], self._numbers[other * width + 1] = self[first][:2]

    def _distinct(self, shuffle: bool) -> Iterator[int]:
        """The number of one entry of each key, within the limits if there is one, in the order of the keys.

        Of several it is the first in the sources, or where their order shall not matter, the one whose
        text has the least digest.
        """

        def order(number: int) -> tuple[int, int, int, int, int]:
            row = self[number]
            return row.key_high, row.key_low, row.is_outside, row.content if shuffle else number, number

        numbers = in_order(track(range(self.read), "Sorting", self.read), key=order)
        for _, same in groupby(track(numbers, "Choosing", self.read), key=lambda number: self[number][:2]):
            first, *others = same
            self.duplicates += len(others)
            if self[first].is_outside:
                self.outside += 1
            else:
                yield first

    def _take(self, kept: Iterable[int], count: int | None) -> Iterator[int]:
        """The first of them; all are counted."""
        for self.left, number in enumerate(kept, 1):
            if count is None or self.left <= count:
                yield number
