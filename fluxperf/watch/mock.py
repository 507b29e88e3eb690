"""The built-in mock server as a child process: how to start and end it, not what it does."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from fluxperf.errors import RunFailed

READY_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0
_READY = "listening on "
_PR_SET_PDEATHSIG = 1


@contextmanager
def mock_server(host: str, port: int, hidden: Collection[str]) -> Iterator[str]:
    """Starts the mock and gives the URL of its chat completions; it ends with the block. Raises RunFailed.

    `hidden` names the environment variables that it must not see.
    """
    command = [sys.executable, "-m", "fluxperf_mock", "--host", host, "--port", str(port)]
    # In a group of its own, so that Ctrl-C reaches it only by way of us, after the last request.
    process = subprocess.Popen(  # noqa: S603 - a command of our own
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=_environment(hidden),
        process_group=0,
        preexec_fn=_die_with_parent,
    )
    try:
        yield _wait_until_ready(process)
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _die_with_parent() -> None:
    """Between fork and exec: prctl(2), so that it does not outlive a parent that is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _environment(hidden: Collection[str]) -> dict[str, str]:
    """Ours without what is hidden, and with the place of the mock's package."""
    found = importlib.util.find_spec("fluxperf_mock")
    if found is None or found.origin is None:
        raise RunFailed("the mock server's package fluxperf_mock is not to be found: install FluxPerf whole")
    here = Path(__file__).resolve().parents[2]
    paths = [str(Path(found.origin).parents[1]), str(here), os.environ.get("PYTHONPATH", "")]
    kept = {name: text for name, text in os.environ.items() if name not in hidden}
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def _wait_until_ready(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None  # noqa: S101
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        line = process.stdout.readline().decode() if selector.select(READY_TIMEOUT_S) else ""
    if _READY not in line:
        raise RunFailed("the mock server did not start; fluxperf mock by itself tells why")
    return line.partition(_READY)[2].strip()
