"""`Past`: what the prompts of a round had been through when it began: emptied caches, restarts, earlier sends."""

from __future__ import annotations

from dataclasses import dataclass

from fluxperf.analysis.evidence import History
from fluxperf.hosting import Host
from fluxperf.model import CONTROL, CacheReset
from fluxperf.particulars import StagePlan
from fluxperf.plan.campaign import StageSpec
from fluxperf.plan.planner import LevelPlan, RoundPlan
from fluxperf.sent import SentPrompts
from fluxperf.watch.lookout import Lookout


@dataclass(frozen=True, slots=True)
class Witnesses:
    """Who knows of it: who empties the cache, who starts the server, and what it was sent."""

    lookout: Lookout
    host: Host
    sent: SentPrompts


class Past:
    """One for a stage, asked once for each of its rounds, in their order."""

    def __init__(self, plan: StagePlan, witnesses: Witnesses) -> None:
        self._plan = plan
        self._witnesses = witnesses
        self._begun = False

    def look_back(self, level: LevelPlan, plan: RoundPlan, *, fresh: bool) -> History:
        """What the round's prompts have been through; empties the cache first, if that was asked for here.

        `fresh`: the server began anew for this round.
        """
        reset = self._reset(plan)
        emptied = fresh or (reset is not None and reset.accepted)
        new = self._plan.settings.salt or plan.round == CONTROL
        return History(
            round=plan.round,
            new=new if plan.round in (1, CONTROL) else False,
            repeats=plan.round not in (1, CONTROL) and not emptied,
            sent_before=None if new else self._sent_before(level, plan, emptied=emptied),
            reset=reset,
        )

    def _sent_before(self, level: LevelPlan, plan: RoundPlan, *, emptied: bool) -> str | None:
        """Where this server was sent any of the level's prompts before round 1 of it; they are noted as sent."""
        sent, host = self._witnesses.sent, self._witnesses.host
        audience = self._plan.audience(host.life if host.is_ours() else 0)
        if emptied:
            sent.forget(audience.server)
        found = sent.find(audience, level.sample) if plan.round == 1 else None
        sent.add(audience, level.sample, self._plan.dataset_size, describe_place(self._plan.spec, level.concurrency))
        return found

    def _reset(self, plan: RoundPlan) -> CacheReset | None:
        settings = self._plan.settings
        between = settings.reset_cache_between_rounds if plan.round != 1 else settings.reset_cache_between_concurrency
        # A run that is resumed in the middle of a level needs what round 1 has left in the cache.
        due = between if self._begun or plan.round != 1 else settings.reset_cache_url is not None
        self._begun = True
        return self._witnesses.lookout.reset() if due else None


def describe_place(spec: StageSpec, concurrency: int) -> str:
    """Where prompts were sent, as the end of a sentence."""
    return f"at concurrency {concurrency}" + ("" if spec.title is None else f" of stage {spec.title}")
