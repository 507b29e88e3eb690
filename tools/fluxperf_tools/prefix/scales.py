"""How texts are measured in tokens: by the estimate, as the mock server does, or by a real tokenizer.

A prompt becomes bytes, four for each token, so that equal tokens are equal bytes. Knows no files but a tokenizer's.
"""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fluxperf_tools.prefix.tree import TOKEN_BYTES

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MOCK = "mock"
Messages = Sequence[tuple[str, str]]
"""The (role, text) pairs of a prompt."""

# From U+2E80 on there are CJK, kana, hangul and emoji, where a tokenizer needs about one token a character.
_WIDE = re.compile("[\u2e80-\U0010ffff]")
_NARROW_A_TOKEN = 4


class Scale(Protocol):
    """A way to measure. `step` is the weight of one token; weights of texts that follow each other add up (nearly)."""

    name: str
    exact: bool
    step: int
    head_tokens: int
    tail_tokens: int

    def weigh(self, texts: Sequence[str]) -> list[int]:
        """The weight of each text."""

    def encode(self, prompts: Sequence[Messages]) -> list[bytes]:
        """Each prompt as the server sees it, its chat template included; four bytes a token."""


@dataclass(frozen=True, slots=True)
class Template:
    """The tokens that a chat template puts before the first message, after a question, and after an answer."""

    before: int = 0
    after: int = 0
    between: int = 0

    def join(self, texts: Sequence[bytes]) -> bytes:
        """The tokens of questions and answers in turn, with the template's.

        After a question comes what opens an answer, be it there or still to be given.
        """
        ends = (_marks(1, self.after), _marks(2, self.between))
        parts = [part for place, text in enumerate(texts) for part in (text, ends[place % 2])]
        return b"".join([_marks(0, self.before), *parts])


def _marks(kind: int, count: int) -> bytes:
    """Tokens that no text has."""
    return b"".join(bytes((255, 255, kind, place % 256)) for place in range(count))


class Estimate:
    """Four characters a token, one where the script is CJK: `fluxperf.plan.entry.estimate_tokens`, place by place."""

    name = "estimate"
    exact = False
    step = _NARROW_A_TOKEN

    def __init__(self, template: Template) -> None:
        self._template = template
        self._numbers: dict[str, int] = {}
        self.head_tokens, self.tail_tokens = template.before, template.after

    def weigh(self, texts: Sequence[str]) -> list[int]:
        """In quarters of a token."""
        return [len(text) if text.isascii() else len(text) + 3 * len(_WIDE.findall(text)) for text in texts]

    def encode(self, prompts: Sequence[Messages]) -> list[bytes]:
        """The messages' pieces of four characters."""
        return [self._template.join([self._pieces(text) for _, text in messages]) for messages in prompts]

    def _pieces(self, text: str) -> bytes:
        if text.isascii():
            return text.encode() + b"\0" * (-len(text) % TOKEN_BYTES)
        pieces: list[int] = []
        piece = ""
        for character in text:
            piece += character
            if len(piece) == _NARROW_A_TOKEN or _WIDE.match(character):
                pieces.append(self._number(piece))
                piece = ""
        if piece:
            pieces.append(self._number(piece))
        return array("I", pieces).tobytes()

    def _number(self, piece: str) -> int:
        """The piece as it would stand in ASCII, else a number that no ASCII text has."""
        if piece.isascii():
            return int.from_bytes(piece.encode().ljust(TOKEN_BYTES, b"\0"), sys.byteorder)
        return self._numbers.setdefault(piece, 0x80808080 + len(self._numbers))


class MockScale:
    """As `fluxperf mock` counts: four bytes a token, in the text that it makes of a conversation."""

    name = MOCK
    exact = True
    step = TOKEN_BYTES
    head_tokens = 2  # "<|user|>" and a line's end, which make two and a quarter
    tail_tokens = 6

    def weigh(self, texts: Sequence[str]) -> list[int]:
        """In bytes."""
        return [len(text.encode()) for text in texts]

    def encode(self, prompts: Sequence[Messages]) -> list[bytes]:
        """The text, in which a last token may be short."""
        return [
            "".join([*(f"<|{role}|>\n{text}<|end|>\n" for role, text in messages), "<|assistant|>\n"]).encode()
            for messages in prompts
        ]


class TokenizerScale:
    """A model's own tokens. The messages' texts are cut one by one, and the template's tokens are put around them."""

    exact = True
    step = 1

    def __init__(self, name: str, tokenizer: Tokenizer, template: Template) -> None:
        self.name = name
        self._tokenizer = tokenizer
        self._template = template
        self.head_tokens, self.tail_tokens = template.before, template.after

    def weigh(self, texts: Sequence[str]) -> list[int]:
        """In tokens."""
        return [len(one) for one in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def encode(self, prompts: Sequence[Messages]) -> list[bytes]:
        """The numbers of the tokens."""
        texts = [text for messages in prompts for _, text in messages]
        found = iter(self._tokenizer.encode_batch_fast(texts, add_special_tokens=False))
        return [self._template.join([array("I", next(found).ids).tobytes() for _ in messages]) for messages in prompts]


def load_scale(name: str | None, template: Template, revision: str | None = None) -> Scale:
    """The scale of that name: None is the estimate, `mock` the mock server's, anything else a tokenizer.

    That is a folder with a tokenizer.json, such a file, or a name on the hub. Raises UsageError, and RunFailed if
    the hub cannot be reached.
    """
    if name is None:
        return Estimate(template)
    if name == MOCK:
        return MockScale()
    from fluxperf.plan.tokenizer_file import find_tokenizer
    from fluxperf.plan.tokens import load_tokens

    path = str(find_tokenizer(name, revision))
    load_tokens(path)  # which says what is wrong with it
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return TokenizerScale(name, tokenizer, template)
