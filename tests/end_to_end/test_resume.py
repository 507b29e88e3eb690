"""A run that was cut short, and `--resume`: what was finished is not sent again, and the result is that of one run."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.end_to_end.command import Fluxperf
from tests.end_to_end.resuming import RESUME, assert_went_on, hold_from, kill, rounds_of, tree
from tests.end_to_end.servers import Exchange, Mock, Scripted, Serve, running_mock
from tests.end_to_end.stub import Gate, Stub, read_json, states, write_recipe

PROMPTS = 16
SLOTS = 4
MODEL_TIMES = f"--prefill-tokens-per-s 20000 --decode-ms 0.5 --overhead-ms 2 --tokens 4 --max-num-seqs {SLOTS}"


def assert_as_if_never_interrupted(run: Any) -> None:
    """One stage with levels 4 and 2: every round, every comparison, every answer, once and in order."""
    assert rounds_of(run) == [("one", level, number, False) for level in (4, 2) for number in (1, 2)]
    assert [one["successful_requests"] for one in run["rounds"]] == [PROMPTS] * 4
    compared = [(one["concurrency"], one["metric"], one["baseline_round"], one["round"]) for one in run["comparisons"]]
    assert compared == [(level, metric, 1, 2) for level in (4, 2) for metric in ("ttft_ms", "itl_ms", "latency_ms")]
    assert {one["pairs"] for one in run["comparisons"] if one["metric"] == "ttft_ms"} == {PROMPTS}
    answers = [(one["stage"], one["concurrency"], one["round"], one["answer"]) for one in run["evaluations"]]
    assert answers == [("one", 4, 2, "yes"), ("one", 2, 2, "yes")]
    assert [one["cold"] for one in run["rounds"] if one["round"] == 1] == [True, True]
    assert (states(run), run["partial"]) == ({"one": "complete"}, False)


@contextmanager
def plugged(mock: Mock) -> Iterator[None]:
    """Every place at the mock is taken by a request of ours: others wait, as long as the block lasts."""
    address = urlsplit(mock.url)
    body = json.dumps({"prompt": "plug", "stream": True, "max_tokens": 10**6, "min_tokens": 10**6}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    with ExitStack() as stack:
        for _ in range(SLOTS):
            sock = stack.enter_context(socket.create_connection((address.hostname, address.port)))
            sock.sendall(head + body)
            sock.recv(1)
        yield


def assert_no_spool(place: Path) -> None:
    assert list(place.rglob(".spool")) == []


def test_a_run_killed_in_a_round(fluxperf: Fluxperf) -> None:
    """Against somebody else's server: exactly the round in which it was killed is run."""
    fluxperf.write_prompts(2 * PROMPTS, words=40)
    gate = Gate(fluxperf.place)
    with running_mock(*MODEL_TIMES.split()) as mock:
        shared = {"endpoint": mock.url, "concurrency": [4, 2], "num_samples": PROMPTS, "engine": "vllm"}
        recipe = {"global": shared, "hooks": {"before_round": gate.hook}, "stages": [{"name": "one"}]}
        write_recipe(fluxperf, recipe)
        path = gate.shut("one", 2, 2)
        running = fluxperf.start("--recipe recipe.yaml")
        gate.await_run(running)
        assert [one["round"] for one in fluxperf.run_json()["rounds"]] == [1, 2, 1]
        with plugged(mock):
            waiting = mock.truth()["requests"] + 2
            gate.open(running, path)
            running.wait_until(lambda: bool(mock.truth()["requests"] == waiting))
            kill(running)
        before = fluxperf.run_json()
        assert before["partial"] is True
        assert before["stages"][0]["state"] == "partial"
        mock.ask("/truth/reset", "POST")

        ending = fluxperf(RESUME)
        assert ending.code == 0, ending.err
        assert mock.truth()["requests"] == PROMPTS
    assert "going on after 3 rounds finished before" in ending.err
    after = fluxperf.run_json()
    assert_went_on(before, after)
    assert_as_if_never_interrupted(after)
    assert after["rounds"][:3] == before["rounds"]
    assert after["evaluations"][0] == before["evaluations"][0]
    assert len(read_json(fluxperf.out / "one" / "concurrency_2_round_1.json")["requests"]) == PROMPTS
    assert [row["round"] for row in fluxperf.csv_rows()] == ["1", "2", "1", "2"]
    assert_no_spool(fluxperf.out)
    assert after["resumed_at"] == read_json(fluxperf.out / "one" / "run.json")["resumed_at"]


