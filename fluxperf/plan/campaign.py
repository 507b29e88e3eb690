"""`Campaign`: what a recipe, or a command line, asks for: stages, one after the other, each with its surroundings.

Values only. `fluxperf.plan.recipe` makes them from YAML; a run without a recipe is a campaign of one stage without a
name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from fluxperf.model.gate import Gate
from fluxperf.plan.gates import parse_gates
from fluxperf.plan.settings import Settings

Restart: TypeAlias = Literal["never", "per_stage", "per_level", "per_round"]

READY_TIMEOUT_S = 600.0
STOP_TIMEOUT_S = 30.0
HOOK_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """When a server is ready: all that is given holds. `url` answers with one of `statuses`; none: with any below 500.

    `log_line` is a text that a line of its log contains. Without a `url` and a `log_line` the URL is `/v1/models`
    beside the endpoint.
    """

    url: str | None = None
    statuses: tuple[int, ...] = ()
    log_line: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSpec:
    """The server under test, if we are to start it. `command` is what is executed, word by word.

    `env` is set on top of the stage's environment; None unsets. `port` is one that nobody else may listen on, besides
    the endpoint's. `adopt`: a server that is already there is taken as it is, and never started again. `log` None: a
    file in the output directory.
    """

    command: tuple[str, ...]
    env: Mapping[str, str | None] = field(default_factory=dict)
    cwd: str | None = None
    ready: Ready = field(default_factory=Ready)
    ready_timeout_s: float = READY_TIMEOUT_S
    restart: Restart = "per_stage"
    stop_timeout_s: float = STOP_TIMEOUT_S
    log: str | None = None
    port: int | None = None
    adopt: bool = False


@dataclass(frozen=True, slots=True)
class Hook:
    """One command of a hook, word by word."""

    command: tuple[str, ...]
    timeout_s: float = HOOK_TIMEOUT_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """The commands that run around a stage's work, each kind in its order."""

    before_stage: tuple[Hook, ...] = ()
    after_stage: tuple[Hook, ...] = ()
    before_round: tuple[Hook, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSpec:
    """One stage. `folder` is its place below the output directory, with `/` between suite and stage; "" is that itself.

    `env` is set while it runs; None unsets. `mock` are the settings of the mock server that is started for the stage,
    by name; None: there is none. With a mock, `server` says only how often it is started again. `copy_to`: where a
    further copy of the stage's run.json goes. `repeat` says which repetition of the plan it belongs to, from 1.
    """

    settings: Settings
    name: str | None = None
    suite: str | None = None
    folder: str = ""
    env: Mapping[str, str | None] = field(default_factory=dict)
    server: ServerSpec | None = None
    mock: Mapping[str, Any] | None = None
    hooks: Hooks = field(default_factory=Hooks)
    copy_to: str | None = None
    repeat: int | None = None

    @property
    def title(self) -> str | None:
        """How the stage is called in reports: its suite, if it is in one, and its name."""
        return self.name if self.suite is None else f"{self.suite}/{self.name}"

    @property
    def plain_title(self) -> str | None:
        """The same without the repeat that it belongs to."""
        return self.title if self.repeat is None else (self.title or "").partition("/")[2] or None

    @property
    def has_own_processes(self) -> bool:
        """Whether something is started for the stage besides its workers."""
        return self.server is not None or self.mock is not None or self.hooks != Hooks()


@dataclass(frozen=True, slots=True)
class RecipeText:
    """The file that a campaign comes from. `text` has its secrets masked; `sha256` is of the file's bytes."""

    path: str
    sha256: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """Stages in their order. `overrides` are sentences on what the command line changed; `remarks` what else to know.

    `continue_on_error`: after a stage that failed the next one is begun. `copy_to`: where a further copy of run.json
    goes. `secrets` are texts of the recipe that must never be written anywhere. `gates`: when the run is to be held for
    a failure, once it has been measured.
    """

    stages: tuple[StageSpec, ...]
    output_dir: str = "results"
    overwrite: bool = False
    quiet: bool = False
    continue_on_error: bool = False
    copy_to: str | None = None
    recipe: RecipeText | None = None
    overrides: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    secrets: tuple[str, ...] = field(default=(), repr=False)
    gates: tuple[Gate, ...] = ()

    @property
    def is_alone(self) -> bool:
        """Whether its only stage is all of it, with its files in the output directory itself."""
        return self.recipe is None and len(self.stages) == 1

    @property
    def settings(self) -> Settings:
        """Those of a stage, to ask for what all have in common."""
        return self.stages[0].settings


def campaign_of(settings: Settings) -> Campaign:
    """The campaign of a run without a recipe: one stage without a name, in the output directory itself."""
    mock = {"host": settings.mock_host, "port": settings.mock_port} if settings.mock_server else None
    return Campaign(
        stages=(StageSpec(settings=settings, mock=mock),),
        output_dir=settings.output_dir,
        overwrite=settings.overwrite,
        quiet=settings.quiet,
        gates=parse_gates(settings.fail_on),
    )


def repeat(campaign: Campaign) -> Campaign:
    """The campaign with all its stages as often as `repeat` asks for, round after round, each with its own folder."""
    times = campaign.settings.repeat
    if times == 1:
        return campaign
    return replace(
        campaign, stages=tuple(_again(stage, number) for number in range(1, times + 1) for stage in campaign.stages)
    )


def _again(stage: StageSpec, number: int) -> StageSpec:
    title, folder = f"repeat {number}", f"repeat_{number}"
    settings = replace(
        stage.settings,
        output_dir=_insert(stage.settings.output_dir, folder, stage.folder),
        debug_log_dir=_insert(stage.settings.debug_log_dir, folder, stage.folder),
    )
    suite = "/".join(part for part in (title, stage.suite) if part is not None)
    return replace(
        stage,
        settings=settings,
        name=title if stage.name is None else stage.name,
        suite=None if stage.name is None else suite,
        folder="/".join(part for part in (folder, stage.folder) if part),
        copy_to=None
        if stage.copy_to is None
        else str(Path(stage.copy_to).with_stem(f"{Path(stage.copy_to).stem}_{folder}")),
        repeat=number,
    )


def _insert(path: str, folder: str, below: str) -> str:
    """The path with a folder put in before the last parts, which are `below` if they are there."""
    place = Path(path)
    parts = len(Path(below).parts)
    if parts and place.parts[-parts:] == Path(below).parts:
        return str(Path(*place.parts[:-parts], folder, below))
    return str(place / folder)
