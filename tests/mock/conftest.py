from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mock.certificate import Certificate

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'mock'}"}


@contextlib.contextmanager
def serving(*options: str) -> Iterator[int]:
    """A mock server of its own, which must end cleanly, and says nothing unless it is several; gives its port."""
    scheme = "https" if "--tls-cert" in options else "http"
    command = [sys.executable, "-m", "fluxperf_mock", "--port", "0", *options]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline()
            before, _, path = line.rpartition("/v1/")
            assert path == "chat/completions\n", line + process.stderr.read()
            assert before.startswith(f"fluxperf mock listening on {scheme}://127.0.0.1:")
            yield int(before.rpartition(":")[2])
        finally:
            process.send_signal(signal.SIGTERM)
            rest, errors = process.communicate(timeout=10)
    assert (process.returncode, rest, bool(errors)) == (0, "", "--replicas" in options), errors


@pytest.fixture
def serve() -> Iterator[Callable[..., int]]:
    """Starts mock servers with the options given, and ends them."""
    with contextlib.ExitStack() as stack:
        yield lambda *options: stack.enter_context(serving(*options))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="session")
def quick_port() -> Iterator[int]:
    """The port of one mock server that answers at once, for tests that only ask."""
    with serving("--decode-ms", "0.1", "--overhead-ms", "0", "--prefill-tokens-per-s", "1e6", "--tokens", "8") as port:
        yield port
