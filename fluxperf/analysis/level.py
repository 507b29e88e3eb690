"""`Level`: the rounds of one level as the questions about its cache are asked of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fluxperf.model import CONTROL, CacheFigures, Comparison, RoundResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The rounds of one level, in order, and what is asked about: a later round, and its TTFT against round 1's.

    None: there is nothing to compare. `eviction` is why prompts were not found again, in a sentence.
    """

    rounds: Sequence[RoundResult]
    later: RoundResult | None = None
    ttft: Comparison | None = None
    eviction: str | None = None

    @property
    def first(self) -> RoundResult:
        """Round 1."""
        return self.rounds[0]

    @property
    def control(self) -> RoundResult | None:
        """The round of fresh prompts."""
        return next((one for one in self.rounds if one.round == CONTROL), None)

    @property
    def concerned(self) -> Sequence[RoundResult]:
        """The rounds that the answer stands on: up to the later one, and the control round."""
        if self.later is None:
            return self.rounds
        upto = self.rounds[: self.rounds.index(self.later) + 1]
        return upto if self.control is None else (*upto, self.control)

    @property
    def seen(self) -> Iterator[tuple[RoundResult, CacheFigures]]:
        """Those with their cache figures."""
        for one in self.concerned:
            if one.summary.cache is not None:
                yield one, one.summary.cache


def name_of(one: RoundResult) -> str:
    """How a round is named in a sentence."""
    return "the control round" if one.round == CONTROL else f"round {one.round}"
