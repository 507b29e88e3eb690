"""A server under test: its start, what tells that it is ready, its death, and what is left of it, which is nothing."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fluxperf.errors import Interrupted, RunFailed, ServerDied
from fluxperf.fetch import Answer, fetch
from fluxperf.plan.campaign import Ready
from fluxperf.processes import server as module
from fluxperf.processes.ports import find_listeners
from fluxperf.processes.server import ServerUnderTest
from tests.processes.lab import TIMEOUT_S, Lab, act, free_port, is_ready_when, until

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def running(server: ServerUnderTest) -> Iterator[ServerUnderTest]:
    """Started, and ended with the block."""
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def stranger(port: int, status: int = 200) -> Iterator[int]:
    """Somebody else's server, and its pid."""
    command = act("serve", port, status)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "listening" in process.stdout.readline()
        try:
            yield process.pid
        finally:
            process.kill()


def test_it_is_ready_when_it_lists_its_models(lab: Lab) -> None:
    server = lab.http_server()
    with running(server):
        assert "asked for /v1/models" in lab.log.read_text()
        assert (server.starts, server.adopted, server.death()) == (1, False, None)
        assert lab.left() == server.pids()
        assert server.fd is not None
    assert server.fd is None
    assert server.death() is None
    assert server.pids() == []
    assert any(text.startswith("the server is ready after") for text in lab.said)


def test_each_start_has_a_line_in_the_log_without_secrets(lab: Lab) -> None:
    command = (*act("serve", port := free_port(), "200"), "--api-key", "a-secret-text")
    server = lab.server(command, at=port)
    with running(server):
        first = server.pids()
        server.restart()
        assert set(server.pids()).isdisjoint(first)
    assert server.starts == 2
    lines = [line for line in lab.log.read_text().splitlines() if line.startswith("--- fluxperf: ")]
    assert [line.split(", ")[0] for line in lines] == ["--- fluxperf: start 1", "--- fluxperf: start 2"]
    assert "Z: " in lines[0]
    assert "secret" not in "".join([*lines, *lab.said])


def test_an_answer_below_500_will_do(lab: Lab) -> None:
    port = free_port()
    with running(lab.server(act("serve", port, "503,500,401"), at=port)):
        assert lab.log.read_text().count("asked for") == 3


def test_only_the_wanted_status_will_do(lab: Lab) -> None:
    port = free_port()
    ready = Ready(url=f"http://127.0.0.1:{port}/health", statuses=(200, 204))
    with running(lab.server(act("serve", port, "404,503,204"), ready=ready)):
        assert lab.log.read_text().count("asked for /health") == 3


def test_a_line_of_the_log_tells_that_it_is_ready(lab: Lab) -> None:
    pipe = lab.pipe()
    server = lab.server(act("say", "loading", "read", pipe, "serve", 0, "200"), ready=is_ready_when("listening on "))
    with subprocess.Popen(["sh", "-c", f"echo > {pipe}"]), running(server):
        assert server.ready_line is not None
        url = server.ready_line.removeprefix("act listening on ")
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=TIMEOUT_S):
            pass


def test_a_line_of_an_earlier_start_tells_nothing(lab: Lab) -> None:
    server = lab.server(act("say", "it is ready", "hang"), ready=is_ready_when("it is ready"))
    with running(server):
        pass
    late = lab.server(act("hang"), ready=is_ready_when("it is ready"), ready_timeout_s=0.3)
    with pytest.raises(RunFailed, match="no line of its log has 'it is ready' in it"):
        late.start()


def test_both_signs_are_waited_for(lab: Lab) -> None:
    port = free_port()
    ready = Ready(url=f"http://127.0.0.1:{port}/health", log_line="warm")
    server = lab.server(act("serve", port, "200"), ready=ready, ready_timeout_s=1.0)
    with pytest.raises(RunFailed, match="'warm'"):
        server.start()
    server = lab.server(act("say", "warm", "hang"), ready=ready, ready_timeout_s=1.0)
    with pytest.raises(RunFailed, match="/health cannot be read"):
        server.start()
    with running(lab.server(act("say", "warm", "serve", port, "200"), ready=ready)) as server:
        assert server.ready_line == "warm"


def test_a_death_in_start_up_is_told_with_the_end_of_the_log(lab: Lab) -> None:
    server = lab.server(
        act("say", "one\x1b[31m\ntwo sk-secret-key", "exit", 3), at=free_port(), launch={"secrets": ("sk-secret-key",)}
    )
    with pytest.raises(ServerDied) as caught:
        server.start()
    text = str(caught.value)
    assert "the server died: exit status 3" in text
    assert text.endswith(f"the last 2 lines of its log {lab.log}:\n  | one\n  | two ****")
    assert server.starts == 1
    assert (server.fd, lab.left()) == (None, [])


