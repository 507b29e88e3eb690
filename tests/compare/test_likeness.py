from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from fluxperf.compare.likeness import Likeness, find_likeness, find_planned_differences
from fluxperf.errors import UsageError
from fluxperf.model import CONTROL, Check, Constraint, RunResult, Slo, StageState, Status, Timeline, Verdict
from tests.compare.runs import ASKED, ENVIRONMENT, SLO, a_recipe, a_round, a_run, a_stage

INVALID = Verdict(status=Status.INVALID, reasons=("stamps are late",))
DEGRADED = Verdict(status=Status.DEGRADED, reasons=("a worker stood still", "and more"))


def like(base: RunResult, new: RunResult) -> Likeness:
    return find_likeness([base], [new])


def test_runs_that_are_alike() -> None:
    assert like(a_run(), a_run()) == Likeness()


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"model": "n"}, "model: BASE has m, NEW has n"),
        ({"dataset_sha256": "d2"}, "dataset (SHA-256): BASE has d1, NEW has d2"),
        ({"mode": "multi_turn"}, "mode: BASE has dual_round, NEW has multi_turn"),
        ({"max_output_tokens": 9}, "max_output_tokens: BASE has 8, NEW has 9"),
        ({"temperature": 0.5}, "temperature: BASE has 0, NEW has 0.5"),
        ({"extra_body": {"a": [1]}}, 'extra body: BASE has {}, NEW has {"a":[1]}'),
        ({"salt": True}, "salted prompts: BASE has no, NEW has yes"),
        ({"control_round": True}, "control round: BASE has no, NEW has yes"),
        ({"round2_order": "same"}, "round2_order: BASE has shuffled, NEW has same"),
        ({"definitions": 2}, "definitions of the metrics: BASE has 1, NEW has 2"),
        ({"definitions": None}, "definitions of the metrics: BASE has 1, NEW has none"),
    ],
)
def test_what_was_asked_for_must_be_the_same(asked: Mapping[str, Any], says: str) -> None:
    assert like(a_run(), a_run(asked=asked)).differences == (says,)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({"http_version": "2"}, "HTTP version: BASE has 1.1, NEW has 2"),
        ({"timestamps": "user"}, "timestamps: BASE has kernel, NEW has user"),
        ({"tokenizer_sha256": "t"}, "tokenizer (SHA-256): BASE has none, NEW has t"),
        ({"output_tokens_from": "output_events"}, "output tokens counted by: BASE has usage, NEW has output_events"),
        ({"num_samples": 3}, "prompts: BASE has 4, NEW has 3"),
    ],
)
def test_what_was_found_must_be_the_same(found: Mapping[str, Any], says: str) -> None:
    new = a_run(a_round(1, found=found), a_round(2, found=found))
    assert like(a_run(), new).differences == (says,)


def test_where_it_differs_is_told_unless_it_is_everywhere() -> None:
    new = a_run(a_round(1), a_round(2, found={"timestamps": "user"}))
    assert like(a_run(), new).differences == ("timestamps: BASE has kernel, NEW has user (concurrency 2, round 2)",)


def test_the_stages_in_which_it_differs_are_told() -> None:
    base = a_recipe(a_stage("A"), a_stage("B"), a_stage("C"))
    new = a_recipe(a_stage("A"), a_stage("B", asked={"top_p": 1, "model": "n"}), a_stage("C", asked={"model": "n"}))
    assert like(base, new).differences == ("model: BASE has m, NEW has n (stage B; stage C)",)
    rounds = [replace(one, configuration={**one.configuration, "timestamps": one.stage}) for one in base.rounds]
    rounds[1] = base.rounds[1]
    assert like(base, replace(base, rounds=tuple(rounds))).differences == (
        "timestamps: BASE has kernel, NEW has A (stage A, concurrency 2, round 1)",
        "timestamps: BASE has kernel, NEW has B (stage B)",
        "timestamps: BASE has kernel, NEW has C (stage C)",
    )


def test_many_places_are_counted() -> None:
    base = a_run(*(a_round(1, level) for level in range(1, 9)))
    new = a_run(*(a_round(1, level, found={"timestamps": "user"} if level > 1 else {}) for level in range(1, 9)))
    (sentence,) = like(base, new).differences
    assert sentence.endswith("concurrency 4, round 1; concurrency 5, round 1; 3 more)")


def test_what_an_older_result_does_not_tell_is_no_difference() -> None:
    told = a_run()
    older = {name: value for name, value in told.configuration.items() if name not in ("salt", "temperature")}
    rounds = tuple(replace(one, configuration={}) for one in told.rounds)
    assert like(told, replace(told, configuration=older, rounds=rounds)).differences == ()


def test_definitions_that_neither_tells_are_no_difference() -> None:
    assert like(a_run(asked={"definitions": None}), a_run(asked={"definitions": None})) == Likeness()


def test_where_nothing_was_counted_it_does_not_matter_by_whom() -> None:
    new = a_run(a_round(1, found={"output_tokens_from": None}), a_round(2, found={"output_tokens_from": None}))
    assert like(a_run(), new).differences == ()