def own(fluxperf: Fluxperf, stub: Stub, *stages: dict[str, Any], **server: Any) -> None:
    """A recipe with a server of its own, two levels of four prompts each."""
    fluxperf.write_prompts(8)
    shared = {"endpoint": stub.url, "concurrency": [1, 2], "num_samples": 4}
    named = list(stages) or [{"name": "one"}]
    write_recipe(fluxperf, {"global": shared, "server": stub.block(**server), "stages": named})


@pytest.fixture
def stub(tmp_path: Path) -> Stub:
    return Stub.at(tmp_path)


@pytest.mark.parametrize("restart", ["per_stage", "per_round"])
def test_with_a_server_of_its_own_a_level_is_run_as_a_whole(fluxperf: Fluxperf, stub: Stub, restart: str) -> None:
    """Its cache went with it; unless every round begins with an empty one anyway."""
    gate = Gate(fluxperf.place)
    own(fluxperf, stub, {"name": "one", "hooks": {"before_round": gate.hook}}, restart=restart)
    path = gate.shut("one", 2, 2)
    running = fluxperf.start("--recipe recipe.yaml")
    gate.await_run(running)
    kill(running)
    path.unlink()
    before, sent = fluxperf.run_json(), len(stub.posts())
    ending = fluxperf(RESUME)
    assert ending.code == 0, ending.err
    assert len(stub.posts()) - sent == (4 if restart == "per_round" else 8)
    after = fluxperf.run_json()
    assert_went_on(before, after)
    assert [one[1:] for one in rounds_of(after)] == [(c, r, False) for c in (1, 2) for r in (1, 2)]
    assert after["rounds"][:2] == before["rounds"][:2]
    assert [one["cold"] for one in after["rounds"] if one["round"] == 1] != [False, False]
    assert (fluxperf.out / "one" / "server.log").read_text().count("--- fluxperf: start") == len(stub.starts())
    assert_no_spool(fluxperf.out)


def test_killed_before_the_first_round_ended(fluxperf: Fluxperf, stub: Stub) -> None:
    own(fluxperf, stub)
    stub.be("hold=2")
    running = fluxperf.start("--recipe recipe.yaml")
    stub.await_posts(running, 2)
    kill(running)
    before, sent = fluxperf.run_json(), len(stub.posts())
    assert before["rounds"] == []
    stub.be("")
    ending = fluxperf(RESUME)
    assert ending.code == 0, ending.err
    assert len(stub.posts()) - sent == 16
    assert len(fluxperf.run_json()["rounds"]) == 4
    assert list(fluxperf.place.glob("out*")) == [fluxperf.out]
    assert_went_on(before, fluxperf.run_json())


