"""What the mock answers: how long, in which words, and why it stops. A function of the seed and the prompt alone."""

from __future__ import annotations

import random
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

# One token each: every word and the space after it are four bytes (prompts.TOKEN_BYTES), so that the answer, sent
# back as history, counts the tokens it was generated with. Plain letters need no escape in JSON.
_VOCABULARY = (
    "the and for are but not you all any can had her was one our out day get has him his how man new now old see "
    "two way who boy did its let put say she too use air arm art ask bad bag bed big bit box bus buy car cat cup "
    "cut dog dry due ear eat egg end eye far few fit fly fun gas hat hit hot ice job key kid law leg lie lot low "
    "map mix mud net nor oak odd off oil own pay pen pet pot ran raw red rid row run sad sea set sit six sky son "
    "sun tax tea ten tie tip top toy try van war wet win won yes yet"
)
WORDS = _VOCABULARY.split()

# The tables of words and of gaps are this long; a request's answer walks through them from one place.
TABLE_LENGTH = 4096
LONGEST_TOKENS = 1_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request says about the length of its answer, in tokens."""

    max_tokens: int | None = None
    min_tokens: int = 0
    ignore_eos: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer before it is given: `length` tokens, read from the tables at `place` onwards."""

    place: int
    length: int
    finish_reason: Literal["stop", "length"]


class AnswerBook:
    """Draws answers of `tokens` tokens on average (each from half of it to one and a half), repeatably by the seed."""

    def __init__(self, seed: int, tokens: int) -> None:
        self._key = seed.to_bytes(8, "big")
        self._shortest = max(tokens // 2, 1)
        self._spread = tokens + tokens // 2 - self._shortest + 1
        chosen = random.Random(seed).choices(WORDS, k=TABLE_LENGTH)  # noqa: S311 (repeatable, not secret)
        self._words = [f"{word} ".encode() for word in chosen]

    def draw(self, prompt: bytes, limits: Limits) -> Answer:
        """The answer to the prompt. Its place, and so its words and timing, does not depend on the limits."""
        digest = int.from_bytes(blake2b(prompt, digest_size=8, key=self._key).digest(), "big")
        number, place = divmod(digest, TABLE_LENGTH)
        natural = max(self._shortest + number % self._spread, limits.min_tokens)
        longest = LONGEST_TOKENS if limits.max_tokens is None else min(limits.max_tokens, LONGEST_TOKENS)
        if natural >= longest or (limits.ignore_eos and limits.max_tokens is not None):
            return Answer(place, longest, "length")
        return Answer(place, natural, "stop")

    def word(self, answer: Answer, index: int) -> bytes:
        """The text of the answer's token `index` (0-based): four ASCII characters, none that JSON escapes."""
        return self._words[(answer.place + index) % TABLE_LENGTH]

    def text(self, answer: Answer, length: int) -> bytes:
        """The text of the answer's first `length` tokens."""
        return b"".join([self.word(answer, index) for index in range(length)])
