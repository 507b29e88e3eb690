"""Servers that behave as told, what is left of them, and waiting for what only /proc or a file can tell."""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fluxperf.plan.campaign import Ready, ServerSpec
from fluxperf.processes import keeper
from fluxperf.processes.kept import Kept, Order
from fluxperf.processes.server import Launch, ServerUnderTest

# Far more than anything here takes.
TIMEOUT_S = 30.0
ACT = (sys.executable, "-I", "-S", str(Path(__file__).with_name("act.py")))
_MARK = "FLUXPERF_TEST_PLACE"


def act(*words: object) -> tuple[str, ...]:
    return (*ACT, *map(str, words))


def until(condition: Callable[[], Any]) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come to this"
        select.select([], [], [], 0.01)


def ended(pid: int) -> bool:
    """Waits for the end of a process that need not be a child of ours."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], TIMEOUT_S)[0])
    finally:
        os.close(fd)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@dataclass
class Lab:
    """A directory in which things are started; all of them know it by a variable, which nothing can slip out of."""

    place: Path
    said: list[str] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], _MARK: str(self.place)}

    @property
    def log(self) -> Path:
        return self.place / "server.log"

    def left(self) -> list[int]:
        """What still runs of all that was started here."""
        mark = f"{_MARK}={self.place}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
            except OSError:
                continue
        return found

    def nothing_left(self) -> bool:
        """Waits for the end of all of them."""
        return all(ended(pid) for pid in self.left()) and not self.left()

    def kept(self, *words: object, **order: Any) -> Kept:
        """A command under way."""
        usual: dict[str, Any] = {"command": act(*words), "env": self.environ, "stop_timeout_s": 10.0}
        kept = Kept(Order(**usual | order))
        with self.log.open("ab") as file:
            kept.start(file.fileno())
        return kept

    def server(
        self, command: tuple[str, ...], *, at: int | None = None, launch: Mapping[str, Any] | None = None, **spec: Any
    ) -> ServerUnderTest:
        """A server that is not started yet; its endpoint is at the port `at`."""
        facts: dict[str, Any] = {"ready_timeout_s": TIMEOUT_S, "stop_timeout_s": 10.0}
        endpoint = None if at is None else f"http://127.0.0.1:{at}/v1/chat/completions"
        means: dict[str, Any] = {
            "environ": self.environ,
            "hidden": (),
            "key": None,
            "log": self.log,
            "endpoint": endpoint,
            "say": self.said.append,
        }
        return ServerUnderTest(ServerSpec(command=command, **facts | spec), Launch(**means | {**(launch or {})}))

    def http_server(self, *before: object, **spec: Any) -> ServerUnderTest:
        """One that answers at a port of its own."""
        port = free_port()
        return self.server(act(*before, "serve", port, "200"), at=port, **spec)

    def pipe(self) -> Path:
        path = self.place / "pipe"
        os.mkfifo(path)
        return path


def is_ready_when(line: str) -> Ready:
    return Ready(log_line=line)


def living(pid: int) -> bool:
    process = keeper.read_process(pid)
    return process is not None and not process.ended
