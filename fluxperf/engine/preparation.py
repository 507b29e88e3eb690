"""Turns the drawn entries into encoded requests, once, before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat, starmap
from operator import eq

from fluxperf.api import Api, ChatOptions
from fluxperf.engine.bodies import Bodies, BodyWriter, Prepared, Script, Share
from fluxperf.engine.texts import Texts, find_messages
from fluxperf.mapped import in_order, mapped
from fluxperf.model import PromptBytes
from fluxperf.plan.editions import Edition
from fluxperf.plan.entry import Entry, Message, Turn, cut, fingerprint
from fluxperf.plan.forms import SYSTEM_ROLES
from fluxperf.plan.tokens import ESTIMATE, Tokens
from fluxperf.plan.workload import Dataset


@dataclass(frozen=True, slots=True)
class Encoding:
    """How an entry becomes a body. `advance` is told of each that has."""

    api: Api
    options: ChatOptions
    max_input_length: int | None = None
    tokens: Tokens = ESTIMATE
    advance: Callable[[int], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Encoded:
    """The requests of one edition, by dataset index: their tickets, their texts, and what was noticed on the way.

    `turns`: how many requests come of each; 0 for what is not in the edition.
    """

    tickets: Sequence[int]
    turns: Sequence[int]
    texts: Texts
    prints: Sequence[int]
    was_cut: Sequence[int]


@dataclass(frozen=True, slots=True)
class Preparation:
    """The encoded requests of all editions, which go by their names. Samples and orders are dataset indices."""

    bodies: Bodies
    editions: Mapping[str, Encoded]

    def tickets(self, edition: str, order: Iterable[int]) -> Iterator[int]:
        """The tickets for an order."""
        tickets = self.editions[edition].tickets
        return (tickets[index] for index in order)

    def count_turns(self, edition: str, sample: Iterable[int]) -> int:
        """How many requests the sample comes to."""
        turns = self.editions[edition].turns
        return sum(turns[index] for index in sample)

    def turns_of_all(self) -> Iterator[int]:
        """By dataset index the turns of the entry, whichever edition has it."""
        return map(max, zip(*(encoded.turns for encoded in self.editions.values()), strict=True))

    def count_cut(self, edition: str, sample: Iterable[int]) -> int:
        """How many prompts of the sample were cut to the maximum input length."""
        was_cut = self.editions[edition].was_cut
        return sum(was_cut[index] for index in sample)

    def count_duplicates(self, edition: str, sample: Iterable[int]) -> int:
        """How many prompts of the sample are the same as an earlier one in it."""
        prints = self.editions[edition].prints
        return sum(starmap(eq, pairwise(in_order(prints[index] for index in sample))))

    def measure_texts(self, edition: str, sample: Sequence[int]) -> tuple[PromptBytes, ...] | None:
        """Of each prompt how long it is, and what it has in common with others; None: they are too many."""
        return self.editions[edition].texts.measure(sample)


def prepare(dataset: Dataset, editions: Sequence[Edition], encoding: Encoding) -> Preparation:
    """Encodes the entries of all editions."""
    writer = BodyWriter()
    columns = {edition.name: _encode(dataset, edition, encoding, writer) for edition in editions}
    bodies = writer.finish()
    return Preparation(
        bodies,
        {
            name: Encoded(tickets, turns, Texts(bodies, starts, ends), prints, was_cut)
            for name, (tickets, turns, starts, ends, prints, was_cut) in columns.items()
        },
    )


def _encode(dataset: Dataset, edition: Edition, encoding: Encoding, writer: BodyWriter) -> list[memoryview[int]]:
    """Writes the bodies of an edition.

    By dataset index: ticket, turns, start and end of the first turn's text, fingerprint, was it cut.
    """
    columns = [mapped(repeat(0, len(dataset))) for _ in range(6)]
    for index in edition.sample:
        encoding.advance(1)
        entry, was_cut = _rewritten(dataset[index], edition, encoding)
        prepared = _prepare_entry(entry, encoding)
        ticket = writer.add(prepared)
        start, end = (writer.body_start + place for place in find_messages(prepared.body))
        digest = int.from_bytes(fingerprint(entry)[:8], "little")
        for column, value in zip(columns, (ticket, prepared.turns, start, end, digest, was_cut), strict=True):
            column[index] = value
    return columns


def _prepare_entry(entry: Entry, encoding: Encoding) -> Prepared:
    body = encoding.api.encode(entry.turns[0], encoding.options, entry.max_output_tokens)
    script = None
    if len(entry.turns) > 1:
        frame = encoding.api.encode((), encoding.options, entry.max_output_tokens)
        script = Script(*encoding.api.split(frame), [_share(turn, encoding) for turn in entry.turns])
    return Prepared(entry.index, entry.session_id, _count(entry.turns[0], encoding.tokens) or 1, body, script)


def _share(turn: Turn, encoding: Encoding) -> Share:
    standing = [message for message in turn if message["role"] in SYSTEM_ROLES]
    spoken = [message for message in turn if message["role"] not in SYSTEM_ROLES]
    encode, tokens = encoding.api.encode_messages, encoding.tokens
    return Share(encode(standing), encode(spoken), _count(standing, tokens), _count(spoken, tokens))


def _count(messages: Sequence[Message], tokens: Tokens) -> int:
    return sum(tokens.count(message["content"]) for message in messages if message["content"])


def _rewritten(entry: Entry, edition: Edition, encoding: Encoding) -> tuple[Entry, bool]:
    """The entry as the edition has it, and whether it was cut to the maximum input length."""
    cut_off = False
    if edition.salt is not None:
        entry = edition.salt(entry)
    if encoding.max_input_length is not None:
        entry, cut_off = cut(entry, encoding.max_input_length, encoding.tokens)
    return (entry if edition.renew is None else edition.renew(entry)), cut_off
