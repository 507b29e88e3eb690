"""The schedule of the exact server, on a clock of the test's own: each piece comes exactly when it is due."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxperf.calibrate.server import SOURCES, find_compiler

DRIVER = Path(__file__).resolve().parent / "simulation.c"


class Request(NamedTuple):
    """When it arrives, how many tokens it wants, and when its client leaves (None: never)."""

    arrives: int
    tokens: int
    leaves: int | None


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """schedule.c with everything around it replaced."""
    compiler = find_compiler()
    if compiler is None:
        pytest.skip("there is no C compiler")
    program = tmp_path_factory.mktemp("simulation") / "simulation"
    sources: list[str | Path] = [f"-I{SOURCES}", DRIVER, SOURCES / "schedule.c"]
    subprocess.run([*compiler, "-O1", "-Wall", "-Wextra", "-Werror", "-o", program, *sources], check=True)
    return program


requests = st.builds(
    Request,
    arrives=st.integers(1, 300),
    tokens=st.integers(1, 6),
    leaves=st.none() | st.integers(1, 400),
)


@given(st.integers(1, 50), st.integers(1, 50), st.lists(requests, max_size=60))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_piece_comes_when_it_is_due(simulation: Path, ttft: int, itl: int, wanted: list[Request]) -> None:
    wanted = [
        request._replace(leaves=None if (request.leaves or 0) <= request.arrives else request.leaves)
        for request in wanted
    ]
    lines = [f"{ttft} {itl}", *(f"{arrives} {tokens} {leaves or -1}" for arrives, tokens, leaves in wanted)]
    done = subprocess.run([simulation], input="\n".join(lines), capture_output=True, text=True, check=True)
    written = sorted((int(number), piece, int(at)) for number, piece, at in map(str.split, done.stdout.splitlines()))
    due = []
    for number, (arrives, tokens, leaves) in enumerate(wanted):
        times = [(number, "R", arrives), *((number, "T", arrives + ttft + k * itl) for k in range(tokens))]
        times.append((number, "E", times[-1][2]))
        due += [entry for entry in times if leaves is None or entry[2] < leaves]
    assert written == sorted(due)


def test_what_is_written_is_in_order(simulation: Path) -> None:
    lines = ["10 7", *(f"{1 + 13 * number % 97} 5 -1" for number in range(60))]
    done = subprocess.run([simulation], input="\n".join(lines), capture_output=True, text=True, check=True)
    times = [int(line.split()[2]) for line in done.stdout.splitlines()]
    assert len(times) == 60 * 7
    assert times == sorted(times)
