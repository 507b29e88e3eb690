"""`Conversation`: the requests of one session, one after the other, each with the history so far. Pure.

What a turn adds was encoded before the round, so the next request is put together from pieces; only the server's
answer is encoded in between.
"""

from __future__ import annotations

from typing import NamedTuple

from fluxperf.engine.bodies import Prepared


class Answer(NamedTuple):
    """What a turn was answered: the message as a history has it, encoded, and its length by whoever counted.

    `dropped_turns`: how many turns had been left out of the request.
    """

    message: bytes
    tokens: int
    dropped_turns: int


class Request(NamedTuple):
    """The request of a turn (counted from 0). `tokens`: the prompt's length by our own count."""

    turn: int
    body: bytes
    tokens: int
    dropped_turns: int


class Conversation:
    """Call `ask` for a request, then `hear` with its answer, for as many turns as there are.

    Where a request's prompt would be longer than `most_tokens`, the oldest turns are left out of it, question and
    answer, and of all later ones; system messages and the newest question stay, however long they are. Lengths are
    our own count, corrected by what the server's was beyond it at the turn before: its template, and our error.
    """

    def __init__(self, prepared: Prepared, most_tokens: int | None = None) -> None:
        self._prepared = prepared
        self._most_tokens = most_tokens
        self._answers: list[Answer] = []
        self._dropped = 0
        self._correction = 0
        self._standing_tokens = 0  # of the turns so far
        self._spoken_tokens = 0  # of the turns that were not left out
        self._counted = 0  # of the newest request

    @property
    def turn(self) -> int:
        """The turn that `ask` gives next, from 0."""
        return len(self._answers)

    @property
    def goes_on(self) -> bool:
        """Whether there is a turn after that."""
        return self.turn + 1 < self._prepared.turns

    def ask(self, dropped_turns: int | None = None) -> Request:
        """The next request. `dropped_turns`: so many are left out, because they were when it was asked before."""
        prepared, script, turn = self._prepared, self._prepared.script, self.turn
        if script is None:
            return Request(turn, prepared.body, prepared.prompt_tokens_estimate, 0)
        share = script.shares[turn]
        self._standing_tokens += share.standing_tokens
        self._spoken_tokens += share.spoken_tokens
        while self._is_to_drop(dropped_turns):
            self._spoken_tokens -= script.shares[self._dropped].spoken_tokens + self._answers[self._dropped].tokens
            self._dropped += 1
        self._counted = self._standing_tokens + self._spoken_tokens
        return Request(turn, self._put_together() if turn else prepared.body, self._counted, self._dropped)

    def _is_to_drop(self, dropped_turns: int | None) -> bool:
        if self._dropped >= self.turn:
            return False
        if dropped_turns is not None:
            return self._dropped < dropped_turns
        counted = self._standing_tokens + self._spoken_tokens + self._correction
        return self._most_tokens is not None and counted > self._most_tokens

    def _put_together(self) -> bytes:
        script = self._prepared.script
        assert script is not None  # noqa: S101 (or there would be no second turn)
        pieces = [script.before]
        for turn, share in enumerate(script.shares[: self.turn + 1]):
            said = [share.standing]
            if turn >= self._dropped:
                said += [share.spoken, self._answers[turn].message if turn < self.turn else b""]
            for piece in filter(None, said):
                pieces += (piece, b",")
        pieces[-1] = script.after  # in the place of the last comma
        return b"".join(pieces)

    def hear(self, answer: Answer, prompt_tokens: int | None) -> None:
        """The answer to the newest request. `prompt_tokens`: how long the server says that was; None: it does not."""
        if prompt_tokens is not None:
            self._correction = prompt_tokens - self._counted
        self._answers.append(answer)
        self._spoken_tokens += answer.tokens