class Unread:
    """Requests that nobody needs to look at."""

    def __len__(self) -> int:
        return 4

    def __contains__(self, item: object) -> bool:
        raise AssertionError

    def __iter__(self) -> Iterator[Timeline]:
        raise UsageError("they were read")


def unread(run: RunResult) -> RunResult:
    return replace(run, rounds=tuple(replace(one, requests=Unread()) for one in run.rounds))


def test_rows_are_not_read_where_the_plan_tells_the_sample() -> None:
    assert like(unread(a_run()), unread(a_run())) == Likeness()
    with pytest.raises(UsageError, match="they were read"):
        like(unread(a_run()), unread(a_run(asked={"seed": 7})))


def test_another_seed_that_drew_the_same_prompts_is_told_and_no_more() -> None:
    found = like(a_run(), a_run(asked={"seed": 7, "num_samples": [4, 4]}))
    assert found == Likeness(remarks=("seed: BASE has 42, NEW has 7",))


def test_another_sample() -> None:
    new = a_run(a_round(1, indices=(2, 3, 4, 5)), a_round(2, indices=(2, 3, 4, 5)), asked={"seed": 7})
    assert like(a_run(), new).differences == (
        "sample: of 6 prompts that were sent, 2 are the same in all runs (concurrency 2)",
    )


def test_samples_of_other_datasets_are_not_held_against_each_other() -> None:
    new = unread(a_run(a_round(1, found={"dataset_sha256": "d2"}), asked={"dataset_sha256": "d2", "seed": 7}))
    assert not any("sample" in one for one in like(unread(a_run(a_round(1))), new).differences)


def test_stages_levels_and_rounds_that_one_side_has() -> None:
    base, new = a_recipe(a_stage("A"), a_stage("B")), a_recipe(a_stage("A"), a_stage("C"))
    assert like(base, new).differences == ("stages: BASE has A, B, NEW has A, C",)
    base, new = a_run(a_round(1), a_round(2)), a_run(a_round(1), a_round(1, 4), a_round(CONTROL))
    assert like(base, new).differences == (
        "levels: BASE has 2, NEW has 2, 4",
        "rounds: BASE has 1, 2, NEW has 1, control (concurrency 2)",
    )
    some = a_recipe(a_stage("A"), a_stage("B"))
    fewer = replace(some, rounds=some.rounds[:3])
    assert like(some, fewer).differences == ("rounds: BASE has 1, 2, NEW has 1 (stage B, concurrency 2)",)
    assert like(some, replace(some, rounds=some.rounds[:2])).differences == (
        "levels: BASE has 2, NEW has none (stage B)",
    )


def test_runs_that_did_not_come_to_their_end() -> None:
    assert like(a_run(partial=True), a_run()).differences == ("partial: BASE was stopped before its end",)
    cut = a_run(a_round(1), a_round(2, partial=True))
    assert like(a_run(), cut).differences == ("partial: NEW was stopped before its end",)
    failed = a_recipe(a_stage("A"), a_stage("B", state=StageState.FAILED, error="no server\nat all"), partial=True)
    found = like(a_recipe(a_stage("A"), a_stage("B")), failed).differences
    assert "failed: stage B of NEW did not come to its end: no server" in found
    assert not any("partial" in one for one in found)


def test_invalid_rounds_are_apart_and_degraded_ones_told() -> None:
    found = like(a_run(a_round(1, verdict=DEGRADED)), a_run(a_round(1, verdict=INVALID)))
    assert found == Likeness(
        invalid=("invalid: NEW, concurrency 2, round 1: stamps are late",),
        remarks=("degraded: BASE, concurrency 2, round 1: a worker stood still (and 1 more)",),
    )
    assert found.objections == found.invalid


def test_a_server_that_failed_is_a_result() -> None:
    check = Check(name="outcome", ok=False, text="not one request succeeded", weight=Status.INVALID)
    verdict = Verdict(status=Status.INVALID, reasons=(check.text,))
    assert like(a_run(a_round(1)), a_run(a_round(1, verdict=verdict, checks=(check,)))) == Likeness()


@pytest.mark.parametrize(
    ("base", "new", "difference", "remark"),
    [
        ([True], [True], "", ""),
        ([None], [None], "", ""),
        ([True], [False], "cold: BASE was cold, NEW was not cold (concurrency 2, round 1)", ""),
        ([True], [None], "", "cold: BASE was cold, NEW was of unknown coldness (concurrency 2, round 1)"),
        ([True, False], [True, False], "", "cold: both sides were cold in 2 of 4 runs and not cold in 2 of 4 runs"),
        (
            [True, False],
            [False, False],
            "cold: BASE was cold in 1 of 2 runs and not cold in 1 of 2 runs, NEW was not",
            "",
        ),
        ([True, True], [True], "", ""),
    ],
)
def test_coldness_of_first_rounds(
    base: list[bool | None], new: list[bool | None], difference: str, remark: str
) -> None:
    found = find_likeness(*([a_run(a_round(1, cold=one), a_round(2)) for one in side] for side in (base, new)))
    assert "".join(found.differences).startswith(difference)
    assert "".join(found.remarks).startswith(remark)
    assert (len(found.differences), len(found.remarks)) == (bool(difference), bool(remark))


