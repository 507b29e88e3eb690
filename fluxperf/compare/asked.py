"""What `fluxperf compare` is asked for: its usage text, and the words of the command line as checked values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluxperf.analysis.contrast import TABLE
from fluxperf.analysis.figures import FIGURES, find_figure
from fluxperf.compare.usage import USAGE
from fluxperf.errors import UsageError
from fluxperf.model.contrast import Figure
from fluxperf.model.gate import Gate, Judge
from fluxperf.plan.gates import parse_gates
from fluxperf.words import parse, take_option

_COMMAND = "fluxperf compare"
_LISTS = ("--base", "--new", "--metrics")
_GATE = "--fail-on"
_MOST_MARGIN = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options, read. `margin` is a share (0.02); `figures` are what is compared."""

    base: tuple[str, ...]
    new: tuple[str, ...]
    margin: float
    figures: tuple[Figure, ...]
    gates: tuple[Gate, ...]
    judge: Judge
    allow_different: bool
    strict: bool
    json: Path | None
    junit: Path | None
    markdown: Path | None
    github: bool
    quiet: bool

    @property
    def has_goodput(self) -> bool:
        """Whether goodput is compared, or judged."""
        return any(figure.metric == "goodput" for figure in (*self.figures, *(gate.figure for gate in self.gates)))


def read_asked(words: Sequence[str]) -> Asked:
    """What the words after `compare` ask for. Raises UsageError."""
    rest, gates = _take_gates(words)
    given = parse(USAGE, ["compare", *rest], _COMMAND, _LISTS)
    sides = [given["BASE"]], [given["NEW"]]
    base, new = sides if given["BASE"] is not None else (given["--base"], given["--new"])
    judge = given["--judge"]
    if judge not in ("interval", "point"):
        raise UsageError(f"--judge must be interval or point, but is {judge!r}")
    return Asked(
        base=tuple(base),
        new=tuple(new),
        margin=_read_margin(given["--margin"]),
        figures=_read_figures(given["--metrics"]),
        gates=parse_gates(gates),
        judge=judge,
        allow_different=given["--allow-different"],
        strict=given["--strict"],
        json=_read_path(given, "--json"),
        junit=_read_path(given, "--junit"),
        markdown=_read_path(given, "--markdown"),
        github=given["--github"],
        quiet=given["--quiet"],
    )


def _take_gates(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The other words, and the gates: an option that may be repeated, but has one value each time."""
    others: list[str] = []
    gates: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word.partition("=")[0] == _GATE:
            taken = take_option(word, rest, takes_value=True, is_list=False)
            gates += [one.partition("=")[2] for one in taken]
        else:
            others.append(word)
    return others, gates


def _read_margin(text: str) -> float:
    """A percentage as a share."""
    try:
        percent = float(text.removesuffix("%"))
    except ValueError:
        percent = math.nan
    if not 0 <= percent < _MOST_MARGIN:
        raise UsageError(f"--margin must be a percentage from 0 to under {_MOST_MARGIN:g}, but is {text!r}")
    return percent / 100


def _read_figures(names: Sequence[str]) -> tuple[Figure, ...]:
    """The figures of the table, or those that are named. Of a metric that has none in the table, all there are."""
    found: list[Figure] = []
    for name in names:
        of_table = [figure for figure in TABLE if figure.metric == name]
        statistics = FIGURES[name].statistics if name in FIGURES else ()
        try:
            found += of_table or [Figure(name, one) for one in statistics] or [find_figure(name)]
        except ValueError as error:
            raise UsageError(f"--metrics: {error}") from None
    return tuple(dict.fromkeys(found)) or TABLE


def _read_path(given: dict[str, Any], option: str) -> Path | None:
    """A file that can be written, as far as can be seen. Raises UsageError."""
    if given[option] is None:
        return None
    path = Path(given[option])
    if path.is_dir():
        raise UsageError(f"{option} {path}: is a directory; give the name of a file")
    if not path.parent.is_dir():
        raise UsageError(f"{option} {path}: there is no directory {path.parent}")
    return path
