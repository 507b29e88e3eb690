"""Turns the drawn entries into encoded requests, once, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat, starmap
from operator import eq

from fluxperf.api import Api, ChatOptions
from fluxperf.engine.bodies import Bodies, BodyWriter, Prepared
from fluxperf.mapped import in_order, mapped
from fluxperf.plan.entry import cut, estimate_tokens, fingerprint
from fluxperf.plan.workload import Dataset


@dataclass(frozen=True, slots=True)
class Encoding:
    """How an entry becomes a body."""

    api: Api
    options: ChatOptions
    max_input_length: int | None = None


@dataclass(frozen=True, slots=True)
class Preparation:
    """The encoded requests of all drawn entries, and what was noticed on the way, by dataset index."""

    bodies: Bodies
    _tickets: Sequence[int]
    _prints: Sequence[int]
    _was_cut: Sequence[int]

    def tickets(self, order: Iterable[int]) -> Iterator[int]:
        """The tickets for an order of dataset indices."""
        return (self._tickets[index] for index in order)

    def count_cut(self, sample: Iterable[int]) -> int:
        """How many prompts of the sample were cut to the maximum input length."""
        return sum(self._was_cut[index] for index in sample)

    def count_duplicates(self, sample: Sequence[int]) -> int:
        """How many prompts of the sample are the same as an earlier one in it."""
        return sum(starmap(eq, pairwise(in_order(self._prints[index] for index in sample))))


def prepare(dataset: Dataset, drawn: Sequence[int], encoding: Encoding) -> Preparation:
    """Encodes the drawn entries (dataset indices, each once)."""
    tickets, prints, was_cut = (mapped(repeat(0, len(dataset))) for _ in range(3))
    writer = BodyWriter()
    for index in drawn:
        entry = dataset[index]
        if encoding.max_input_length is not None:
            entry, was_cut[index] = cut(entry, encoding.max_input_length)
        body = encoding.api.encode(entry.turns[0], encoding.options, entry.max_output_tokens)
        tickets[index] = writer.add(Prepared(index, entry.session_id, estimate_tokens(entry), body))
        prints[index] = int.from_bytes(fingerprint(entry)[:8], "little")
    return Preparation(writer.finish(), tickets, prints, was_cut)