def test_killed_between_stages_and_again(fluxperf: Fluxperf, stub: Stub) -> None:
    """In the first hook of the second stage; then once more while the second stage is run."""
    gate = Gate(fluxperf.place)
    before_stage = gate.hook.replace("$FLUXPERF_CONCURRENCY.$FLUXPERF_ROUND", "0.0")
    stages = [{"name": name, "hooks": {"before_stage": before_stage}} for name in ("one", "two")]
    own(fluxperf, stub, *stages)
    path = gate.shut("two", 0, 0)
    running = fluxperf.start("--recipe recipe.yaml")
    gate.await_run(running)
    kill(running)
    path.unlink()
    first = fluxperf.run_json()
    assert states(first) == {"one": "complete", "two": "partial"}
    assert len(stub.posts()) == 16

    stub.be("hold=10")  # in the second level of stage two
    running = fluxperf.start(RESUME)
    stub.await_posts(running, 27)
    kill(running)
    second = fluxperf.run_json()
    assert len(second["resumed_at"]) == 1
    assert [one[0] for one in rounds_of(second)] == ["one"] * 4 + ["two"] * 2

    stub.be("")
    sent = len(stub.posts())
    ending = fluxperf(RESUME)
    assert ending.code == 0, ending.err
    assert "stage one was finished before" in ending.err
    assert len(stub.posts()) - sent == 8
    third = fluxperf.run_json()
    assert_went_on(first, third, 2)
    assert states(third) == {"one": "complete", "two": "complete"}
    assert third["stages"][0] == first["stages"][0]
    assert third["rounds"][:6] == second["rounds"]
    assert ending.out.split("Stages Side by Side")[1].count("8/8") == 4
    assert_no_spool(fluxperf.out)


def test_killed_in_the_last_hook_of_a_stage(fluxperf: Fluxperf, stub: Stub) -> None:
    """All was measured; only the hook is run again."""
    gate = Gate(fluxperf.place)
    hook = gate.hook.replace("$FLUXPERF_CONCURRENCY.$FLUXPERF_ROUND", "0.0")
    own(fluxperf, stub, {"name": "one", "hooks": {"after_stage": hook}})
    path = gate.shut("one", 0, 0)
    running = fluxperf.start("--recipe recipe.yaml")
    gate.await_run(running)
    kill(running)
    path.unlink()
    before = fluxperf.run_json()
    assert (len(before["rounds"]), states(before)) == (4, {"one": "partial"})
    ending = fluxperf(RESUME)
    assert ending.code == 0, ending.err
    assert len(stub.posts()) == 16
    after = fluxperf.run_json()
    assert_went_on(before, after)
    for name in ("rounds", "comparisons", "evaluations"):
        assert after[name] == before[name]


def test_at_once_while_the_watchdog_still_ends_the_server(fluxperf: Fluxperf, stub: Stub) -> None:
    """The port is taken by a server that goes: ours, not a stranger's."""
    own(fluxperf, stub, stop_timeout_s=1)
    stub.be("hold=10,stubborn")
    running = fluxperf.start("--recipe recipe.yaml")
    stub.await_posts(running, 11)
    os.kill(running.pid, signal.SIGKILL)
    assert running.process.wait() == -signal.SIGKILL
    stub.be("")
    ending = fluxperf(RESUME)
    assert ending.code == 0, ending.err
    assert fluxperf.run_json()["partial"] is False


def measuring(fluxperf: Fluxperf, server: Scripted, options: str = "") -> str:
    """Two levels of four prompts, without a recipe."""
    fluxperf.write_prompts(8)
    return fluxperf.measuring(server.url, f"--engine none --concurrency 1 2 --num-samples 4 --workers 1 {options}")


