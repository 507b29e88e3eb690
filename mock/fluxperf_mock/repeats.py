"""`Repeats`: what goes wrong with a prompt that came before (the faults `errors` and `answers-shrink`)."""

from __future__ import annotations

from dataclasses import replace

from fluxperf_mock.answers import Answer
from fluxperf_mock.api import Rejection
from fluxperf_mock.faults import Faults, Quota


class Repeats:
    """Knows the prompts of one process; only if a fault asks for it, as they are kept for ever (a number each)."""

    __slots__ = ("_errors", "_seen", "_share", "_watches")

    def __init__(self, faults: Faults) -> None:
        self._watches = "errors" in faults or "answers-shrink" in faults
        self._errors = Quota(faults["errors"])
        self._share = faults["answers-shrink"]
        self._seen: set[int] = set()

    def alter(self, prompt: bytes, answer: Answer) -> Answer:
        """The answer that the prompt gets in the place of `answer`; raises Rejection (500) if it gets none."""
        if not self._watches:
            return answer
        key = hash(prompt)
        if key not in self._seen:
            self._seen.add(key)
            return answer
        if self._errors.take():
            raise Rejection(500, "this prompt came before, and the fault `errors` was asked for")
        if self._share == 1:
            return answer
        return replace(answer, length=max(round(answer.length * self._share), 1), finish_reason="stop")
