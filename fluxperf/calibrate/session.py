"""The story of a calibration: the test server on one core, the command on another, one load after the other."""

from __future__ import annotations

import datetime
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fluxperf import __version__
from fluxperf.calibrate.child import child
from fluxperf.calibrate.machine import choose_cores
from fluxperf.calibrate.search import Range, Verdict, conclude, count, describe_limit, next_streams
from fluxperf.calibrate.server import (
    COMPILED,
    MOCK,
    Schedule,
    TestServer,
    compile_server,
    compiled_server,
    missing_compiler,
    mock_on_schedule,
)
from fluxperf.calibrate.step import ABSOLUTE_BOUND_MS, RELATIVE_BOUND, Step, read_step
from fluxperf.errors import RunFailed, UsageError

PROMPT_WORDS = 32
WAVE_TIME_S = 20.0  # more waves than fit into it are not needed for percentiles
SLOWEST = 20  # times slower than planned is as slow as a client may be
START_TIMEOUT_S = 60.0
ONE_CORE = (
    "there is one core here for client and server: they take time from each other, so the limit that is found is below "
    "that of a worker with a core to itself"
)
_PROMPTS, _OUTPUT = "prompts.jsonl", "out"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a calibration is asked for. `tries`: how often a load is measured before it counts as failed."""

    http: str = "1.1"
    schedule: Schedule
    loads: Range
    waves: int = 4
    least_requests: int = 400
    tries: int = 3
    server: str = "auto"

    def count_requests(self, streams: int) -> int:
        """Some waves of requests, and enough for a p99, unless that would take too long."""
        most_waves = max(int(WAVE_TIME_S * 1000 / max(self.schedule.answer_ms, 1)), self.waves)
        return streams * min(max(self.waves, math.ceil(self.least_requests / streams)), most_waves)


@dataclass(frozen=True, slots=True)
class Rig:
    """The server that runs, and where the client is to run."""

    asked: Asked
    server: TestServer
    core: int
    folder: Path
    say: Say

    def measure(self, streams: int) -> Step:
        """One load, as often as it takes."""
        return best_of(self.asked.tries, lambda: self._measure_once(streams), self.say)

    def _measure_once(self, streams: int) -> Step:
        requests = self.asked.count_requests(streams)
        planned_s = requests / streams * self.asked.schedule.answer_ms / 1000
        self.say(f"{count(streams, 'stream')}: {requests:,} requests, about {math.ceil(planned_s)} s")
        write_prompts(self.folder / _PROMPTS, requests)
        command = client_command(self.asked, streams, requests, self.server.url)
        self.server.reset()
        run_client(command, self.core, self.folder, SLOWEST * planned_s + START_TIMEOUT_S)
        round_json = json.loads((self.folder / _OUTPUT / f"concurrency_{streams}_round_1.json").read_text("utf-8"))
        return read_step(round_json, self.server.truth(), self.asked.schedule.answer_ms)


def best_of(tries: int, measure: Callable[[], Step], say: Say) -> Step:
    """Measures until a step does not fail, at most `tries` times; the best of them counts."""
    steps = [measure()]
    while steps[-1].limit is not None and len(steps) < tries:
        say(f"{describe_limit(steps[-1])}: once more")
        steps.append(measure())
    return min(steps, key=lambda step: (step.limit is not None, step.client_excess))


def calibrate(asked: Asked, steps: list[Step], say: Say) -> tuple[Verdict, dict[str, Any]]:
    """Measures until there is a verdict; gives it with the entry for the file. Raises FluxPerfError.

    Steps are appended as they are finished, so that an interrupted calibration still has them.
    """
    cores = choose_cores()
    if not cores.apart:
        say(ONE_CORE)
    created_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    with (
        tempfile.TemporaryDirectory(prefix="fluxperf-calibrate-") as folder,
        open_server(asked, cores.server, Path(folder), say) as server,
    ):
        rig = Rig(asked, server, cores.client, Path(folder), say)
        while (streams := next_streams(steps, asked.loads)) is not None:
            steps.append(rig.measure(streams))
    verdict = conclude(steps)
    return verdict, {
        "created_at": created_at,
        "fluxperf": __version__,
        "protocol": asked.http,
        "server": server.kind,
        "cores_apart": cores.apart,
        "schedule": asdict(asked.schedule),
        "bounds": {"relative": RELATIVE_BOUND, "absolute_ms": ABSOLUTE_BOUND_MS},
        "steps": [step.to_dict() for step in sorted(steps, key=lambda step: step.streams)],
        "verdict": asdict(verdict),
    }


@contextmanager
def open_server(asked: Asked, core: int, folder: Path, say: Say) -> Iterator[TestServer]:
    """The best test server that is to be had here. Raises UsageError if it is not the one that was asked for."""
    if asked.server != MOCK and (missing := missing_compiler()) is not None:
        say(f"CC names {missing}, which is not there: other compilers are tried")
    program = compile_server(folder) if asked.server != MOCK else None
    if program is not None:
        with compiled_server(program, asked.schedule, core) as server:
            yield server
        return
    if asked.server == COMPILED:
        raise UsageError("--server compiled: no C compiler here (cc, gcc, clang) can compile it; try --server mock")
    if asked.server != MOCK:
        say("no C compiler that works: the mock server is used, which cannot serve as much as the compiled one")
    with mock_on_schedule(asked.schedule, core, folder) as server:
        yield server


def client_command(asked: Asked, streams: int, requests: int, url: str) -> list[str]:
    """A real run of the command, with one worker."""
    tokens = str(asked.schedule.tokens)
    return [
        *(sys.executable, "-m", "fluxperf", "--dataset", _PROMPTS, "--endpoint", url, "--model", "exact"),
        *("--num-samples", str(requests), "--concurrency", str(streams), "--rounds", "1", "--workers", "1"),
        *("--http", asked.http, "--min-output-tokens", tokens, "--max-output-tokens", tokens),
        *("--output-dir", _OUTPUT, "--overwrite", "--quiet"),
    ]


def write_prompts(path: Path, count: int) -> None:
    """A dataset of prompts of which no two are alike."""
    words = "hello world " * (PROMPT_WORDS // 2)
    path.write_text("".join(f'{{"text": "prompt {number} {words}"}}\n' for number in range(count)), "utf-8")


def run_client(command: list[str], core: int, place: Path, timeout_s: float) -> None:
    """Runs the command on that core to its end. Raises RunFailed if it fails, with what it said."""
    with child(command, core, place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            _, said = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise RunFailed(f"the client was not done after {timeout_s:.0f} s; try a lower --max-streams") from error
    if process.returncode != 0:
        reason = said.strip().removeprefix("fluxperf: ") or "it said nothing"
        kind = UsageError if process.returncode == UsageError.exit_code else RunFailed
        raise kind(f"the client ended with exit code {process.returncode}: {reason}")
