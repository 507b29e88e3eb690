"""What can be known of a campaign before anything is started: the survey of each stage, on this machine alone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from fluxperf.clock import kernel_stamps_work, stamped_socket
from fluxperf.engine.tls import make_context
from fluxperf.environment import stage_environment
from fluxperf.errors import UsageError
from fluxperf.launch.limits import raise_descriptor_limit
from fluxperf.masking import scrub
from fluxperf.model import Slo
from fluxperf.output import RUN_FILES, check_free, check_place
from fluxperf.plan.campaign import Campaign, StageSpec
from fluxperf.plan.planner import LevelPlan, PlanRequest, plan_levels
from fluxperf.plan.settings import Settings
from fluxperf.plan.slo import load_slo
from fluxperf.plan.tokenizer_file import is_of_the_hub
from fluxperf.plan.tokens import Tokens, load_tokens
from fluxperf.plan.workload import Dataset, open_dataset
from fluxperf.site import Shield, find_key, hidden_variables, read_trust
from fluxperf.voice import Voice
from fluxperf.watch.promql import parse_selector

# From here on, what takes its time is announced.
DESCRIPTORS_PER_STAGE = 12  # of its orders, which are mapped
LARGE_FILE_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class StageSurvey:
    """One stage, as far as it can be known without its server."""

    spec: StageSpec
    dataset: Dataset
    slo: Slo | None
    levels: tuple[LevelPlan, ...]
    workers: int
    most_streams: int  # of one worker
    kernel_stamps: bool
    tokens: Tokens
    key: str | None = field(default=None, repr=False)


@dataclass(slots=True)
class Surveyor:
    """Looks at one stage after the other; a dataset that several use is read once, and open until `stack` is closed."""

    stack: ExitStack
    voice: Voice
    _datasets: dict[tuple[str, str], Dataset] = field(default_factory=dict)
    _tokens: dict[tuple[str | None, str | None], Tokens] = field(default_factory=dict)

    def look_at(self, spec: StageSpec) -> StageSurvey:
        """The survey of a stage, whose environment must be set. Raises UsageError."""
        # Once an earlier run is renamed, a relative path may lead into it.
        log_dir = str(Path(spec.settings.debug_log_dir).absolute())
        spec = replace(spec, settings=replace(spec.settings, debug_log_dir=log_dir))
        settings = spec.settings
        key = find_key(settings)
        make_context(read_trust(settings), settings.http)  # files that will not do are told before anything is started
        if spec.server is not None and spec.server.log is not None:
            check_file("server.log", Path(spec.server.log))
        if settings.debug or settings.debug_verbose:
            check_place("--debug-log-dir", Path(settings.debug_log_dir))
        check_selectors(settings.prometheus_metrics)
        slo = load_slo(settings.slo_file) if settings.slo_file is not None else None
        dataset = self._open(settings)
        levels = plan_levels(request_of(settings, len(dataset)))
        kernel_stamps = choose_stamps(settings.timestamps)
        most = max(min(level.concurrency, len(level.sample)) for level in levels)
        workers = count_workers(settings, most)
        most_streams = -(-most // workers)
        raise_descriptor_limit(most_streams)
        tokens = self._load_tokens(settings)
        return StageSurvey(spec, dataset, slo, levels, workers, most_streams, kernel_stamps, tokens, key)

    def _open(self, settings: Settings) -> Dataset:
        place = (settings.dataset, settings.mode)
        if place not in self._datasets:
            if (size := file_size(settings.dataset)) > LARGE_FILE_BYTES:
                self.voice.say(f"reading {settings.dataset} ({size / 2**20:,.0f} MiB)")
            with self.voice.meter("Reading the dataset", size, settings, of_bytes=True) as meter:
                dataset = open_dataset(settings.dataset, settings.mode, meter.advance)
            self._datasets[place] = self.stack.enter_context(dataset)
        return self._datasets[place]

    def _load_tokens(self, settings: Settings) -> Tokens:
        name = (settings.tokenizer, settings.tokenizer_revision)
        if name not in self._tokens:
            if settings.tokenizer is not None and is_of_the_hub(settings.tokenizer):
                self.voice.say(f"looking for the tokenizer {settings.tokenizer} in the cache, and at the hub")
            self._tokens[name] = load_tokens(*name)
        return self._tokens[name]


@dataclass(frozen=True, slots=True)
class Survey:
    """A whole campaign, stage by stage in its order."""

    campaign: Campaign
    stages: tuple[StageSurvey, ...]

    @property
    def shield(self) -> Shield:
        """What is kept from files and from processes, over all stages."""
        names = (name for stage in self.stages for name in hidden_variables(stage.spec.settings))
        return Shield(self.campaign.secrets, tuple(dict.fromkeys(names)))


def survey(campaign: Campaign, stack: ExitStack, voice: Voice) -> Survey:
    """Reads and checks everything that is on this machine, for all stages. Raises UsageError with all that is wrong."""
    surveyor = Surveyor(stack, voice)
    faults: dict[str, list[str]] = {}
    found = []
    check_free("--output-dir", Path(campaign.output_dir))
    check_copies(campaign)
    for spec in campaign.stages:
        try:
            with stage_environment(spec.env):
                found.append(surveyor.look_at(spec))
        except UsageError as error:
            if spec.title is None:
                raise
            faults.setdefault(str(error), []).append(spec.title)
    if faults:
        raise UsageError("\n".join(_tell_faults(faults, len(campaign.stages))))
    raise_descriptor_limit(max(stage.most_streams for stage in found) + DESCRIPTORS_PER_STAGE * len(found))
    if any(stage.kernel_stamps for stage in found):
        stack.enter_context(stamped_socket())
    keys = [stage.key for stage in found if stage.key is not None]
    return Survey(_add_secrets(campaign, keys), tuple(found))


def _add_secrets(campaign: Campaign, keys: Sequence[str]) -> Campaign:
    """The campaign with keys among its secrets, also where a recipe has one under a name that does not look like it."""
    recipe = campaign.recipe
    if recipe is not None:
        recipe = replace(recipe, text=scrub(recipe.text, keys))
    return replace(campaign, recipe=recipe, secrets=tuple(dict.fromkeys((*campaign.secrets, *keys))))


def check_copies(campaign: Campaign) -> None:
    """Raises UsageError unless each further copy of run.json has a place of its own that can be written to."""
    taken: set[Path] = set()
    root = Path(campaign.output_dir).resolve()
    for copy_to in (campaign.copy_to, *(stage.copy_to for stage in campaign.stages)):
        if copy_to is None:
            continue
        check_file("output", Path(copy_to))
        place = Path(copy_to).resolve()
        if place in taken:
            raise UsageError(f"output {copy_to} is given twice: the second copy would replace the first")
        if place.is_relative_to(root) and any(place.match(pattern) for pattern in RUN_FILES):
            raise UsageError(f"output {copy_to} would replace a file of the results: choose another name")
        taken.add(place)


def check_file(option: str, path: Path) -> None:
    """Raises UsageError unless a file can be written there."""
    if path.is_dir():
        raise UsageError(f"{option} {path} is a directory: give the name of a file")
    check_place(option, path.absolute().parent)


def _tell_faults(faults: Mapping[str, Sequence[str]], stages: int) -> list[str]:
    """One that all stages share is told once, others with the names of their stages."""
    return [
        line if len(titles) == stages else f"stage {', '.join(titles)}: {line}"
        for text, titles in faults.items()
        for line in text.splitlines()
    ]


def request_of(settings: Settings, dataset_size: int) -> PlanRequest:
    """What the planner is asked for."""
    return PlanRequest(
        dataset_size=dataset_size,
        concurrency=settings.concurrency,
        num_samples=settings.num_samples,
        same_samples=settings.same_samples,
        rounds=settings.rounds,
        first_order=settings.round1_order,
        later_order=settings.round2_order,
        control_round=settings.control_round,
        salted=settings.salt,
        seed=settings.seed,
    )


def choose_stamps(wanted: str) -> bool:
    """Whether the kernel stamps arrivals; False: the user clock. Raises UsageError if it must and cannot."""
    if wanted == "user":
        return False
    works = kernel_stamps_work()
    if not works and wanted == "kernel":
        raise UsageError("--timestamps kernel: this kernel does not stamp received segments; use auto or user")
    return works


def check_selectors(metrics: Sequence[str]) -> None:
    """Raises UsageError unless each of `--prometheus-metrics` is the name of a metric, with labels or without."""
    for text in metrics:
        if (problem := find_selector_problem(text)) is not None:
            raise UsageError(f"--prometheus-metrics {text!r} {problem}")


def find_selector_problem(text: str) -> str | None:
    """Why it is not the name of a metric, with labels or without; None: it is."""
    try:
        parse_selector(text)
    except ValueError as error:
        return str(error)
    return None


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
