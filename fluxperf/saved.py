"""What a run leaves for `--resume`, beside its results: how far it came, what it was asked for, and when.

The file is ours alone, in msgpack by msgspec, and is written whole after each round. Rows of requests stay in the
spool files that workers wrote.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import msgspec

from fluxperf.definitions import DEFINITIONS
from fluxperf.errors import UsageError
from fluxperf.files import write_whole
from fluxperf.masking import mask_command, mask_env, mask_fields, mask_json, mask_url, scrub
from fluxperf.model import RoundName, RunResult, StageState
from fluxperf.plan.campaign import StageSpec
from fluxperf.survey import StageSurvey, Survey

FILE = "state.msgpack"
VERSION = 1
# What does not change a measurement, or is the same under another name.
_OF_NO_MATTER = {
    *("api_key", "output_dir", "overwrite", "quiet", "no_progress", "strict", "label", "debug", "debug_verbose"),
    *("debug_log_dir", "mock_server", "dataset", "repeat", "baseline", "fail_on", "judge", "allow_different"),
    *("junit", "markdown", "github", "lens"),
}
_MISSING = "not there"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedStage:
    """How far a stage came. `result` has its rounds without their requests; `begun` the rounds that were begun."""

    state: StageState
    result: RunResult | None = None
    begun: tuple[tuple[int, RoundName], ...] = ()
    error: str | None = None
    started_at: str | None = None
    ended_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedRun:
    """A run as far as it came, its stages by their folders. `asked` is what must be the same to go on."""

    started_at: str
    resumed_at: tuple[str, ...] = ()
    asked: Mapping[str, Any] = field(default_factory=dict)
    stages: Mapping[str, SavedStage] = field(default_factory=dict)
    version: int = VERSION


def save(run: SavedRun, folder: Path) -> None:
    """Writes the file. Raises RunFailed."""
    write_whole(folder / FILE, [msgspec.msgpack.encode(run, enc_hook=str)])


def load(folder: Path) -> SavedRun | None:
    """What was saved; None: nothing. Raises UsageError if it cannot be understood."""
    path = folder / FILE
    try:
        data = path.read_bytes()
    except OSError:
        return None
    try:
        version = msgspec.msgpack.decode(data, type=_Version).version
        if version == VERSION:
            return msgspec.msgpack.decode(data, type=SavedRun)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"--resume: {path} cannot be read ({error}): begin anew without --resume") from error
    raise UsageError("--resume: the run was begun by another version of FluxPerf: begin anew without --resume")


class _Version(msgspec.Struct):
    version: int


def describe_asked(survey: Survey) -> dict[str, Any]:
    """All that makes the measurement what it is, as plain values: of each stage, and the definitions of the metrics."""
    return {
        "metric definitions": DEFINITIONS,
        "order of stages": [stage.spec.folder for stage in survey.stages],
        "stages": {stage.spec.folder: _describe_stage(stage, survey.campaign.secrets) for stage in survey.stages},
    }


def digest_of(asked: Mapping[str, Any]) -> str:
    """The same in a few characters, for a run that is complete."""
    return hashlib.sha256(msgspec.json.encode(asked, order="deterministic")).hexdigest()


def _describe_stage(stage: StageSurvey, secrets: Sequence[str]) -> dict[str, Any]:
    spec, settings = stage.spec, stage.spec.settings
    shown = {one.name: getattr(settings, one.name) for one in fields(settings) if one.name not in _OF_NO_MATTER}
    shown["header"] = mask_fields(settings.header)
    shown["extra_body"] = mask_json(settings.extra_body)
    for name in ("endpoint", "reset_cache_url", "prometheus_url"):
        shown[name] = None if shown[name] is None else mask_url(shown[name])
    shown |= {
        "dataset (SHA-256)": stage.dataset.sha256,
        "tokenizer (SHA-256)": stage.tokens.sha256,
        "slo": None if stage.slo is None else msgspec.to_builtins(stage.slo),
        "env": mask_env(spec.env, secrets),
        "mock_server": spec.mock,
        "server": _describe_server(spec, secrets),
        "hooks": {
            kind: [scrub(mask_command(hook.command), secrets) for hook in getattr(spec.hooks, kind)]
            for kind in ("before_stage", "after_stage", "before_round")
        },
    }
    plain: dict[str, Any] = msgspec.msgpack.decode(msgspec.msgpack.encode(shown, enc_hook=str))
    return plain


def _describe_server(spec: StageSpec, secrets: Sequence[str]) -> dict[str, Any] | None:
    server = spec.server
    if server is None:
        return None
    command = scrub(mask_command(server.command), secrets)
    return {
        "command": command,
        "env": mask_env(server.env, secrets),
        "cwd": server.cwd,
        "restart": server.restart,
        "port": server.port,
        "adopt": server.adopt,
    }


def find_differences(saved: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """What is not as it was, a sentence each, as `num_samples: was 16, is 32 (stage Burst)`."""
    stages, asked_stages = saved.get("stages", {}), asked.get("stages", {})
    found = [f"stage {name or 'without a name'}: is missing now" for name in stages if name not in asked_stages]
    found += [f"stage {name or 'without a name'}: is new" for name in asked_stages if name not in stages]
    common = [name for name in stages if name in asked_stages]
    changes: dict[str, list[str]] = {}
    for name in common:
        for place, before, after in _compare("", stages[name], asked_stages[name]):
            changes.setdefault(f"{place}: was {before}, is {after}", []).append(name)
    for change, names in changes.items():
        where = "" if len(names) == len(common) else f" (stage{'s' * (len(names) > 1)} {', '.join(names)})"
        found.append(f"{change}{where}")
    others = ({name: value for name, value in values.items() if name != "stages"} for values in (saved, asked))
    return found + [f"{place}: was {before}, is {after}" for place, before, after in _compare("", *others)]


def _compare(place: str, before: Any, after: Any) -> Iterator[tuple[str, str, str]]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys((*before, *after)):
            inner = f"{place}.{name}" if place and name else str(name) or place
            yield from _compare(inner, before.get(name, _MISSING), after.get(name, _MISSING))
    elif before != after:
        yield place, _tell(before), _tell(after)


def _tell(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 120 else f"{text[:119]}…"
