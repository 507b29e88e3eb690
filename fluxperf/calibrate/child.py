"""Child processes of a calibration: on a core of their own, unreachable for Ctrl-C, and never left behind."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

STOP_TIMEOUT_S = 10.0
# What a child must not see: keys, and what would change a run.
_HIDDEN = ("FLUXPERF_API_KEY", "OPENAI_API_KEY", "FLUXPERF_CALIBRATION", "FLUXPERF_TEST_STALL")
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


@contextmanager
def child(command: Sequence[str | Path], core: int, place: Path, **streams: Any) -> Iterator[subprocess.Popen[str]]:
    """Starts a command in the directory `place`, pinned to `core`; ended with the block. `streams` are Popen's.

    It is in a process group of its own, so that Ctrl-C reaches it only by way of us, and it gets
    SIGTERM when we die.
    """

    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        os.sched_setaffinity(0, {core})

    process: subprocess.Popen[str] = subprocess.Popen(  # noqa: S603 - commands of our own
        command,
        cwd=place,
        stdin=subprocess.DEVNULL,
        text=True,
        env=environment(os.environ),
        process_group=0,
        preexec_fn=prepare,
        **streams,
    )
    try:
        yield process
    finally:
        _end(process)


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Ours without what is hidden, and with the places of our packages, which may not be installed."""
    found = [importlib.util.find_spec(name) for name in ("fluxperf", "fluxperf_mock")]
    folders = [str(Path(spec.origin).parents[1]) for spec in found if spec is not None and spec.origin is not None]
    paths = [*folders, ours.get("PYTHONPATH", "")]
    kept = {name: text for name, text in ours.items() if name not in _HIDDEN}
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdout, process.stderr):
        _close(stream)


def _close(stream: IO[str] | None) -> None:
    if stream is not None:
        stream.close()
