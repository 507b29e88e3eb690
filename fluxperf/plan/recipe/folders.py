"""Names of stages and suites, and the folders that they get below the output directory."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatch

from fluxperf.plan.recipe.document import Block
from fluxperf.plan.recipe.faults import Place
from fluxperf.plan.recipe.values import Reader, Unread, resolve_null

LONGEST_BYTES = 200  # file systems take 255, and temporary names are longer
# Files of the run as a whole, which are where the folders are.
FILES = frozenset(
    {"run.json", "metrics_summary.csv", "report.html", "histograms.hlog", "server.log", "hooks.log"},
)
# What is still being written, and the results of rounds.
PATTERNS = (".spool*", ".*.tmp", "concurrency_*", "requests_*")
_UNFIT = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f-\x9f]')


def read_name(block: Block, reader: Reader) -> str | None:
    """The name of a stage or a suite; None: it is faulty."""
    value = block.entries.get("name")
    if value is None or resolve_null(value) is None:
        reader.faults.add(block.place, "name is missing: results are told apart by it")
        return None
    try:
        name = reader.written(value)
    except Unread:
        return None
    if name is None or not name.strip():
        reader.faults.add(value.place, "must not be empty: results are told apart by it")
        return None
    if problem := _find_problem(folder_name(name)):
        reader.faults.add(value.place, problem)
    return name


def folder_name(name: str) -> str:
    """The name with what a file name cannot hold replaced."""
    return _UNFIT.sub("_", name)


def _find_problem(folder: str) -> str | None:
    if not folder.strip("."):
        return "cannot be the name of a folder: it has only dots"
    if len(folder.encode("utf-8", "surrogatepass")) > LONGEST_BYTES:
        return f"is too long for the name of a folder: it has more than {LONGEST_BYTES} bytes"
    if folder in FILES or any(fnmatch(folder, pattern) for pattern in PATTERNS):
        return f"cannot be the name of a folder: {folder} is a file of the run"
    return None


@dataclass(slots=True)
class Folders:
    """The folders that are taken."""

    taken: dict[str, Place] = field(default_factory=dict)

    def take(self, names: tuple[str, ...], block: Block, reader: Reader) -> str:
        """The folder of a suite, or of a stage in one; one that is taken already is a fault."""
        folder = "/".join(folder_name(name) for name in names)
        named = block.entries.get("name")
        place = block.place if named is None else named.place
        first = self.taken.setdefault(folder, place)
        if first is not place:
            reader.faults.add(
                place, f"gives the folder {folder!r} that {first.path} in line {first.line} has: rename one"
            )
        return folder
