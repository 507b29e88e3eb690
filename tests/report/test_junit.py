from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.model.gate import GateOutcome
from fluxperf.report.findings import Findings, Heading, Side
from fluxperf.report.junit import render_junit
from tests.report.findings import FINDINGS, HEADING, make_many, make_nasty, make_result

Golden = Callable[[str, str], None]


def parse(findings: Findings) -> ElementTree.Element:
    """The document as a reader of files meets it."""
    return ElementTree.fromstring(render_junit(findings).encode())


def test_four_gates(golden: Golden) -> None:
    golden("gates.junit.xml", render_junit(FINDINGS))


@pytest.mark.parametrize("findings", [FINDINGS, make_nasty(), make_many(10), Findings(HEADING)])
def test_counts_are_those_of_the_cases(findings: Findings) -> None:
    top = parse(findings)
    (suite,) = top.findall("testsuite")
    cases = suite.findall("testcase")
    for element in (top, suite):
        assert int(element.get("tests", "")) == len(cases) == len(findings.gates)
        assert int(element.get("failures", "")) == len(suite.findall("testcase/failure"))
    assert int(suite.get("skipped", "")) == len(suite.findall("testcase/skipped"))
    assert [child.tag for child in suite][:1] == ["properties"]


def test_cases_are_told_apart() -> None:
    cases = parse(make_many(30)).findall("testsuite/testcase")
    assert len({(case.get("classname"), case.get("name")) for case in cases}) == 30


def test_a_dot_in_a_stage_makes_no_further_class() -> None:
    (case,) = parse(Findings(HEADING, [make_result(stage="v1.2")])).findall("testsuite/testcase")
    assert case.get("classname") == "fluxperf.gates.v1_2, concurrency 8, round 2"


@pytest.mark.parametrize(("moment", "shown"), [("2026-01-31T12:00:00.123Z", "2026-01-31T12:00:00"), ("x", None)])
def test_a_timestamp_is_one_or_is_absent(moment: str, shown: str | None) -> None:
    heading = Heading(new=Side(name="x", facts={"started_at": moment}))
    (suite,) = parse(Findings(heading)).findall("testsuite")
    assert suite.get("timestamp") == shown


@given(st.text())
def test_any_text_can_be_in_it(text: str) -> None:
    results = [make_result(text=text, stage=text, outcome=outcome) for outcome in GateOutcome]
    heading = Heading(new=Side(name=text, facts={"model": text}), labels={text: text})
    (suite,) = parse(Findings(heading, results)).findall("testsuite")
    assert len(suite.findall("testcase")) == 4
