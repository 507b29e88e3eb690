"""What can be checked of a stage's options beyond their values: files, and levels against samples."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fluxperf.errors import UsageError
from fluxperf.plan.planner import pair_levels
from fluxperf.plan.readers import READERS, Fault
from fluxperf.plan.recipe.variables import Lookup
from fluxperf.plan.settings import DEFAULTS, SettingFault
from fluxperf.plan.slo import load_slo
from fluxperf.plan.tokenizer_file import find_name_problem

_FILES = ("dataset", "slo_file", "ca_file", "client_cert", "client_key")


def find_faults(raw: Mapping[str, Any], recipe: Path, lookup: Lookup) -> Iterator[SettingFault]:
    """What is wrong with raw values that their readers may have taken: files, levels, a tokenizer, a key's name."""
    for name in _FILES:
        path = raw.get(name)
        if isinstance(path, str) and path.strip() and (problem := _find_file_problem(name, Path(path), recipe)):
            yield SettingFault(name, problem)
    yield from _find_level_faults(raw)
    tokenizer = raw.get("tokenizer")
    if isinstance(tokenizer, str) and (problem := find_name_problem(tokenizer, raw.get("tokenizer_revision"))):
        yield SettingFault("tokenizer", f"cannot be used: {problem}")
    variable = raw.get("api_key_env")
    if isinstance(variable, str) and raw.get("api_key") is None and not (lookup(variable) or "").strip():
        yield SettingFault("api_key_env", f"{variable}: there is no such environment variable, or it is empty")


def find_metric_faults(raw: Mapping[str, Any], find_problem: Callable[[str], str | None]) -> Iterator[SettingFault]:
    """What is wrong with the names of metrics."""
    metrics = raw.get("prometheus_metrics") or []
    for text in metrics if isinstance(metrics, list | tuple) else [metrics]:
        if isinstance(text, str) and (problem := find_problem(text)):
            yield SettingFault("prometheus_metrics", f"{text!r} {problem}")


def _find_file_problem(name: str, path: Path, recipe: Path) -> str | None:
    try:
        path.stat()
    except FileNotFoundError:
        beside = recipe.parent / path
        hint = f" (there is {beside})" if beside != path and beside.exists() else ""
        return f"no such file: {path}; paths are relative to the working directory{hint}"
    except (OSError, ValueError) as error:
        return f"cannot be read: {path}: {getattr(error, 'strerror', None) or error}"
    if path.is_dir():
        return f"is a directory: {path}"
    if not os.access(path, os.R_OK):
        return f"cannot be read: {path}: Permission denied"
    if name == "slo_file":
        try:
            load_slo(path)
        except UsageError as error:
            return f"cannot be used: {error}"
    return None


def _find_level_faults(raw: Mapping[str, Any]) -> Iterator[SettingFault]:
    """Levels that cannot be planned, whatever the dataset."""
    try:
        levels, counts = (READERS[name](raw.get(name) or []) for name in ("concurrency", "num_samples"))
        levels = levels or DEFAULTS.concurrency
    except Fault:
        return
    try:
        pair_levels(levels, ())
    except UsageError as error:
        yield SettingFault("concurrency", f"cannot be planned: {error}")
        return
    try:
        pair_levels(levels, counts)
    except UsageError as error:
        yield SettingFault("num_samples", f"cannot be planned: {error}")
