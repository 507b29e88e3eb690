"""`Side`: what stands on either side of a comparison, read from result directories, and how to call it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from fluxperf.compare.telling import named_runs, tell_apart
from fluxperf.errors import UsageError
from fluxperf.model import RunResult
from fluxperf.stored import read_runs

Resolve: TypeAlias = Callable[[str], Path]
"""From a word of the command line, the name of a baseline or a directory, to the directory. Raises UsageError."""

_MOST_PATHS = 3
# A repeat's folder by itself is a stage of that name.
_REPEAT = re.compile(r"^repeat \d+(?:/|$)")


@dataclass(frozen=True, slots=True)
class Side:
    """BASE or NEW: its directories, and the runs in them, which are repeats of each other.

    `given`: how it was named on the command line.
    """

    name: str
    paths: tuple[Path, ...]
    given: str
    runs: tuple[RunResult, ...]

    @property
    def title(self) -> str:
        """What it is, in a line: where it is, how many runs it holds, when the first began, and of which model."""
        shown = ", ".join(map(str, self.paths[:_MOST_PATHS]))
        if len(self.paths) > _MOST_PATHS:
            shown += f" and {len(self.paths) - _MOST_PATHS} more"
        first = self.runs[0]
        parts = [shown, f"{len(self.runs)} runs" if len(self.runs) > 1 else "", first.started_at]
        model = first.rounds[0].configuration.get("model")
        return ", ".join(filter(None, [*parts, None if model is None else str(model)]))


def read_side(name: str, given: Sequence[str], resolve: Resolve) -> Side:
    """The runs that `given` names: directories, or what `resolve` knows. Raises UsageError."""
    paths = tuple(map(resolve, given))
    runs = tuple(run for path in paths for run in _read(path))
    return Side(name, paths, " ".join(given), runs)


def _read(path: Path) -> Iterator[RunResult]:
    for run in read_runs([path]):
        if not run.rounds:
            raise UsageError(f"{path}: no round of it is there, so that nothing can be compared")
        yield run


def check_distinct(base: Side, new: Side) -> None:
    """Raises UsageError where the same run is given twice: it would stand as evidence for itself."""
    seen: list[tuple[Any, str]] = []
    for called, run in named_runs(base.runs, new.runs):
        key = _identity(run)
        for other, name in seen:
            if key == other:
                raise UsageError(f"{name} and {called} are the same run, of {run.started_at}: give each run once")
        seen.append((key, called))


def _identity(run: RunResult) -> Any:
    """What no other run has in common with it, under whatever name it may be."""
    return [(one.concurrency, one.round, one.summary) for one in run.rounds]


def align_stages(base: Side, new: Side) -> tuple[Side, Side, str | None]:
    """Both sides without a name for their stage, if each run has one and not all call it alike; and a remark on that.

    So a stage of a recipe can be compared with another one, or with a run without a recipe.
    """
    names = [[_stages_of(run) for run in side.runs] for side in (base, new)]
    if any(len(own) != 1 for side in names for own in side) or len({own[0] for side in names for own in side}) == 1:
        return base, new, None
    ours, theirs = ([own[0] for own in side] for side in names)
    remark = tell_apart(*([_call(name) for name in side] for side in (ours, theirs)))
    aligned = [replace(side, runs=tuple(_without_name(run) for run in side.runs)) for side in (base, new)]
    return aligned[0], aligned[1], None if remark is None else f"stage: {remark}"


def _stages_of(run: RunResult) -> list[str | None]:
    return list(dict.fromkeys(result.stage for result in run.rounds))


def _call(stage: str | None) -> str:
    """Its name, in which a repeat is like a run without a recipe."""
    return _REPEAT.sub("", stage or "") or "none"


def _without_name(run: RunResult) -> RunResult:
    """The run as if its one stage had been asked for without a recipe."""
    own = next((stage for stage in run.stages if stage.name == run.rounds[0].stage), None)
    plain = replace(run, stages=(), rounds=tuple(replace(one, stage=None) for one in run.rounds))
    if own is None:
        return plain
    return replace(plain, configuration={**own.configuration, "env": own.env}, server=own.server)
