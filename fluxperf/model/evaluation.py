"""`CacheEvaluation`: the answer to the question of a level. Did the cache help, how much, and how sure is that?"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fluxperf.model.dose import DoseResponse
from fluxperf.model.result import CONTROL, Check, Comparison, RoundName, Verdict


class Answer(StrEnum):
    """Did the cache help?"""

    YES = "yes"
    NO = "no"
    NOT_SHOWN = "not shown"  # a difference, if there is one, is smaller than what can be seen
    CANNOT_TELL = "cannot tell"  # the evidence does not hold, or there is too little of it


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEvaluation:
    """What a later round says of the cache, against round 1 of its level; or one round alone (`round` is None).

    `effect` is the comparison of TTFT that the answer goes by: with round 1, or, if there was a control round of
    fresh prompts, with that, which is the effect net of what else changed meanwhile. `gross` is the one with round 1
    in any case, `drift` the control round against round 1. `why` is the answer's reason, in a sentence; `eviction` says
    what became of prompts that were sent before and not found. `checks` are the questions that decide whether the
    answer can be believed.
    """

    stage: str | None
    concurrency: int
    round: RoundName | None
    answer: Answer
    why: str
    effect: Comparison | None = None
    gross: Comparison | None = None
    drift: Comparison | None = None
    dose: DoseResponse | None = None
    eviction: str | None = None
    checks: tuple[Check, ...] = ()
    verdict: Verdict

    @property
    def is_net(self) -> bool:
        """Whether the effect is against fresh prompts, and so net of what else changed."""
        return self.effect is not None and self.effect.baseline_round == CONTROL