def test_later_rounds_are_not_meant_to_be_cold() -> None:
    assert like(a_run(a_round(2, cold=True)), a_run(a_round(2, cold=False))) == Likeness()


def test_objectives_must_be_the_same_where_goodput_is_compared() -> None:
    other = Slo((Constraint("ttft_ms", below=200), Constraint("itl_ms", max=5)), name="strict")
    base, new = a_run(a_round(1, slo=SLO)), a_run(a_round(1, slo=other))
    assert like(base, new).differences == ("SLO: BASE has ttft_ms below 300, NEW has itl_ms max 5, ttft_ms below 200",)
    assert find_likeness([base], [new], goodput=False) == Likeness()
    assert like(base, a_run(a_round(1))) == Likeness(remarks=("SLO: BASE has ttft_ms below 300, NEW has none",))
    assert like(base, a_run(a_round(1, slo=replace(SLO, name="called")))) == Likeness()


def test_other_timeouts_matter_once_one_was_reached() -> None:
    short = {"timeout_s": 1}
    base = a_run(a_round(1))
    assert like(base, a_run(a_round(1, found=short), asked={"timeout": 1})) == Likeness(
        remarks=("timeout: BASE has 300, NEW has 1",)
    )
    reached = a_run(a_round(1, found=short, outcomes={"ok": 3, "timeout": 1}))
    assert like(base, reached).differences == ("timeout: BASE has 300, NEW has 1, and requests took that long",)


def test_what_one_compares_is_told() -> None:
    base = a_run(a_round(1), labels={"commit": "a", "same": "x"}, server={"answers": {"version": {"version": "0.1"}}})
    new = a_run(
        a_round(1, found={"workers": 2}),
        labels={"commit": "b", "same": "x", "more": "y"},
        server={"answers": {"version": {"version": "0.2"}}, "command": "serve --fast"},
        environment={**ENVIRONMENT, "host": {"name": "h", "cpu": "d"}, "fluxperf": "2"},
        asked={"endpoint": "http://b/v1/chat/completions", "env": {"FLAG": "1", "GONE": None}},
    )
    assert like(base, new) == Likeness(
        remarks=(
            "FluxPerf: BASE has 1, NEW has 2",
            "CPU: BASE has c, NEW has d",
            "label commit: BASE has a, NEW has b",
            "endpoint: BASE has http://a/v1/chat/completions, NEW has http://b/v1/chat/completions",
            "server version: BASE has 0.1, NEW has 0.2",
            "label more: BASE has none, NEW has y",
            "the server's command: BASE has none, NEW has serve --fast",
            "environment variable FLAG: BASE has none, NEW has 1",
            "environment variable GONE: BASE has none, NEW has unset",
            "workers: BASE has 1, NEW has 2",
        )
    )


def test_the_environment_of_a_stage_is_told() -> None:
    base = a_recipe(a_stage("A", env={"X": "1"}), a_stage("B", env={"X": "1"}))
    new = a_recipe(a_stage("A", env={"X": "1"}), a_stage("B", env={"X": "2"}))
    assert like(base, new) == Likeness(remarks=("environment variable X: BASE has 1, NEW has 2 (stage B)",))


def test_repeats_must_be_alike_too() -> None:
    base = [a_run(asked={"temperature": value}) for value in (0, 1, 2, 3, 0)]
    found = find_likeness(base, [a_run()])
    assert found.differences == ("temperature: BASE has 0, 1 and 2 others, NEW has 0",)
    both = find_likeness([a_run(), a_run(asked={"model": "n"})], [a_run(), a_run(asked={"model": "n"})])
    assert both.differences == ("model: BASE has m and n, NEW has m and n",)
    partial = find_likeness([a_run(), a_run(partial=True)], [a_run()])
    assert partial.differences == ("partial: BASE 2 was stopped before its end",)


def test_long_and_wild_values_are_cut_and_made_safe() -> None:
    found = like(a_run(), a_run(asked={"model": "\x1b[31m" + "m" * 500, "extra_body": {"a": ""}}))
    assert all(len(one) < 200 and "\x1b" not in one for one in found.differences)
    assert found.differences[0].endswith("…")


def test_a_plan_is_held_against_runs_before_it_is_run() -> None:
    base = [a_run(), a_run()]
    assert find_planned_differences(base, {None: ASKED}) == []
    assert find_planned_differences(base, {None: ASKED | {"temperature": 1, "seed": 7}}) == [
        "temperature: BASE has 0, NEW has 1"
    ]
    open_model = {name: value for name, value in ASKED.items() if name != "model"}
    assert find_planned_differences(base, {None: open_model}) == []
    recipe = [a_recipe(a_stage("A"), a_stage("B"))]
    assert find_planned_differences(recipe, {"A": ASKED, "B": ASKED | {"model": "n"}}) == [
        "model: BASE has m, NEW has n (stage B)"
    ]
