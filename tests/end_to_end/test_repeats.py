"""`--repeat N`: the whole plan several times, each with its own folder, and read back as runs of their own."""

from __future__ import annotations

import json

from fluxperf.stored import read_runs
from tests.end_to_end.command import Fluxperf
from tests.end_to_end.servers import Mock
from tests.end_to_end.stub import write_recipe


def test_a_run_is_repeated(fluxperf: Fluxperf) -> None:
    fluxperf.write_prompts(4)
    line = "--mock-server --dataset prompts.jsonl --concurrency 2 --max-output-tokens 2 --output-dir out --repeat 2"
    ended = fluxperf(line)
    assert ended.code == 0, ended.err
    assert "repeat 1" in ended.out
    assert "repeat 2" in ended.out
    stages = fluxperf.run_json()["stages"]
    assert [(one["name"], one["folder"], one["repeat"]) for one in stages] == [
        ("repeat 1", "repeat_1", 1),
        ("repeat 2", "repeat_2", 2),
    ]
    runs = read_runs([fluxperf.out])
    assert [[(one.stage, one.round, len(one.requests)) for one in run.rounds] for run in runs] == [
        [(None, 1, 4), (None, 2, 4)],
        [(None, 1, 4), (None, 2, 4)],
    ]
    assert all(run.rounds[0].summary.cold for run in runs)  # each has a server of its own
    assert json.loads((fluxperf.out / "repeat_2" / "run.json").read_text("utf-8"))["partial"] is False


def test_a_server_that_stays_is_warm_from_the_second_on(fluxperf: Fluxperf, mock: Mock) -> None:
    fluxperf.write_prompts(4, words=40)
    assert fluxperf.measure(mock.url, "--concurrency 2 --max-output-tokens 2 --repeat 2").code == 0
    first, second = read_runs([fluxperf.out])
    assert first.rounds[0].summary.cold is True
    assert second.rounds[0].summary.cold is False
    assert "sent before" in (second.rounds[0].summary.cold_reason or "")


def test_a_recipe_is_repeated(fluxperf: Fluxperf, mock: Mock) -> None:
    fluxperf.write_prompts(4)
    stages = [{"name": "Short", "max_output_tokens": 1}, {"name": "Long", "max_output_tokens": 4}]
    shared = {"endpoint": mock.url, "model": "m", "concurrency": 2, "repeat": 2}
    write_recipe(fluxperf, {"global": shared, "stages": stages})
    ended = fluxperf("--recipe recipe.yaml")
    assert ended.code == 0, ended.err
    names = [one["name"] for one in fluxperf.run_json()["stages"]]
    assert names == ["repeat 1/Short", "repeat 1/Long", "repeat 2/Short", "repeat 2/Long"]
    assert [[one.stage for one in run.rounds] for run in read_runs([fluxperf.out])] == 2 * [
        ["Short", "Short", "Long", "Long"]
    ]
