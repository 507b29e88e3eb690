"""What a calibration starts: on its core, without secrets, and never left behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fluxperf.calibrate.child import child, environment
from fluxperf.calibrate.server import Schedule, compiled_server, find_compiler
from fluxperf.errors import RunFailed

CORE = min(os.sched_getaffinity(0))
TIMEOUT_S = 20.0


def run(script: str, place: Path) -> str:
    with child([sys.executable, "-c", script], CORE, place, stdout=subprocess.PIPE) as process:
        said, _ = process.communicate(timeout=TIMEOUT_S)
    return str(said).strip()


def test_it_runs_on_its_core_in_its_place_and_group(tmp_path: Path) -> None:
    script = "import os; print(os.sched_getaffinity(0), os.getcwd(), os.getpgrp() == os.getpid())"
    assert run(script, tmp_path) == f"{{{CORE}}} {tmp_path} True"


def test_it_finds_our_packages_and_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    script = "import os, fluxperf, fluxperf_mock; print(os.environ.get('OPENAI_API_KEY'))"
    assert run(script, tmp_path) == "None"


def test_what_would_change_a_run_is_hidden() -> None:
    ours = {"FLUXPERF_CALIBRATION": "x", "FLUXPERF_API_KEY": "x", "OPENAI_API_KEY": "x", "PYTHONPATH": "mine", "A": "b"}
    theirs = environment(ours)
    assert set(theirs) == {"PYTHONPATH", "A"}
    assert theirs["PYTHONPATH"].split(os.pathsep)[-1] == "mine"
    assert "" not in environment({})["PYTHONPATH"].split(os.pathsep)


def test_it_ends_with_the_block_whatever_ends_that(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        child([sys.executable, "-c", "import signal; signal.pause()"], CORE, tmp_path) as process,
    ):
        raise KeyboardInterrupt
    assert process.returncode == -signal.SIGTERM


def test_it_does_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import signal, sys\nfrom pathlib import Path\nfrom fluxperf.calibrate.child import child\n"
        "with child([sys.executable, '-c', 'import signal; signal.pause()'], int(sys.argv[1]), Path('.')) as process:\n"
        "    print(process.pid, flush=True)\n    signal.pause()\n"
    )
    command = [sys.executable, "-c", script, str(CORE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(os.environ)) as parent:
        assert parent.stdout is not None
        fd = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    try:
        assert select.select([fd], [], [], TIMEOUT_S)[0]
    finally:
        os.close(fd)


def test_a_server_that_does_not_start_is_told(tmp_path: Path) -> None:
    program = tmp_path / "exact_server"
    program.symlink_to("/bin/true")
    with (
        pytest.raises(RunFailed, match="the test server did not start"),
        compiled_server(program, Schedule(1, 1, 1), CORE),
    ):
        pass


def test_a_compiler_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "sh -c")
    assert find_compiler() == ["sh", "-c"]
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setenv("PATH", "")
    assert find_compiler() is None
