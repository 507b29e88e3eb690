from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from fluxperf.errors import UsageError
from fluxperf.model import CONTROL, RoundName, RoundResult, RunResult, StageState
from fluxperf.plan.campaign import Hook, Hooks, Restart, ServerSpec, StageSpec
from fluxperf.plan.planner import PlanRequest, plan_levels
from fluxperf.plan.settings import Settings
from fluxperf.plan.tokens import ESTIMATE
from fluxperf.plan.workload import Dataset
from fluxperf.resumption import Resumption
from fluxperf.saved import SavedRun, SavedStage
from fluxperf.survey import StageSurvey
from tests.analysis.levels import measured, prompts

SPEC = StageSpec(settings=Settings(dataset="d", endpoint="http://a/"), name="A", folder="A")
ASKED = {"stages": {"A": {"seed": 1}}}


def surveyed(spec: StageSpec = SPEC, *, control: bool = False) -> StageSurvey:
    """Two levels, 2 and 4, of two rounds each."""
    levels = plan_levels(PlanRequest(dataset_size=8, concurrency=(2, 4), num_samples=(4,), control_round=control))
    return StageSurvey(spec, cast(Dataset, None), None, levels, 1, 4, kernel_stamps=False, tokens=ESTIMATE)


def finished(concurrency: int, name: RoundName, **facts: Any) -> RoundResult:
    return measured(name, prompts(4, 20), concurrency=concurrency, **facts)


def after(
    *rounds: RoundResult, begun: tuple[tuple[int, RoundName], ...] = (), state: StageState = StageState.PARTIAL
) -> Resumption:
    result = RunResult(
        started_at="t",
        partial=True,
        environment={},
        labels={},
        configuration={"model": "m", "endpoint_given": "http://a/"},
        rounds=rounds,
        comparisons=(),
    )
    stage = SavedStage(state=state, result=result, begun=begun)
    return Resumption(SavedRun(started_at="t", asked=ASKED, stages={"A": stage}))


def kept(resumption: Resumption, spec: StageSpec = SPEC) -> list[tuple[int, RoundName]]:
    return [(one.concurrency, one.round) for one in resumption.kept_rounds(surveyed(spec))]


def served(restart: Restart) -> StageSpec:
    return replace(SPEC, server=ServerSpec(command=("serve",), restart=restart))


def test_without_an_earlier_run_nothing_is_kept_and_nothing_refused() -> None:
    nothing = Resumption(None)
    nothing.check(ASKED)
    nothing.check_model(SPEC, "m")
    assert kept(nothing) == []
    assert not nothing.is_complete(SPEC)


def test_a_level_that_is_finished_is_kept_whoever_has_the_server() -> None:
    resumption = after(finished(2, 1), finished(2, 2))
    assert resumption.whole_levels(surveyed()) == {2}
    for spec in (SPEC, served("per_stage"), served("per_round"), replace(SPEC, mock={})):
        assert kept(resumption, spec) == [(2, 1), (2, 2)]


@pytest.mark.parametrize(
    ("spec", "rounds"),
    [
        (SPEC, [(2, 1)]),
        (served("per_round"), [(2, 1)]),
        (served("never"), []),
        (served("per_stage"), []),
        (served("per_level"), []),
        (replace(SPEC, mock={}), []),
        (replace(served("per_round"), mock={}), [(2, 1)]),
        (replace(SPEC, hooks=Hooks(before_round=(Hook(("date",)),))), [(2, 1)]),
        (replace(SPEC, hooks=Hooks(before_stage=(Hook(("restart",)),))), []),
        (replace(SPEC, hooks=Hooks(after_stage=(Hook(("stop",)),))), []),
        (replace(SPEC, settings=replace(SPEC.settings, salt=True)), []),
    ],
)
def test_round_1_is_kept_where_its_cache_is_still_there_or_of_no_use(
    spec: StageSpec, rounds: list[tuple[int, RoundName]]
) -> None:
    assert kept(after(finished(2, 1)), spec) == rounds


def test_what_was_cut_short_or_failed_is_run_again_and_so_is_what_follows() -> None:
    assert kept(after(finished(2, 1, partial=True), finished(2, 2))) == []
    failed = replace(finished(2, 1), summary=replace(finished(2, 1).summary, successful_requests=0))
    assert kept(after(failed, finished(2, 2))) == []


def test_a_level_with_a_control_round_is_finished_with_that() -> None:
    rounds = (finished(2, 1), finished(2, 2))
    assert after(*rounds).whole_levels(surveyed(control=True)) == set()
    assert after(*rounds, finished(2, CONTROL)).whole_levels(surveyed(control=True)) == {2}


def test_what_was_sent_is_known_also_of_a_round_that_was_not_finished() -> None:
    resumption = after(finished(2, 1), begun=((2, 1), (4, 1)))
    first, second = surveyed().levels
    assert [resumption.was_begun(SPEC, level) for level in (first, second)] == [True, False]
    assert after().was_begun(SPEC, first) is None


def test_another_run_is_refused_with_the_differences() -> None:
    after().check(ASKED)
    with pytest.raises(UsageError, match=r"not the run that was interrupted:\n  seed: was 1, is 2\n"):
        after().check({"stages": {"A": {"seed": 2}}})


def test_another_model_is_refused() -> None:
    resumption = after(finished(2, 1))
    resumption.check_model(SPEC, "m")
    with pytest.raises(UsageError, match="model: was m, is n"):
        resumption.check_model(SPEC, "n")
    elsewhere = replace(SPEC, folder="B", settings=replace(SPEC.settings, model="n"))
    resumption.check_model(elsewhere, "n")
    with pytest.raises(UsageError, match="model: was m, is n"):
        resumption.check_model(replace(SPEC, folder="B"), "n")
