"""Gates as JUnit XML: a test case for each gate and place, for the readers of GitHub, GitLab and Jenkins.

There is no standard; this is what Jenkins' schema allows (junit-10.xsd), and what the others read of it. An undecided
gate is a skipped test: it did not pass, and fails nothing.
"""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from fluxperf.model.gate import GateOutcome, GateResult
from fluxperf.model.shown import show_place
from fluxperf.report.findings import Findings, Side, verdict_text

SUITE = "fluxperf.gates"
# What XML 1.0 cannot hold, not even escaped (2.2).
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(findings: Findings) -> str:
    """The document."""
    failures = str(findings.count(GateOutcome.FAILED, GateOutcome.ABSENT))
    counts = {
        "tests": str(len(findings.gates)),
        "failures": failures,
        "errors": "0",
        "skipped": str(findings.count(GateOutcome.UNDECIDED)),
        "time": "0",
    }
    top = Element(
        "testsuites", {"name": SUITE, **{name: counts[name] for name in ("tests", "failures", "errors", "time")}}
    )
    suite = SubElement(top, "testsuite", {"name": _clean(f"{SUITE}: {findings.heading.title}"), **counts})
    if moment := _timestamp(findings.heading.new):
        suite.set("timestamp", moment)
    properties = SubElement(suite, "properties")
    for name, text in _properties(findings):
        SubElement(properties, "property", {"name": _clean(name), "value": _clean(text)})
    for result in findings.gates:
        _add_case(suite, result)
    indent(top)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(top, encoding="unicode")}\n'


def _add_case(suite: Element, result: GateResult) -> None:
    place = show_place(result.stage, result.concurrency, result.round)
    # Readers split class names at dots.
    case = SubElement(suite, "testcase")
    case.attrib |= {
        "classname": _clean(f"{SUITE}.{place.replace('.', '_')}"),
        "name": _clean(f"{result.gate.text} ({place})"),
        "time": "0",
    }
    text = _clean(result.text)
    if result.failed:
        told = SubElement(case, "failure", {"message": text, "type": result.outcome.value})
        told.text = f"{_clean(result.gate.text)}\n{_clean(place)}\n{text}"
    elif result.outcome is GateOutcome.UNDECIDED:
        SubElement(case, "skipped", {"message": f"undecided: {text}"})
    else:
        SubElement(case, "system-out").text = text


def _properties(findings: Findings) -> list[tuple[str, str]]:
    heading = findings.heading
    found: list[tuple[str, str]] = [("judge", heading.judge)]
    sides = [("", heading.new), *([] if heading.base is None else [("baseline.", heading.base)])]
    for prefix, side in sides:
        facts = {"name": side.name, "repeats": str(side.repeats), "verdict": verdict_text(side) or "", **side.facts}
        found += [(prefix + name, text) for name, text in facts.items() if text]
    return found + [(f"label.{name}", text) for name, text in heading.labels.items()]


def _timestamp(side: Side) -> str | None:
    """When the run began, as xs:dateTime without a zone, which is what readers expect."""
    found = re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", side.facts.get("started_at", ""), re.ASCII)
    return found[0] if found else None


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
