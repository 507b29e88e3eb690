"""`Chronicle`: how far a campaign has come, on disk at every step: for readers, and for `--resume`.

A run without a recipe has one stage, whose files are the ledger's; then only what `--resume` needs is written here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fluxperf import saved
from fluxperf.analysis.verdict import judge_run
from fluxperf.clock import timestamp
from fluxperf.masking import mask_env, scrub_all
from fluxperf.model import (
    RoundName,
    RoundResult,
    RunResult,
    StageResult,
    StageState,
    Status,
    Verdict,
    worst,
)
from fluxperf.model.evaluation import CacheEvaluation
from fluxperf.output import OutputDirectory, write_copy
from fluxperf.plan.campaign import Campaign, StageSpec
from fluxperf.provenance import Origin, describe_recipe
from fluxperf.saved import SavedRun, SavedStage


@dataclass(frozen=True, slots=True)
class Background:
    """What all stages of a campaign share: what was asked, where it runs, and what must be the same to go on."""

    campaign: Campaign
    environment: Mapping[str, Any]
    asked: Mapping[str, Any]


class Chronicle:
    """One for a run. Each change is on disk when the call returns."""

    def __init__(self, background: Background, output: OutputDirectory, earlier: SavedRun | None = None) -> None:
        self._background = background
        self._output = output
        self._earlier = earlier
        now = timestamp()
        if earlier is None:
            self._run = SavedRun(started_at=now, asked=background.asked)
        else:
            self._run = replace(earlier, resumed_at=(*earlier.resumed_at, now))

    @property
    def origin(self) -> Origin:
        """What all stages of the run have in common."""
        return Origin(
            started_at=self._run.started_at,
            resumed_at=self._run.resumed_at,
            environment=self._background.environment,
            recipe=self._background.campaign.recipe,
            asked_sha256=saved.digest_of(self._background.asked),
        )

    def stage(self, spec: StageSpec) -> SavedStage:
        """How far the stage has come."""
        return self._run.stages.get(spec.folder, SavedStage(state=StageState.NOT_RUN))

    def begin(self, spec: StageSpec) -> None:
        """The stage begins."""
        entry = self.stage(spec)
        self._note(
            spec,
            replace(
                entry, state=StageState.PARTIAL, error=None, started_at=entry.started_at or timestamp(), ended_at=None
            ),
        )

    def undo(self, spec: StageSpec) -> None:
        """The stage did not go on after all: it is as it was left by the run that was interrupted."""
        before = self._earlier.stages.get(spec.folder) if self._earlier is not None else None
        self._note(spec, before or SavedStage(state=StageState.NOT_RUN))

    def begin_round(self, spec: StageSpec, concurrency: int, name: RoundName) -> None:
        """Its prompts are about to be sent: so from now on they are not new to the server, whatever happens."""
        entry = self.stage(spec)
        self._keep(spec, replace(entry, begun=tuple(dict.fromkeys((*entry.begun, (concurrency, name))))))

    def enter(self, spec: StageSpec, result: RunResult) -> None:
        """So far the stage has come. The requests of its rounds are in their files, and not kept here."""
        rounds = tuple(replace(one, requests=()) for one in result.rounds)
        self._note(spec, replace(self.stage(spec), result=replace(result, rounds=rounds)))

    def end(self, spec: StageSpec, state: StageState, error: str | None = None) -> None:
        """The stage is over."""
        self._note(spec, replace(self.stage(spec), state=state, error=error, ended_at=timestamp()))

    def result(self, *, ended: bool = False) -> RunResult:
        """The whole run, as far as it is. `ended`: no stage of it will be run any more."""
        campaign = self._background.campaign
        results = [entry.result for entry in self._run.stages.values() if entry.result is not None]
        rounds = tuple(one for result in results for one in result.rounds)
        evaluations = tuple(one for result in results for one in result.evaluations)
        return RunResult(
            started_at=self._run.started_at,
            ended_at=timestamp() if ended else None,
            resumed_at=self._run.resumed_at,
            partial=not self.is_complete(),
            environment=self._background.environment,
            labels=scrub_all(dict(campaign.stages[0].settings.label), campaign.secrets),
            configuration={
                "output_dir": campaign.output_dir,
                "continue_on_error": campaign.continue_on_error,
                "overrides": campaign.overrides,
                "asked_sha256": saved.digest_of(self._background.asked),
            },
            rounds=rounds,
            comparisons=tuple(one for result in results for one in result.comparisons),
            evaluations=evaluations,
            verdict=self._judge(rounds, evaluations, ended=ended),
            stages=tuple(self._stage_result(spec) for spec in campaign.stages),
            recipe=describe_recipe(campaign.recipe),
        )

    @property
    def saved(self) -> SavedRun:
        """The run as far as it is, for a resumption."""
        return self._run

    def is_complete(self) -> bool:
        """Whether nothing is left to be done."""
        return all(self.stage(spec).state is StageState.COMPLETE for spec in self._background.campaign.stages)

    def _judge(self, rounds: Sequence[RoundResult], evaluations: Sequence[CacheEvaluation], *, ended: bool) -> Verdict:
        """What the whole is worth. Stages that failed are missing in it, which is no reason to call it stopped."""
        verdict = judge_run(rounds, evaluations, partial=not ended)
        specs = self._background.campaign.stages
        failed = [spec.title for spec in specs if self.stage(spec).state is StageState.FAILED]
        if not failed:
            return verdict
        reasons = (*verdict.reasons, *(f"stage {title} failed" for title in failed))
        return Verdict(status=worst((verdict.status, Status.DEGRADED)), reasons=reasons, figures=verdict.figures)

    def close(self, *, ended: bool) -> RunResult:
        """The run has ended, or was stopped. Returns all of it."""
        result = self.result(ended=ended)
        if not self._background.campaign.is_alone:
            self._output.write_run(result)
            write_copy(self._background.campaign.copy_to, result)
        return result

    def _stage_result(self, spec: StageSpec) -> StageResult:
        entry = self.stage(spec)
        return StageResult(
            name=spec.title or "",
            folder=spec.folder,
            repeat=spec.repeat,
            state=entry.state,
            error=entry.error,
            started_at=entry.started_at,
            ended_at=entry.ended_at,
            env=mask_env(spec.env, self._background.campaign.secrets),
            configuration={} if entry.result is None else entry.result.configuration,
            server=None if entry.result is None else entry.result.server,
            verdict=None if entry.result is None else entry.result.verdict,
        )

    def _note(self, spec: StageSpec, entry: SavedStage) -> None:
        """For readers, too."""
        self._keep(spec, entry)
        if not self._background.campaign.is_alone:
            self._output.write_run(self.result())

    def _keep(self, spec: StageSpec, entry: SavedStage) -> None:
        order = [one.folder for one in self._background.campaign.stages]
        stages = {**self._run.stages, spec.folder: entry}
        self._run = replace(self._run, stages={name: stages[name] for name in order if name in stages})
        saved.save(self._run, self._output.spool)
