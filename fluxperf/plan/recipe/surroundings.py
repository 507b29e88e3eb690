"""What a recipe is read against: the environment, and judgements that this layer cannot make itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


def _no_problem(_: object) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeSurroundings:
    """The environment, and what others know. A problem is told as the rest of a sentence; None: there is none.

    `mock_names` are the mock's settings, `find_mock_problem` says why a value cannot be the one of that name, and
    `find_mock_conflict` why some values cannot be together. `find_metric_problem` is for a `prometheus_metrics` entry.
    `later`: options that are not yet built, with `_` for `-`.
    """

    environ: Mapping[str, str]
    mock_names: frozenset[str]
    find_mock_problem: Callable[[str, object], str | None]
    later: frozenset[str] = frozenset()
    find_mock_conflict: Callable[[Mapping[str, Any]], str | None] = _no_problem
    find_metric_problem: Callable[[str], str | None] = _no_problem
