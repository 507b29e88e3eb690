"""The story of a run on one page: survey, claim the output, run stage after stage, report."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from fluxperf.aftermath import Demands, follow, make_pages, read_demands
from fluxperf.books import Books, find_interrupted
from fluxperf.course import Around, recall_sent, run_stage
from fluxperf.crew import plan_itinerary
from fluxperf.errors import FluxPerfError, Interrupted, MeasurementInvalid, ResumeRefused, RunFailed
from fluxperf.hosting import Host
from fluxperf.launch.signals import Signals
from fluxperf.ledger import describe_invalid
from fluxperf.model import StageState, Status
from fluxperf.output import OutputDirectory
from fluxperf.plan.campaign import Campaign, StageSpec
from fluxperf.report import render_stages
from fluxperf.resumption import Resumption
from fluxperf.saved import describe_asked
from fluxperf.sent import SentPrompts
from fluxperf.survey import StageSurvey, survey
from fluxperf.voice import Voice


def show(campaign: Campaign) -> int:
    """Prints what would be run, and starts nothing; returns 0. Raises UsageError."""
    from fluxperf.outline import Outline, render_outline

    with ExitStack() as stack:
        voice = Voice(quiet=False)
        surveyed = survey(campaign, stack, voice)
        read_demands(surveyed, voice)
        sizes = {found.spec.settings.dataset: len(found.dataset) for found in surveyed.stages}
        levels = {found.spec.folder: found.levels for found in surveyed.stages}
        voice.print(render_outline(surveyed.campaign, Outline(sizes, levels), voice.columns))
    return 0


def run(campaign: Campaign, *, resume: bool = False) -> int:
    """Does what the campaign says; returns 0. Raises FluxPerfError; what was finished by then is written."""
    with ExitStack() as stack:
        signals = stack.enter_context(Signals().installed())
        voice = Voice(quiet=campaign.quiet)
        surveyed = survey(campaign, stack, voice)
        campaign = surveyed.campaign
        for text in (*campaign.overrides, *campaign.remarks):
            voice.say(text)
        demands = read_demands(surveyed, voice)
        earlier = find_interrupted(surveyed, voice) if resume else None
        if isinstance(earlier, Path):
            voice.say(f"the run in {earlier} is complete: there is nothing left to measure")
            follow(demands, OutputDirectory(earlier))
            return 0
        resumption = Resumption(earlier)
        resumption.check(describe_asked(surveyed))
        stack.callback(voice.clear)
        voice.itinerary = plan_itinerary((found.spec, found.levels) for found in surveyed.stages)
        books = Books(surveyed, voice, earlier)
        stack.callback(books.close)
        host = Host(voice.say, surveyed.shield)
        stack.callback(host.close)
        signals.at_once = host.hurry
        sent = SentPrompts()
        recall_sent(surveyed.stages, resumption, sent)
        around = Around(signals, voice, host, sent, surveyed.shield, books.open)
        try:
            _Journey(campaign, around, resumption).run(surveyed.stages)
        except MeasurementInvalid:
            _follow_invalid(demands, books.open()[0])
            raise
        except FluxPerfError:
            if books.output is not None:
                make_pages(demands, books.output)
            raise
        follow(demands, books.open()[0])
    return 0


def _follow_invalid(demands: Demands, output: OutputDirectory) -> None:
    """What was asked for is written all the same; that the measurement is invalid weighs more than what gates say."""
    try:
        follow(demands, output)
    except Interrupted:
        raise
    except FluxPerfError as error:
        demands.voice.complain(str(error))


class _Journey:
    """From stage to stage."""

    def __init__(self, campaign: Campaign, around: Around, resumption: Resumption) -> None:
        self._campaign = campaign
        self._around = around
        self._resumption = resumption
        self._failed: list[str] = []
        self._invalid: list[str] = []

    def run(self, stages: tuple[StageSurvey, ...]) -> None:
        """Raises the error of a stage that ends the run, or at its end what to say of those that failed."""
        if self._campaign.is_alone:
            self._run_alone(stages[0])
            return
        ended = False
        try:
            for found in stages:
                self._run_one(found)
            ended = True
        finally:
            self._conclude(ended=ended)
        if self._failed:
            told = f"{len(self._failed)} of {len(stages)} stages failed: {', '.join(self._failed)}"
            raise RunFailed("\n".join((told, *self._invalid)))
        if self._invalid:
            raise MeasurementInvalid("\n".join(self._invalid))

    def _run_alone(self, found: StageSurvey) -> None:
        """A run without a recipe, whose only stage is all of it."""
        try:
            run_stage(found, self._around, self._resumption)
        except MeasurementInvalid:
            self._around.open_books()[1].end(found.spec, StageState.COMPLETE)
            raise
        self._around.open_books()[1].end(found.spec, StageState.COMPLETE)

    def _run_one(self, found: StageSurvey) -> None:
        spec, voice = found.spec, self._around.voice
        self._around.signals.check()
        title = spec.title or ""
        chronicle = self._around.open_books()[1]
        if self._resumption.is_complete(spec):
            voice.say(f"stage {title} was finished before")
            self._judge_again(spec)
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
        except ResumeRefused:
            chronicle.undo(spec)
            raise
        except FluxPerfError as error:
            chronicle.end(spec, StageState.FAILED, str(error))
            error.args = (f"stage {title} failed: {error}",)
            if not self._campaign.continue_on_error:
                raise
            self._failed.append(title)
            voice.complain(str(error))
            return
        chronicle.end(spec, StageState.COMPLETE)

    def _judge_again(self, spec: StageSpec) -> None:
        """A stage that was finished before the run was interrupted may have been invalid."""
        result = self._resumption.result_of(spec)
        verdict = None if result is None else result.verdict
        if spec.settings.strict and verdict is not None and verdict.status is Status.INVALID:
            self._invalid.append(f"stage {spec.title}: {describe_invalid(verdict)}")

    def _conclude(self, *, ended: bool) -> None:
        output, chronicle = self._around.open_books()
        result = chronicle.close(ended=ended)
        voice = self._around.voice
        voice.print("\n" + render_stages(result, voice.columns))
        voice.say(f"results: {output.path}")
