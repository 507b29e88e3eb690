"""A command with its watchdog: what is told of it, and that nothing of it outlives its end or ours."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fluxperf.errors import Interrupted, RunFailed
from fluxperf.processes import keeper
from fluxperf.processes.kept import Kept, Order, describe_status
from tests.processes.lab import TIMEOUT_S, Lab, act, ended, living, until

ROOT = Path(__file__).resolve().parents[2]


def await_status(kept: Kept) -> None:
    while kept.status is None:
        assert kept.wait(TIMEOUT_S)


def session_leader(kept: Kept) -> int:
    assert kept.keeper_pid is not None
    return kept.keeper_pid


@pytest.mark.parametrize(
    ("words", "how"),
    [(("exit", 0), "exit status 0"), (("exit", 3), "exit status 3")],
)
def test_an_exit_is_told(lab: Lab, words: tuple[object, ...], how: str) -> None:
    kept = lab.kept(*words)
    await_status(kept)
    assert (kept.ended, kept.left) == (how, False)
    assert kept.await_end(TIMEOUT_S)
    assert kept.last_status == kept.status
    kept.stop()
    assert kept.fd is None


def test_a_killed_command_is_told(lab: Lab) -> None:
    kept = lab.kept("hang")
    assert kept.ended is None
    assert kept.pid is not None
    os.kill(kept.pid, signal.SIGKILL)
    await_status(kept)
    assert kept.ended == "killed by signal 9 (SIGKILL)"
    assert not kept.lost
    kept.stop()


def test_a_real_time_signal_has_only_a_number() -> None:
    assert describe_status(40) == "killed by signal 40"


@pytest.mark.parametrize(
    ("command", "cwd", "why"),
    [
        (("no-such-command",), None, "no-such-command: No such file or directory"),
        (("/etc/passwd",), None, "/etc/passwd: Permission denied"),
        (("true",), "/no/such/place", "/no/such/place: No such file or directory"),
        (("true", "a\0b"), None, "true: embedded null byte"),
    ],
)
def test_what_cannot_be_started_is_told(lab: Lab, command: tuple[str, ...], cwd: str | None, why: str) -> None:
    with pytest.raises(RunFailed, match=f"^{why}$"):
        lab.kept(command=command, cwd=cwd)


def test_its_surroundings(lab: Lab) -> None:
    facts = lab.place / "facts"
    odd = os.fsdecode(b"\xff\xc3\xa9")
    kept = lab.kept("facts", facts, cwd=str(lab.place), env={**lab.environ, "ODD": odd})
    await_status(kept)
    kept.stop()
    told = json.loads(facts.read_text())
    assert told["cwd"] == str(lab.place)
    assert told["stdin"] == "/dev/null"
    assert told["fds"] == ["0", "1", "2", "3"]  # the last one is the listing's own
    assert told["environ"].pop("LC_CTYPE", "C.UTF-8") == "C.UTF-8"  # Python's own doing
    assert told["environ"] == {**lab.environ, "ODD": odd}


def test_it_runs_in_a_group_of_its_own_and_a_session_that_is_not_ours(lab: Lab) -> None:
    kept = lab.kept("hang")
    assert kept.pid is not None
    process = keeper.read_process(kept.pid)
    assert process is not None
    assert (process.group, process.session) == (kept.pid, session_leader(kept))
    assert process.session != os.getsid(0)
    kept.stop()


def test_the_watchdog_shows_no_environment_and_no_command(lab: Lab) -> None:
    kept = lab.kept("hang", env={**lab.environ, "TOKEN": "a-secret-text"})
    for name in ("environ", "cmdline"):
        data = Path(f"/proc/{kept.keeper_pid}/{name}").read_bytes()
        assert b"secret" not in data
        assert b"hang" not in data
    kept.stop()


def test_the_command_gets_ordinary_signals(lab: Lab) -> None:
    kept = lab.kept("hang")
    lines = Path(f"/proc/{kept.pid}/status").read_text().splitlines()
    blocked, ignored = (
        next(int(line.partition(":")[2], 16) for line in lines if line.startswith(name))
        for name in ("SigBlk", "SigIgn")
    )
    assert blocked == 0
    assert not any(ignored >> (signum - 1) & 1 for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT))
    kept.stop()


def test_terminal_signals_do_not_reach_the_watchdog(lab: Lab) -> None:
    kept = lab.kept("hang")
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(session_leader(kept), signum)
    assert not kept.wait(0.1)
    assert kept.pid is not None
    assert living(kept.pid)
    kept.stop()
    assert not kept.lost


def test_stopping_twice_is_stopping_once(lab: Lab) -> None:
    kept = lab.kept("hang")
    kept.stop()
    kept.stop()
    assert kept.unended == []
    assert kept.keeper_pid is None


def test_what_ignores_sigterm_is_killed(lab: Lab) -> None:
    kept = lab.kept("ignore-term", "say", "ignoring", "hang", stop_timeout_s=0.2)
    until(lambda: "ignoring" in lab.log.read_text())
    kept.stop()
    assert kept.ended == "killed by signal 9 (SIGKILL)"


def test_what_slips_away_is_found(lab: Lab) -> None:
    """It has a group, a session and a parent that are none of the command's, and ignores SIGTERM."""
    slipped = lab.place / "slipped"
    kept = lab.kept("slip", slipped, "hang", stop_timeout_s=0.2)
    until(lambda: slipped.exists() and slipped.read_text())
    pid = int(slipped.read_text())
    process = keeper.read_process(pid)
    assert process is not None
    assert process.session != session_leader(kept)
    kept.stop()
    assert not living(pid)


