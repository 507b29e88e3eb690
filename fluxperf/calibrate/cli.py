"""`fluxperf calibrate`: argv -> what is asked for -> the table and the verdict on stdout, and calibration.json."""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluxperf.errors import UsageError
from fluxperf.files import write_stream

if TYPE_CHECKING:
    from fluxperf.calibrate.session import Asked

USAGE = """How much load one worker of FluxPerf can measure on this machine.

Usage: fluxperf calibrate [options]

Runs the command against a test server that keeps an exact schedule and tells what it really did, with more and
more streams, until a figure is off by more than 1 % or 1 ms at p50 or p99. Takes a minute or two; nothing else
should be running meanwhile.

  --http VERSION     1.1, or 2 (by prior knowledge) [default: 1.1]
  --ttft-ms MS       From a request to its first token [default: 50]
  --itl-ms MS        From one token to the next [default: 10]
  --tokens N         Of each answer [default: 64]
  --max-streams N    Where to stop, if nothing gives way before [default: 4096]
  --server KIND      compiled (needs a C compiler), mock, or auto [default: auto]
  --quick            Fewer requests, and nothing measured twice: a first impression
  --output FILE      Where to write what was found [default: calibration.json]
  -h, --help         Show this.

A later run that goes beyond it is warned: it looks for calibration.json in its current directory, or for the file
that the environment variable FLUXPERF_CALIBRATION names.
"""


def main(words: Sequence[str]) -> int:
    """Runs `fluxperf calibrate` with the words after `calibrate`; returns the exit code. Raises FluxPerfError."""
    if "--help" in words or "-h" in words:
        sys.stdout.write(USAGE)
        return 0
    values = parse(words)
    output = _check_output(Path(values.pop("output")))
    _calibrate(read_asked(values), output)
    return 0


def parse(words: Sequence[str]) -> dict[str, Any]:
    """The values by name, with `_` for `-`, defaults included. Raises UsageError."""
    values: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        option, equals, text = word.partition("=")
        name = option.removeprefix("--").replace("-", "_")
        if not option.startswith("--") or name not in READERS:
            near = difflib.get_close_matches(option, [f"--{known.replace('_', '-')}" for known in READERS], 1)
            hint = f", did you mean {near[0]}?" if near else ""
            raise UsageError(f"calibrate: unknown {option!r}{hint}\nfluxperf calibrate --help lists the options")
        if name in values:
            raise UsageError(f"calibrate: {option} is given twice")
        if name == "quick":
            if equals:
                raise UsageError("calibrate: --quick takes no value")
            values[name] = True
            continue
        value = text if equals else next(rest, "")
        if not value or (value.startswith("--") and not equals):
            raise UsageError(f"calibrate: {option} needs a value")
        values[name] = READERS[name](option, value)
    return DEFAULTS | values


def read_asked(values: dict[str, Any]) -> Asked:
    """What the values ask for."""
    from fluxperf.calibrate.search import Range
    from fluxperf.calibrate.server import Schedule
    from fluxperf.calibrate.session import Asked

    schedule = Schedule(values["ttft_ms"], values["itl_ms"], values["tokens"])
    most, http, server = values["max_streams"], values["http"], values["server"]
    if values["quick"]:
        loads = Range(most, halvings=0)
        return Asked(http=http, schedule=schedule, loads=loads, server=server, waves=2, least_requests=100, tries=1)
    return Asked(http=http, schedule=schedule, loads=Range(most), server=server)


def _calibrate(asked: Asked, output: Path) -> None:
    from fluxperf.calibrate.record import save_calibration
    from fluxperf.calibrate.session import calibrate
    from fluxperf.calibrate.step import Step
    from fluxperf.calibrate.table import render_head, render_steps, render_text
    from fluxperf.launch.signals import Signals

    steps: list[Step] = []
    try:
        with Signals().installed():
            verdict, entry = calibrate(asked, steps, _say)
    finally:  # also what was found before it was interrupted
        if steps:
            _print(render_steps(steps))
    _print("\n" + render_text(verdict.text))
    _print(render_text(render_head(entry)))
    if verdict.says_nothing:
        _say(f"nothing is written{f'; {output} stays as it is' if output.exists() else ''}")
        return
    save_calibration(output, asked.http, entry)
    _say(f"written to {output}")


def _say(text: str) -> None:
    write_stream(sys.stderr, f"fluxperf: {text}\n")


def _print(text: str) -> None:
    write_stream(sys.stdout, f"{text}\n")


def _check_output(path: Path) -> Path:
    """The path, absolute. Raises UsageError if nothing is to be written there: better now than in some minutes."""
    from fluxperf.calibrate.record import may_replace

    if (path.exists() and not path.is_file()) or not path.parent.is_dir():
        raise UsageError(f"calibrate: --output {path} must be a file in a directory that exists")
    if not may_replace(path):
        raise UsageError(
            f"calibrate: {path} is no calibration and is not replaced: remove it, or name another --output"
        )
    return path.absolute()


def _number(least: float, most: float) -> Callable[[str, str], float]:
    def read(option: str, text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not least <= number <= most:
            raise UsageError(f"calibrate: {option} takes a number from {least:g} to {most:g}, not {text!r}")
        return number

    return read


def _integer(least: int, most: int) -> Callable[[str, str], int]:
    def read(option: str, text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
            raise UsageError(f"calibrate: {option} takes a whole number from {least} to {most}, not {text!r}")
        return int(text)

    return read


def _choice(*names: str) -> Callable[[str, str], str]:
    def read(option: str, text: str) -> str:
        if text not in names:
            raise UsageError(f"calibrate: {option} is one of {', '.join(names)}, not {text!r}")
        return text

    return read


READERS: dict[str, Callable[[str, str], Any]] = {
    "http": _choice("1.1", "2"),
    "ttft_ms": _number(1, 60_000),
    "itl_ms": _number(0.1, 10_000),
    "tokens": _integer(2, 10_000),
    "max_streams": _integer(1, 100_000),
    "server": _choice("auto", "compiled", "mock"),
    "quick": _choice(),
    "output": lambda _option, text: text,
}
DEFAULTS: dict[str, Any] = {
    "http": "1.1",
    "ttft_ms": 50.0,
    "itl_ms": 10.0,
    "tokens": 64,
    "max_streams": 4096,
    "server": "auto",
    "quick": False,
    "output": "calibration.json",
}
