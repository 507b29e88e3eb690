from __future__ import annotations

import re
from collections.abc import Callable

from fluxperf.report.findings import Findings
from fluxperf.report.github import render_github
from tests.report.findings import FINDINGS, HEADING, make_many, make_nasty, make_result

Golden = Callable[[str, str], None]
COMMAND = re.compile(r"::(error|warning|notice) title=([^:,\r\n]*)::([^\r\n]*)")


def read(findings: Findings) -> list[tuple[str, str, str]]:
    """Level, title and text as the runner reads them (actions/toolkit, command.ts)."""
    found = []
    for line in render_github(findings).splitlines():
        command = COMMAND.fullmatch(line)
        assert command is not None, line
        level, title, text = command.groups()
        for code, character in (("%0A", "\n"), ("%0D", "\r"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
            title, text = title.replace(code, character), text.replace(code, character)
        found.append((level, title, text))
    return found


def test_four_gates(golden: Golden) -> None:
    golden("gates.github.txt", render_github(FINDINGS))


def test_nothing_to_say() -> None:
    assert render_github(Findings(HEADING)) == ""


def test_percent_signs_and_colons_arrive() -> None:
    (level, title, text), _ = read(Findings(HEADING, [make_result()]))
    assert (level, title) == ("error", "Gate failed: ttft_ms.p99 > +10%")
    assert text.startswith("concurrency 8, round 2: ttft_ms.p99 changed by +18.2%")


def test_no_text_begins_a_command_of_its_own() -> None:
    assert len(read(make_nasty())) == 5  # two failures, one undecided, and two notices


def test_there_are_no_more_than_are_shown() -> None:
    found = read(make_many(100))
    for level in ("error", "warning", "notice"):
        assert len([one for one in found if one[0] == level]) <= 10
    assert ("error", "25 more gates failed", "the report of the run has them all") in found
    assert [one[1] for one in read(make_many(30)) if one[0] == "error"].count("Gate failed: ttft_ms.p99 > +10%") == 10
