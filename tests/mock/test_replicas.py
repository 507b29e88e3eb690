"""Several processes behind one port, on real sockets."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.mock.conftest import ENVIRONMENT
from tests.mock.samples import read

QUICK = ("--decode-ms", "0", "--overhead-ms", "0", "--prefill-tokens-per-s", "1e9")


def ask(port: int, method: str, path: str, body: object = None) -> bytes:
    """The answer to a request on a connection of its own."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as client:
        client.request(method, path, json.dumps(body) if body else None)
        response = client.getresponse()
        assert response.status == 200
        return response.read()


def complete(port: int, prompt: str = "x" * 400) -> Any:
    return json.loads(ask(port, "POST", "/v1/completions", {"prompt": prompt, "max_tokens": 2}))


def cached(port: int) -> int:
    return int(complete(port)["usage"]["prompt_tokens_details"]["cached_tokens"])


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextlib.contextmanager
def started(*options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A mock server whose end is up to the test, and its port."""
    command = [sys.executable, "-m", "fluxperf_mock", "--port", "0", *options]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline().rpartition(":")[2].partition("/")[0])
        finally:
            process.kill()


def test_connections_go_to_each_in_turn_and_each_has_its_own_cache(serve: Callable[..., int]) -> None:
    port = serve("--replicas", "3", *QUICK)
    assert [cached(port) for _ in range(7)] == [0, 0, 0, 96, 96, 96, 96]


def test_any_of_them_tells_the_truth_of_all(serve: Callable[..., int]) -> None:
    port = serve("--replicas", "2", *QUICK)
    ids = [complete(port)["id"] for _ in range(5)]
    assert len(set(ids)) == 5
    for _ in range(2):
        truth = json.loads(ask(port, "GET", "/truth"))
        assert (truth["replicas"], truth["requests"], truth["tokens"], truth["e2e_ms"]["n"]) == (2, 5, 10, 5)
    metrics = ask(port, "GET", "/metrics").decode()
    name = r'vllm:generation_tokens_total\{engine="(\d)",model_name="fluxperf-mock"\} (\S+)'
    assert re.findall(name, metrics) == [("0", "6.0"), ("1", "4.0")]


def test_a_reset_is_of_all(serve: Callable[..., int]) -> None:
    port = serve("--replicas", "2", *QUICK)
    assert [cached(port) for _ in range(4)] == [0, 0, 96, 96]
    assert json.loads(ask(port, "POST", "/reset_prefix_cache")) == {"success": True}
    assert [cached(port) for _ in range(4)] == [0, 0, 96, 96]
    ask(port, "GET", "/reset")
    assert json.loads(ask(port, "GET", "/truth"))["requests"] == 0
    assert cached(port) == 96


def test_an_engine_without_a_label_for_it_shows_the_sum(serve: Callable[..., int]) -> None:
    port = serve("--replicas", "2", "--engine", "sglang", *QUICK)
    assert [cached(port) for _ in range(4)] == [0, 0, 96, 96]
    for _ in range(2):
        samples = read(ask(port, "GET", "/metrics").decode())
        assert samples['sglang:prompt_tokens_total{model_name="fluxperf-mock"}'] == 400
        assert samples['sglang:cached_tokens_total{model_name="fluxperf-mock",cache_source="device"}'] == 192
    ask(port, "POST", "/flush_cache")
    assert [cached(port) for _ in range(2)] == [0, 0]


def test_a_slot_erased_is_all_that_any_holds(serve: Callable[..., int]) -> None:
    port = serve("--replicas", "2", "--engine", "llamacpp", *QUICK)
    assert [cached(port) for _ in range(3)] == [0, 0, 96]
    erased = [json.loads(ask(port, "POST", "/slots/1?action=erase")) for _ in range(3)]
    assert erased == [{"id_slot": 1, "n_erased": tokens} for tokens in (192, 0, 0)]
    assert [cached(port) for _ in range(2)] == [0, 0]


def test_all_of_them_started_at_one_time(serve: Callable[..., int], tmp_path: Path) -> None:
    port = serve("--replicas", "2", *QUICK)
    starts = {read(ask(port, "GET", "/metrics").decode())["process_start_time_seconds"] for _ in range(6)}
    assert len(starts) == 1
    assert starts.pop() == pytest.approx(tmp_path.stat().st_mtime, abs=3600)


def test_no_cache_is_reset_while_a_request_runs_anywhere(serve: Callable[..., int]) -> None:
    port = serve("--replicas", "2", "--decode-ms", "60000", "--overhead-ms", "0")
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as client:
        client.request("POST", "/v1/completions", json.dumps({"prompt": "x", "stream": True, "max_tokens": 2}))
        assert client.getresponse().readline().startswith(b"data: ")
        for _ in range(2):
            assert json.loads(ask(port, "POST", "/reset_prefix_cache")) == {"success": False}
    assert any(json.loads(ask(port, "GET", "/truth"))["aborted"] for _ in range(10_000))
    assert json.loads(ask(port, "POST", "/reset_prefix_cache")) == {"success": True}


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_all(signum: signal.Signals, code: int) -> None:
    with started("--replicas", "2") as (process, port):
        replicas = children(process.pid)
        assert len(replicas) == 2
        assert complete(port)
        for pid in replicas:  # as a terminal or a service manager would
            os.kill(pid, signum)
        process.send_signal(signum)
        rest, errors = process.communicate(timeout=20)
        assert (process.returncode, rest, errors.count("\n")) == (code, "", 1)
        assert "2 replicas take the connections in turn, each with a cache of its own" in errors
        assert not any(Path(f"/proc/{pid}").exists() for pid in replicas)


def test_a_replica_that_dies_ends_the_server() -> None:
    with started("--replicas", "3") as (process, _):
        replicas = children(process.pid)
        os.kill(replicas[1], signal.SIGKILL)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 3
        assert errors.splitlines()[1:] == [
            f"fluxperf mock: replica 1 (pid {replicas[1]}) was killed by signal 9 (SIGKILL); the others were ended too"
        ]
        assert not any(Path(f"/proc/{pid}").exists() for pid in replicas)


def test_replicas_end_with_a_parent_that_is_killed() -> None:
    with started("--replicas", "2") as (process, _):
        ends = [os.pidfd_open(pid) for pid in children(process.pid)]
        process.kill()
        try:
            watch = select.poll()
            for end in ends:
                watch.register(end, select.POLLIN)
            while ends:
                gone = [descriptor for descriptor, _ in watch.poll(10_000)]
                assert gone, "a replica outlives its parent"
                for descriptor in gone:
                    watch.unregister(descriptor)
                    ends.remove(descriptor)
                    os.close(descriptor)
        finally:
            for descriptor in ends:
                os.close(descriptor)


def test_each_has_a_core_of_its_own_if_there_are_enough() -> None:
    cores = sorted(os.sched_getaffinity(0))
    with started("--replicas", str(len(cores))) as (process, _):
        assert [os.sched_getaffinity(pid) for pid in children(process.pid)] == [{core} for core in cores]
    with started("--replicas", str(len(cores) + 1)) as (process, _):
        assert all(os.sched_getaffinity(pid) == set(cores) for pid in children(process.pid))


def test_a_port_in_use_is_said_once() -> None:
    with started() as (_, port):
        command = [sys.executable, "-m", "fluxperf_mock", "--port", str(port), "--replicas", "2"]
        ended = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, ended.stdout) == (3, "")
    assert re.fullmatch(r"fluxperf mock: cannot listen on .*: another program listens there; .*\n", ended.stderr)
