"""What a campaign would do, as text: stages, levels, commands, surroundings, requests. Starts and reads nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fluxperf.masking import mask_command, mask_env, mask_json, mask_url, scrub
from fluxperf.model import CONTROL
from fluxperf.plan.campaign import Campaign, Hooks, Ready, Restart, ServerSpec, StageSpec
from fluxperf.plan.planner import LevelPlan
from fluxperf.report.grid import Column, Grid, draw_grid
from fluxperf.report.text import count, fold, printable, rule, usable

_RESTARTS: Mapping[Restart, str] = {
    "never": "started once, and kept for the stages that follow",
    "per_stage": "started again for each stage",
    "per_level": "started again for each level",
    "per_round": "started again for each round",
}
_INDENT = "  "


@dataclass(frozen=True, slots=True)
class Outline:
    """What was found for a campaign: entries of each dataset by its path, and levels by the folder of their stage."""

    sizes: Mapping[str, int]
    levels: Mapping[str, tuple[LevelPlan, ...]]


def render_outline(campaign: Campaign, found: Outline, columns: int | None) -> str:
    """Lines joined by newlines, secrets masked. No line is wider than `columns` (from 40 on); None: no limit."""
    columns = usable(columns)
    lines = fold([rule("=", columns), "Plan: nothing is started", rule("=", columns), *_head(campaign)], columns)
    stages = [
        _Outlined(stage, found.sizes[stage.settings.dataset], found.levels[stage.folder]) for stage in campaign.stages
    ]
    for nth, stage in enumerate(stages, 1):
        place = f"Stage {nth} of {len(stages)}: " if len(stages) > 1 else "Stage: "
        title = "Run:" if stage.spec.title is None else place + printable(stage.spec.title)
        lines += ["", *fold([title, *(_INDENT + line for line in stage.lines(campaign))], columns)]
        lines += [
            (_INDENT + line).rstrip() for line in stage.table(None if columns is None else columns - len(_INDENT))
        ]
    lines += ["", *fold([_total(stages)], columns)]
    return scrub("\n".join(lines), campaign.secrets)


def _head(campaign: Campaign) -> Iterator[str]:
    """What is true of all stages."""
    if campaign.recipe is not None:
        yield f"Recipe: {printable(campaign.recipe.path)}"
    yield f"Results: {printable(campaign.output_dir)}"
    if campaign.copy_to is not None:
        yield f"Copy of run.json: {printable(campaign.copy_to)}"
    if campaign.continue_on_error:
        yield "After a stage that fails the next one is begun."
    yield from (f"Override: {printable(text)}" for text in campaign.overrides)
    yield from (f"Note: {printable(text)}" for text in campaign.remarks)


def _total(stages: Sequence[_Outlined]) -> str:
    levels = sum(len(stage.levels) for stage in stages)
    requests = sum(stage.requests for stage in stages)
    tokens = sum(stage.requests * stage.spec.settings.max_output_tokens for stage in stages)
    parts = [count(len(stages), "stage")] if len(stages) > 1 else []
    if any(stage.has_turns for stage in stages):
        parts += [count(levels, "level"), f"at least {requests:,} requests, as a session has one for each of its turns"]
    else:
        parts += [count(levels, "level"), f"{requests:,} requests with at most {tokens:,} output tokens"]
    return f"Total: {', '.join(parts)}"


@dataclass(frozen=True, slots=True)
class _Outlined:
    spec: StageSpec
    size: int
    levels: tuple[LevelPlan, ...]

    @property
    def has_turns(self) -> bool:
        """Then a sample is a session, and how many requests that is only its lines tell."""
        return self.spec.settings.mode == "multi_turn"

    @property
    def requests(self) -> int:
        """Of all rounds of all levels; of sessions their first turns only."""
        return sum(map(_requests_of, self.levels))

    def lines(self, campaign: Campaign) -> Iterator[str]:
        """All but the levels."""
        spec, settings = self.spec, self.spec.settings
        if spec.folder:
            yield f"Files: {printable(campaign.output_dir)}/{printable(spec.folder)}"
        yield from self._server_lines()
        yield f"Model: {'the one that the server lists' if settings.model is None else printable(settings.model)}"
        entries = "1 entry" if self.size == 1 else f"{self.size:,} entries"
        yield f"Dataset: {printable(settings.dataset)} ({entries}), mode {settings.mode}"
        if settings.reset_cache_url is not None:
            yield f"Cache reset: {mask_url(settings.reset_cache_url)}, {self._resets()}"
        if spec.env:
            yield f"Environment: {_env_text(spec.env)}"
        yield from _hook_lines(spec.hooks)
        if spec.copy_to is not None:
            yield f"Copy of the stage's run.json: {printable(spec.copy_to)}"

    def table(self, width: int | None) -> list[str]:
        """The levels, a row each."""
        tokens = self.spec.settings.max_output_tokens
        columns = [
            Column("Samples", [_samples_text(level) for level in self.levels]),
            Column("Rounds", [_rounds_text(level) for level in self.levels]),
            Column(
                "Requests",
                [("" if not self.has_turns else ">= ") + f"{_requests_of(level):,}" for level in self.levels],
            ),
        ]
        if not self.has_turns:
            most = [f"{_requests_of(level) * tokens:,}" for level in self.levels]
            columns.append(Column("Output tokens\nat most", most))
        names = Column("Concurrency", [str(level.concurrency) for level in self.levels], left=True)
        return draw_grid(Grid(names, [], columns), width)

    def _server_lines(self) -> Iterator[str]:
        spec, endpoint = self.spec, self.spec.settings.endpoint
        shown = None if endpoint is None else mask_url(endpoint)
        if spec.mock is not None:
            given = ", ".join(f"{name} {value}" for name, value in mask_json(spec.mock).items() if value is not None)
            yield f"Endpoint: the built-in mock server's{'' if shown is None else f', not {shown}'}"
            yield f"Mock server: {printable(given) or 'with its default settings'}"
            if spec.server is not None:
                yield f"{_INDENT}{_RESTARTS[spec.server.restart]}"
            return
        yield f"Endpoint: {shown}"
        if spec.server is not None:
            yield from _spec_lines(spec.server)

    def _resets(self) -> str:
        settings = self.spec.settings
        when = ["before the first round"]
        when += ["between rounds"] if settings.reset_cache_between_rounds else []
        when += ["between levels"] if settings.reset_cache_between_concurrency else []
        return " and ".join(when)


def _spec_lines(server: ServerSpec) -> Iterator[str]:
    """The server that is started, and when that is."""
    yield f"Server: {printable(mask_command(server.command))}"
    if server.cwd is not None:
        yield f"{_INDENT}in {printable(server.cwd)}"
    if server.env:
        yield f"{_INDENT}with {_env_text(server.env)}"
    restart = (
        "one that is there already is taken, and never started again" if server.adopt else _RESTARTS[server.restart]
    )
    yield f"{_INDENT}{restart}"
    yield f"{_INDENT}ready when {_ready_text(server.ready)}, within {server.ready_timeout_s:g} s"


def _ready_text(ready: Ready) -> str:
    conditions = []
    if ready.log_line is not None:
        conditions.append(f"its log has {printable(ready.log_line)!r}")
    if ready.url is not None or not conditions:
        place = "/v1/models beside the endpoint" if ready.url is None else mask_url(ready.url)
        answer = " or ".join(map(str, ready.statuses)) or "anything below 500"
        conditions.append(f"{place} answers {answer}")
    return " and ".join(conditions)


def _env_text(env: Mapping[str, str | None]) -> str:
    """`A=1, B unset`."""
    shown = mask_env(env).items()
    return ", ".join(printable(f"{name} unset" if text is None else f"{name}={text}") for name, text in shown)


def _hook_lines(hooks: Hooks) -> Iterator[str]:
    kinds = {"Before the stage": hooks.before_stage, "After the stage": hooks.after_stage}
    for when, commands in {**kinds, "Before each round": hooks.before_round}.items():
        yield from (f"{when}: {printable(mask_command(hook.command))}" for hook in commands)


def _requests_of(level: LevelPlan) -> int:
    return len(level.sample) * len(level.rounds)


def _samples_text(level: LevelPlan) -> str:
    """How many there are; where the dataset has fewer than were asked for, of how many."""
    if level.asked is None or level.asked <= len(level.sample):
        return f"{len(level.sample):,}"
    return f"{len(level.sample):,} of {level.asked:,}"


def _rounds_text(level: LevelPlan) -> str:
    numbered = sum(one.round != CONTROL for one in level.rounds)
    return f"{numbered}{' + control' if numbered < len(level.rounds) else ''}"
