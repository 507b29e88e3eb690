"""What a run was, place by place, as facts that can be held against those of another run. Pure; judges nothing.

A fact is a name and a plain value. Which facts must be alike, and which may differ, is in the tables here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeAlias

from fluxperf.compare.telling import WHOLE, Place, place_of
from fluxperf.model import RoundResult, RunResult

Facts: TypeAlias = dict[Place, dict[str, Any]]

_COUNTED_BY = "output tokens counted by"
# Names for a sentence by the keys of a stage's configuration: what decides what is sent, and what comes back.
_ASKED = {
    "model": "model",
    "dataset_sha256": "dataset (SHA-256)",
    "mode": "mode",
    "max_context_tokens": "max_context_tokens",
    "own_history": "own_history",
    "think_time": "think_time",
    "round1_order": "round1_order",
    "round2_order": "round2_order",
    "control_round": "control round",
    "salt": "salted prompts",
    "max_output_tokens": "max_output_tokens",
    "min_output_tokens": "min_output_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "extra_body": "extra body",
    "max_input_length": "max_input_length",
    "reset_cache_between_rounds": "reset_cache_between_rounds",
    "reset_cache_between_concurrency": "reset_cache_between_concurrency",
}
# The same of a round's configuration: what the client found, or did.
_FOUND = {
    "http_version": "HTTP version",
    "streams_per_connection": "streams a connection",
    "timestamps": "timestamps",
    "tokenizer_sha256": "tokenizer (SHA-256)",
    "output_tokens_from": _COUNTED_BY,
    "num_samples": "prompts",
}
# What may differ, because it is what one compares, or leaves no trace in the figures.
_ASKED_FREELY = {"endpoint": "endpoint", "header": "headers", "timeout": "timeout", "seed": "seed"}
_FOUND_FREELY = {"tls": "TLS", "workers": "workers", "input_tokens_from": "input tokens counted by"}
_DRAWN_BY = ("dataset_sha256", "seed", "num_samples", "concurrency", "same_samples", "round1_order")


def facts_alike(run: RunResult) -> Facts:
    """What must be the same in runs that are compared. Older results may not tell all of it."""
    found: Facts = {}
    for stage, configuration in _configurations(run).items():
        found[Place(stage)] = _pick(configuration, _ASKED)
        # Always there, so that those who do not tell it differ from those who do.
        found[Place(stage)]["definitions of the metrics"] = configuration.get("definitions")
    for result in run.rounds:
        facts = _pick(result.configuration, _FOUND)
        if facts.get(_COUNTED_BY) is None:  # nothing was counted
            facts.pop(_COUNTED_BY, None)
        found[place_of(result)] = facts
    return found


def facts_free(run: RunResult) -> Facts:
    """What may differ, and is told."""
    found: Facts = {WHOLE: _of_client(run.environment) | {f"label {name}": text for name, text in run.labels.items()}}
    stages = {stage.name: stage for stage in run.stages}
    for name, configuration in _configurations(run).items():
        stage = stages.get(name or "")
        facts = _pick(configuration, _ASKED_FREELY) | _of_server(run.server if stage is None else stage.server)
        env = (configuration.get("env") or {}) if stage is None else stage.env
        facts |= {f"environment variable {name}": "unset" if text is None else text for name, text in env.items()}
        found.setdefault(Place(name), {}).update(facts)
    for result in run.rounds:
        found[place_of(result)] = _pick(result.configuration, _FOUND_FREELY)
    return found


def describe_slo(result: RoundResult) -> str | None:
    """The round's objectives, without their name; None: it has none."""
    if result.slo is None:
        return None
    limits = [asdict(one) for one in result.slo.constraints]
    texts = (" ".join(str(part) for item in one.items() if item[1] is not None for part in item) for one in limits)
    return ", ".join(sorted(text.removeprefix("metric ") for text in texts)) or "no constraint"


def describe_drawing(run: RunResult, stage: str | None) -> dict[str, Any] | None:
    """All that decides which prompts a stage's levels send; None: an older result that does not tell."""
    configuration = _configurations(run).get(stage, {})
    if any(name not in configuration for name in _DRAWN_BY):
        return None
    return {name: configuration[name] for name in _DRAWN_BY}


def _configurations(run: RunResult) -> dict[str | None, Mapping[str, Any]]:
    """What each stage was asked for. A run without a recipe is one stage without a name."""
    if run.stages:
        return {stage.name: stage.configuration for stage in run.stages}
    return dict.fromkeys([one.stage for one in run.rounds] or [None], run.configuration)


def _pick(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Those of the values that are told, by their names for a sentence."""
    return {name: values[key] for key, name in names.items() if key in values}


def _of_client(environment: Mapping[str, Any]) -> dict[str, Any]:
    host, revision = environment.get("host") or {}, environment.get("revision") or {}
    return {
        "FluxPerf": environment.get("fluxperf"),
        "Python": environment.get("python"),
        "host": host.get("name"),
        "CPU": host.get("cpu"),
        "usable cores": environment.get("usable_cores"),
        "commit": revision.get("commit"),
    }


def _of_server(server: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is known of the server under test."""
    known = server or {}
    version = (known.get("answers") or {}).get("version")
    facts = {"server version": version.get("version") if isinstance(version, Mapping) else version}
    return facts | {f"the server's {name}": known[name] for name in ("command", "env") if known.get(name)}
