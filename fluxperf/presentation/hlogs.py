"""`fluxperf report A.hlog B.hlog`: the histograms of several hosts, read and added up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fluxperf.analysis.hlog import merge_logs
from fluxperf.errors import UsageError
from fluxperf.model.hlog import Merged
from fluxperf.stored.hlog import read_log


def merge_hlogs(paths: Sequence[Path]) -> Merged:
    """The histograms in the files (or in the `histograms.hlog` of directories), the same tags added up.

    Raises UsageError with file and line where one cannot be understood, and for a file that is named twice.
    """
    seen: dict[Path, Path] = {}
    for path in paths:
        known = seen.setdefault(path.resolve(), path)
        if known is not path:
            raise UsageError(f"{path}: is named twice (also as {known}): its values would be counted twice")
    return merge_logs({str(path): read_log(path) for path in paths})
