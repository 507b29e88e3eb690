"""What became of the conditions under which a build fails."""

from __future__ import annotations

from collections.abc import Sequence

from fluxperf.model.gate import GateOutcome, GateResult
from fluxperf.model.shown import show_place
from fluxperf.report.html.markup import Html, element
from fluxperf.report.text import count, printable

_OUTCOMES = {
    GateOutcome.PASSED: ("passed", "good"),
    GateOutcome.FAILED: ("failed", "bad"),
    GateOutcome.UNDECIDED: ("undecided", "fair"),
    GateOutcome.ABSENT: ("no such value", "bad"),
}


def gates_section(gates: Sequence[GateResult]) -> Html | None:
    """What became of the conditions under which a build fails; None: there were none."""
    if not gates:
        return None
    failed = sum(gate.failed for gate in gates)
    said = (
        f"{count(failed, 'gate')} of {len(gates)} failed." if failed else f"None of {count(len(gates), 'gate')} failed."
    )
    rows = [
        element(
            "li",
            element("span", _OUTCOMES[gate.outcome][0], class_=f"badge {_OUTCOMES[gate.outcome][1]}"),
            " ",
            element("b", printable(show_place(gate.stage, gate.concurrency, gate.round))),
            f": {printable(gate.text)}",
        )
        for gate in sorted(gates, key=lambda gate: not gate.failed)
    ]
    return element(
        "section", element("h2", "Gates"), element("p", said), element("ul", *rows, class_="gates"), id="gates"
    )