def test_what_slips_away_is_asked_to_end_first(lab: Lab) -> None:
    slipped = lab.place / "slipped"
    kept = lab.kept("slip-politely", slipped, "hang")
    until(lambda: slipped.exists() and slipped.read_text())
    kept.stop()
    assert slipped.read_text() == "goodbye"


def test_what_a_command_leaves_is_told_and_so_is_its_end(lab: Lab) -> None:
    pipe = lab.pipe()
    kept = lab.kept(command=("bash", "-c", f"(read -r line < {pipe}; exit 7) & exit 0"))
    await_status(kept)
    assert (kept.ended, kept.left, kept.last_status) == ("exit status 0", True, None)
    pipe.write_text("go\n")
    assert kept.await_end(TIMEOUT_S)
    assert kept.last_status == 7 << 8
    kept.stop()


def test_what_a_command_left_is_ended(lab: Lab) -> None:
    kept = lab.kept("slip", lab.place / "slipped", "exit", 0, stop_timeout_s=0.1)
    await_status(kept)
    assert kept.left
    assert lab.left()
    kept.stop()
    assert lab.left() == []


def test_a_tree_that_forks_all_the_time_is_ended(lab: Lab) -> None:
    line = "trap '' TERM; while :; do (exec sleep 600) & done"
    kept = lab.kept(command=("bash", "-c", line), stop_timeout_s=0)
    until(lambda: len(lab.left()) > 10)
    kept.stop()
    assert lab.left() == []
    assert kept.unended == []


def test_a_killed_watchdog_is_noticed_and_takes_the_group_along(lab: Lab) -> None:
    kept = lab.kept(command=("bash", "-c", "trap '' TERM; sleep 600 & sleep 600"))
    until(lambda: len(lab.left()) == 3)
    os.kill(session_leader(kept), signal.SIGKILL)
    assert kept.wait(TIMEOUT_S)
    assert kept.lost
    assert lab.nothing_left()
    kept.stop()


def test_an_interrupted_stop_goes_on_to_the_end(lab: Lab, interrupting: None) -> None:
    kept = lab.kept("ignore-term", "say", "ignoring", "hang", stop_timeout_s=0.5)
    until(lambda: "ignoring" in lab.log.read_text())
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    with pytest.raises(Interrupted):
        kept.stop()
    assert lab.left() == []
    assert kept.keeper_pid is None


@pytest.mark.parametrize("after_us", [*range(100, 4000, 150), *range(4000, 40_000, 2000)])
def test_a_start_that_is_interrupted_anywhere_leaves_nothing(lab: Lab, interrupting: None, after_us: int) -> None:
    others = keeper.descendants(os.getpid())  # of other tests
    kept = Kept(Order(command=act("hang"), env=lab.environ, stop_timeout_s=10.0))
    signal.setitimer(signal.ITIMER_REAL, after_us / 1e6)
    with pytest.raises(Interrupted):  # noqa: PT012
        try:
            kept.start(sys.stderr.fileno())
            until(lambda: False)
        finally:
            kept.stop()
    assert lab.nothing_left()
    assert (kept.fd, kept.keeper_pid) == (None, None)
    assert {one.pid for one in keeper.descendants(os.getpid())} <= {one.pid for one in others}


@pytest.fixture
def interrupting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """SIGALRM raises Interrupted, and is held back where the signals of users are."""

    def interrupt(signum: int, _frame: object) -> None:
        raise Interrupted(signum)

    before = signal.signal(signal.SIGALRM, interrupt)
    monkeypatch.setattr("fluxperf.processes.kept._SIGNALS", (signal.SIGALRM,))
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


DRIVER = """
import os, signal, sys
from fluxperf.processes.kept import Kept, Order
words = sys.argv[2:]
patience_s = 600 if sys.argv[1] == "alone" else 0.2
kept = Kept(Order(command=tuple(words), env=dict(os.environ), stop_timeout_s=patience_s))
with open("driver.log", "ab") as log:
    kept.start(log.fileno())
if sys.argv[1] == "fork" and os.fork() == 0:
    print(os.getpid(), flush=True)
    signal.pause()
print(kept.keeper_pid, flush=True)
signal.pause()
"""


@contextmanager
def driver(lab: Lab, kind: str, *words: object) -> Iterator[tuple[subprocess.Popen[str], set[int]]]:
    """Another FluxPerf that keeps a command, and the pids of its watchdog and, if it forks, its worker."""
    command = [sys.executable, "-c", DRIVER, kind, *act(*words, "say", "on", "hang")]
    env = {**lab.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env, cwd=lab.place) as process:
        assert process.stdout is not None
        pids = {int(process.stdout.readline()) for _ in range(1 + (kind == "fork"))}
        try:
            until(lambda: "on" in (lab.place / "driver.log").read_text())
            yield process, pids
        finally:
            process.kill()


@pytest.mark.parametrize("kind", ["alone", "fork"])
def test_nothing_outlives_fluxperf_when_it_is_killed(lab: Lab, kind: str) -> None:
    """Also where a worker that it has forked holds what it had open; and soon, however long an end may take else."""
    with driver(lab, kind, "ignore-term", "slip", lab.place / "slipped") as (process, pids):
        children = {pid for pid in lab.left() if pid != process.pid} - pids
        assert len(children) == 2
    worker = pids & set(lab.left())
    try:
        assert all(ended(pid) for pid in children)
        assert all(ended(pid) for pid in pids - worker)
        assert len(worker) == (kind == "fork")
    finally:
        for pid in worker:
            os.kill(pid, signal.SIGKILL)


def test_the_command_dies_with_its_watchdog_though_fluxperf_does_nothing(lab: Lab) -> None:
    with driver(lab, "alone") as (process, pids):
        [child] = {pid for pid in lab.left() if pid != process.pid}
        process.send_signal(signal.SIGSTOP)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        assert ended(child)
