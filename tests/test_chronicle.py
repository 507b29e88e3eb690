from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fluxperf.chronicle import Background, Chronicle
from fluxperf.model import RunResult, StageState
from fluxperf.output import OutputDirectory, claim
from fluxperf.plan.campaign import Campaign, RecipeText, StageSpec
from fluxperf.plan.settings import Settings
from fluxperf.saved import load
from tests.analysis.levels import measured, prompts


def a_stage(name: str, **facts: Any) -> StageSpec:
    return StageSpec(settings=Settings(dataset="d", endpoint="http://a/"), name=name, folder=name, **facts)


FIRST, SECOND = a_stage("A", env={"X": "1", "MY_KEY": "secret", "Y": None}), a_stage("B")
CAMPAIGN = Campaign(stages=(FIRST, SECOND), recipe=RecipeText("r.yaml", "sha", "text"))


def a_result(stage: str) -> RunResult:
    return RunResult(
        started_at="t",
        partial=True,
        environment={},
        labels={},
        configuration={"model": "m"},
        rounds=(replace(measured(1, prompts(4, 20)), stage=stage),),
        comparisons=(),
        server={"command": "serve"},
    )


@pytest.fixture
def output(tmp_path: Path) -> Iterator[OutputDirectory]:
    output, _ = claim(tmp_path / "out", overwrite=False)
    yield output
    output.clean()


def open_chronicle(output: OutputDirectory, campaign: Campaign = CAMPAIGN) -> Chronicle:
    return Chronicle(Background(campaign, {"python": "3"}, {"asked": 1}), output, load(output.spool))


def run_json(output: OutputDirectory) -> Any:
    return json.loads((output.path / "run.json").read_text())


def states(output: OutputDirectory) -> list[str]:
    return [stage["state"] for stage in run_json(output)["stages"]]


def test_each_step_is_on_disk(output: OutputDirectory) -> None:
    chronicle = open_chronicle(output)
    chronicle.begin(FIRST)
    assert states(output) == ["partial", "not run"]
    chronicle.enter(FIRST, a_result("A"))
    (entry,) = run_json(output)["rounds"]
    assert (entry["stage"], entry["file"]) == ("A", "A/concurrency_5_round_1.json")
    chronicle.end(FIRST, StageState.COMPLETE)
    chronicle.begin(SECOND)
    chronicle.end(SECOND, StageState.FAILED, "why")
    assert states(output) == ["complete", "failed"]
    chronicle.close(ended=True)
    found = run_json(output)
    assert found["ended_at"]
    assert found["verdict"]["reasons"] == ["stage B failed"]
    assert (found["partial"], found["recipe"]) == (True, {"path": "r.yaml", "sha256": "sha", "text": "text"})
    assert [stage["error"] for stage in found["stages"]] == [None, "why"]
    assert found["stages"][0]["env"] == {"X": "1", "MY_KEY": "****", "Y": None}
    assert found["stages"][0]["server"] == {"command": "serve"}


def test_a_run_is_whole_when_every_stage_is(output: OutputDirectory) -> None:
    chronicle = open_chronicle(output)
    for spec in CAMPAIGN.stages:
        assert not chronicle.is_complete()
        chronicle.begin(spec)
        chronicle.end(spec, StageState.COMPLETE)
    assert chronicle.is_complete()
    assert (chronicle.close(ended=True).partial, run_json(output)["partial"]) == (False, False)


def test_what_is_taken_up_again_goes_on_where_it_was(output: OutputDirectory) -> None:
    before = open_chronicle(output)
    before.begin(FIRST)
    before.begin_round(FIRST, 5, 1)
    before.enter(FIRST, a_result("A"))
    before.begin_round(FIRST, 5, 2)
    after = open_chronicle(output)
    assert after.stage(FIRST).begun == ((5, 1), (5, 2))
    assert after.origin.started_at == before.origin.started_at
    assert len(after.origin.resumed_at) == 1
    after.begin(SECOND)
    assert states(output) == ["partial", "partial"]
    assert len(run_json(output)["rounds"]) == 1


def test_without_a_recipe_only_what_a_resumption_needs_is_written(output: OutputDirectory) -> None:
    alone = replace(FIRST, name=None, folder="")
    chronicle = open_chronicle(output, Campaign(stages=(alone,)))
    chronicle.begin(alone)
    chronicle.enter(alone, a_result("A"))
    chronicle.close(ended=True)
    assert [path.name for path in output.path.iterdir()] == [".spool"]
    assert load(output.spool) is not None


def test_a_further_copy_is_made_where_one_was_asked_for(output: OutputDirectory, tmp_path: Path) -> None:
    place = tmp_path / "new" / "copy.json"
    open_chronicle(output, replace(CAMPAIGN, copy_to=str(place))).close(ended=True)
    assert place.read_bytes() == (output.path / "run.json").read_bytes()
