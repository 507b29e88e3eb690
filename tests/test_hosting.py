"""With the real mock server: starting it takes a third of a second."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from fluxperf.errors import ServerDied
from fluxperf.fetch import Access, fetch
from fluxperf.hosting import Ground, Host, wanted_server
from fluxperf.plan.campaign import Ready, Restart, ServerSpec, StageSpec
from fluxperf.plan.settings import Settings

ELSEWHERE = "http://somebody.else/v1/chat/completions"

Enter = Callable[[StageSpec], str]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def host(said: list[str]) -> Iterator[Host]:
    host = Host(said.append)
    yield host
    host.close()


@pytest.fixture
def enter(host: Host, tmp_path: Path) -> Enter:
    """A stage begins, and its server is there."""
    return lambda stage: host.enter(stage, Ground(tmp_path, tmp_path))


def a_stage(restart: Restart | None = None, **facts: Any) -> StageSpec:
    """One with a mock, which is started again as `restart` says."""
    settings = Settings(dataset="d", mock_server=True)
    server = None if restart is None else ServerSpec(command=(), restart=restart)
    plain: dict[str, Any] = {"settings": settings, "name": "A", "mock": {"port": 0}, "server": server}
    return StageSpec(**plain | facts)


def a_program(code: str) -> StageSpec:
    """A stage whose server is ready when it says so."""
    command = (sys.executable, "-c", f"import os, signal, sys; {code}")
    server = ServerSpec(command=command, ready=Ready(log_line="ready "), restart="never")
    return StageSpec(settings=Settings(dataset="d", endpoint="http://127.0.0.1:9/"), name="A", server=server)


def serves(url: str) -> bool:
    parts = urlsplit(url)
    return fetch(f"http://{parts.netloc}/health", Access(), timeout_s=5).ok


def test_somebody_elses_server_is_left_to_itself(host: Host, enter: Enter) -> None:
    stage = StageSpec(settings=Settings(dataset="d", endpoint=ELSEWHERE), name="A")
    assert enter(stage) == ELSEWHERE
    assert not host.renew(level_begins=True)
    assert (host.life, host.is_ours(), host.fds(), host.why_dead(), host.describe()) == (0, False, (), None, None)


def test_a_mock_is_there_for_a_stage_and_gone_after_it(host: Host, enter: Enter, said: list[str]) -> None:
    stage = a_stage(settings=Settings(dataset="d", mock_server=True, endpoint=ELSEWHERE))
    url = enter(stage)
    assert serves(url)
    assert said == [f"testing the built-in mock server at {url}, not {ELSEWHERE}"]
    assert (host.life, host.is_ours(), len(host.fds())) == (1, True, 1)
    host.leave()
    assert not serves(url)
    assert (host.is_ours(), host.fds()) == (False, ())


@pytest.mark.parametrize(
    ("restart", "fresh"),
    [
        (None, [True, False, False, False]),
        ("never", [True, False, False, False]),
        ("per_stage", [True, False, False, False]),
        ("per_level", [True, False, True, False]),
        ("per_round", [True, True, True, True]),
    ],
)
def test_it_begins_anew_as_often_as_it_should(
    host: Host, enter: Enter, restart: Restart | None, fresh: list[bool]
) -> None:
    """Two levels of two rounds, and the same port all the time."""
    url = enter(a_stage(restart))
    assert [host.renew(level_begins=begins) for begins in (True, False, True, False)] == fresh
    assert host.life == sum(fresh)
    assert serves(url)
    told = host.describe()
    assert told is not None
    assert (told["starts"], told["restart"]) == (sum(fresh), restart or "per_stage")


def test_one_that_is_never_started_again_is_kept_for_the_next_stage(host: Host, enter: Enter, said: list[str]) -> None:
    url = enter(a_stage("never"))
    assert host.renew(level_begins=True)
    host.leave()
    assert enter(a_stage("never", name="B", env={"X": "1"})) == url
    assert said == ["the server keeps the environment of stage A: restart is never"]
    assert not host.renew(level_begins=True)
    assert host.life == 1


def test_another_server_takes_its_place(host: Host, enter: Enter) -> None:
    url = enter(a_stage("never"))
    other = enter(a_stage("never", name="B", mock={"port": 0, "decode_ms": 3}))
    assert host.life == 2
    assert serves(other)
    assert url == other or not serves(url)


def test_one_that_died_is_told_and_not_kept(host: Host, enter: Enter, tmp_path: Path) -> None:
    enter(a_program("print('ready', os.getpid(), flush=True); signal.pause()"))
    os.kill(int((tmp_path / "server.log").read_text().split()[-1]), signal.SIGTERM)
    assert select.select(host.fds(), [], [], 20)[0]
    with pytest.raises(ServerDied, match=r"killed by signal 15 \(SIGTERM\)(.|\n)*ready"):
        host.renew(level_begins=True)
    host.leave()
    assert (host.is_ours(), host.why_dead()) == (False, None)


def test_one_that_dies_in_its_start_is_told_and_forgotten(host: Host, enter: Enter) -> None:
    with pytest.raises(ServerDied, match=r"exit status 3(.|\n)*no such model"):
        enter(a_program("print('no such model'); sys.exit(3)"))
    assert (host.is_ours(), host.fds(), host.life) == (False, (), 0)


def test_a_mock_has_the_settings_of_the_recipe_and_the_restarts_of_the_server_it_stands_for() -> None:
    spec = wanted_server(a_stage("per_level", mock={"port": 0, "decode_ms": 3.5, "model": None}))
    assert spec is not None
    assert spec.command[1:] == ("-m", "fluxperf_mock", "--port=0", "--decode-ms=3.5")
    assert spec.restart == "per_level"
    assert wanted_server(replace(a_stage(), mock=None)) is None
