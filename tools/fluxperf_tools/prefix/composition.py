"""The texts of prompts: words put together until they have as many tokens as designed. Knows no files and no caches.

Every part begins with a word that no other part in its place begins with, as far as there are words, so that nothing
is shared beyond the design. What came of it is to be measured (`fluxperf_tools.prefix.tree`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from random import Random

from fluxperf_tools.prefix.design import Design, Prompt, group_sizes
from fluxperf_tools.prefix.scales import Scale
from fluxperf_tools.prefix.words import order_starts

_ENOUGH_WORDS = 100
_CORRECTIONS = 12


class Lexicon:
    """Words with their weights, and texts of a given length made of them."""

    def __init__(self, words: Sequence[str], scale: Scale, *, are_ours: bool) -> None:
        """`words` may have some more often than others. `are_ours`: they need not be true to anybody's text."""
        self._scale = scale
        different = list(dict.fromkeys(words))
        self._weights = dict(zip(different, scale.weigh([f" {word}" for word in different]), strict=True))
        single = [word for word in words if self._weights[word] == scale.step]
        # Words of one token each cannot surprise, and make an estimate of four characters a token come true.
        chooses = (are_ours or scale.exact) and len(set(single)) >= _ENOUGH_WORDS
        self._words = single if chooses else list(words)
        self.starts = order_starts(self._words)
        self.starts += order_starts([word for word in different if word not in set(self.starts)])
        self._by_weight: dict[int, list[str]] = {}
        # The last words make up for a first one of another weight; in tokens of a tokenizer nothing has to be made up.
        for word in dict.fromkeys(self._words) if scale.step == 1 else different:
            self._by_weight.setdefault(self._weights[word], []).append(word)
        self._heaviest = max(self._by_weight)
        self._last = _find_last_weights(sorted(self._by_weight), 3 * self._heaviest, scale.step)

    def write(self, tokens: int, start: str, draw: Random, *, opens: bool) -> str:
        """A text of so many tokens that begins with the word `start`; without the space before it if it `opens`."""
        target = tokens * self._scale.step
        wanted = target
        text = ""
        for _ in range(_CORRECTIONS):
            text = " ".join(["", *self._choose(wanted, start, draw)])
            text = text[1:] if opens else text
            (weight,) = self._scale.weigh([text])
            if weight == target:
                break
            wanted += target - weight
        return text

    def start(self, number: int, tokens: int) -> str:
        """The `number`th way to begin a text of so many tokens: a word, or two when all have been used."""
        room = tokens * self._scale.step
        starts = [word for word in self.starts if self._weights[word] <= room] or self.starts
        if number < len(starts):
            return starts[number]
        turn, place = divmod(number, len(starts))
        return f"{starts[place]} {starts[(place + turn) % len(starts)]}"

    def _choose(self, weight: int, start: str, draw: Random) -> list[str]:
        """Words that weigh as much, or as little less as there are words for."""
        words = [start]
        left = weight - sum(self._weights[word] for word in start.split(" "))
        while left > 2 * self._heaviest:
            word = draw.choice(self._words)
            words.append(word)
            left -= self._weights[word]
        while left > 0:
            last = self._last[left]
            if not last:
                left -= 1
                continue
            words.append(draw.choice(self._by_weight[last]))
            left -= last
        return words


def _find_last_weights(weights: Sequence[int], limit: int, step: int) -> list[int]:
    """For each weight up to the limit the weight of a last word (`step` if it can be); 0: words cannot make it up."""
    last = [0] * (limit + 1)
    for weight in range(1, limit + 1):
        fitting = [one for one in weights if one == weight or (one < weight and last[weight - one])]
        if fitting:
            last[weight] = step if step in fitting else fitting[len(fitting) // 2]
    return last


class Composer:
    """The texts of a design's prompts. The same design and words give the same texts."""

    def __init__(self, design: Design, lexicon: Lexicon) -> None:
        self._design = design
        self._lexicon = lexicon
        self._firsts = list(accumulate(group_sizes(design), initial=0))
        self._openings: dict[int, str] = {}
        self._replies: dict[Prompt, str] = {}
        self._questions: dict[Prompt, str] = {}

    def messages(self, prompt: Prompt) -> list[tuple[str, str]]:
        """The (role, text) pairs of a request: its history, and its question."""
        messages = []
        for depth in range(1, len(prompt.way) + 1):
            turn = Prompt(prompt.group, prompt.way[:depth])
            messages.append(("user", self._question(turn)))
            if depth < len(prompt.way):
                messages.append(("assistant", self._reply(turn)))
        return messages

    def _question(self, turn: Prompt) -> str:
        if turn not in self._questions:
            design = self._design
            opening = self._opening(turn.group) if len(turn.way) == 1 else ""
            own = self._part("question", turn, design.unique_tokens, turn.way[-1], opens=not opening)
            self._questions[turn] = opening + own
        return self._questions[turn]

    def _opening(self, group: int) -> str:
        if group not in self._openings:
            name = Prompt(group, ())
            self._openings[group] = self._part("opening", name, self._design.shared_tokens, group, opens=True)
        return self._openings[group]

    def _reply(self, turn: Prompt) -> str:
        if turn not in self._replies:
            self._replies[turn] = self._part("reply", turn, self._design.reply_tokens, 0, opens=True)
        return self._replies[turn]

    def _part(self, kind: str, turn: Prompt, tokens: int, number: int, *, opens: bool) -> str:
        if not tokens:
            return ""
        draw = Random(f"{self._design.seed}/{kind}/{turn.name}")  # noqa: S311 (a draw, not a secret)
        # With no opening before it, a first question also begins like no other group's.
        if kind == "question" and len(turn.way) == 1 and not self._design.shared_tokens:
            number += self._firsts[turn.group]
        return self._lexicon.write(tokens, self._lexicon.start(number, tokens), draw, opens=opens)


def as_row(prompt: Prompt, messages: Sequence[tuple[str, str]]) -> dict[str, object]:
    """A prompt as a line of a dataset: one message is a text, a history is messages."""
    if len(messages) == 1:
        return {"id": prompt.name, "text": messages[0][1]}
    return {"id": prompt.name, "messages": [{"role": role, "content": text} for role, text in messages]}
