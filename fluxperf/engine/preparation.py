"""Turns the drawn entries into encoded requests, once, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat, starmap
from operator import eq

from fluxperf.api import Api, ChatOptions
from fluxperf.engine.bodies import Bodies, BodyWriter, Prepared
from fluxperf.engine.texts import Texts, find_messages
from fluxperf.mapped import in_order, mapped
from fluxperf.plan.editions import Edition
from fluxperf.plan.entry import Entry, cut, estimate_tokens, fingerprint
from fluxperf.plan.workload import Dataset


@dataclass(frozen=True, slots=True)
class Encoding:
    """How an entry becomes a body."""

    api: Api
    options: ChatOptions
    max_input_length: int | None = None


@dataclass(frozen=True, slots=True)
class Preparation:
    """The encoded requests of all editions, and what was noticed on the way, by dataset index."""

    bodies: Bodies
    texts: Mapping[str, Texts]
    _tickets: Mapping[str, Sequence[int]]
    _prints: Sequence[int]
    _was_cut: Sequence[int]

    def tickets(self, edition: str, order: Iterable[int]) -> Iterator[int]:
        """The tickets for an order of dataset indices."""
        tickets = self._tickets[edition]
        return (tickets[index] for index in order)

    def count_cut(self, sample: Iterable[int]) -> int:
        """How many prompts of the sample were cut to the maximum input length."""
        return sum(self._was_cut[index] for index in sample)

    def count_duplicates(self, sample: Sequence[int]) -> int:
        """How many prompts of the sample are the same as an earlier one in it."""
        return sum(starmap(eq, pairwise(in_order(self._prints[index] for index in sample))))


def prepare(dataset: Dataset, editions: Sequence[Edition], encoding: Encoding) -> Preparation:
    """Encodes the entries of all editions."""
    prints, was_cut = (mapped(repeat(0, len(dataset))) for _ in range(2))
    tickets, places = {}, {}
    writer = BodyWriter()
    for edition in editions:
        of_edition, starts, ends = (mapped(repeat(0, len(dataset))) for _ in range(3))
        for index in edition.sample:
            entry, cut_off = _rewritten(dataset[index], edition, encoding.max_input_length)
            was_cut[index] = cut_off
            prints[index] = int.from_bytes(fingerprint(entry)[:8], "little")
            body = encoding.api.encode(entry.turns[0], encoding.options, entry.max_output_tokens)
            of_edition[index] = writer.add(Prepared(index, entry.session_id, estimate_tokens(entry), body))
            start, end = find_messages(body)
            starts[index], ends[index] = writer.body_start + start, writer.body_start + end
        tickets[edition.name] = of_edition
        places[edition.name] = (starts, ends)
    bodies = writer.finish()
    texts = {name: Texts(bodies, *found) for name, found in places.items()}
    return Preparation(bodies, texts, tickets, prints, was_cut)


def _rewritten(entry: Entry, edition: Edition, max_input_length: int | None) -> tuple[Entry, bool]:
    """The entry as the edition has it, and whether it was cut to the maximum input length."""
    cut_off = False
    if edition.salt is not None:
        entry = edition.salt(entry)
    if max_input_length is not None:
        entry, cut_off = cut(entry, max_input_length)
    return (entry if edition.renew is None else edition.renew(entry)), cut_off
