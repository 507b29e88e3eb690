"""What the prompts of a sample have in common at their beginnings: what a prefix cache could find on the first visit.

Reads the prompts where they stand, encoded, in the file of bodies. Knows bytes, no tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cmp_to_key

from fluxperf.engine.bodies import Bodies
from fluxperf.model import PromptBytes

# Comparing so many takes a second; of more, nobody waits for the answer.
MOST_COMPARED = 20_000
_FIRST_LOOK_BYTES = 256
_OPENING, _CLOSING = b'"messages":', b'}],"stream"'


def find_messages(body: bytes) -> tuple[int, int]:
    """Where in a chat request's body the messages begin and end; of another body, all of it."""
    start = body.find(_OPENING)
    end = body.rfind(_CLOSING, start)
    return (start + len(_OPENING), end) if 0 <= start < end else (0, len(body))


@dataclass(frozen=True, slots=True)
class Texts:
    """The prompts of an edition, as places in the file of bodies, by dataset index."""

    bodies: Bodies
    starts: Sequence[int]
    ends: Sequence[int]

    def measure(self, sample: Sequence[int]) -> tuple[PromptBytes, ...] | None:
        """Of each prompt how long it is, and how much of its beginning another one has too; None: they are too many.

        In the order of their texts each is compared with the one before it. The sum of that is what all of them
        share, in whichever order they are sent: the text that a tree of all prefixes saves.
        """
        if len(sample) > MOST_COMPARED:
            return None
        ordered = sorted(sample, key=cmp_to_key(self._compare))
        before = [None, *ordered][:-1]
        return tuple(
            PromptBytes(index, self.ends[index] - self.starts[index], 0 if last is None else self._common(last, index))
            for last, index in zip(before, ordered, strict=True)
        )

    def _compare(self, one: int, other: int) -> int:
        """Which of two comes first (bytewise); looks at no more of them than it must."""
        common = self._common(one, other)
        left = self.bodies.peek(self.starts[one] + common, min(self.starts[one] + common + 1, self.ends[one]))
        right = self.bodies.peek(self.starts[other] + common, min(self.starts[other] + common + 1, self.ends[other]))
        return (left > right) - (left < right)

    def _common(self, one: int, other: int) -> int:
        """How many bytes two have in common at their beginnings."""
        length = min(self.ends[one] - self.starts[one], self.ends[other] - self.starts[other])
        known, look = 0, _FIRST_LOOK_BYTES
        while known < length:
            until = min(known + look, length)
            left = self.bodies.peek(self.starts[one] + known, self.starts[one] + until)
            right = self.bodies.peek(self.starts[other] + known, self.starts[other] + until)
            if left != right:
                return known + _find_difference(left, right)
            known, look = until, look * 4
        return length


def _find_difference(left: bytes, right: bytes) -> int:
    """The first place at which two of one length differ, by halves: long ones are not gone through byte by byte."""
    start, end = 0, len(left)
    while end - start > 1:
        middle = (start + end) // 2
        if left[start:middle] == right[start:middle]:
            start = middle
        else:
            end = middle
    return start
