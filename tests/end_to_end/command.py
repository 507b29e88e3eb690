"""The command as its users run it, each run in a session of its own, and what it leaves behind."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import select
import shlex
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Far more than anything here takes: what hangs fails with what it had said.
TIMEOUT_S = 20.0
LEAST_PIPE_BYTES = 4096
MARK = "FLUXPERF_TEST_MARK"

# What would change a run. Unbuffered, Python loses what is left of a write that a signal interrupts.
HIDDEN = {
    *("fluxperf_api_key", "openai_api_key", "http_proxy", "https_proxy", "all_proxy"),
    *("columns", "force_color", "no_color", "pythonunbuffered"),
}


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Ours, without what is hidden, and with `more`."""
    kept = {name: text for name, text in os.environ.items() if name.lower() not in HIDDEN}
    return kept | {"FLUXPERF_REPORT": "no", **more}  # a page for each of hundreds of runs would take minutes


def session_members(session: int) -> set[int]:
    """The processes of a session, those that only wait to be reaped left out."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, its_session, *_ = path.read_text(errors="replace").rpartition(")")[2].split()
            if int(its_session) == session and state not in "ZX":
                found.add(int(path.parent.name))
    return found


def marked(mark: str) -> set[int]:
    """The processes that have it in their environment, whatever session they are in: what a run has started."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if f"{MARK}={mark}".encode() in path.read_bytes().split(b"\0"):
                found.add(int(path.parent.name))
    return found


def ended(pid: int, timeout_s: float) -> bool:
    """Waits for a process that need not be a child of ours."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], timeout_s)[0])
    finally:
        os.close(fd)


class Ended(NamedTuple):
    """How a run ended, and what it had said."""

    code: int
    out: str
    err: str


class Running:
    """A run under way, the leader of a session of its own."""

    def __init__(self, process: subprocess.Popen[str], mark: str) -> None:
        self.process = process
        self.pid = process.pid
        self.mark = mark

    @property
    def members(self) -> set[int]:
        """It and all that it started, but for watchdogs, which have sessions and environments of their own."""
        return session_members(self.pid) | marked(self.mark)

    @property
    def others(self) -> set[int]:
        """Its workers, and its server if it has one."""
        return self.members - {self.pid}

    def press_ctrl_c(self) -> None:
        """SIGINT to the whole group, as a terminal sends it."""
        os.killpg(self.pid, signal.SIGINT)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """For what only /proc or the file system tells; fails when the run ends, or after a while."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while not condition():
            assert not ended(self.pid, 0.01), f"it ended too early: {self.end()}"
            assert time.monotonic() < deadline_s, f"it did not come to this: {self.end()}"

    def end(self) -> Ended:
        """Waits for its end, with which every process that it started must end too."""
        try:
            out, err = self.process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(f"it did not end within {TIMEOUT_S:g} s: {self.process.communicate()}")
        left = [pid for pid in self.members if not ended(pid, TIMEOUT_S)]
        assert not left, f"processes were left behind: {left}"
        return Ended(self.process.returncode, out or "", err or "")

    def kill(self) -> None:
        """Ends it and all that it started."""
        for pid in self.members:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@dataclass(slots=True)
class Fluxperf:
    """`bin/fluxperf`, in a directory of its own. What `measure` has a run write is in `out`."""

    place: Path
    runs: list[Running] = field(default_factory=list)

    @property
    def out(self) -> Path:
        """The output directory of `measure`."""
        return self.place / "out"

    def start(self, line: str, env: Mapping[str, str] | None = None, **popen: Any) -> Running:
        """Starts `fluxperf {line}`, quoted as in a shell. Its output goes to pipes unless `popen` says otherwise."""
        command = [sys.executable, str(ROOT / "bin" / "fluxperf"), *shlex.split(line)]
        outputs = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        mark = f"{self.place}/{len(self.runs)}"
        surroundings = environment({MARK: mark, **(env or {})})
        process: subprocess.Popen[str] = subprocess.Popen(
            command, cwd=self.place, env=surroundings, text=True, start_new_session=True, **(outputs | popen)
        )
        self.runs.append(Running(process, mark))
        return self.runs[-1]

    def start_stalling(self, line: str, env: Mapping[str, str] | None = None) -> Running:
        """The same, and it stands still between its first two rounds until `end`: nobody reads the first table.

        The name of the SLO makes that table longer than the pipe.
        """
        (self.place / "long.yaml").write_text(f"name: {'n' * 100_000}\nslo: {{ttft_ms: 1000}}\n")
        running = self.start(f"{line} --slo-file long.yaml", env)
        stdout = running.process.stdout
        assert stdout is not None
        full = fcntl.fcntl(stdout, fcntl.F_SETPIPE_SZ, LEAST_PIPE_BYTES).to_bytes(4, sys.byteorder)
        running.wait_until(lambda: fcntl.ioctl(stdout, termios.FIONREAD, bytes(4)) == full)
        return running

    def __call__(self, line: str, env: Mapping[str, str] | None = None) -> Ended:
        """Runs `fluxperf` to its end."""
        return self.start(line, env).end()

    def measuring(self, url: str, options: str = "") -> str:
        """The words of a run against `url` with what `write_prompts` wrote."""
        return f"--endpoint {url} --model m --dataset prompts.jsonl --output-dir out {options}"

    def measure(self, url: str, options: str = "") -> Ended:
        """Such a run."""
        return self(self.measuring(url, options))

    def write_prompts(self, count: int, name: str = "prompts.jsonl", *, words: int = 3) -> None:
        """A dataset of prompts that have no beginning in common."""
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (
            json.dumps({"text": f"{number} of {count}, says number {number}, " * words}) for number in range(count)
        )
        path.write_text("".join(f"{line}\n" for line in lines))

    def round(self, concurrency: int, number: int | str) -> Any:
        """The file of a round."""
        return json.loads((self.out / f"concurrency_{concurrency}_round_{number}.json").read_text("utf-8"))

    def run_json(self) -> Any:
        """The file of the run."""
        return json.loads((self.out / "run.json").read_text("utf-8"))

    def csv_rows(self) -> list[dict[str, str]]:
        """The rows of the summary."""
        with (self.out / "metrics_summary.csv").open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))


@contextmanager
def fluxperf_in(place: Path) -> Iterator[Fluxperf]:
    """The command in a directory; what still runs at the end of the block is killed."""
    command = Fluxperf(place)
    try:
        yield command
    finally:
        for running in command.runs:
            running.kill()
            running.process.communicate()