def test_a_death_is_told_at_once_though_its_children_live(lab: Lab) -> None:
    server = lab.server(act("slip", lab.place / "slipped", "exit", 3), at=free_port(), stop_timeout_s=0.1)
    with pytest.raises(ServerDied, match="exit status 3"):
        server.start()
    assert lab.left() == []


def test_a_silent_death_says_that_the_log_is_empty(lab: Lab) -> None:
    with pytest.raises(ServerDied, match="sends its output elsewhere"):
        lab.server(act("exit", 0), at=free_port()).start()


def test_what_cannot_be_started_is_told(lab: Lab) -> None:
    with pytest.raises(RunFailed, match="cannot start the server: no-such-server: No such file or directory") as caught:
        lab.server(("no-such-server", "--api-key", "a-secret-text"), at=free_port()).start()
    assert "a-secret-text" not in str(caught.value)


def test_a_server_that_hangs_in_start_up_is_ended(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAY_EACH_S", 0.2)
    server = lab.server(act("say", "loading weights", "hang"), at=free_port(), ready_timeout_s=1.0)
    with pytest.raises(RunFailed, match=r"not ready within 1 s: .*cannot be read.* ready_timeout_s") as caught:
        server.start()
    assert "  | loading weights" in str(caught.value)
    assert not isinstance(caught.value, ServerDied)
    assert any("waiting for the server" in text and "loading weights" in text for text in lab.said)
    assert lab.left() == []


def test_a_death_later_is_told_by_the_descriptor(lab: Lab) -> None:
    server = lab.http_server()
    with running(server):
        assert server.fd is not None
        assert select.select([server.fd], [], [], 0)[0] == []
        os.kill(server.pids()[0], signal.SIGKILL)
        assert select.select([server.fd], [], [], TIMEOUT_S)[0]
        until(lambda: server.death() is not None)
        text = server.death()
        assert text is not None
        assert "killed by signal 9 (SIGKILL)" in text
        assert "  | asked for /v1/models" in text
        assert server.death() == text
    assert server.death() is None


def test_after_a_death_it_can_be_started_again(lab: Lab) -> None:
    server = lab.http_server()
    with running(server):
        os.kill(server.pids()[0], signal.SIGTERM)
        until(lambda: server.death() is not None)
        server.restart()
        assert server.death() is None
        assert server.starts == 2


def test_an_exit_after_readiness_is_a_death_though_it_leaves_processes(lab: Lab) -> None:
    pipe = lab.pipe()
    command = act("slip", lab.place / "slipped", "say", "ready", "read", pipe, "exit", 0)
    with running(lab.server(command, ready=is_ready_when("ready"), stop_timeout_s=0.1)) as server:
        pipe.write_text("go")
        until(lambda: server.death() is not None)
        assert "exit status 0" in str(server.death())


def test_what_a_shell_puts_into_the_background_is_the_server(lab: Lab) -> None:
    port = free_port()
    line = " ".join(act("serve", port, "200")) + " &"
    with running(lab.server(("bash", "-c", line), at=port)) as server:
        assert server.death() is None
        [pid] = server.pids()
        os.kill(pid, signal.SIGKILL)
        until(lambda: server.death() is not None)
        assert "in the background; the last of its processes: killed by signal 9" in str(server.death())


def test_what_dies_in_the_background_died_in_start_up(lab: Lab) -> None:
    server = lab.server(("bash", "-c", "(while kill -0 $$; do :; done; exit 5) &"), at=free_port())
    with pytest.raises(ServerDied, match=r"in the background; .*: exit status 5"):
        server.start()


def test_much_output_blocks_nobody(lab: Lab) -> None:
    server = lab.server(act("flood", 100, "say", "over now", "hang"), ready=is_ready_when("over now"))
    with running(server):
        assert server.ready_line == "over now"
        assert lab.log.stat().st_size > 100_000_000
    lab.log.unlink()


def test_what_ignores_sigterm_is_killed_and_said_to_take_long(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLOW_STOP_S", 0.1)
    server = lab.server(act("ignore-term", "say", "up", "hang"), ready=is_ready_when("up"), stop_timeout_s=0.5)
    with running(server):
        pass
    assert "ending the server, which has 0.5 s for that" in lab.said
    assert lab.left() == []


def test_a_port_that_is_taken_is_an_error(lab: Lab) -> None:
    port = free_port()
    with stranger(port) as pid, pytest.raises(RunFailed, match=rf"port {port} of 127.0.0.1 is taken: pid {pid} \("):
        lab.server(act("serve", port, "200"), at=port).start()
    assert not lab.log.exists()


def test_so_is_a_taken_port_of_its_own(lab: Lab) -> None:
    port = free_port()
    with stranger(port), pytest.raises(RunFailed, match=f"port {port} "):
        lab.server(act("hang"), at=free_port(), port=port).start()


def test_a_stranger_may_be_adopted(lab: Lab) -> None:
    port = free_port()
    with stranger(port) as pid:
        server = lab.server(act("hang"), at=port, adopt=True)
        with running(server):
            assert (server.adopted, server.starts, server.fd, server.pids()) == (True, 0, None, [])
            server.restart()
            assert server.death() is None
        assert [listener.pid for listener in find_listeners(port)] == [pid]
    assert any(f"pid {pid}" in text and "as it is" in text for text in lab.said)


def test_where_nobody_is_to_be_adopted_ours_is_started(lab: Lab) -> None:
    with running(lab.http_server(adopt=True)) as server:
        assert (server.adopted, server.starts) == (False, 1)


def test_an_adopted_one_must_be_ready_too(lab: Lab) -> None:
    port = free_port()
    with stranger(port, 503), pytest.raises(RunFailed, match=r"was not ready within 0\.5 s"):
        lab.server(act("hang"), at=port, adopt=True, ready_timeout_s=0.5).start()


def test_a_port_that_ours_had_may_become_free_late(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    server = lab.http_server()
    answers = [True, True, False]
    with running(server):
        monkeypatch.setattr(module, "listens", lambda _: answers.pop(0))
        server.restart()
    assert answers == []


def test_an_answer_is_not_ours_when_ours_is_dead(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody takes the port between our look and our server's start."""
    port = free_port()
    server = lab.server(act("say", "address in use", "exit", 1), at=port)

    def fetch_late(*words: Any, **options: Any) -> Answer:
        until(lambda: server.death() is not None)
        return fetch(*words, **options)

    monkeypatch.setattr(module, "listens", lambda _: False)
    monkeypatch.setattr(module, "fetch", fetch_late)
    with stranger(port), pytest.raises(ServerDied, match="address in use"):
        server.start()


def test_that_another_one_listens_is_said(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setattr(module, "listens", lambda _: False)
    with stranger(port) as pid, running(lab.server(act("hang"), at=port)):
        assert any(f"pid {pid}" in text and "has not started" in text for text in lab.said)


def test_its_environment(lab: Lab) -> None:
    facts = lab.place / "facts"
    ours = {"HUB_TOKEN": "k-1", "OTHER": "the-key", "STAGE": "low", "GONE": "x", "REPLACED": "old"}
    server = lab.server(
        act("facts", facts, "say", "done", "hang"),
        ready=is_ready_when("done"),
        env={"GONE": None, "REPLACED": "new", "MINE": "m", "EXPLICIT": "the-key", "ABSENT": None},
        cwd=str(lab.place),
        launch={"environ": lab.environ | ours, "hidden": ("HUB_TOKEN",), "key": "the-key"},
    )
    with running(server):
        pass
    told = json.loads(facts.read_text())
    told["environ"].pop("LC_CTYPE", None)
    assert told["environ"] == lab.environ | {"STAGE": "low", "REPLACED": "new", "MINE": "m"}
    assert told["cwd"] == str(lab.place)


@pytest.mark.parametrize("mood", ["hang", "ignore-term"])
def test_ctrl_c_while_it_starts_leaves_nothing(lab: Lab, mood: str) -> None:
    def interrupt(signum: int, _frame: object) -> None:
        raise Interrupted(signum)

    before = signal.signal(signal.SIGALRM, interrupt)
    slipped = lab.place / "slipped"
    server = lab.server(act(mood, "slip", slipped, "hang"), at=free_port(), stop_timeout_s=0.3)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(Interrupted):
            server.start()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert lab.left() == []
    server.stop()
    assert server.fd is None


DRIVER = """
import os, sys
from pathlib import Path
from fluxperf.plan.campaign import Ready, ServerSpec
from fluxperf.processes.server import Launch, ServerUnderTest
spec = ServerSpec(command=tuple(sys.argv[1:]), ready=Ready(log_line="up"), stop_timeout_s=0.2)
launch = Launch(environ=os.environ, hidden=(), key=None, log=Path("log"), endpoint=None, say=lambda text: None)
server = ServerUnderTest(spec, launch)
server.start()
print(*server.pids(), flush=True)
sys.stdin.read()
"""


def test_nothing_is_left_when_fluxperf_is_killed(lab: Lab) -> None:
    command = [sys.executable, "-c", DRIVER, *act("slip", lab.place / "slipped", "ignore-term", "say", "up", "hang")]
    env = {**lab.environ, "PYTHONPATH": str(ROOT)}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env=env, cwd=lab.place, **pipes) as driver:
        assert driver.stdout is not None
        pids = [int(word) for word in driver.stdout.readline().split()]
        assert len(pids) == 2
        driver.kill()
    assert lab.nothing_left()


def test_a_killed_watchdog_is_a_death(lab: Lab) -> None:
    server = lab.http_server()
    with running(server):
        assert server._kept is not None
        assert server._kept.keeper_pid is not None
        os.kill(server._kept.keeper_pid, signal.SIGKILL)
        until(lambda: server.death() is not None)
        assert "its watchdog process was killed" in str(server.death())
        assert lab.nothing_left()
