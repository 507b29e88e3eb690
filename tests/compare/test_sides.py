from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fluxperf.compare.likeness import find_likeness
from fluxperf.compare.sides import Side, align_stages, check_distinct, read_side
from fluxperf.errors import UsageError
from fluxperf.model import RunResult
from tests.compare.runs import a_recipe, a_round, a_run, a_stage
from tests.compare.simulated import Server, a_simulated_run, write_run


def side(*runs: RunResult, name: str = "BASE") -> Side:
    return Side(name, tuple(Path(f"r{number}") for number in range(1, len(runs) + 1)), "r", runs)


def test_directories_and_names_are_read(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_run(tmp_path / str(seed), a_simulated_run(Server(seed=seed), prompts=5))
    found = read_side("NEW", ["1", "2"], lambda word: tmp_path / word)
    assert [run.started_at[-3:-1] for run in found.runs] == ["01", "02"]
    assert found.paths == (tmp_path / "1", tmp_path / "2")
    assert found.given == "1 2"
    assert found.title == f"{tmp_path}/1, {tmp_path}/2, 2 runs, 2026-01-01T00:00:01Z, m"


def test_many_directories_are_not_all_named() -> None:
    assert side(*[a_run()] * 5).title == "r1, r2, r3 and 2 more, 5 runs, 2026-01-01T00:00:00Z, m"


def test_a_run_without_rounds_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "empty", replace(a_run(), rounds=()))
    with pytest.raises(UsageError, match="empty: no round"):
        read_side("NEW", ["empty"], lambda word: tmp_path / word)


def test_a_run_is_no_repeat_of_itself() -> None:
    one, other, third = a_run(), *(a_run(a_round(1, duration_s=seconds), a_round(2)) for seconds in (3.0, 4.0))
    check_distinct(side(one), side(other, third, name="NEW"))
    with pytest.raises(UsageError, match="BASE and NEW are the same run, of 2026"):
        check_distinct(side(one), side(one, name="NEW"))
    with pytest.raises(UsageError, match="NEW 1 and NEW 3 are the same run"):
        check_distinct(side(one), side(other, third, replace(other, started_at="later"), name="NEW"))
    with pytest.raises(UsageError, match="the same run"):
        check_distinct(side(a_recipe(a_stage("A"))), side(one, name="NEW"))


def names(found: Side) -> list[list[str | None]]:
    return [[result.stage for result in run.rounds] for run in found.runs]


def test_one_stage_a_side_is_compared_whatever_its_name() -> None:
    base, new = side(a_recipe(a_stage("A"))), side(a_recipe(a_stage("B", env={"X": "1"})), name="NEW")
    base, new, remark = align_stages(base, new)
    assert remark == "stage: BASE has A, NEW has B"
    assert names(base) == names(new) == [[None, None]]
    found = find_likeness(base.runs, new.runs)
    assert found.differences == ()
    assert found.remarks == ("environment variable X: BASE has none, NEW has 1",)


def test_a_stage_is_compared_with_a_run_without_a_recipe() -> None:
    recipe = a_recipe(a_stage("A", env={"X": "1"}, server={"command": "serve"}))
    for base, new in ((a_run(), recipe), (recipe, a_run())):
        one, other, remark = align_stages(side(base), side(new, name="NEW"))
        assert remark is not None
        assert names(one) == names(other)
        found = find_likeness(one.runs, other.runs)
        assert found.differences == ()
        assert len(found.remarks) == 2, found.remarks


def test_repeats_are_runs_like_one_without_a_recipe() -> None:
    repeats = [a_run(a_round(1, stage=f"repeat {number}")) for number in (1, 2)]
    base, new, remark = align_stages(side(*repeats), side(a_run(a_round(1)), name="NEW"))
    assert remark is None
    assert names(base) == [[None], [None]]
    assert names(new) == [[None]]


def test_one_stage_of_one_name_keeps_it() -> None:
    base, new = side(a_recipe(a_stage("A"))), side(a_recipe(a_stage("A")), name="NEW")
    assert align_stages(base, new) == (base, new, None)


def test_several_stages_keep_their_names() -> None:
    base, new = side(a_recipe(a_stage("A"), a_stage("B"))), side(a_recipe(a_stage("C")), name="NEW")
    assert align_stages(base, new) == (base, new, None)
