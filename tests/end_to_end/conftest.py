from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.command import Fluxperf, fluxperf_in
from tests.end_to_end.servers import Mock, Serve, running_mock, scripted_servers


@pytest.fixture
def fluxperf(tmp_path: Path) -> Iterator[Fluxperf]:
    """The command, for one test."""
    with fluxperf_in(tmp_path) as command:
        yield command


@pytest.fixture(scope="module")
def shared_fluxperf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fluxperf]:
    """The command, for a run whose result several tests look at."""
    with fluxperf_in(tmp_path_factory.mktemp("run")) as command:
        yield command


@pytest.fixture(scope="session")
def mock_process() -> Iterator[Mock]:
    """The mock server that all tests share."""
    options = "--prefill-tokens-per-s 1e6 --decode-ms 0.5 --overhead-ms 1 --tokens 4 --max-num-seqs 256"
    with running_mock(*options.split()) as mock:
        yield mock


@pytest.fixture
def mock(mock_process: Mock) -> Mock:
    """The mock server, made to forget what it has seen."""
    mock_process.forget()
    return mock_process


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts scripted servers."""
    with scripted_servers() as serve:
        yield serve