@pytest.mark.parametrize("how", ["killed", "ctrl-c"])
def test_without_a_recipe(fluxperf: Fluxperf, serve: Serve, how: str) -> None:
    server = serve(hold_from(10))
    line = measuring(fluxperf, server)
    running = fluxperf.start(line)
    server.wait_for(12)
    if how == "killed":
        kill(running)
        (fluxperf.out / ".run.json.0123abcd.tmp").write_text("{")  # as if it had been about to write it
    else:
        running.press_ctrl_c()
        assert running.end().code == 130
    before = fluxperf.run_json()
    server.script = lambda exchange: exchange.stream("a", "b")
    ending = fluxperf(f"{line} --resume")
    assert ending.code == 0, ending.err
    after = fluxperf.run_json()
    assert_went_on(before, after)
    assert [one[1:] for one in rounds_of(after)] == [(c, r, False) for c in (1, 2) for r in (1, 2)]
    assert [(one["concurrency"], one["metric"]) for one in after["comparisons"]].count((1, "ttft_ms")) == 1
    assert [one["concurrency"] for one in after["evaluations"]] == [1, 2]
    assert len(server.bodies) == 12 + 8
    # The round that had begun has sent the server some of its prompts.
    reasons = {one["concurrency"]: (one["cold"], one["cold_reason"]) for one in after["rounds"] if one["round"] == 1}
    assert reasons[2] == (False, "not cold: sent before by the run that was interrupted")
    assert reasons[1] == (before["rounds"][0]["cold"], before["rounds"][0]["cold_reason"])
    assert "not cold: sent before by the run that was interrupted" in ending.out
    assert "Comparison of Rounds" in ending.out
    assert [path.name for path in fluxperf.out.iterdir() if path.name.startswith(".")] == []


def test_after_the_death_of_the_server(fluxperf: Fluxperf, stub: Stub) -> None:
    own(fluxperf, stub)
    stub.be("die=10")
    assert fluxperf("--recipe recipe.yaml").code == 3
    before, sent = fluxperf.run_json(), len(stub.posts())
    assert states(before) == {"one": "failed"}
    stub.be("")
    ending = fluxperf(RESUME)
    assert ending.code == 0, ending.err
    assert len(stub.posts()) - sent == 8
    after = fluxperf.run_json()
    assert_went_on(before, after)
    assert states(after) == {"one": "complete"}
    assert after["stages"][0]["error"] is None
    assert Counter(rounds_of(after)) == Counter(("one", c, r, False) for c in (1, 2) for r in (1, 2))


def test_what_was_invalid_before_is_so_at_the_end(fluxperf: Fluxperf, serve: Serve) -> None:
    """Strict: the exit code is that of the whole campaign, not of what was left of it."""

    def script(exchange: Exchange) -> None:
        if exchange.number < 10:  # stage one finds all of its prompts in the cache at once
            exchange.stream("a", "b", cached_tokens=9 if exchange.number < 8 else 0)
        else:
            exchange.begin("half")
            exchange.hang()

    server = serve(script)
    fluxperf.write_prompts(8)
    shared = {"endpoint": server.url, "concurrency": 2, "num_samples": 4, "strict": True, "rounds": 2, "salt": True}
    write_recipe(fluxperf, {"global": shared, "stages": [{"name": "one"}, {"name": "two"}]})
    running = fluxperf.start("--recipe recipe.yaml")
    server.wait_for(12)
    kill(running)
    first = fluxperf.run_json()["stages"][0]
    assert (first["state"], first["verdict"]["status"]) == ("complete", "invalid")
    server.script = lambda exchange: exchange.stream("a", "b", cached_tokens=0)
    ending = fluxperf(RESUME)
    run = fluxperf.run_json()
    assert (run["partial"], run["verdict"]["status"]) == (False, "invalid")
    assert run["stages"][1]["verdict"]["status"] != "invalid"
    assert ending.code == 4, ending.err
    assert "stage one: the measurement is invalid (--strict):" in ending.err


def test_where_there_is_nothing_it_begins_anew_and_what_is_complete_is_left_alone(
    fluxperf: Fluxperf, stub: Stub
) -> None:
    own(fluxperf, stub)
    fluxperf.out.mkdir()
    ending = fluxperf(RESUME)
    assert ending.code == 0
    assert "there is nothing in out to go on with: beginning anew" in ending.err
    assert len(stub.posts()) == 16
    assert not fluxperf.run_json().get("resumed_at")
    before = tree(fluxperf.out)
    ending = fluxperf(RESUME)
    assert ending.code == 0
    assert "is complete" in ending.err
    assert (len(stub.posts()), tree(fluxperf.out)) == (16, before)
