"""`gates` in a recipe: read with their lines, and held against the stages before anything is sent."""

from __future__ import annotations

import pytest

from fluxperf.model.gate import Against
from tests.plan.recipe.recipes import URL, Recipes

STAGES = f"""\
global: {{dataset: d.jsonl, endpoint: {URL}, concurrency: [2, 4]}}
stages:
  - name: Low load
  - {{name: High, rounds: 3, concurrency: 8}}
gates:
"""


def test_gates_are_read_in_their_order_and_once(recipes: Recipes) -> None:
    text = STAGES + (
        "  - round2/round1 ttft_ms.p50 > 0.6\n"
        "  - 'stage=\"Low load\" concurrency=4 ttft_ms.p99 > ${LIMIT:-250}'\n"
        "  - round2/round1 ttft_ms.p50 > 0.6\n"
    )
    first, second = recipes.load(text).gates
    assert (first.against, first.round, first.earlier, first.threshold) == (Against.ROUND, 2, 1, 0.6)
    assert (second.stage, second.concurrency, second.threshold) == ("Low load", 4, 250)


def test_gates_of_the_command_line_come_after_those_of_the_recipe(recipes: Recipes) -> None:
    found = recipes.load(STAGES + "  - errors.ratio > 0\n", {"fail_on": ["ttft_ms.p99 > 5", "errors.ratio > 0"]}).gates
    assert [gate.text for gate in found] == ["errors.ratio > 0", "ttft_ms.p99 > 5"]


def test_gates_in_global_are_gates_too(recipes: Recipes) -> None:
    text = STAGES.replace("global: {", "global: {fail_on: [ttft_ms.p99 > 5], ").replace("gates:\n", "")
    assert [gate.text for gate in recipes.load(text).gates] == ["ttft_ms.p99 > 5"]


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("ttft.p99 > 5", "gate 'ttft.p99 > 5': there is no metric 'ttft'; did you mean ttft_ms.p99?"),
        ("null", "is null: write a gate, such as ttft_ms.p99 > +10%, or leave it out"),
        ("[a]", "must be a text, not a list or a mapping"),
        ("ttft_ms.p99 > ${LIMIT}", "needs LIMIT, which is not set; ${LIMIT:-...} gives it a default"),
        (
            "ttft_ms.p99 > +10%",
            "gate 'ttft_ms.p99 > +10%': is about a baseline, and none is given: "
            "add --baseline NAME, or the directory of an earlier run",
        ),
        (
            "round4 ttft_ms.p99 > 5",
            "gate 'round4 ttft_ms.p99 > 5': there is no round4; there are round1, round2, round3",
        ),
        ("stage=Hihg ttft_ms.p99 > 5", 'there is no stage "Hihg"; did you mean "High"?'),
    ],
)
def test_a_fault_has_its_line(recipes: Recipes, entry: str, fault: str) -> None:
    (found,) = recipes.faults(f"{STAGES}  - errors.ratio > 0\n  - {entry}\n")
    assert found.startswith("recipe.yaml:7: gates[1]: ")
    assert fault in found


def test_a_fault_of_a_gate_on_the_command_line_has_its_option(recipes: Recipes) -> None:
    (found,) = recipes.faults(STAGES, {"fail_on": ["concurrency=3 ttft_ms.p99 > 5"]})
    assert found.startswith(
        "--fail-on gate 'concurrency=3 ttft_ms.p99 > 5': there is no concurrency 3; there are 2, 4, 8"
    )


def test_what_gates_need_is_not_asked_of_a_plan_with_faults(recipes: Recipes) -> None:
    text = STAGES.replace("name: High", "nmae: High") + "  - stage=High ttft_ms.p99 > 5\n"
    assert not any("gate" in fault for fault in recipes.faults(text))


def test_with_a_baseline_a_change_can_be_asked_for(recipes: Recipes) -> None:
    (gate,) = recipes.load(STAGES + "  - ttft_ms.p99 > +10%\n", {"baseline": "main"}).gates
    assert gate.against is Against.BASELINE
