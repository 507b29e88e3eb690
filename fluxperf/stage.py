"""`Stage`: runs the planned rounds with one team of workers and makes a `RoundResult` of each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from heapq import merge
from itertools import groupby
from pathlib import Path
from typing import Any

from fluxperf.analysis.evidence import Evidence
from fluxperf.analysis.merge import merge_tallies, summarise
from fluxperf.api import Api
from fluxperf.clock import kernel_stamps_work
from fluxperf.engine.board import Board, Column
from fluxperf.engine.bodies import Tickets
from fluxperf.engine.exchange import make_template
from fluxperf.engine.preparation import Preparation
from fluxperf.engine.worker import Client, RoundOrder, Shared
from fluxperf.errors import FluxPerfError, Interrupted, RunFailed, ServerRefused, UsageError, WorkerDied
from fluxperf.launch.fork import Gathered, Team, Watch
from fluxperf.launch.signals import Signals
from fluxperf.mapped import in_order
from fluxperf.model import Outcome, Refusal, RoundResult, Slo, Timeline
from fluxperf.model.timeline import from_row, to_row
from fluxperf.output import OutputDirectory, RoundFiles, fresh_log
from fluxperf.plan.planner import LevelPlan, RoundPlan, deal_lanes
from fluxperf.plan.settings import Settings
from fluxperf.site import Site
from fluxperf.spool import Spooled, SpoolWriter
from fluxperf.tally import Tally
from fluxperf.units import s_to_ns
from fluxperf.watch.progress import LiveCounts, Progress

ADVICE = {
    Refusal.NOT_A_STREAM: "is --endpoint the URL of chat completions, and does the server stream?",
    Refusal.UNAUTHORIZED: "give the key with --api-key, --api-key-env or FLUXPERF_API_KEY",
    Refusal.FORBIDDEN: "the key has no access: check the key and the model",
    Refusal.NOT_FOUND: "check the path of --endpoint (it ends with /v1/chat/completions) and --model",
    Refusal.METHOD_NOT_ALLOWED: "check the path of --endpoint: the one that takes POST ends with /v1/chat/completions",
}


@dataclass(frozen=True, slots=True)
class StagePlan:
    """What a stage needs besides its team: what was asked, where it goes, and the prepared requests."""

    settings: Settings
    site: Site
    slo: Slo | None
    dataset_sha256: str
    workers: int
    kernel_stamps: bool
    preparation: Preparation


def choose_stamps(wanted: str) -> bool:
    """Whether the kernel stamps arrivals; False: the user clock. Raises UsageError if it must and cannot."""
    if wanted == "user":
        return False
    works = kernel_stamps_work()
    if not works and wanted == "kernel":
        raise UsageError("--timestamps kernel: this kernel does not stamp received segments; use auto or user")
    return works


def make_client(plan: StagePlan, api: Api) -> Client:
    """How the workers of the stage speak to the server."""
    settings = plan.settings
    debug = "payloads" if settings.debug_verbose else "lines" if settings.debug else None
    return Client(
        template=make_template(plan.site.url, plan.site.headers, s_to_ns(settings.timeout)),
        route=plan.site.found.route,
        api=api,
        kernel_stamps=plan.kernel_stamps,
        slo=plan.slo,
        keep_transcripts=settings.save_requests,
        debug=debug,
        secrets=plan.site.secrets,
    )


class Stage:
    """Runs rounds. A round that does not come to its end still gives a result, with the error that ended it."""

    def __init__(self, plan: StagePlan, output: OutputDirectory, signals: Signals, shared: Shared) -> None:
        self._plan = plan
        self._output = output
        self._signals = signals
        self._shared = shared

    def run_round(
        self, level: LevelPlan, plan: RoundPlan, team: Team, progress: Progress
    ) -> tuple[RoundResult, FluxPerfError | None]:
        """Runs one round. Raises ServerUnreachable if it could not begin."""
        files = RoundFiles(self._output.spool, f"concurrency_{level.concurrency}_round_{plan.round}")
        notes = tuple(self._notes(level))  # which takes a while, and so not when there are reports to be held
        orders = self._orders(level, plan, files)
        self._shared.tickets.lay_out(self._plan.preparation.tickets(plan.order))
        self._shared.board.clear()
        progress.begin(f"Concurrency {level.concurrency}, round {plan.round}", len(plan.order))
        watch = Watch(
            tick=lambda: progress.show(live_counts(self._shared.board)),
            stop_asked=lambda: self._signals.received is not None or self._shared.board.stopped,
            wake_fd=self._signals.fd,
        )
        try:
            gathered = team.run_round(orders, watch)
        finally:
            progress.end()
        tally = self._merge(gathered, files, orders)
        error = self._error(gathered, tally)
        counted = sum(tally.outcomes.values())
        if error is None and counted != len(plan.order):
            error = RunFailed(f"internal error: {len(plan.order)} requests were planned and {counted} were recorded")
        rows = Spooled(files.all_rows(), from_row)
        evidence = Evidence(
            tally=tally,
            audits={number: report.audit for number, report in gathered.reports.items()},
            lost=tuple(sorted(death.worker for death in gathered.deaths)),
            planned=len(plan.order),
            stopped=error is not None,
            kernel_stamps=self._plan.kernel_stamps,
            less_concurrency=level.concurrency > 1,
            more_workers=self._workers(level, plan)
            < min(len(os.sched_getaffinity(0)), level.concurrency, len(plan.order)),
            streams_per_connection=self._streams_per_connection or 1,
        )
        result = self._conclude(level, plan, evidence, rows, notes)
        if self._plan.settings.save_requests:
            lines: Spooled[str] = Spooled(files.all_transcripts(), str)
            self._output.write_lines(f"requests_{files.name}.jsonl", lines)
        return result, error

    def _orders(self, level: LevelPlan, plan: RoundPlan, files: RoundFiles) -> dict[int, RoundOrder]:
        settings = self._plan.settings
        total = len(plan.order)
        debug_log = None
        if settings.debug or settings.debug_verbose:
            debug_log = fresh_log(Path(settings.debug_log_dir) / f"{files.name}.log")
        return {
            part.worker: RoundOrder(
                lanes=part.lanes,
                total_requests=total,
                concurrency=level.concurrency,
                spool=files.rows(part.worker),
                transcripts=files.transcripts(part.worker) if settings.save_requests else None,
                debug_log=debug_log,
            )
            for part in deal_lanes(min(level.concurrency, total), self._plan.workers)
        }

    def _merge(self, gathered: Gathered, files: RoundFiles, orders: dict[int, RoundOrder]) -> Tally:
        """One tally of all that was finished; what a dead worker finished is read from its spool."""
        tallies = [report.tally for report in gathered.reports.values()]
        for number in orders.keys() - gathered.reports.keys():
            tally = Tally(self._plan.slo)
            rows = files.rows(number)  # missing if the worker died while it opened its connections
            for request in Spooled([rows] if rows.exists() else [], from_row):
                tally.add(request)
            tallies.append(tally)
        if gathered.deaths:
            tallies.append(self._give_up_lost(files))
        return merge_tallies(tallies, self._plan.slo)

    def _give_up_lost(self, files: RoundFiles) -> Tally:
        """Rows for the requests that were with a worker when it died: cut off."""
        known = (request.index for request in Spooled(files.all_rows(), from_row))
        drawn = in_order(self._shared.bodies[ticket].index for ticket in self._shared.tickets.drawn())
        tally = Tally(self._plan.slo)
        spool = SpoolWriter(files.folder / f"{files.name}.lost.rows")
        for index, places in groupby(merge(drawn, known)):
            if len(tuple(places)) == 1:  # drawn, and no row of it
                request = Timeline(index=index, outcome=Outcome.CUT_OFF, error="its worker died")
                spool.append(index, 0, to_row(request))
                tally.add(request)
        spool.close()
        return tally

    def _error(self, gathered: Gathered, tally: Tally) -> FluxPerfError | None:
        if self._signals.received is not None:
            return Interrupted(self._signals.received)
        if gathered.deaths:
            return WorkerDied("; ".join(map(str, gathered.deaths)))
        if self._shared.board.stopped:
            kind = self._shared.board.most_refused()
            message = next(iter(tally.examples.values()), "no message")
            return ServerRefused(f"the server refuses every request: {message}; {ADVICE[kind]}")
        return None

    def _conclude(
        self,
        level: LevelPlan,
        plan: RoundPlan,
        evidence: Evidence,
        rows: Spooled[Timeline],
        notes: tuple[str, ...],
    ) -> RoundResult:
        summary = summarise(evidence, first_round=plan.round == 1, sent_before_at=level.sent_before_at)
        return RoundResult(
            stage=None,
            concurrency=level.concurrency,
            round=plan.round,
            configuration=self._configuration(level, plan, evidence.tally),
            summary=summary,
            requests=rows,
            first_sent_ns=evidence.tally.began_ns,
            slo=self._plan.slo,
            notes=notes,
            partial=evidence.stopped,
        )

    def _workers(self, level: LevelPlan, plan: RoundPlan) -> int:
        """How many take part in the round."""
        return min(self._plan.workers, level.concurrency, len(plan.order))

    @property
    def _streams_per_connection(self) -> int | None:
        """At most so many requests share a connection; None: it is not HTTP/2."""
        return self._plan.settings.streams_per_connection if self._plan.site.found.http_version == "2" else None

    def _configuration(self, level: LevelPlan, plan: RoundPlan, tally: Tally) -> dict[str, Any]:
        settings, site = self._plan.settings, self._plan.site
        return {
            "endpoint": site.shown_url,
            "address": str(site.found.route.address),
            "model": site.model,
            "model_from": site.model_from,
            "mode": settings.mode,
            "concurrency": level.concurrency,
            "num_samples": len(level.sample),
            "round": plan.round,
            "workers": self._workers(level, plan),
            "http_version": site.found.http_version,
            "tls": site.found.tls,
            "insecure": settings.insecure,
            "streams_per_connection": self._streams_per_connection,
            "timestamps": "kernel" if self._plan.kernel_stamps else "user",
            "seed": settings.seed,
            "dataset": settings.dataset,
            "dataset_sha256": self._plan.dataset_sha256,
            "max_output_tokens": settings.max_output_tokens,
            "timeout_s": settings.timeout,
            "output_tokens_from": source(tally, "counted_events", "usage", "output_events"),
            "input_tokens_from": source(tally, "estimated_inputs", "usage", "estimate"),
        }

    def _notes(self, level: LevelPlan) -> list[str]:
        sample, preparation = level.sample, self._plan.preparation
        notes = []
        if level.asked is not None and level.asked > len(sample):
            notes.append(f"asked for {level.asked} prompts, the dataset holds {len(sample)}: all of them, once each")
        if len(sample) < level.concurrency:
            notes.append(f"at most {len(sample)} in flight: there are fewer requests than the concurrency")
        if duplicates := preparation.count_duplicates(sample):
            notes.append(f"{duplicates} of {len(sample)} prompts are the same as another one in the sample")
        if was_cut := preparation.count_cut(sample):
            length = self._plan.settings.max_input_length
            notes.append(f"{was_cut} of {len(sample)} prompts were cut to {length} characters")
        return notes


def live_counts(board: Board) -> LiveCounts:
    """The board's totals."""
    return LiveCounts(
        sent=board.total(Column.SENT),
        done=board.total(Column.DONE),
        failed=board.total(Column.FAILED),
        output_tokens=board.total(Column.OUTPUT_TOKENS),
        ttft_ns_sum=board.total(Column.TTFT_NS_SUM),
        succeeded=board.total(Column.SUCCEEDED),
    )


def source(tally: Tally, without: str, told: str, otherwise: str) -> str | None:
    """Where a count came from: `told` by the server, `otherwise` where it was silent, or "mixed"; None: no count."""
    if not tally.succeeded:
        return None
    missing = tally.sums[without]
    return told if not missing else otherwise if missing == tally.succeeded else "mixed"


def share(preparation: Preparation, workers: int) -> Shared:
    """What the workers of a stage draw from and write to."""
    return Shared(preparation.bodies, Tickets(), Board(workers))
