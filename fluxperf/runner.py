"""The story of a run on one page: plan, claim the output, find the server, prepare, fork, run the rounds, report."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from fluxperf.api import APIS, ChatOptions
from fluxperf.calibrate.record import warn_beyond
from fluxperf.clock import stamped_socket
from fluxperf.engine.preparation import Encoding, Preparation, prepare
from fluxperf.errors import FluxPerfError, Interrupted, UsageError
from fluxperf.launch.fork import Team, forked
from fluxperf.launch.limits import raise_descriptor_limit
from fluxperf.launch.signals import Signals
from fluxperf.ledger import Ledger, Voice
from fluxperf.model import Slo
from fluxperf.output import check_free, check_place, claim
from fluxperf.particulars import StagePlan
from fluxperf.plan.editions import plan_editions
from fluxperf.plan.planner import LevelPlan, PlanRequest, plan_levels
from fluxperf.plan.settings import Settings
from fluxperf.plan.slo import load_slo
from fluxperf.plan.workload import Dataset, open_dataset
from fluxperf.provenance import Asked
from fluxperf.site import Site, find_key, find_site
from fluxperf.stage import Stage, Surroundings, choose_stamps, make_client, share
from fluxperf.watch.lookout import Wishes, open_lookout
from fluxperf.watch.promql import parse_selector

# From here on, what takes its time is announced.
LARGE_FILE_BYTES = 64 * 2**20
MANY_REQUESTS = 20_000
SALT_BYTES = 4


@dataclass(frozen=True, slots=True)
class RunPlan:
    """All that can be known without the server."""

    settings: Settings
    dataset: Dataset
    slo: Slo | None
    levels: tuple[LevelPlan, ...]
    workers: int
    most_streams: int  # of one worker
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
        if (warning := warn_beyond(site.found.http_version, plan.most_streams)) is not None:
            voice.say(warning)
        lookout = open_lookout(
            find_wishes(settings, site), site.access_to, voice.say, lambda: signals.received is not None
        )
        output, said = claim(Path(settings.output_dir), overwrite=settings.overwrite)
        stack.callback(output.clean)
        if said is not None:
            voice.say(said)
        stage_plan = StagePlan(
            settings,
            site,
            plan.slo,
            plan.dataset.sha256,
            plan.workers,
            plan.kernel_stamps,
            prepare_bodies(plan, site, voice),
        )
        ledger = Ledger(Asked(settings, site, plan.dataset), output, voice)
        run_levels(plan.levels, stage_plan, ledger, Surroundings(signals, lookout))
    return 0


def draw_up(settings: Settings, stack: ExitStack, voice: Voice) -> RunPlan:
    """Reads and checks everything that is on this machine. Raises UsageError."""
    find_key(settings)
    check_free("--output-dir", Path(settings.output_dir))
    if settings.debug or settings.debug_verbose:
        check_place("--debug-log-dir", Path(settings.debug_log_dir))
    check_selectors(settings.prometheus_metrics)
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
            later_order=settings.round2_order,
            control_round=settings.control_round,
            salted=settings.salt,
            seed=settings.seed,
        )
    )
    kernel_stamps = choose_stamps(settings.timestamps)
    if kernel_stamps:
        stack.enter_context(stamped_socket())
    most = max(min(level.concurrency, len(level.sample)) for level in levels)
    workers = count_workers(settings, most)
    most_streams = -(-most // workers)
    raise_descriptor_limit(most_streams)
    return RunPlan(settings, dataset, slo, levels, workers, most_streams, kernel_stamps)


def check_selectors(metrics: Sequence[str]) -> None:
    """Raises UsageError unless each of `--prometheus-metrics` is the name of a metric, with labels or without."""
    for text in metrics:
        try:
            parse_selector(text)
        except ValueError as error:
            raise UsageError(f"--prometheus-metrics {text!r} {error}") from error


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
    """Encodes each edition once, whatever the number of levels and rounds that send it."""
    settings = plan.settings
    editions = plan_editions(plan.levels, len(plan.dataset), secrets.token_hex(SALT_BYTES))
    if (count := sum(len(edition.sample) for edition in editions)) > MANY_REQUESTS:
        voice.say(f"encoding {count:,} requests")
    options = ChatOptions(
        model=site.model,
        max_output_tokens=settings.max_output_tokens,
        min_output_tokens=settings.min_output_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        extra_body=settings.extra_body,
    )
    return prepare(plan.dataset, editions, Encoding(APIS["chat"], options, settings.max_input_length))


def find_wishes(settings: Settings, site: Site) -> Wishes:
    """What is to be seen of the server beside its answers."""
    return Wishes(
        base=site.base,
        engine=settings.engine,
        reset_url=settings.reset_cache_url,
        prometheus_url=settings.prometheus_url,
        metrics=settings.prometheus_metrics,
        secrets=site.secrets,
    )


def run_levels(levels: Sequence[LevelPlan], plan: StagePlan, ledger: Ledger, around: Surroundings) -> None:
    """Forks the workers and runs every round of every level. Each result is on disk before the next round starts."""
    signals = around.signals
    shared = share(plan.preparation, plan.workers)
    with signals.deferred(), forked(plan.workers, make_client(plan, APIS["chat"]), shared) as team:
        signals.at_once = lambda: end_at_once(team)
        signals.check()
        progress = ledger.voice.progress(plan.settings)
        stage = Stage(plan, ledger.output, around, shared)
        for level in levels:
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
