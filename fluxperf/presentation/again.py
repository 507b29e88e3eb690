"""Command lines that make a run, and its page, again: from what the results say they were asked for."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from fluxperf.model import RunResult
from fluxperf.plan.settings import DEFAULTS, option_name

# What says how a run is shown, or is not known to us, or is none of the reader's business.
_LEFT_OUT = frozenset({"api_key", "api_key_env", "quiet", "no_progress", "overwrite", "output_dir", "debug_log_dir"})


def page_command(directories: Sequence[Path]) -> str:
    """The command that makes the page again."""
    return f"fluxperf report {' '.join(shlex.quote(str(directory)) for directory in directories)}"


def run_commands(run: RunResult) -> list[str]:
    """The command that makes the run again; none where its results do not tell. Keys are not known, so not in it."""
    if run.recipe is not None:
        path = run.recipe.get("path")
        return [] if path is None else [f"fluxperf --recipe {shlex.quote(str(path))}"]
    asked = run.configuration if "dataset" in run.configuration else run.stages[0].configuration if run.stages else {}
    if not asked.get("dataset"):
        return []
    return [" ".join(["fluxperf", *_options(asked)])]


def _options(asked: Mapping[str, Any]) -> Iterator[str]:
    """What differs from the defaults, as options."""
    for field in fields(DEFAULTS):
        if field.name in _LEFT_OUT or field.name not in asked:
            continue
        value = _given(asked, field.name)
        if value is not None and _plain(value) != _plain(getattr(DEFAULTS, field.name)):
            yield " ".join([option_name(field.name), *(shlex.quote(word) for word in _words(field.name, value))])


def _given(asked: Mapping[str, Any], name: str) -> Any:
    """What was given for it: an endpoint and a model may have been found out."""
    if name == "endpoint":
        return asked.get("endpoint_given")
    if name == "model" and asked.get("model_from") not in (None, "--model", "given"):
        return None
    return asked[name]


def _plain(value: Any) -> Any:
    """A value as JSON would have it, empty ones alike."""
    if isinstance(value, Mapping | list | tuple) and not value:
        return None
    return list(value) if isinstance(value, tuple) else value


def _words(name: str, value: Any) -> list[str]:
    """The words behind the option; of one that is repeated, with the option between them."""
    if value is True:
        return []
    if name == "think_time":
        return ["-".join(f"{part:g}" for part in value)]
    if name == "extra_body":
        return [json.dumps(value, ensure_ascii=False)]
    if isinstance(value, Mapping):
        pairs = [f"{key}={one}" if name == "label" else f"{key}: {one}" for key, one in value.items()]
        return _repeated(name, pairs)
    if name == "fail_on":
        return _repeated(name, list(value))
    if isinstance(value, list | tuple):
        return [str(one) for one in value]
    return [str(value)]


def _repeated(name: str, values: Sequence[str]) -> list[str]:
    words: list[str] = []
    for value in values:
        words += [*([option_name(name)] if words else []), value]
    return words
