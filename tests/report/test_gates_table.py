from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.cells import cell_len

from fluxperf.model import RunResult, Status, Verdict
from fluxperf.model.gate import GateOutcome
from fluxperf.report.findings import Findings, Heading, Side, describe_side
from fluxperf.report.gates import render_gates
from tests.report.findings import FINDINGS, HEADING, RESULTS, make_many, make_nasty, make_result

Golden = Callable[[str, str], None]
BuildRun = Callable[..., RunResult]


@pytest.mark.parametrize("columns", [None, 160, 80])
def test_four_gates(golden: Golden, columns: int | None) -> None:
    golden(f"gates_{columns or 'piped'}.txt", render_gates(FINDINGS, columns) + "\n")


def test_without_gates_there_is_nothing() -> None:
    assert render_gates(Findings(HEADING), None) == ""


@pytest.mark.parametrize("columns", [40, 60, 80, 160])
@pytest.mark.parametrize("findings", [FINDINGS, make_nasty(), make_many(30)], ids=["plain", "nasty", "many"])
def test_no_line_is_too_wide_and_none_is_obeyed(findings: Findings, columns: int) -> None:
    text = render_gates(findings, columns)
    assert max(cell_len(line) for line in text.splitlines()) <= columns
    assert all(line.isprintable() for line in text.split("\n"))


def test_a_run_without_a_baseline_names_no_sides() -> None:
    text = render_gates(Findings(replace(HEADING, base=None), RESULTS[:1]), None)
    assert "Gates: passed (1 gate passed)" in text
    assert "New:" not in text


@pytest.mark.parametrize(
    ("outcomes", "said", "failed"),
    [
        ([], "no gates", False),
        (["passed"], "1 gate passed", False),
        (["passed", "undecided"], "none of 2 gates failed, 1 undecided", False),
        (["passed", "undecided", "absent", "failed"], "2 of 4 gates failed, 1 undecided", True),
        (["absent"], "1 of 1 gate failed", True),
    ],
)
def test_all_gates_in_a_sentence(outcomes: list[str], said: str, failed: bool) -> None:
    findings = Findings(HEADING, [make_result(outcome=GateOutcome(one)) for one in outcomes])
    assert (findings.summary, findings.failed) == (said, failed)


def test_a_side_is_described_by_its_repeats(a_run: BuildRun) -> None:
    invalid = Verdict(status=Status.INVALID, reasons=("because",))
    runs = [
        a_run(
            configuration={"model": "m", "dataset": "d.jsonl", "dataset_sha256": "ab", "seed": 1},
            environment={"fluxperf": "0.1.0", "revision": {"commit": "5f", "branch": None, "dirty": True}, "host": {}},
        ),
        a_run(verdict=invalid),
    ]
    assert describe_side("new", runs) == Side(
        name="new",
        repeats=2,
        verdict=invalid,
        facts={
            "started_at": "2026-01-31T12:00:00Z",
            "model": "m",
            "dataset": "d.jsonl",
            "dataset_sha256": "ab",
            "revision": "5f-dirty",
            "fluxperf": "0.1.0",
        },
    )
    assert Heading(new=describe_side("new", runs)).title == "new"
    assert HEADING.title == "results against main"
