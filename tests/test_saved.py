from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fluxperf.errors import UsageError
from fluxperf.model import CONTROL, RunResult, StageState
from fluxperf.saved import FILE, SavedRun, SavedStage, find_differences, load, save
from tests.analysis.levels import a_reset, judged, measured, prompts


def a_run(**facts: Any) -> RunResult:
    plain: dict[str, Any] = {"started_at": "t", "partial": True, "environment": {}, "labels": {}, "configuration": {}}
    return RunResult(**plain | {"rounds": (), "comparisons": ()} | facts)


def test_what_was_saved_is_what_is_loaded(tmp_path: Path) -> None:
    rounds = (
        measured(1, prompts(50, 200)),
        measured(2, prompts(50, 20, share=0.99), repeats=False, reset=a_reset()),
        measured(CONTROL, prompts(50, 150)),
    )
    result = a_run(rounds=rounds, evaluations=judged(*rounds))
    result = replace(result, rounds=tuple(replace(one, requests=[]) for one in rounds))
    stage = SavedStage(state=StageState.FAILED, result=result, begun=((5, 1), (5, CONTROL)), error="why")
    run = SavedRun(started_at="t", resumed_at=("u",), asked={"a": {"b": [1, None]}}, stages={"x/y": stage})
    save(run, tmp_path)
    found = load(tmp_path)
    assert found is not None
    assert msgspec.to_builtins(found, enc_hook=str) == msgspec.to_builtins(run, enc_hook=str)
    assert found.stages["x/y"].begun == stage.begun
    first = found.stages["x/y"].result
    assert first is not None
    assert first.rounds[0].summary == rounds[0].summary


def test_where_nothing_was_saved_there_is_nothing(tmp_path: Path) -> None:
    assert load(tmp_path) is None


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x81\xa7version\x01", b"\x80", b"\x93\x01\x02"])
def test_what_cannot_be_understood_is_told(tmp_path: Path, data: bytes) -> None:
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(UsageError, match=r"--resume: .*state\.msgpack cannot be read .*begin anew without --resume"):
        load(tmp_path)


def test_another_version_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(msgspec.msgpack.encode({"version": 0}))
    with pytest.raises(UsageError, match="another version of FluxPerf"):
        load(tmp_path)


def test_differences_are_told_by_their_place() -> None:
    before = {"stages": {"A": {"seed": 1, "env": {"X": "1"}}, "B": {"seed": 1}}, "definitions": "d"}
    after = {"stages": {"A": {"seed": 2, "env": {}}, "C": {"seed": 1}}, "definitions": "d"}
    assert find_differences(before, after | {"definitions": "e"}) == [
        "stage B: is missing now",
        "stage C: is new",
        "seed: was 1, is 2",
        "env.X: was 1, is not there",
        "definitions: was d, is e",
    ]
    assert find_differences(before, before) == []


def test_a_difference_that_several_stages_share_is_told_once() -> None:
    before: dict[str, Any] = {"stages": {name: {"seed": 1, "rounds": 2} for name in "ABC"}}
    after = {"stages": {"A": {"seed": 2, "rounds": 3}, "B": {"seed": 2, "rounds": 3}, "C": {"seed": 2, "rounds": 2}}}
    assert find_differences(before, after) == ["seed: was 1, is 2", "rounds: was 2, is 3 (stages A, B)"]
