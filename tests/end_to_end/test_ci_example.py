"""examples/ci_recipe.yaml, run as a user runs it: each of its gates is judged, and none fails."""

from __future__ import annotations

import pytest
import yaml

from fluxperf.analysis.gates import judge_gates
from fluxperf.model.gate import GateOutcome
from fluxperf.plan.gates import parse_gates
from fluxperf.stored import read_runs
from tests.end_to_end.command import ROOT, Fluxperf

RECIPE = "examples/ci_recipe.yaml"


@pytest.fixture
def clone(fluxperf: Fluxperf) -> Fluxperf:
    """The command in a directory that looks like a clone's root, into which results may be written."""
    for name in ("examples", "datasets"):
        (fluxperf.place / name).symlink_to(ROOT / name)
    return fluxperf


def test_the_plan_is_shown(clone: Fluxperf) -> None:
    ended = clone(f"--recipe {RECIPE} --dry-run")
    assert (ended.code, ended.err) == (0, "")


def test_a_gate_that_asks_for_too_much_is_told_before_anything_is_sent(clone: Fluxperf) -> None:
    ended = clone(f"--recipe {RECIPE} --fail-on round3/round1_ttft_ms.p50>1")
    assert ended.code == 2
    assert "gate 'round3/round1_ttft_ms.p50>1': " in ended.err
    assert not (clone.place / "results").exists()


def test_no_gate_fails(clone: Fluxperf) -> None:
    ended = clone(f"--recipe {RECIPE} --workers 1")
    assert ended.code == 0, ended.err
    runs = read_runs([clone.place / "results" / "ci"])
    gates = parse_gates(yaml.safe_load((ROOT / RECIPE).read_text("utf-8"))["gates"])
    results = judge_gates(gates, runs, None, "interval")
    assert [result for result in results if result.outcome is not GateOutcome.PASSED] == []
    assert len(results) == 4 + 4 + 1 + 1
