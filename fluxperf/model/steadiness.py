"""`Steadiness`: how much a figure differs from repeat to repeat, and what that means for what can be seen."""

from __future__ import annotations

from dataclasses import dataclass

from fluxperf.model.contrast import Figure, Need
from fluxperf.model.result import RoundName


@dataclass(frozen=True, slots=True, kw_only=True)
class Steadiness:
    """One figure of one round in several repeats of a plan.

    `values` are in the figure's unit, in the order of the repeats; `spread` is their standard deviation as a share of
    their mean (0.02: 2 %), by logarithms. `need` says what would show a change of 5 %: `repeats` of either side, or
    `prompts` a round with one run a side, as far as two repeats tell.
    """

    stage: str | None
    concurrency: int
    round: RoundName
    figure: Figure
    values: tuple[float, ...]
    spread: float
    need: Need
