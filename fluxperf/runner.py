"""The story of a run on one page: survey, claim the output, run stage after stage, report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fluxperf.chronicle import Background, Chronicle
from fluxperf.course import Around, run_stage
from fluxperf.errors import FluxPerfError, Interrupted, MeasurementInvalid, RunFailed, UsageError
from fluxperf.hosting import Host
from fluxperf.launch.signals import Signals
from fluxperf.model import StageState
from fluxperf.output import OutputDirectory, claim, reclaim
from fluxperf.plan.campaign import Campaign
from fluxperf.provenance import describe_environment
from fluxperf.report import render_stages
from fluxperf.resumption import Resumption
from fluxperf.saved import SavedRun, describe_asked, load
from fluxperf.sent import SentPrompts
from fluxperf.survey import StageSurvey, survey
from fluxperf.voice import Voice


def show(campaign: Campaign) -> int:
    """Prints what would be run, and starts nothing; returns 0. Raises UsageError."""
    from fluxperf.outline import Outline, render_outline

    with ExitStack() as stack:
        voice = Voice(quiet=False)
        stages = survey(campaign, stack, voice)
        sizes = {found.spec.settings.dataset: len(found.dataset) for found in stages}
        levels = {found.spec.folder: found.levels for found in stages}
        voice.print(render_outline(campaign, Outline(sizes, levels), voice.columns))
    return 0


def run(campaign: Campaign, *, resume: bool = False) -> int:
    """Does what the campaign says; returns 0. Raises FluxPerfError; what was finished by then is written."""
    with ExitStack() as stack:
        signals = stack.enter_context(Signals().installed())
        voice = Voice(quiet=campaign.quiet)
        stages = survey(campaign, stack, voice)
        for text in (*campaign.overrides, *campaign.remarks):
            voice.say(text)
        asked = describe_asked(stages)
        saved = _find_interrupted(campaign, voice) if resume else None
        if isinstance(saved, Path):
            voice.say(f"the run in {saved} is complete: there is nothing left to do")
            return 0
        resumption = Resumption(saved)
        resumption.check(asked)
        books = _Books(campaign, voice, asked, saved)
        stack.callback(books.close)
        host = Host(voice.say, campaign.secrets)
        stack.callback(host.close)
        around = Around(signals, voice, host, SentPrompts(), campaign.secrets, books.open)
        _Journey(campaign, around, resumption, books).run(stages)
    return 0


def _find_interrupted(campaign: Campaign, voice: Voice) -> SavedRun | Path | None:
    """What the run in the output directory has left; its path if it is complete; None if there is none."""
    place = Path(campaign.output_dir)
    saved = load(OutputDirectory(place).spool)
    if saved is not None:
        return saved
    try:
        earlier = json.loads((place / "run.json").read_text(encoding="utf-8"))
        complete = earlier["partial"] is False
        sha256 = (earlier.get("recipe") or {}).get("sha256")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        complete, sha256 = False, None
    if not complete:
        voice.say(f"there is nothing in {place} to go on with: beginning anew")
        return None
    if sha256 != (None if campaign.recipe is None else campaign.recipe.sha256):
        raise UsageError(
            f"--resume: the run in {place} is complete, and was of another recipe: leave --resume out to begin anew"
        )
    return place


class _Books:
    """The output directory and the chronicle in it, opened when something is to be written for the first time.

    Until then an earlier run there is left alone.
    """

    def __init__(self, campaign: Campaign, voice: Voice, asked: Mapping[str, Any], saved: SavedRun | None) -> None:
        self._campaign = campaign
        self._voice = voice
        self._asked = asked
        self._saved = saved
        self._opened: tuple[OutputDirectory, Chronicle] | None = None

    def open(self) -> tuple[OutputDirectory, Chronicle]:
        """Raises UsageError if the directory cannot be written to."""
        if self._opened is None:
            path = Path(self._campaign.output_dir)
            if self._saved is None:
                output, said = claim(path, overwrite=self._campaign.overwrite)
                if said is not None:
                    self._voice.say(said)
            else:
                output = reclaim(path)
            background = Background(self._campaign, describe_environment(), self._asked)
            self._opened = output, Chronicle(background, output, self._saved)
        return self._opened

    def close(self) -> None:
        """Lets go of the directory. What a resumption needs stays there, if there is something to resume."""
        if self._opened is None:
            return
        output, chronicle = self._opened
        if chronicle.is_worth_resuming():
            output.release()
            return
        for spec in self._campaign.stages:
            OutputDirectory(output.path / spec.folder).clean()
        output.clean()


class _Journey:
    """From stage to stage."""

    def __init__(self, campaign: Campaign, around: Around, resumption: Resumption, books: _Books) -> None:
        self._campaign = campaign
        self._around = around
        self._resumption = resumption
        self._books = books
        self._failed: list[str] = []
        self._invalid: list[str] = []

    def run(self, stages: tuple[StageSurvey, ...]) -> None:
        """Raises the error of a stage that ends the run, or at its end what to say of those that failed."""
        if self._campaign.recipe is None:
            self._run_alone(stages[0])
            return
        try:
            for found in stages:
                self._run_one(found)
        finally:
            self._conclude()
        if self._failed:
            raise RunFailed(f"{len(self._failed)} of {len(stages)} stages failed: {', '.join(self._failed)}")
        if self._invalid:
            raise MeasurementInvalid("\n".join(self._invalid))

    def _run_alone(self, found: StageSurvey) -> None:
        """A run without a recipe, whose only stage is all of it."""
        try:
            run_stage(found, self._around, self._resumption)
        except MeasurementInvalid:
            self._books.open()[1].end(found.spec, StageState.COMPLETE)
            raise
        self._books.open()[1].end(found.spec, StageState.COMPLETE)

    def _run_one(self, found: StageSurvey) -> None:
        spec, voice = found.spec, self._around.voice
        title = spec.title or ""
        chronicle = self._books.open()[1]
        if self._resumption.is_complete(spec):
            voice.say(f"stage {title} was finished before")
            return
        chronicle.begin(spec)
        voice.say(f"stage {title}")
        try:
            run_stage(found, self._around, self._resumption)
        except MeasurementInvalid as error:
            self._invalid.append(f"stage {title}: {error}")
        except Interrupted:
            chronicle.end(spec, StageState.PARTIAL)
            raise
        except FluxPerfError as error:
            chronicle.end(spec, StageState.FAILED, str(error))
            if not self._campaign.continue_on_error:
                raise
            self._failed.append(title)
            voice.complain(f"stage {title} failed: {error}")
            return
        chronicle.end(spec, StageState.COMPLETE)

    def _conclude(self) -> None:
        output, chronicle = self._books.open()
        result = chronicle.close()
        voice = self._around.voice
        voice.print(render_stages(result, voice.columns))
        voice.say(f"results: {output.path}")
