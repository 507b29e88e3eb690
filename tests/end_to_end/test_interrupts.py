"""Signals at any moment: what was finished is written whole and marked partial, and no process is left behind.

That none is left behind, `Running.end` looks after in every test.
"""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.command import TIMEOUT_S, Fluxperf, Running, ended, session_members
from tests.end_to_end.servers import Exchange, Mock, Scripted, Serve

SIGNALS = {"ctrl-c": (signal.SIGINT, 130), "term": (signal.SIGTERM, 143)}


def send(running: Running, signum: int) -> None:
    """As a terminal, or as a supervisor does."""
    if signum == signal.SIGINT:
        running.press_ctrl_c()
    else:
        os.kill(running.pid, signum)


def answer_four(exchange: Exchange) -> None:
    if exchange.number < 4:
        exchange.stream("a", "b")
    else:
        exchange.begin("half")
        exchange.hang()


@pytest.fixture
def server(serve: Serve) -> Scripted:
    """Answers four requests, and no more."""
    return serve(answer_four)


@pytest.mark.parametrize("name", SIGNALS)
def test_during_a_round(fluxperf: Fluxperf, server: Scripted, name: str) -> None:
    signum, code = SIGNALS[name]
    fluxperf.write_prompts(20)
    running = fluxperf.start(fluxperf.measuring(server.url, "--concurrency 3 --workers 2 --save-requests"))
    server.wait_for(7)
    send(running, signum)
    ending = running.end()
    assert (ending.code, ending.err.splitlines()[-1]) == (code, "fluxperf: interrupted")
    result = fluxperf.round(3, 1)
    assert result["summary"]["outcomes"] == {"ok": 4, "cut_off": 3}
    assert [result["summary"][f"{kind}_requests"] for kind in ("total", "successful", "failed")] == [4, 4, 0]
    assert result["summary"]["partial"] is True
    assert sorted(row["outcome"] for row in result["requests"]) == ["cut_off"] * 3 + ["ok"] * 4
    run = fluxperf.run_json()
    assert (run["partial"], [entry["partial"] for entry in run["rounds"]]) == (True, [True])
    assert [row["partial"] for row in fluxperf.csv_rows()] == ["true"]
    stopped = "concurrency 3, round 1: the round was stopped before its end: 4 of 20 requests are counted"
    assert any(reason.startswith(stopped) for reason in run["verdict"]["reasons"])
    assert run["verdict"]["status"] != "valid"
    assert "PARTIAL (stopped before its end)" in ending.out
    assert "Cut Off (not counted): 3" in ending.out
    assert {path.name for path in fluxperf.out.iterdir()} == {
        "run.json",
        "metrics_summary.csv",
        "histograms.hlog",
        "concurrency_3_round_1.json",
        "requests_concurrency_3_round_1.jsonl",
    }


@pytest.mark.parametrize("name", SIGNALS)
def test_between_rounds_with_a_mock_server_that_ends_too(fluxperf: Fluxperf, name: str) -> None:
    signum, code = SIGNALS[name]
    fluxperf.write_prompts(3)
    line = "--mock-server --dataset prompts.jsonl --max-output-tokens 1 --output-dir out"
    running = fluxperf.start_stalling(line)
    send(running, signum)
    assert running.end().code == code
    assert fluxperf.run_json()["partial"] is True
    assert [entry["partial"] for entry in fluxperf.run_json()["rounds"]] == [False]
    assert sorted(path.name for path in fluxperf.out.iterdir()) == [
        "concurrency_10_round_1.json",
        "histograms.hlog",
        "metrics_summary.csv",
        "run.json",
    ]


def test_a_second_ctrl_c_ends_it_at_once(fluxperf: Fluxperf, mock: Mock) -> None:
    fluxperf.write_prompts(3)
    running = fluxperf.start_stalling(fluxperf.measuring(mock.url))
    for _ in range(1000):  # the first is noted, but nobody reads on, so that only another one ends it
        running.press_ctrl_c()
        if ended(running.pid, 0.02):
            break
    ending = running.end()
    assert ending.code == 130
    assert "Comparison" not in ending.out
    assert fluxperf.run_json()["partial"] is True


