from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fluxperf.model import CONTROL
from fluxperf.plan.campaign import StageSpec, campaign_of, repeat
from fluxperf.plan.gate_checks import PlannedStage, find_base_problems, find_doubts, find_problems, plan_of_stages
from fluxperf.plan.gates import parse_gate
from fluxperf.plan.settings import Settings

ALONE = PlannedStage(title=None, levels=(1, 8), rounds=(1, 2), has_slo=False)
LOW = PlannedStage(title="Suite/Low", levels=(2,), rounds=(1, 2, 3), has_slo=True)
HIGH = PlannedStage(title="Suite/High", levels=(8,), rounds=(1, CONTROL), has_slo=False)


def problem(text: str, *plan: PlannedStage, has_baseline: bool = False) -> str | None:
    found = find_problems([parse_gate(text)], plan, has_baseline=has_baseline)
    assert all(one.startswith(f"gate {text!r}: ") for one in found)
    return found[0].partition(": ")[2] if found else None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ttft_ms.p99 > +10%", "is about a baseline, and none is given: add --baseline"),
        ("goodput.ratio < 0.9", "there is no goodput without objectives: add --slo-file"),
        ("round3 ttft_ms.p99 > 5", "there is no round3; there are round1, round2; --rounds says how many"),
        ("round3/round1 ttft_ms.p99 > 5", "there is no round3; there are round1, round2"),
        ("control ttft_ms.p99 > 5", "there is no control; there are round1, round2; --control-round adds one"),
        ("concurrency=2 ttft_ms.p99 > 5", "there is no concurrency 2; there are 1, 8"),
        ("stage=x ttft_ms.p99 > 5", 'there is no stage "x"; without a recipe there are no stages'),
        ("concurrency=8 round2/round1 ttft_ms.p99 > 5", None),
    ],
)
def test_what_a_plan_without_stages_lacks(text: str, says: str | None) -> None:
    found = problem(text, ALONE)
    assert found == says if says is None else str(found).startswith(says)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("goodput.ratio < 0.9", None),
        ("stage=High goodput.ratio < 0.9", "there is no goodput"),
        ("stage=Suite/High control ttft_ms.p99 > 5", None),
        ("stage=High round2 ttft_ms.p99 > 5", "there is no round2; there are round1, control"),
        ("concurrency=8 round3 ttft_ms.p99 > 5", "there is no round3; there are round1, control"),
        ("control/round3 ttft_ms.p99 > 5", "there is no control; there are round1, round2, round3, control"),
        ("stage=Hihg ttft_ms.p99 > 5", 'there is no stage "Hihg"; did you mean "High"?'),
        ("stage=igh ttft_ms.p99 > 5", 'there is no stage "igh"'),
    ],
)
def test_what_no_stage_has(text: str, says: str | None) -> None:
    found = problem(text, LOW, HIGH)
    assert found == says if says is None else str(found).startswith(says)


def test_what_the_baseline_lacks() -> None:
    gates = [parse_gate("concurrency=8 ttft_ms.p99 > +10%"), parse_gate("concurrency=8 ttft_ms.p99 > 10")]
    assert find_problems(gates, [ALONE], has_baseline=True) == []
    assert find_base_problems(gates, [ALONE]) == []
    assert find_base_problems(gates, [LOW]) == [
        "gate 'concurrency=8 ttft_ms.p99 > +10%': the baseline has no concurrency 8; there are 2"
    ]


def stages(**options: Any) -> tuple[StageSpec, ...]:
    return repeat(campaign_of(Settings(dataset="d", **options))).stages


def test_the_plan_of_stages() -> None:
    found = plan_of_stages(stages(concurrency=(1, 8), control_round=True, slo_file="slo.yaml"))
    assert found == (PlannedStage(title=None, levels=(1, 8), rounds=(1, 2, CONTROL), has_slo=True),)


def test_repeats_are_one_plan() -> None:
    alone = stages(concurrency=(1, 8), repeat=3)
    assert len(alone) == 3
    assert plan_of_stages(alone) == (ALONE,)
    campaign = campaign_of(Settings(dataset="d", concurrency=(1, 8), repeat=2))
    named = replace(campaign, stages=(replace(campaign.stages[0], suite="Suite", name="Low", folder="Suite/Low"),))
    assert plan_of_stages(repeat(named).stages) == (replace(ALONE, title="Suite/Low"),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ttft_ms.p99 > +10%", None),
        ("tokens_per_s < -10%", None),
        ("goodput.ratio < 0.95", None),
        ("errors.ratio > 0", None),
        ("round2/round1 ttft_ms.p50 > 0.6", None),
        ("ttft_ms.p99 < +10%", "fails where nothing has changed; if a change for the worse is to fail, "
            "write 'ttft_ms.p99 > +10%'"),
        ("tokens_per_s > -10%", "fails where nothing has changed; if a change for the worse is to fail, "
            "write 'tokens_per_s < -10%'"),
        ("ttft_ms.p99 < -10%", "fails where it got better"),
        ("tokens_per_s > +5%", "fails where it got better"),
        ("ttft_ms.p99 < 250", "fails where ttft_ms.p99 is good; if a bad value is to fail, write >"),
        ("goodput.ratio > 0.95", "fails where goodput.ratio is good"),
        ("goodput.ratio < 95", "always fails; goodput.ratio is a share from 0 to 1"),
        ("errors.ratio > 5", "can never fail; errors.ratio is a share from 0 to 1"),
        ("errors.ratio >= 0", "always fails"),
        ("tokens_per_s < 0", "can never fail"),
        ("cached_tokens.ratio > +150%", "fails where it got better"),
    ],
)  # fmt: skip
def test_gates_that_can_hardly_be_meant(text: str, says: str | None) -> None:
    found = find_doubts([parse_gate(text)])
    assert found == [] if says is None else found[0].startswith(f"gate {text!r}: {says}")
