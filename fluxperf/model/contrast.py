"""`Figure`, `Contrast`: what two runs are compared in, and what came of it. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fluxperf.model.result import RoundName


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a round: a metric and one of its statistics, as `ttft_ms.p99`; or one without, as `tokens_per_s`.

    Statistics of a metric of single requests are `mean` (the geometric one), `avg`, `p50`, `p90`, `p95` and `p99`;
    those of `goodput`, `errors` and `cached_tokens` are `ratio`.
    """

    metric: str
    statistic: str | None = None

    def __str__(self) -> str:
        return self.metric if self.statistic is None else f"{self.metric}.{self.statistic}"


class Call(StrEnum):
    """What a comparison of two runs comes to."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"  # a difference, if there is one, is smaller than what matters
    CANNOT_TELL = "cannot tell"


class Way(StrEnum):
    """What the interval stands on."""

    PAIRED = "paired"  # the same prompts, one by one
    TWO_SAMPLES = "two samples"  # other prompts in each run
    REPEATS = "repeats"  # the spread from run to run


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What would show a change of `change` (0.05: by 5 %) with a power of 80 % at 5 %; None: that cannot be told.

    `prompts` a round with one run a side, or `repeats` of each side with as many prompts as there were.
    """

    change: float
    prompts: int | None = None
    repeats: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """One figure of one round in two runs, or in two sets of repeats.

    `base` and `new` are its values, in the metric's unit; of repeats their mean. `ratio` is new / base, and
    `interval` has its bounds at `confidence`, which is 95 % corrected for all the comparisons that were made with it
    (0 and infinity where there is no bound). `p_value` is of there being no change, uncorrected. `counts` are the
    pairs, prompts or repeats that the interval stands on, of both sides. `why` says what kept it from being told.
    """

    stage: str | None
    concurrency: int
    round: RoundName
    figure: Figure
    lower_is_better: bool
    base: float | None
    new: float | None
    ratio: float | None
    interval: tuple[float, float] | None
    confidence: float
    p_value: float | None
    call: Call
    way: Way
    counts: tuple[int, int]
    why: str | None = None
    need: Need | None = None
