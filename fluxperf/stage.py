"""`Stage`: runs the planned rounds with one team of workers and makes a `RoundResult` of each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from fluxperf.analysis.evidence import Evidence
from fluxperf.analysis.merge import merge_tallies, summarise
from fluxperf.clock import timestamp
from fluxperf.crew import leg_of, live_counts
from fluxperf.engine.orders import Outlets, RoundOrder, Shared
from fluxperf.errors import (
    FluxPerfError,
    Interrupted,
    RunFailed,
    ServerRefused,
    ServerUnreachable,
    WorkerDied,
)
from fluxperf.hosting import Host
from fluxperf.launch.fork import Gathered, Team, Watch
from fluxperf.launch.signals import Signals
from fluxperf.mapped import in_order
from fluxperf.model import CONTROL, Outcome, PromptBytes, Refusal, RoundName, RoundResult, Timeline
from fluxperf.model.timeline import from_row, to_row
from fluxperf.output import OutputDirectory, RoundFiles, fresh_log
from fluxperf.particulars import StagePlan, configuration, notes
from fluxperf.past import Past, Witnesses
from fluxperf.plan.planner import LevelPlan, RoundPlan, deal_lanes
from fluxperf.remains import find_lost, rescue
from fluxperf.sent import SentPrompts
from fluxperf.spool import Spooled, SpoolWriter
from fluxperf.tally import Tally
from fluxperf.watch.course import Course
from fluxperf.watch.lookout import Lookout
from fluxperf.watch.progress import Progress

ADVICE = {
    Refusal.NOT_A_STREAM: "is --endpoint the URL of chat completions, and does the server stream?",
    Refusal.UNAUTHORIZED: "give the key with --api-key, --api-key-env or FLUXPERF_API_KEY",
    Refusal.FORBIDDEN: "the key has no access: check the key and the model",
    Refusal.NOT_FOUND: "check the path of --endpoint (it ends with /v1/chat/completions) and --model",
    Refusal.METHOD_NOT_ALLOWED: "check the path of --endpoint: the one that takes POST ends with /v1/chat/completions",
}


RoundHooks: TypeAlias = Callable[[int, RoundName], None]
"""What runs before a round; it is told its concurrency and its name."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What happens beside a run: signals, and what is seen of the server besides its answers."""

    signals: Signals
    lookout: Lookout
    host: Host
    hooks: RoundHooks
    sent: SentPrompts


