"""How a benchmark gets its servers and clients: each on a core of its own, the server compiled if possible."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.peer import Load
from fluxperf.calibrate.child import child
from fluxperf.calibrate.machine import Cores
from fluxperf.calibrate.search import Range
from fluxperf.calibrate.server import Schedule, TestServer, compiled_server, mock_on_schedule
from fluxperf.calibrate.session import Asked, client_command, run_client, write_prompts
from fluxperf.calibrate.step import Step, read_step
from fluxperf.errors import FluxPerfError, RunFailed

ROOT = Path(__file__).resolve().parent.parent
PACE = Schedule(ttft_ms=20, itl_ms=10, tokens=64)
AT_ONCE = Schedule(ttft_ms=0, itl_ms=0, tokens=1)
FIRST_TRY_TIMEOUT_S = 20.0
AIOHTTP, HTTPX, OURS = "aiohttp", "httpx", "fluxperf"
PEERS = {AIOHTTP: "bench.peer_aiohttp", HTTPX: "bench.peer_httpx"}


@dataclass(frozen=True, slots=True)
class Measured:
    """What a client said of a load, what that was worth, and the CPU time it took from its start to its end."""

    round_json: dict[str, Any]
    step: Step
    whole_cpu_s: float

    @property
    def requests_per_s(self) -> float:
        """As the client said."""
        return float(self.round_json["summary"]["throughput"]["requests_per_s"] or 0)

    @property
    def whole_us_per_token(self) -> float:
        """CPU time of the whole process, with its start and its end."""
        return self.whole_cpu_s * 1e6 / max(self.step.tokens, 1)


@dataclass(frozen=True, slots=True)
class Rig:
    """Where things run. `repeats`: how often each is measured; the best counts."""

    folder: Path
    cores: Cores
    program: Path | None
    repeats: int = 1
    timeout_s: float = 300.0

    @contextmanager
    def server(self, schedule: Schedule, *, mock: bool = False) -> Iterator[TestServer]:
        """A server on its core: the compiled one, or the mock where that is asked for or all there is."""
        if mock or self.program is None:
            with mock_on_schedule(schedule, self.cores.server, self.folder) as server:
                yield server
        else:
            with compiled_server(self.program, schedule, self.cores.server) as server:
                yield server

    def best(self, client: str, server: TestServer, load: Load) -> Measured:
        """The best measurement of several, by the client's own error."""
        measured = [self.measure(client, server, load) for _ in range(self.repeats)]
        return min(measured, key=lambda one: one.step.client_excess)

    def measure(self, client: str, server: TestServer, load: Load) -> Measured:
        """One load by one client (OURS, or one of PEERS). Raises FluxPerfError."""
        server.reset()
        before_s = _children_cpu_s()
        said = self.run_ours(load) if client == OURS else self.run_peer(PEERS[client], load)
        cpu_s = _children_cpu_s() - before_s
        return Measured(said, read_step(said, server.truth(), PACE.answer_ms), cpu_s)

    def run_ours(self, load: Load) -> dict[str, Any]:
        """The command with one worker; gives the file of its round. Raises FluxPerfError."""
        write_prompts(self.folder / "prompts.jsonl", load.requests)
        asked = Asked(http=load.http, schedule=Schedule(0, 0, load.tokens), loads=Range(load.streams))
        command = client_command(asked, load.streams, load.requests, load.url)
        run_client(command, self.cores.client, self.folder, self.timeout_s)
        return read_round(self.folder, load.streams)

    def run_peer(self, module: str, load: Load) -> dict[str, Any]:
        """One of the usual clients. Raises RunFailed."""
        command = [sys.executable, "-m", module, *load.to_words()]
        with child(command, self.cores.client, ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            try:
                said, complaint = process.communicate(timeout=self.timeout_s)
            except subprocess.TimeoutExpired as error:
                raise RunFailed(f"it was not done after {self.timeout_s:.0f} s") from error
        if process.returncode != 0:
            raise RunFailed(complaint.strip().splitlines()[-1] if complaint.strip() else "it said nothing")
        return json.loads(said)  # type: ignore[no-any-return]


def read_round(folder: Path, streams: int) -> dict[str, Any]:
    """The file of the one round that our client ran."""
    path = folder / "out" / f"concurrency_{streams}_round_1.json"
    return json.loads(path.read_text("utf-8"))  # type: ignore[no-any-return]


def why_not(rig: Rig, client: str, server: TestServer, http: str) -> str | None:
    """Why this client cannot speak this protocol here; None: it can."""
    try:
        replace(rig, timeout_s=FIRST_TRY_TIMEOUT_S).measure(client, server, Load(server.url, http, 1, 1, 2))
    except FluxPerfError as error:
        return f"{client} over HTTP/{http} is left out: {error}"
    return None


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
