from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.processes.lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A place to start things in; the test fails if anything is left that it has not left on purpose."""
    lab = Lab(tmp_path)
    try:
        yield lab
        assert lab.nothing_left()
    finally:
        for pid in lab.left():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
