"""`Gate`, `GateResult`: a condition under which a build fails, and what it came to. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from fluxperf.model.contrast import Figure
from fluxperf.model.result import RoundName


class Against(StrEnum):
    """What a gate's threshold is about."""

    VALUE = "value"  # the figure itself, in its unit
    BASELINE = "baseline"  # the figure's change against the baseline run
    ROUND = "round"  # the figure of a round over that of an earlier one


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """`text` as it was written. It fails where the figure is `above` the threshold, or below it.

    `threshold` is in the figure's unit, or a ratio (1.1 for `+10%`). `round`, `concurrency` and `stage` narrow it down;
    None: each there is. `earlier` is the round that `round` is divided by, where it is about two rounds.
    """

    text: str
    figure: Figure
    above: bool
    threshold: float
    against: Against
    round: RoundName | None = None
    earlier: RoundName | None = None
    concurrency: int | None = None
    stage: str | None = None


class GateOutcome(StrEnum):
    """What became of a gate at one place."""

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "undecided"  # noise is wider than the distance to the threshold; no failure
    ABSENT = "absent"  # there is no such value, although something was measured for it: a failure


Judge = Literal["interval", "point"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """A gate at one place: a stage, a level and a round.

    `value` is what is held against the threshold: the figure, or a ratio; `bounds` its interval at `confidence`, which
    is corrected for the number of judgements. `base` and `new` are the figure's values where there are two.
    """

    gate: Gate
    stage: str | None
    concurrency: int
    round: RoundName
    outcome: GateOutcome
    text: str
    value: float | None = None
    bounds: tuple[float, float] | None = None
    confidence: float | None = None
    base: float | None = None
    new: float | None = None

    @property
    def failed(self) -> bool:
        """Whether it fails the build."""
        return self.outcome in (GateOutcome.FAILED, GateOutcome.ABSENT)
