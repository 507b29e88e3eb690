"""`Resumption`: what of an interrupted run need not be done again, and whether it may be gone on with at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fluxperf.errors import ResumeRefused
from fluxperf.model import RoundName, RoundResult, RunResult, StageState
from fluxperf.plan.campaign import StageSpec
from fluxperf.plan.planner import LevelPlan
from fluxperf.saved import SavedRun, SavedStage, find_differences
from fluxperf.survey import StageSurvey


class Resumption:
    """What an earlier run has left. None: there was none, and everything is to be done."""

    def __init__(self, saved: SavedRun | None) -> None:
        self.saved = saved

    def check(self, asked: Mapping[str, Any]) -> None:
        """Raises ResumeRefused, with the differences, unless the run was asked for the same."""
        if self.saved is None:
            return
        differences = find_differences(self.saved.asked, asked)
        if differences:
            raise _refusal(differences)

    def check_model(self, spec: StageSpec, model: str) -> None:
        """Raises ResumeRefused if the server has another model now than what was finished was measured with."""
        for folder, stage in ({} if self.saved is None else self.saved.stages).items():
            if stage.result is None or not stage.result.rounds:
                continue
            before = stage.result.configuration
            alike = before.get("endpoint_given") == spec.settings.endpoint and spec.settings.model is None
            if (folder == spec.folder or alike) and before.get("model") != model:
                raise _refusal([f"model: was {before.get('model')}, is {model}"])

    def is_complete(self, spec: StageSpec) -> bool:
        """Whether nothing is left to be done for the stage."""
        entry = self._entry(spec)
        return entry is not None and entry.state is StageState.COMPLETE

    def result_of(self, spec: StageSpec) -> RunResult | None:
        """What the stage found out so far."""
        entry = self._entry(spec)
        return None if entry is None else entry.result

    def whole_levels(self, found: StageSurvey) -> set[int]:
        """The levels of which every round is finished."""
        done = self._finished(found.spec)
        return {
            level.concurrency
            for level in found.levels
            if all((level.concurrency, plan.round) in done for plan in level.rounds)
        }

    def kept_rounds(self, found: StageSurvey) -> list[RoundResult]:
        """The finished rounds that count, in the order of the plan.

        Of a level that was not finished they count if the server is the same: a round that repeats prompts
        needs the cache that the round before it has filled.
        """
        done, whole = self._finished(found.spec), self.whole_levels(found)
        kept = []
        for level in found.levels:
            if level.concurrency in whole or keeps_its_cache(found.spec):
                kept += _first_of(level, done)
        return kept

    def spares(self, found: StageSurvey) -> bool:
        """Whether anything of the stage need not be done again."""
        return self.is_complete(found.spec) or bool(self.kept_rounds(found))

    def was_begun(self, spec: StageSpec, level: LevelPlan) -> bool | None:
        """Whether a round of the level was finished (True), or only begun (False); None: neither."""
        entry = self._entry(spec)
        if entry is None:
            return None
        if any(concurrency == level.concurrency for concurrency, _ in self._finished(spec)):
            return True
        return False if any(concurrency == level.concurrency for concurrency, _ in entry.begun) else None

    def _entry(self, spec: StageSpec) -> SavedStage | None:
        return None if self.saved is None else self.saved.stages.get(spec.folder)

    def _finished(self, spec: StageSpec) -> Mapping[tuple[int, RoundName], RoundResult]:
        result = self.result_of(spec)
        rounds: Sequence[RoundResult] = () if result is None else result.rounds
        return {
            (one.concurrency, one.round): one for one in rounds if not one.partial and one.summary.successful_requests
        }


def _refusal(differences: Sequence[str]) -> ResumeRefused:
    listed = "\n".join(f"  {line}" for line in differences)
    return ResumeRefused(
        f"--resume: this is not the run that was interrupted:\n{listed}\n"
        "begin anew without --resume, or undo the changes"
    )


def keeps_its_cache(spec: StageSpec) -> bool:
    """Whether the server's cache outlives an interruption, or does not matter: it begins anew for each round.

    Not where the hooks around a stage, which run again, may see to the server; and prompts with a salt have another
    one in each run.
    """
    if spec.settings.salt or spec.hooks.before_stage or spec.hooks.after_stage:
        return False
    if spec.mock is None and spec.server is None:
        return True
    return spec.server is not None and spec.server.restart == "per_round"


def _first_of(level: LevelPlan, done: Mapping[tuple[int, RoundName], RoundResult]) -> list[RoundResult]:
    """The rounds of the level from the first on that are finished."""
    kept = []
    for plan in level.rounds:
        result = done.get((level.concurrency, plan.round))
        if result is None:
            break
        kept.append(result)
    return kept
