"""What runs are called where they stand side by side: by the labels in which they differ, else by their directories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fluxperf.model import RunResult


def name_runs(runs: Sequence[RunResult], directories: Sequence[Path]) -> list[str]:
    """A name for each run, no two the same."""
    labels = _by_labels(runs)
    if len(set(labels)) == len(runs):
        return labels
    names = _by_directories(directories)
    taken: dict[str, int] = {}
    for nth, name in enumerate(names):
        taken[name] = taken.get(name, 0) + 1
        if taken[name] > 1:
            names[nth] = f"{name} ({taken[name]})"
    return names


def _by_labels(runs: Sequence[RunResult]) -> list[str]:
    """The labels that all of them have, as far as they differ."""
    shared = [key for key in runs[0].labels if all(key in run.labels for run in runs)]
    telling = [key for key in shared if len({run.labels[key] for run in runs}) > 1]
    return [", ".join(str(run.labels[key]) for key in telling) for run in runs]


def _by_directories(directories: Sequence[Path]) -> list[str]:
    """The ends of the paths, as short as they can be and still differ."""
    folders = [path.parent if path.suffix == ".json" else path for path in directories]
    parts = [folder.absolute().parts for folder in folders]
    different = len(set(parts))
    depth = next(depth for depth in range(1, max(map(len, parts)) + 1) if _count(parts, depth) == different)
    return ["/".join(part[-depth:]) for part in parts]


def _count(parts: Sequence[tuple[str, ...]], depth: int) -> int:
    """How many of the paths differ in their last `depth` parts."""
    return len({part[-depth:] for part in parts})
