"""`Ledger`: the results of a stage as they come in, on disk and on stdout at once."""

from __future__ import annotations

from collections.abc import Sequence

from fluxperf.analysis.cache import settle_silence
from fluxperf.analysis.dose import respond
from fluxperf.analysis.evaluation import evaluate
from fluxperf.analysis.paired import compare, compare_pairs, pair
from fluxperf.analysis.verdict import judge_run
from fluxperf.clock import timestamp
from fluxperf.errors import MeasurementInvalid, RunFailed
from fluxperf.masking import scrub_all
from fluxperf.model import CONTROL, Comparison, Outcome, RoundResult, RunResult, Status, Verdict
from fluxperf.model.dose import DoseResponse
from fluxperf.model.evaluation import CacheEvaluation
from fluxperf.output import OutputDirectory, write_copy
from fluxperf.provenance import Asked, describe_asked, describe_recipe, describe_server
from fluxperf.report import render_answer, render_comparison, render_round, render_verdict
from fluxperf.voice import Voice


class Ledger:
    """The results so far: on disk and on stdout as soon as there is one."""

    def __init__(self, asked: Asked, output: OutputDirectory, voice: Voice) -> None:
        self.output = output
        self.voice = voice
        self._asked = asked
        self._rounds: list[RoundResult] = []
        self._comparisons: list[Comparison] = []
        self._doses: list[tuple[RoundResult, DoseResponse]] = []
        self._evaluations: tuple[CacheEvaluation, ...] = ()

    def enter(self, result: RoundResult) -> None:
        """A round is over. On disk before it is compared or shown, in case that fails or nobody reads on."""
        level = [earlier for earlier in self._rounds if earlier.concurrency == result.concurrency]
        self._rounds.append(result)
        requests = result.summary.total_requests
        self.voice.announce(f"writing {requests:,} requests")
        try:
            self.output.write_round(result)
            self.voice.announce(f"comparing {requests:,} requests")
            self._judge(level, result)
            self.output.write_run(self.result(partial=True))
        finally:  # shown also if the disk is full
            self.voice.print(render_round(result, self.voice.columns) + "\n")

    def restore(self, earlier: RunResult, kept: Sequence[RoundResult]) -> None:
        """Takes over rounds of a run that was interrupted; of levels that it finished also what it found out.

        Those that have their requests are of a level that it did not finish.
        """
        whole = {one.concurrency for one in kept if not one.requests}
        self._comparisons = [one for one in earlier.comparisons if one.concurrency in whole]
        self._evaluations = tuple(one for one in earlier.evaluations if one.concurrency in whole)
        for result in kept:
            level = [before for before in self._rounds if before.concurrency == result.concurrency]
            self._rounds.append(result)
            if result.requests:
                self._judge(level, result)

    @property
    def rounds(self) -> Sequence[RoundResult]:
        """Those so far."""
        return self._rounds

    def _judge(self, level: list[RoundResult], result: RoundResult) -> None:
        if level:
            self._compare(level, result)
        self._evaluate([*level, result])

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
        run_result = self.result(partial=partial)
        self.output.write_run(run_result)
        write_copy(self._asked.spec.copy_to, run_result)
        renderers = (render_comparison, render_verdict, render_answer)
        texts = (render(run_result, self.voice.columns) for render in renderers)
        self.voice.print("\n\n".join(text for text in texts if text))
        self.voice.say(f"results: {self.output.path}")
        if partial:
            return
        if not any(result.summary.successful_requests for result in self._rounds):
            raise RunFailed(f"not one request succeeded: {describe_failures(self._rounds)}")
        verdict = run_result.verdict
        if self._asked.spec.settings.strict and verdict is not None and verdict.status is Status.INVALID:
            raise MeasurementInvalid(describe_invalid(verdict))

    def result(self, *, partial: bool) -> RunResult:
        """The run so far, as its files have it."""
        return RunResult(
            started_at=self._asked.origin.started_at,
            ended_at=None if partial else timestamp(),
            resumed_at=self._asked.origin.resumed_at,
            partial=partial,
            environment=self._asked.origin.environment,
            server=describe_server(self._asked),
            recipe=describe_recipe(self._asked.origin.recipe),
            labels=scrub_all(dict(self._asked.spec.settings.label), self._asked.site.secrets),
            configuration=describe_asked(self._asked),
            rounds=tuple(self._rounds),
            comparisons=tuple(self._comparisons),
            evaluations=self._evaluations,
            verdict=judge_run(self._rounds, self._evaluations, partial=partial),
        )


def describe_invalid(verdict: Verdict) -> str:
    """Why a measurement is invalid, one reason a line."""
    return "\n".join(["the measurement is invalid (--strict):", *verdict.reasons])


def describe_failures(rounds: list[RoundResult]) -> str:
    """The outcomes of all rounds with an example each, in one line."""
    examples = {name: text for result in rounds for name, text in result.summary.examples.items()}
    totals: dict[str, int] = {}
    for result in rounds:
        for outcome, count in result.summary.outcomes.items():
            if Outcome(outcome).counted:
                totals[outcome] = totals.get(outcome, 0) + count
    return "; ".join(f"{count} x {name} ({examples.get(name, 'no message')})" for name, count in totals.items())
