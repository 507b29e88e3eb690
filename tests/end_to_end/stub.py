"""Recipes for tests, and a server under test that misbehaves as it is told: `stub_server.py` is its own side."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.end_to_end.command import Fluxperf, Running
from tests.end_to_end.servers import PATH

PROGRAM = Path(__file__).with_name("stub_server.py")


def free_port() -> int:
    """One that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Stub:
    """The stub server of a test: how a recipe starts it, and what it has noted."""

    place: Path
    port: int

    @classmethod
    def at(cls, place: Path) -> Stub:
        """One at a free port, whose notes are in `place`/stub."""
        (place / "stub").mkdir()
        return cls(place / "stub", free_port())

    @property
    def command(self) -> list[str]:
        """Word by word."""
        return [sys.executable, "-I", "-S", str(PROGRAM), str(self.place), str(self.port)]

    @property
    def url(self) -> str:
        """Of chat completions."""
        return f"http://127.0.0.1:{self.port}{PATH}"

    def block(self, **more: Any) -> dict[str, Any]:
        """A recipe's `server`."""
        return {"command": self.command, "ready_timeout_s": 15, "stop_timeout_s": 5, **more}

    def be(self, mood: str) -> None:
        """How it behaves from its next start on; "": well."""
        (self.place / "mood").write_text(mood)

    def starts(self) -> list[Any]:
        """What it noted of each start: `pid` and `environ`."""
        return self._read("starts")

    def pids(self) -> list[int]:
        """The process of each start."""
        return [int(start["pid"]) for start in self.starts()]

    def posts(self) -> list[Any]:
        """What it noted of each request: `pid` and `body`."""
        return self._read("posts")

    def prompts(self) -> list[str]:
        """What it was asked, in the order in which it came."""
        return [post["body"]["messages"][-1]["content"] for post in self.posts()]

    def await_posts(self, running: Running, count: int) -> None:
        """Waits until so many requests have come."""
        running.wait_until(lambda: len(self.posts()) >= count)

    def _read(self, name: str) -> list[Any]:
        try:
            text = (self.place / name).read_text()
        except FileNotFoundError:
            return []
        whole = text[: text.rfind("\n") + 1]
        return [json.loads(line) for line in whole.splitlines()]


@dataclass(frozen=True, slots=True)
class Gate:
    """A hook that stops the run before one of its rounds, where a file says so, until the test lets it go on."""

    place: Path

    @property
    def hook(self) -> str:
        """The line for `before_round`."""
        gate = "$FLUXPERF_STAGE.$FLUXPERF_CONCURRENCY.$FLUXPERF_ROUND"
        return f'cd "{self.place}"; if [ -p "{gate}" ]; then touch reached; read -r _ < "{gate}"; fi'

    def shut(self, stage: str, concurrency: int, number: int) -> Path:
        """The run will stop before that round."""
        path = self.place / f"{stage}.{concurrency}.{number}"
        os.mkfifo(path)
        return path

    def await_run(self, running: Running) -> None:
        """Waits until the run stands there."""
        running.wait_until((self.place / "reached").exists)

    def open(self, running: Running, path: Path) -> None:
        """Lets the run go on."""
        writers: list[int] = []

        def is_open() -> bool:
            with suppress(OSError):  # nobody reads yet
                writers.append(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
            return bool(writers)

        running.wait_until(is_open)
        os.write(writers[0], b"\n")
        os.close(writers[0])
        path.unlink()


def write_recipe(fluxperf: Fluxperf, recipe: Mapping[str, Any], name: str = "recipe.yaml") -> None:
    """JSON is YAML. `global` gets what keeps a run short."""
    usual = {"dataset": "prompts.jsonl", "output_dir": "out", "max_output_tokens": 4, "engine": "none", "workers": 1}
    whole = {**recipe, "global": {**usual, **recipe.get("global", {})}}
    (fluxperf.place / name).write_text(json.dumps(whole, indent=1))


def read_json(path: Path) -> Any:
    """A file's value."""
    return json.loads(path.read_text("utf-8"))


def states(run: Any) -> dict[str, str]:
    """How far each stage came."""
    return {stage["name"]: stage["state"] for stage in run["stages"]}


def watchdogs(running: Running) -> set[int]:
    """Of the processes that a run has started, the parents that are not among them."""
    members = running.members
    found = set()
    for pid in members - {running.pid}:
        with suppress(OSError):
            (parent,) = re.findall(r"^PPid:\t(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
            found.add(int(parent))
    return {pid for pid in found - members if b"keeper.py" in Path(f"/proc/{pid}/cmdline").read_bytes()}
