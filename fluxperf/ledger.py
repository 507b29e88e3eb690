"""`Ledger`: the results of a run as they come in, on disk and on stdout at once. `Voice`: who is told what."""

from __future__ import annotations

import datetime
import shutil
import sys

from fluxperf.analysis.cache import settle_silence
from fluxperf.analysis.dose import respond
from fluxperf.analysis.evaluation import evaluate
from fluxperf.analysis.paired import compare, compare_pairs, pair
from fluxperf.analysis.verdict import judge_run
from fluxperf.errors import MeasurementInvalid, RunFailed
from fluxperf.files import write_stream
from fluxperf.model import CONTROL, Comparison, RoundResult, RunResult, Status, Verdict
from fluxperf.model.dose import DoseResponse
from fluxperf.model.evaluation import CacheEvaluation
from fluxperf.output import OutputDirectory
from fluxperf.plan.settings import Settings
from fluxperf.provenance import Asked, describe_asked, describe_environment
from fluxperf.report import render_answer, render_comparison, render_round, render_verdict
from fluxperf.watch.progress import Progress, choose_progress


class Ledger:
    """The results so far: on disk and on stdout as soon as there is one."""

    def __init__(self, asked: Asked, output: OutputDirectory, voice: Voice) -> None:
        self.output = output
        self.voice = voice
        self._asked = asked
        self._started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        self._rounds: list[RoundResult] = []
        self._comparisons: list[Comparison] = []
        self._doses: list[tuple[RoundResult, DoseResponse]] = []
        self._evaluations: tuple[CacheEvaluation, ...] = ()

    def enter(self, result: RoundResult) -> None:
        """A round is over. On disk before it is compared or shown, in case that fails or nobody reads on."""
        level = [earlier for earlier in self._rounds if earlier.concurrency == result.concurrency]
        self._rounds.append(result)
        try:
            self.output.write_round(result)
            if level:
                self._compare(level, result)
            self._evaluate([*level, result])
            self.output.write_run(self._run(partial=True))
        finally:  # shown also if the disk is full
            self.voice.print(render_round(result, self.voice.columns) + "\n")

    def _compare(self, level: list[RoundResult], result: RoundResult) -> None:
        """With round 1 of the level; and all later rounds with fresh prompts, once there are some."""
        pairs = pair(level[0], result)
        self._comparisons += compare_pairs(pairs)
        if result.round == CONTROL:
            for later in level[1:]:
                self._comparisons += compare(result, later)
        elif (dose := respond(pairs)) is not None:
            self._doses.append((result, dose))

    def _evaluate(self, level: list[RoundResult]) -> None:
        """The level anew. Those before it stay as they are: reading all their requests once more would take a while."""
        settled = settle_silence(level)
        for before, after in zip(level, settled, strict=True):
            if after is not before:
                self._rounds[self._rounds.index(before)] = after
                self.output.write_round(after)
        others = (one for one in self._evaluations if one.concurrency != level[0].concurrency)
        self._evaluations = (*others, *evaluate(settled, self._comparisons, self._doses))

    def close(self, *, partial: bool) -> None:
        """The run is over.

        If it was whole, raises RunFailed where nothing succeeded, and MeasurementInvalid where the
        verdict says so and --strict was given.
        """
        run_result = self._run(partial=partial)
        self.output.write_run(run_result)
        renderers = (render_comparison, render_verdict, render_answer)
        texts = (render(run_result, self.voice.columns) for render in renderers)
        self.voice.print("\n\n".join(text for text in texts if text))
        self.voice.say(f"results: {self.output.path}")
        if partial:
            return
        if not any(result.summary.successful_requests for result in self._rounds):
            raise RunFailed(f"not one request succeeded: {describe_failures(self._rounds)}")
        verdict = run_result.verdict
        if self._asked.settings.strict and verdict is not None and verdict.status is Status.INVALID:
            raise MeasurementInvalid(describe_invalid(verdict))

    def _run(self, *, partial: bool) -> RunResult:
        return RunResult(
            started_at=self._started_at,
            partial=partial,
            environment=describe_environment(),
            labels=dict(self._asked.settings.label),
            configuration=describe_asked(self._asked),
            rounds=tuple(self._rounds),
            comparisons=tuple(self._comparisons),
            evaluations=self._evaluations,
            verdict=judge_run(self._rounds, self._evaluations, partial=partial),
        )


class Voice:
    """stdout is the report, stderr the log and the progress; quiet, only errors are heard."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    @property
    def columns(self) -> int | None:
        """The width of the terminal on stdout; None: it is none."""
        return shutil.get_terminal_size().columns if sys.stdout.isatty() else None

    def say(self, text: str) -> None:
        """To stderr."""
        if not self._quiet:
            write_stream(sys.stderr, f"fluxperf: {text}\n")

    def print(self, text: str) -> None:
        """To stdout. A reader that has gone (as with `| head`) does not end the run."""
        if self._quiet or not text:
            return
        error = write_stream(sys.stdout, text + "\n")
        if error is not None and not isinstance(error, BrokenPipeError):
            self.say(f"cannot write to stdout ({error.strerror}); the results are in the output directory")

    def progress(self, settings: Settings) -> Progress:
        """How progress is shown."""
        return choose_progress(sys.stderr, silent=self._quiet or settings.no_progress)


def describe_invalid(verdict: Verdict) -> str:
    """Why a measurement is invalid, one reason a line."""
    return "\n".join(["the measurement is invalid (--strict):", *verdict.reasons])


def describe_failures(rounds: list[RoundResult]) -> str:
    """The outcomes of all rounds with an example each, in one line."""
    examples = {name: text for result in rounds for name, text in result.summary.examples.items()}
    totals: dict[str, int] = {}
    for result in rounds:
        for outcome, count in result.summary.outcomes.items():
            totals[outcome] = totals.get(outcome, 0) + count
    return "; ".join(f"{count} x {name} ({examples.get(name, 'no message')})" for name, count in totals.items())
