"""What the tests of `--resume` have in common."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.end_to_end.command import Running
from tests.end_to_end.servers import Exchange

RESUME = "--recipe recipe.yaml --resume"
STATE = Path(".spool") / "state.msgpack"


def kill(running: Running) -> None:
    os.kill(running.pid, signal.SIGKILL)
    assert running.end().code == -signal.SIGKILL


def rounds_of(run: Any) -> list[tuple[Any, ...]]:
    return [(one.get("stage"), one["concurrency"], one["round"], one["partial"]) for one in run["rounds"]]


def assert_went_on(before: Any, after: Any, times: int = 1) -> None:
    """The run is complete, began when it began, and says when it was gone on with."""
    assert after["partial"] is False
    assert after["started_at"] == before["started_at"]
    assert len(after["resumed_at"]) == times
    assert after["started_at"] <= after["resumed_at"][0] <= after["ended_at"]


def tree(place: Path) -> dict[str, bytes]:
    """All files with what is in them, but for who holds the lock."""
    return {str(path): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def hold_from(limit: int) -> Callable[[Exchange], None]:
    """Answers so many requests, and no more."""

    def script(exchange: Exchange) -> None:
        if exchange.number < limit:
            exchange.stream("a", "b")
        else:
            exchange.begin("half")
            exchange.hang()

    return script