@pytest.mark.parametrize("name", SIGNALS)
def test_while_the_dataset_is_read(fluxperf: Fluxperf, server: Scripted, name: str) -> None:
    signum, code = SIGNALS[name]
    pipe = fluxperf.place / "prompts.jsonl"
    os.mkfifo(pipe)
    running = fluxperf.start(fluxperf.measuring(server.url))
    writers: list[int] = []

    def reader_is_there() -> bool:
        try:
            writers.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return False
        return True

    running.wait_until(reader_is_there)
    os.write(writers[0], b'{"text": "the first of many"}\n')
    send(running, signum)
    assert running.end() == (code, "", "fluxperf: interrupted\n")
    os.close(writers[0])
    assert server.connections == 0
    assert not fluxperf.out.exists()


def connects_to(address: tuple[str, int]) -> bool:
    """Whether somebody waits for a connection to this address (state 02 in proc(5)'s net/tcp)."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(line.split()[2].endswith(f":{address[1]:04X}") and line.split()[3] == "02" for line in lines)


def test_while_the_connections_of_a_round_are_opened(fluxperf: Fluxperf) -> None:
    fluxperf.write_prompts(3)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:  # has room for the first look at it only
        address: Any = full.getsockname()
        url = f"http://127.0.0.1:{address[1]}/v1/chat/completions"
        running = fluxperf.start(fluxperf.measuring(url, "--engine none"))
        running.wait_until(lambda: connects_to(address))
        running.press_ctrl_c()
        ending = running.end()
    assert ending.code == 130
    assert "Traceback" not in ending.err
    assert fluxperf.run_json()["partial"] is True


def test_while_the_models_are_asked_for(fluxperf: Fluxperf, server: Scripted) -> None:
    server.look = Exchange.hang
    fluxperf.write_prompts(3)
    running = fluxperf.start(f"--endpoint {server.url} --dataset prompts.jsonl")
    running.wait_until(lambda: bool(server.gets))
    running.press_ctrl_c()
    assert running.end() == (130, "", "fluxperf: interrupted\n")
    assert server.bodies == []


def test_workers_do_not_outlive_a_parent_that_is_killed(fluxperf: Fluxperf, server: Scripted) -> None:
    fluxperf.write_prompts(20)
    running = fluxperf.start(fluxperf.measuring(server.url, "--concurrency 3 --workers 2"))
    server.wait_for(7)
    workers = running.others
    assert len(workers) == 2
    os.kill(running.pid, signal.SIGKILL)
    assert [pid for pid in workers if not ended(pid, TIMEOUT_S)] == []
    assert running.end().code == -signal.SIGKILL
    assert not session_members(running.pid)
    spools = [*(fluxperf.out / ".spool").iterdir()]
    assert sum(path.stat().st_size for path in spools) > 0

    server.script = lambda exchange: exchange.stream("a", "b")
    assert fluxperf.measure(server.url).code == 0  # and what is there is not mixed with a later run
    (kept,) = fluxperf.place.glob("out.*")
    assert [path.name for path in (kept / ".spool").iterdir()] == [path.name for path in spools]


def test_a_worker_that_is_killed_fails_the_run_and_loses_nothing_finished(fluxperf: Fluxperf, server: Scripted) -> None:
    fluxperf.write_prompts(20)
    running = fluxperf.start(fluxperf.measuring(server.url, "--concurrency 3 --workers 2"))
    server.wait_for(7)
    os.kill(min(running.others), signal.SIGKILL)
    ending = running.end()
    assert ending.code == 3
    assert "was killed by signal 9 (SIGKILL)" in ending.err.splitlines()[-1]
    result = fluxperf.round(3, 1)
    assert result["summary"]["outcomes"] == {"ok": 4, "cut_off": 3}
    assert sorted(row["outcome"] for row in result["requests"]) == ["cut_off"] * 3 + ["ok"] * 4
    assert fluxperf.run_json()["partial"] is True
    verdict = fluxperf.run_json()["verdict"]
    assert verdict["status"] == "invalid"
    assert " died: " in verdict["reasons"][0]
