"""The story of a run on one page: plan, claim the output, find the server, prepare, fork, run the rounds, report."""

from __future__ import annotations

import datetime
import os
import platform
import shutil
import sys
from array import array
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fluxperf import __version__
from fluxperf.analysis.paired import compare
from fluxperf.api import APIS, ChatOptions
from fluxperf.clock import stamped_socket
from fluxperf.engine.preparation import Encoding, Preparation, prepare
from fluxperf.errors import FluxPerfError, Interrupted, RunFailed
from fluxperf.files import write_stream
from fluxperf.launch.fork import Team, forked
from fluxperf.launch.limits import raise_descriptor_limit
from fluxperf.launch.signals import Signals
from fluxperf.masking import mask_fields, mask_json, mask_url
from fluxperf.model import Comparison, RoundResult, RunResult, Slo
from fluxperf.output import OutputDirectory, check_free, check_place, claim
from fluxperf.plan.planner import LevelPlan, PlanRequest, plan_levels
from fluxperf.plan.settings import Settings
from fluxperf.plan.slo import load_slo
from fluxperf.plan.workload import Dataset, open_dataset
from fluxperf.report import render_comparison, render_round
from fluxperf.site import Site, find_key, find_site
from fluxperf.stage import Stage, StagePlan, choose_stamps, make_client, share
from fluxperf.watch.progress import Progress, choose_progress

# From here on, what takes its time is announced.
LARGE_FILE_BYTES = 64 * 2**20
MANY_REQUESTS = 20_000
LIBRARIES = ("trio", "httpx", "httptools", "msgspec", "hdrhistogram", "msgpack")


@dataclass(frozen=True, slots=True)
class RunPlan:
    """All that can be known without the server."""

    settings: Settings
    dataset: Dataset
    slo: Slo | None
    levels: tuple[LevelPlan, ...]
    workers: int
    kernel_stamps: bool


def run(settings: Settings) -> int:
    """Does what the settings say; returns 0. Raises FluxPerfError; what was finished by then is written."""
    # Once an earlier run is renamed, a relative path may lead into it.
    settings = replace(settings, debug_log_dir=str(Path(settings.debug_log_dir).absolute()))
    with ExitStack() as stack:
        signals = stack.enter_context(Signals().installed())
        voice = Voice(quiet=settings.quiet)
        plan = draw_up(settings, stack, voice)
        site = stack.enter_context(find_site(settings, voice.say))
        output, said = claim(Path(settings.output_dir), overwrite=settings.overwrite)
        stack.callback(output.clean)
        if said is not None:
            voice.say(said)
        preparation = prepare_bodies(plan, site, voice)
        ledger = Ledger(plan, site, output, voice)
        run_levels(plan, ledger, preparation, signals)
    return 0


def draw_up(settings: Settings, stack: ExitStack, voice: Voice) -> RunPlan:
    """Reads and checks everything that is on this machine. Raises UsageError."""
    find_key(settings)
    check_free("--output-dir", Path(settings.output_dir))
    if settings.debug or settings.debug_verbose:
        check_place("--debug-log-dir", Path(settings.debug_log_dir))
    slo = load_slo(settings.slo_file) if settings.slo_file is not None else None
    if (size := file_size(settings.dataset)) > LARGE_FILE_BYTES:
        voice.say(f"reading {settings.dataset} ({size / 2**20:,.0f} MiB)")
    dataset = stack.enter_context(open_dataset(settings.dataset, settings.mode))
    levels = plan_levels(
        PlanRequest(
            dataset_size=len(dataset),
            concurrency=settings.concurrency,
            num_samples=settings.num_samples,
            same_samples=settings.same_samples,
            rounds=settings.rounds,
            shuffle_later_rounds=not settings.no_shuffle_round2,
            seed=settings.seed,
        )
    )
    kernel_stamps = choose_stamps(settings.timestamps)
    if kernel_stamps:
        stack.enter_context(stamped_socket())
    most = max(min(level.concurrency, len(level.sample)) for level in levels)
    workers = count_workers(settings, most)
    raise_descriptor_limit(-(-most // workers))
    return RunPlan(settings, dataset, slo, levels, workers, kernel_stamps)


def count_workers(settings: Settings, most_in_flight: int) -> int:
    """One worker a core, at most one a request in flight; a mock server of our own is left a core, if there are two."""
    cores = len(os.sched_getaffinity(0))
    wanted = settings.workers or max(cores - settings.mock_server, 1)
    return min(wanted, most_in_flight)


def file_size(path: str) -> int:
    """In bytes; 0 where there is no such file."""
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def prepare_bodies(plan: RunPlan, site: Site, voice: Voice) -> Preparation:
    """Encodes each drawn entry once, whatever the number of levels and rounds that send it."""
    settings = plan.settings
    drawn = array("Q", sorted({index for level in plan.levels for index in level.sample}))
    if len(drawn) > MANY_REQUESTS:
        voice.say(f"encoding {len(drawn):,} requests")
    options = ChatOptions(
        model=site.model,
        max_output_tokens=settings.max_output_tokens,
        min_output_tokens=settings.min_output_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        extra_body=settings.extra_body,
    )
    return prepare(plan.dataset, drawn, Encoding(APIS["chat"], options, settings.max_input_length))


def run_levels(plan: RunPlan, ledger: Ledger, preparation: Preparation, signals: Signals) -> None:
    """Forks the workers and runs every round of every level. Each result is on disk before the next round starts."""
    stage_plan = StagePlan(
        plan.settings, ledger.site, plan.slo, plan.dataset.sha256, plan.workers, plan.kernel_stamps, preparation
    )
    shared = share(preparation, plan.workers)
    with signals.deferred(), forked(plan.workers, make_client(stage_plan, APIS["chat"]), shared) as team:
        signals.at_once = lambda: end_at_once(team)
        signals.check()
        progress = ledger.voice.progress(plan.settings)
        stage = Stage(stage_plan, ledger.output, signals, shared)
        for level in plan.levels:
            for round_plan in level.rounds:
                try:
                    result, error = stage.run_round(level, round_plan, team, progress)
                except FluxPerfError:
                    ledger.close(partial=True)
                    raise
                ledger.enter(result)
                if error is None and signals.received is not None:
                    error = Interrupted(signals.received)
                if error is not None:
                    ledger.close(partial=True)
                    raise error
        ledger.close(partial=False)


def end_at_once(team: Team) -> None:
    """Before a second signal ends the process: no worker is left, and the terminal has its cursor again."""
    team.kill()
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), b"\x1b[?25h\n")