class Stage:
    """Runs rounds. A round that does not come to its end still gives a result, with the error that ended it.

    `continued` are the levels of which earlier rounds are kept from a run that was interrupted.
    """

    def __init__(self, plan: StagePlan, output: OutputDirectory, around: Surroundings, shared: Shared) -> None:
        self._plan = plan
        self._output = output
        self._around = around
        self._signals = around.signals
        self._lookout = around.lookout
        self._shared = shared
        self.continued: frozenset[int] = frozenset()
        self._past = Past(plan, Witnesses(around.lookout, around.host, around.sent))

    def run_round(
        self, level: LevelPlan, plan: RoundPlan, team: Team, progress: Progress
    ) -> tuple[RoundResult, FluxPerfError | None]:
        """Runs one round. Raises a RunFailed if it could not begin."""
        files = self._output.round_files(level.concurrency, plan.round)
        files.clear()
        # What takes a while is done before there are reports to be held.
        remarks = tuple(notes(self._plan, level, plan))
        if level.concurrency in self.continued:
            remarks += ("the rounds before it are of a run that was interrupted: the server may have changed since",)
        planned = self._plan.preparation.count_turns(plan.edition, level.sample)
        prompts = self._measure_texts(level, plan)
        orders = self._orders(level, plan, files)
        self._shared.tickets.lay_out(self._plan.preparation.tickets(plan.edition, plan.order))
        self._shared.board.clear()
        fresh = self._make_ready(level, plan)
        history = self._past.look_back(level, plan, fresh=fresh)
        started_at = timestamp()
        progress.begin(leg_of(self._plan.spec, level, plan.round), planned)
        gathered = self._gather(orders, team, progress)
        progress.announce("reading the server's counters")
        tally = self._merge(plan, gathered, files, orders)
        counters = self._lookout.end(tally.sums["usage_prompt_tokens"])
        error = self._error(gathered, tally)
        counted = sum(tally.outcomes.values())
        if error is None and counted != planned:
            error = RunFailed(f"internal error: {planned} requests were planned and {counted} were recorded")
        progress.announce(f"adding up {counted:,} requests")
        evidence = replace(
            self._evidence(level, plan, gathered, tally),
            stopped=error is not None,
            counters=counters,
            prompts=prompts,
            requests=Spooled(files.all_rows(), from_row),
            history=history,
        )
        result = self._conclude(level, plan, evidence, remarks)
        result = replace(result, configuration={**result.configuration, "started_at": started_at})
        if self._plan.settings.save_requests:
            lines: Spooled[str] = Spooled(files.all_transcripts(), str)
            self._output.write_lines(f"requests_{files.name}.jsonl", lines)
        return result, error

    def _make_ready(self, level: LevelPlan, plan: RoundPlan) -> bool:
        """The server as the round wants it, and the hook before it. Returns whether the server began anew for it."""
        with self._signals.attended():
            fresh = self._around.host.renew(level_begins=plan.round == 1)
            self._around.hooks(level.concurrency, plan.round)
        return fresh

    def _measure_texts(self, level: LevelPlan, plan: RoundPlan) -> Sequence[PromptBytes] | None:
        """What the round's prompts have in common, where it counts: in a round that should find nothing else."""
        if plan.round not in (1, CONTROL) and not self._plan.settings.reset_cache_between_rounds:
            return None
        return self._plan.preparation.measure_texts(plan.edition, level.sample)

    def _gather(self, orders: dict[int, RoundOrder], team: Team, progress: Progress) -> Gathered:
        """Has the workers run the round, and looks at the server meanwhile."""
        host = self._around.host
        progress.announce("waiting until the server is quiet")
        self._lookout.begin()
        watch = Watch(
            tick=lambda: progress.show(live_counts(self._shared.board)),
            stop_asked=lambda: self._signals.received is not None or self._shared.board.stopped or host.is_dead(),
            wake_fd=self._signals.fd,
            others=host.fds(),
        )
        try:
            return team.run_round(orders, watch)
        except ServerUnreachable as error:
            raise host.why_dead() or error from error
        except BaseException:
            self._lookout.give_up()
            raise
        finally:
            progress.end()

    def _evidence(self, level: LevelPlan, plan: RoundPlan, gathered: Gathered, tally: Tally) -> Evidence:
        """What the workers told."""
        cores = min(len(os.sched_getaffinity(0)), level.concurrency, len(plan.order))
        return Evidence(
            tally=tally,
            audits={number: report.audit for number, report in gathered.reports.items()},
            lost=tuple(sorted(death.worker for death in gathered.deaths)),
            planned=self._plan.preparation.count_turns(plan.edition, level.sample),
            sessions=self._plan.settings.mode == "multi_turn",
            concurrency=min(level.concurrency, len(plan.order)),
            most_context_tokens=self._plan.settings.max_context_tokens,
            kernel_stamps=self._plan.kernel_stamps,
            less_concurrency=level.concurrency > 1,
            more_workers=self._plan.count_workers(level, plan) < cores,
            streams_per_connection=self._plan.streams_per_connection or 1,
        )

    def _orders(self, level: LevelPlan, plan: RoundPlan, files: RoundFiles) -> dict[int, RoundOrder]:
        settings = self._plan.settings
        sessions = len(plan.order)
        debug_log = None
        if settings.debug or settings.debug_verbose:
            debug_log = fresh_log(Path(settings.debug_log_dir) / f"{files.name}.log")
        replayed = self._find_answers(level, plan)
        keeps_answers = self._shared.answers is not None and plan.round == 1
        return {
            part.worker: RoundOrder(
                lanes=part.lanes,
                sessions=sessions,
                concurrency=level.concurrency,
                outlets=Outlets(
                    rows=files.rows(part.worker),
                    uncounted=files.uncounted(part.worker),
                    transcripts=files.transcripts(part.worker) if settings.save_requests else None,
                    answers=files.answers(part.worker) if keeps_answers else None,
                    debug_log=debug_log,
                ),
                replayed=replayed,
            )
            for part in deal_lanes(min(level.concurrency, sessions), self._plan.workers)
        }

    def _find_answers(self, level: LevelPlan, plan: RoundPlan) -> tuple[Path, ...]:
        """The files with the answers that the round repeats, once they were looked through."""
        answers = self._shared.answers
        if answers is None or plan.round in (1, CONTROL):
            return ()
        paths = tuple(self._output.round_files(level.concurrency, 1).all_answers())
        answers.look_through(paths)
        return paths

    def _merge(self, plan: RoundPlan, gathered: Gathered, files: RoundFiles, numbers: Iterable[int]) -> Tally:
        """One tally of all that was finished; what a dead worker finished is read from its spools."""
        tallies = [report.tally for report in gathered.reports.values()]
        for number in set(numbers) - gathered.reports.keys():
            tally = Tally(self._plan.slo)
            for request in rescue(files, number):
                tally.add(request)
            tallies.append(tally)
        if gathered.deaths:
            tallies.append(self._give_up_lost(plan, files))
        return merge_tallies(tallies, self._plan.slo)

    def _give_up_lost(self, plan: RoundPlan, files: RoundFiles) -> Tally:
        """Rows for the requests that were with a worker when it died: cut off."""
        tally = Tally(self._plan.slo)
        drawn = in_order(self._shared.bodies[ticket].index for ticket in self._shared.tickets.drawn())
        turns = self._plan.preparation.editions[plan.edition].turns
        lost = list(find_lost(drawn, Spooled(files.all_rows(), from_row), turns))
        spool = SpoolWriter(files.lost())
        for index, turn in lost:
            request = Timeline(index=index, turn=turn, outcome=Outcome.CUT_OFF, error="its worker died")
            spool.append(index, turn, to_row(request))
            tally.add(request)
        spool.close()
        return tally

    def _error(self, gathered: Gathered, tally: Tally) -> FluxPerfError | None:
        if self._signals.received is not None:
            return Interrupted(self._signals.received)
        if (death := self._around.host.why_dead()) is not None:
            return death
        if gathered.deaths:
            return WorkerDied("; ".join(map(str, gathered.deaths)))
        if self._shared.board.stopped:
            kind = self._shared.board.most_refused()
            message = next(iter(tally.examples.values()), "no message")
            return ServerRefused(f"the server refuses every request: {message}; {ADVICE[kind]}")
        return None

    def _conclude(self, level: LevelPlan, plan: RoundPlan, evidence: Evidence, remarks: tuple[str, ...]) -> RoundResult:
        tally = evidence.tally
        window = (tally.first_sent_ns, tally.last_done_ns)
        summary = summarise(evidence)
        series: Mapping[str, Course] = {}
        if window[0] is not None and window[1] is not None:
            summary = replace(summary, prometheus=self._lookout.figures(window[0], window[1]))
            series = self._lookout.courses
        return RoundResult(
            stage=self._plan.spec.title,
            concurrency=level.concurrency,
            round=plan.round,
            configuration=configuration(self._plan, level, plan, tally),
            summary=summary,
            requests=evidence.requests,
            first_sent_ns=tally.began_ns,
            slo=self._plan.slo,
            notes=remarks,
            partial=evidence.stopped,
            histograms={name: found.encode() for name, found in tally.histograms.items() if found.count},
            series=series,
        )
