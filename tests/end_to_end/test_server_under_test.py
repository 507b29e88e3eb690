"""The server that a recipe starts, whatever it does: told at once, ended with all that came from it, never a stranger.

That nothing is left behind, `Running.end` looks after in every test.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.command import TIMEOUT_S, Ended, Fluxperf, Running, ended, fluxperf_in
from tests.end_to_end.servers import Serve
from tests.end_to_end.stub import Stub, read_json, states, watchdogs, write_recipe

KEY = "sk-sesame-open"
SIGNALS = {"ctrl-c": (signal.SIGINT, 130), "term": (signal.SIGTERM, 143), "kill": (signal.SIGKILL, -signal.SIGKILL)}


@pytest.fixture
def stub(tmp_path: Path) -> Stub:
    return Stub.at(tmp_path)


def write(fluxperf: Fluxperf, stub: Stub, *, server: dict[str, Any] | None = None, **more: Any) -> None:
    """One stage with eight prompts, and the stub as its server."""
    fluxperf.write_prompts(8)
    recipe = {
        "global": {"endpoint": stub.url, "concurrency": 2},
        "server": stub.block(**(server or {})),
        "stages": [{"name": "one"}],
    }
    write_recipe(fluxperf, {**recipe, **more})


def run(fluxperf: Fluxperf) -> Ended:
    return fluxperf("--recipe recipe.yaml")


def error_of(fluxperf: Fluxperf) -> str:
    (stage,) = fluxperf.run_json()["stages"]
    assert stage["state"] == "failed"
    return str(stage["error"])


def test_a_death_in_start_up_is_told_with_its_status_and_its_last_words(fluxperf: Fluxperf, stub: Stub) -> None:
    write(fluxperf, stub)
    stub.be("fail")
    ending = run(fluxperf)
    assert ending.code == 3
    assert "the server died: exit status 5" in ending.err
    quoted = [line for line in ending.err.splitlines() if "loading part" in line]
    assert [line.rpartition(" ")[2] for line in quoted] == [str(number) for number in range(10, 40)]
    assert "Traceback" not in ending.err
    assert "exit status 5" in error_of(fluxperf)
    assert fluxperf.run_json()["partial"] is True
    assert "failed" in ending.out.split("Stages Side by Side")[1]
    assert stub.posts() == []


def test_a_start_up_that_hangs_is_given_up(fluxperf: Fluxperf, stub: Stub) -> None:
    write(fluxperf, stub, server={"ready_timeout_s": 1})
    stub.be("deaf")
    ending = run(fluxperf)
    assert ending.code == 3
    assert "the server was not ready within 1 s" in ending.err
    assert "raise ready_timeout_s" in ending.err
    assert len(stub.starts()) == 1


def test_a_command_that_is_not_there_is_told_before_anything_is_started(fluxperf: Fluxperf, stub: Stub) -> None:
    write(fluxperf, stub, server={"command": ["no-such-server", "--port", str(stub.port)]})
    ending = run(fluxperf)
    assert ending.code == 2
    assert "no-such-server" in ending.err
    assert not fluxperf.out.exists()


def test_a_death_in_a_round_is_noticed_at_once(fluxperf: Fluxperf, stub: Stub) -> None:
    """A process that it leaves keeps the connections: two requests would hang until their timeout of 300 s."""
    write(fluxperf, stub)
    stub.be("hold=3,twin")
    running = fluxperf.start("--recipe recipe.yaml")
    stub.await_posts(running, 4)
    os.kill(stub.pids()[0], signal.SIGSEGV)
    ending = running.end()
    assert ending.code == 3
    assert "the server died: killed by signal 11 (SIGSEGV)" in ending.err
    result = read_json(fluxperf.out / "one" / "concurrency_2_round_1.json")
    assert result["summary"]["partial"] is True
    assert result["summary"]["successful_requests"] == 2
    assert "PARTIAL" in ending.out
    assert fluxperf.run_json()["partial"] is True
    assert "SIGSEGV" in error_of(fluxperf)


def test_a_death_in_a_round_is_told_with_its_last_words(fluxperf: Fluxperf, stub: Stub) -> None:
    write(fluxperf, stub)
    stub.be("die=4")
    ending = run(fluxperf)
    assert ending.code == 3
    assert "the server died: exit status 7" in ending.err
    assert "| out of memory, says the stub" in ending.err
    assert len(stub.posts()) in (4, 5)
    assert read_json(fluxperf.out / "one" / "concurrency_2_round_1.json")["summary"]["partial"] is True
    assert "out of memory, says the stub" in (fluxperf.out / "one" / "server.log").read_text()


def test_one_that_ignores_sigterm_and_breeds_and_floods(fluxperf: Fluxperf, stub: Stub) -> None:
    write(fluxperf, stub, server={"stop_timeout_s": 0.3})
    stub.be("stubborn,breed,flood")
    running = fluxperf.start("--recipe recipe.yaml")
    stub.await_posts(running, 1)
    ending = running.end()  # looks for the children too
    assert ending.code == 0, ending.err
    assert (fluxperf.out / "one" / "server.log").stat().st_size > 4e6
    assert ended(stub.pids()[0], 0)


def test_a_port_that_is_a_strangers_is_an_error(fluxperf: Fluxperf, stub: Stub, serve: Serve) -> None:
    stranger = serve(lambda exchange: exchange.stream("a"))
    write(fluxperf, Stub(stub.place, stranger.server_port))
    ending = run(fluxperf)
    assert ending.code == 3
    assert f"port {stranger.server_port}" in ending.err
    assert str(os.getpid()) in ending.err  # who has it
    assert "is taken" in error_of(fluxperf)
    assert (stub.starts(), stranger.bodies, stranger.gets) == ([], [], [])


def test_one_that_is_there_may_be_taken_as_it_is(fluxperf: Fluxperf, stub: Stub, serve: Serve) -> None:
    """As `auto_restart: false` says; it is neither started nor ended."""
    stranger = serve(lambda exchange: exchange.stream("a"))
    fluxperf.write_prompts(8)
    vllm = {"auto_restart": False, "startup_command": " ".join(stub.command), "port": stranger.server_port}
    stages = [{"name": "one"}, {"name": "two"}]
    ready = {"url": "/health", "status": 404}
    recipe = {"global": {"concurrency": 2}, "vllm": {**vllm, "ready": ready}, "stages": stages}
    write_recipe(fluxperf, recipe)
    ending = run(fluxperf)
    assert ending.code == 0, ending.err
    assert "it is tested as it is, and neither ended nor started again" in ending.err
    assert (stub.starts(), len(stranger.bodies)) == ([], 32)
    for stage in fluxperf.run_json()["stages"]:
        assert (stage["server"]["adopted"], stage["server"]["starts"]) == (True, 0)


def test_relative_paths_are_of_the_working_directory(fluxperf: Fluxperf, stub: Stub) -> None:
    program = fluxperf.place / "bin" / "serve"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\npwd > started_in\nexec {' '.join(stub.command)}\n")
    program.chmod(0o755)
    (fluxperf.place / "there").mkdir()
    elsewhere = {"command": "../bin/serve", "cwd": "there"}
    stages = [{"name": "one", "hooks": {"before_stage": "pwd > hooked_in"}}, {"name": "two", "server": elsewhere}]
    write(fluxperf, stub, server={"command": "./bin/serve", "log": "logs/server.log"}, stages=stages)
    ending = run(fluxperf)
    assert ending.code == 0, ending.err
    for folder, place in (("started_in", "."), ("hooked_in", "."), ("there/started_in", "there")):
        assert (fluxperf.place / folder).read_text().strip() == str((fluxperf.place / place).resolve())
    assert (fluxperf.place / "logs" / "server.log").read_text().count("--- fluxperf: start") == 2


# What happens when FluxPerf is told to end, or is killed: where it is then, and how the test knows.
def in_a_round(fluxperf: Fluxperf, stub: Stub) -> Callable[[], bool]:
    write(fluxperf, stub, server={"stop_timeout_s": 0.2})
    stub.be("hold=3,breed")
    return lambda: len(stub.posts()) >= 4


def while_it_waits_for_the_server(fluxperf: Fluxperf, stub: Stub) -> Callable[[], bool]:
    write(fluxperf, stub, server={"ready_timeout_s": 600, "stop_timeout_s": 0.2})
    stub.be("deaf,breed")
    return lambda: len(stub.starts()) == 1


def while_it_asks_the_server(fluxperf: Fluxperf, stub: Stub) -> Callable[[], bool]:
    write(fluxperf, stub, server={"ready_timeout_s": 600})
    stub.be("mute")
    return lambda: len(stub.starts()) == 1


def in_a_hook(fluxperf: Fluxperf, stub: Stub) -> Callable[[], bool]:
    begun = fluxperf.place / "begun"
    write(fluxperf, stub, hooks={"before_round": f"sleep 1000 & touch {begun}; sleep 1000; true"})
    return begun.exists


PLACES = {
    "in a round": in_a_round,
    "while it waits": while_it_waits_for_the_server,
    "while it asks": while_it_asks_the_server,
    "in a hook": in_a_hook,
}


def send(running: Running, signum: int) -> None:
    if signum == signal.SIGINT:
        running.press_ctrl_c()
    else:
        os.kill(running.pid, signum)


@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_left_when_fluxperf_is_told_to_end_or_killed(tmp_path: Path, place: str) -> None:
    """Three runs side by side, one for each signal."""
    with ExitStack() as stack:
        runs = {}
        for name in SIGNALS:
            (tmp_path / name).mkdir()
            fluxperf, stub = stack.enter_context(fluxperf_in(tmp_path / name)), Stub.at(tmp_path / name)
            is_there = PLACES[place](fluxperf, stub)
            runs[name] = fluxperf, stub, is_there, fluxperf.start("--recipe recipe.yaml")
        for name, (fluxperf, stub, is_there, running) in runs.items():
            running.wait_until(is_there)
            of_ours = watchdogs(running)
            assert of_ours
            send(running, SIGNALS[name][0])
            ending = running.end()
            assert ending.code == SIGNALS[name][1]
            assert [pid for pid in of_ours if not ended(pid, TIMEOUT_S)] == []
            assert [pid for pid in stub.pids() if not ended(pid, 0)] == []
            if name != "kill":
                assert_is_told(fluxperf, ending)


def assert_is_told(fluxperf: Fluxperf, ending: Ended) -> None:
    """That the run was stopped."""
    assert ending.err.splitlines()[-1] == "fluxperf: interrupted"
    assert "Traceback" not in ending.err
    run_json = fluxperf.run_json()
    assert (run_json["partial"], states(run_json)) == (True, {"one": "partial"})
    assert "stopped before its end" in ending.out


def test_a_second_ctrl_c_while_the_server_is_ended(fluxperf: Fluxperf, stub: Stub) -> None:
    write(fluxperf, stub, server={"stop_timeout_s": 600})
    stub.be("hold=3,stubborn")
    running = fluxperf.start("--recipe recipe.yaml")
    stub.await_posts(running, 4)
    (watchdog,) = watchdogs(running)
    workers = running.others - set(stub.pids())
    running.press_ctrl_c()
    running.wait_until(lambda: not workers & running.members)  # then only the server is left to be ended
    deadline_s = time.monotonic() + TIMEOUT_S
    while not ended(running.pid, 0.05):
        assert time.monotonic() < deadline_s
        running.press_ctrl_c()
    assert running.process.wait(TIMEOUT_S) == 130
    assert running.end().code == 130  # with nothing left, long before the server's ten minutes are over
    assert ended(watchdog, TIMEOUT_S)


def test_the_api_key_is_nowhere(fluxperf: Fluxperf, stub: Stub) -> None:
    """Not in the environment of server or hook, whatever the variable; in no log, file or process title."""
    begun = fluxperf.place / "begun"
    hooks = {"before_stage": "env", "before_round": f"env; touch {begun}", "after_stage": "env"}
    stage = {"name": "one", "env": {"MY_COPY": KEY, "COLOUR": "red"}}
    write(fluxperf, stub, hooks=hooks, stages=[stage], server={"env": {"ITS_COPY": KEY}})
    (fluxperf.place / "recipe.yaml").write_text((fluxperf.place / "recipe.yaml").read_text().replace(KEY, "${THE_KEY}"))
    stub.be("hold=3")
    keys = {"FLUXPERF_API_KEY": KEY, "OPENAI_API_KEY": KEY, "THE_KEY": KEY}
    running = fluxperf.start(f"--recipe recipe.yaml --api-key {KEY}", keys)
    stub.await_posts(running, 4)
    (server,) = stub.pids()
    everybody = {*running.members, *watchdogs(running)}
    assert [pid for pid in everybody if KEY.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()] == []
    environ = Path(f"/proc/{server}/environ").read_bytes()
    assert b"COLOUR=red\0" in environ
    assert KEY.encode() not in environ
    running.press_ctrl_c()
    ending = running.end()
    assert b"COLOUR=red" in (fluxperf.out / "one" / "hooks.log").read_bytes()
    files = [path for path in fluxperf.place.rglob("*") if path.is_file()]
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
    assert KEY not in ending.out + ending.err


@pytest.mark.parametrize("signum", [0, signal.SIGKILL])
def test_a_line_that_puts_its_server_into_the_background(fluxperf: Fluxperf, stub: Stub, signum: int) -> None:
    port = stub.port
    fluxperf.write_prompts(8)
    vllm = {"auto_restart": True, "startup_command": f"{' '.join(stub.command)} &", "port": port}
    ready = {"url": f"http://127.0.0.1:{port}/v1/models"}
    stages = [{"name": "one"}, {"name": "two"}]
    write_recipe(fluxperf, {"global": {"concurrency": 2}, "vllm": {**vllm, "ready": ready}, "stages": stages})
    if not signum:
        ending = run(fluxperf)
        assert ending.code == 0, ending.err
        assert len(stub.starts()) == 2
        return
    stub.be("hold=1")
    running = fluxperf.start("--recipe recipe.yaml")
    stub.await_posts(running, 2)
    of_ours = watchdogs(running)
    os.kill(running.pid, signum)
    assert running.end().code == -signum
    assert [pid for pid in (*of_ours, *stub.pids()) if not ended(pid, TIMEOUT_S)] == []
