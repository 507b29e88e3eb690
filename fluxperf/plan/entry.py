"""`Entry`: one prompt or session of a dataset, and what can be told from its text alone. Knows no files."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

if TYPE_CHECKING:
    from fluxperf.plan.tokens import Tokens

# "role" and "content" (text), and where the data has them "name", "tool_calls" and "tool_call_id" as they
# stand. "content" is None only beside "tool_calls".
Message: TypeAlias = dict[str, Any]
Turn: TypeAlias = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a dataset. `index` is its place there (0-based; blank lines are not entries).

    A turn is the messages that are appended to the history before a request is sent. It ends with
    a user message. `max_output_tokens` is the entry's own limit; None: it has none.
    """

    index: int
    session_id: str | None
    turns: tuple[Turn, ...]
    max_output_tokens: int | None = None


def fingerprint(entry: Entry) -> bytes:
    """16 bytes that are equal for entries with the same messages, whatever their index, session or limit."""
    return blake2b(msgspec.json.encode(entry.turns), digest_size=16).digest()


def cut(entry: Entry, max_input_length: int, tokens: Tokens | None = None) -> tuple[Entry, bool]:
    """The entry with each user message cut to its first `max_input_length` tokens, and whether any was longer.

    Without a tokenizer (None, or an estimate) it is characters. The beginning stays, since a prefix
    cache goes by it. System and assistant messages stay whole: they are instructions and history,
    which a cut would turn into others.
    """
    cut_text = _cut_to_characters if tokens is None or not tokens.exact else tokens.cut
    turns = tuple(tuple(_cut_message(message, max_input_length, cut_text) for message in turn) for turn in entry.turns)
    was_cut = turns != entry.turns
    return (replace(entry, turns=turns) if was_cut else entry), was_cut


def _cut_message(message: Message, length: int, cut_text: Callable[[str, int], str]) -> Message:
    if message["role"] != "user":
        return message
    # A message of nothing cannot be sent: the first character stays, even if it has more tokens than that.
    return {**message, "content": cut_text(message["content"], length) or message["content"][:1]}


def _cut_to_characters(text: str, length: int) -> str:
    return text[:length]


# From U+2E80 on there are CJK, kana, hangul and emoji, where a tokenizer needs about one token a character.
_WIDE = re.compile("[\u2e80-\U0010ffff]+")
_CHARACTERS_PER_TOKEN = 4


def estimate_tokens(source: Entry | str) -> int:
    """An *estimate* of the tokens in a text, or in all messages of an entry; at least 1.

    Four characters a token, one where the script is CJK: a rule of thumb, good to some ten per cent
    for English. It is never to be shown without being called an estimate.
    """
    if isinstance(source, Entry):
        texts = (message["content"] for turn in source.turns for message in turn)
        return sum(estimate_tokens(text) for text in texts if text) or 1
    narrow = len(source) if source.isascii() else len(_WIDE.sub("", source))
    return max(len(source) - narrow + round(narrow / _CHARACTERS_PER_TOKEN), 1)
