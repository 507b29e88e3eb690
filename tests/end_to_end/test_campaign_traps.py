"""What would look right and be wrong: prompts taken for new that were sent, signals that nobody hears, secrets."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from tests.end_to_end.command import Fluxperf
from tests.end_to_end.resuming import hold_from
from tests.end_to_end.servers import Mock, Scripted, Serve
from tests.end_to_end.stub import states, write_recipe

QUICK_MOCK = {"prefill_tokens_per_s": 1e6, "decode_ms": 0.5, "overhead_ms": 1}


def first_rounds(run: Any) -> dict[str, str | None]:
    """Of each stage, why its first round was not cold."""
    return {one["stage"]: one["cold_reason"] for one in reversed(run["rounds"]) if one["round"] == 1}


def test_what_a_server_was_sent_is_known_by_whatever_name_and_whoever_came_between(
    fluxperf: Fluxperf, mock: Mock
) -> None:
    fluxperf.write_prompts(4)
    here = {"endpoint": mock.url, "concurrency": 2}
    stages = [
        {"name": "A", **here},
        {"name": "B", "mock_server": QUICK_MOCK, "concurrency": 2},
        {"name": "C", **here},
        {"name": "D", **here, "endpoint": mock.url.replace("127.0.0.1", "localhost")},
    ]
    write_recipe(fluxperf, {"global": {"rounds": 1}, "stages": stages})
    ended = fluxperf("--recipe recipe.yaml")
    assert ended.code == 0, ended.err
    found = first_rounds(fluxperf.run_json())
    assert (found["A"], found["B"]) == (None, None)
    assert found["C"] == found["D"] == "not cold: sent before at concurrency 2 of stage A"


def killed_in_b(fluxperf: Fluxperf, serve: Serve, **stage_b: Any) -> Scripted:
    """A recipe of two stages, killed in round 2 of the second; the server answers everything from then on."""
    server = serve(hold_from(14))
    fluxperf.write_prompts(4)
    shared = {"endpoint": server.url, "concurrency": 1, "engine": "none", "workers": 1, "model": "m"}
    write_recipe(fluxperf, {"global": shared, "stages": [{"name": "A"}, {"name": "B", **stage_b}]})
    running = fluxperf.start("--recipe recipe.yaml")
    server.wait_for(15)
    os.kill(running.pid, signal.SIGKILL)
    running.end()
    server.script = hold_from(1000)
    return server


def test_a_resumed_stage_knows_what_the_finished_ones_have_sent(fluxperf: Fluxperf, serve: Serve) -> None:
    server = killed_in_b(fluxperf, serve, hooks={"before_stage": "true"})  # so that B is run again from its beginning
    ended = fluxperf("--recipe recipe.yaml --resume")
    assert ended.code == 0, ended.err
    assert len(server.bodies) == 15 + 8
    assert first_rounds(fluxperf.run_json())["B"] == "not cold: sent before at concurrency 1 of stage A"


def test_rounds_with_different_salts_are_never_compared(fluxperf: Fluxperf, serve: Serve) -> None:
    server = killed_in_b(fluxperf, serve, salt=True)
    ended = fluxperf("--recipe recipe.yaml --resume")
    assert ended.code == 0, ended.err
    salted = [body["messages"][0]["content"] for body in server.bodies[15:]]
    assert len(salted) == 8
    assert sorted(salted[:4]) == sorted(salted[4:])


def test_a_complete_run_is_held_against_what_is_asked_for_now(fluxperf: Fluxperf, mock: Mock) -> None:
    fluxperf.write_prompts(4)
    line = fluxperf.measuring(mock.url, "--rounds 1")
    assert fluxperf(line).code == 0
    again = fluxperf(f"{line} --resume")
    assert (again.code, "is complete: there is nothing left to measure" in again.err) == (0, True)
    other = fluxperf(f"{line} --resume --num-samples 3")
    assert other.code == 2
    assert "is complete, and was asked for something else" in other.err


def test_ctrl_c_in_the_last_hook_of_a_failed_stage_is_heard(fluxperf: Fluxperf, serve: Serve) -> None:
    server = serve(lambda exchange: exchange.answer(401, "no"))
    fluxperf.write_prompts(2)
    begun = fluxperf.place / "begun"
    hooks = {"after_stage": f"touch {begun}; sleep 600"}
    shared = {"endpoint": server.url, "model": "m", "engine": "none", "concurrency": 1}
    stages = [{"name": "A", "hooks": hooks}, {"name": "B"}]
    write_recipe(fluxperf, {"global": shared, "continue_on_error": True, "stages": stages})
    running = fluxperf.start("--recipe recipe.yaml")
    running.wait_until(begun.exists)
    sent = len(server.bodies)
    running.press_ctrl_c()
    ending = running.end()
    assert (ending.code, len(server.bodies)) == (130, sent)
    assert states(fluxperf.run_json())["B"] == "not run"


def test_a_secret_is_one_whatever_holds_it(fluxperf: Fluxperf, mock: Mock) -> None:
    fluxperf.write_prompts(2)
    secret = "hush-hush-1234"
    stage = {
        "name": "A",
        "env": {"HF_TOKEN": secret, "SETTING": f"x{secret}"},
        "extra_body": {"user": secret},
        "label": {"run": secret},
    }
    write_recipe(fluxperf, {"global": {"endpoint": mock.url, "rounds": 1, "concurrency": 1}, "stages": [stage]})
    ended = fluxperf("--recipe recipe.yaml")
    assert ended.code == 0, ended.err
    holding = [path for path in fluxperf.out.rglob("*") if path.is_file() and secret in path.read_text()]
    assert holding == []
    found = json.loads((fluxperf.out / "A" / "run.json").read_text())["configuration"]
    assert found["env"] == {"HF_TOKEN": "****", "SETTING": "x****"}
    assert found["extra_body"] == {"user": "****"}


def test_a_copy_cannot_replace_results_or_another_copy(fluxperf: Fluxperf, tmp_path: Path) -> None:
    fluxperf.write_prompts(2)
    for copies, what in (
        (["out/A/run.json", None], "would replace a file of the results"),
        (["copy.json", "./copy.json"], "is given twice"),
        (["prompts.jsonl/copy.json", None], "is not a directory"),
    ):
        stages = [{"name": name, "output": copy} for name, copy in zip("AB", copies, strict=True)]
        write_recipe(fluxperf, {"mock_server": {}, "stages": stages})
        ended = fluxperf("--recipe recipe.yaml")
        assert ended.code == 2
        assert what in ended.err
    assert not fluxperf.out.exists()


def test_a_copy_may_stand_beside_the_results(fluxperf: Fluxperf) -> None:
    """As older recipes have it."""
    fluxperf.write_prompts(2)
    shared = {"output": "out/summary.json", "rounds": 1, "concurrency": 1}
    write_recipe(fluxperf, {"global": shared, "mock_server": QUICK_MOCK, "stages": [{"name": "A"}]})
    ended = fluxperf("--recipe recipe.yaml")
    assert ended.code == 0, ended.err
    assert (fluxperf.out / "summary.json").read_bytes() == (fluxperf.out / "run.json").read_bytes()