class Ledger:
    """The results so far: on disk and on stdout as soon as there is one."""

    def __init__(self, plan: RunPlan, site: Site, output: OutputDirectory, voice: Voice) -> None:
        self.site = site
        self.output = output
        self.voice = voice
        self._settings = plan.settings
        self._dataset = plan.dataset
        self._started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        self._rounds: list[RoundResult] = []
        self._comparisons: list[Comparison] = []

    def enter(self, result: RoundResult) -> None:
        """A round is over."""
        first = next((earlier for earlier in self._rounds if earlier.concurrency == result.concurrency), None)
        self._rounds.append(result)
        if first is not None:
            self._comparisons += compare(first, result)
        try:  # on disk before it is shown, in case nobody reads on; shown also if the disk is full
            self.output.write_run(self._run(partial=True))
            self.output.write_round(result)
        finally:
            self.voice.print(render_round(result, self.voice.columns) + "\n")

    def close(self, *, partial: bool) -> None:
        """The run is over. Raises RunFailed if it was whole and nothing succeeded."""
        run_result = self._run(partial=partial)
        self.output.write_run(run_result)
        self.voice.print(render_comparison(run_result, self.voice.columns))
        self.voice.say(f"results: {self.output.path}")
        if not partial and not any(result.summary.successful_requests for result in self._rounds):
            raise RunFailed(f"not one request succeeded: {describe_failures(self._rounds)}")

    def _run(self, *, partial: bool) -> RunResult:
        return RunResult(
            started_at=self._started_at,
            partial=partial,
            environment=describe_environment(),
            labels=dict(self._settings.label),
            configuration=describe_settings(self._settings, self.site, self._dataset),
            rounds=tuple(self._rounds),
            comparisons=tuple(self._comparisons),
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


def describe_failures(rounds: list[RoundResult]) -> str:
    """The outcomes of all rounds with an example each, in one line."""
    examples = {name: text for result in rounds for name, text in result.summary.examples.items()}
    totals: dict[str, int] = {}
    for result in rounds:
        for outcome, count in result.summary.outcomes.items():
            totals[outcome] = totals.get(outcome, 0) + count
    return "; ".join(f"{count} x {name} ({examples.get(name, 'no message')})" for name, count in totals.items())


def describe_settings(settings: Settings, site: Site, dataset: Dataset) -> dict[str, Any]:
    """What was asked for, fit to be shown, with what was found."""
    shown: dict[str, Any] = {
        field.name: getattr(settings, field.name) for field in fields(settings) if field.name != "api_key"
    }
    shown["header"] = mask_fields(settings.header)
    shown["extra_body"] = mask_json(settings.extra_body)
    shown["label"] = dict(settings.label)
    return {
        **shown,
        "endpoint": site.shown_url,
        "endpoint_given": None if settings.endpoint is None else mask_url(settings.endpoint),
        "address": str(site.address),
        "model": site.model,
        "model_from": site.model_from,
        "dataset_entries": len(dataset),
        "dataset_sha256": dataset.sha256,
    }


def describe_environment() -> Mapping[str, Any]:
    """Where the client ran, and on what."""
    return {
        "fluxperf": __version__,
        "python": platform.python_version(),
        "platform": " ".join((os.uname().sysname, os.uname().release, os.uname().machine)),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "libraries": {name: _version(name) for name in LIBRARIES},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
