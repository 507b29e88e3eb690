"""`Findings`: gates, comparisons, and what was held against what; all that the reports for CI are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fluxperf.model import RunResult, Status, Verdict
from fluxperf.model.contrast import Contrast
from fluxperf.model.gate import GateOutcome, GateResult, Judge
from fluxperf.report.text import count

WORDS = {
    GateOutcome.FAILED: "FAIL",
    GateOutcome.ABSENT: "FAIL",
    GateOutcome.UNDECIDED: "undecided",
    GateOutcome.PASSED: "PASS",
}
"""How an outcome is called where there is room for a word."""
ORDER = (GateOutcome.FAILED, GateOutcome.ABSENT, GateOutcome.UNDECIDED, GateOutcome.PASSED)
"""From what matters most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side: how it was named on the command line, how many repeats it has, its verdict, and where it is from."""

    name: str
    repeats: int = 1
    verdict: Verdict | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What was held against what (`base` None: there is no baseline), and how. `labels` are those of the new run."""

    new: Side
    base: Side | None = None
    judge: Judge = "interval"
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """`results against main`."""
        return self.new.name if self.base is None else f"{self.new.name} against {self.base.name}"


@dataclass(frozen=True, slots=True)
class Findings:
    """What a report for CI is made of."""

    heading: Heading
    gates: Sequence[GateResult] = ()
    contrasts: Sequence[Contrast] = ()

    @property
    def failed(self) -> bool:
        """Whether the build fails."""
        return any(result.failed for result in self.gates)

    def count(self, *outcomes: GateOutcome) -> int:
        """How many results have one of these outcomes."""
        return sum(result.outcome in outcomes for result in self.gates)

    @property
    def summary(self) -> str:
        """`1 of 6 gates failed, 2 undecided`."""
        failed, undecided = self.count(GateOutcome.FAILED, GateOutcome.ABSENT), self.count(GateOutcome.UNDECIDED)
        total = count(len(self.gates), "gate")
        if not self.gates:
            return "no gates"
        if not failed and not undecided:
            return f"{total} passed"
        said = [f"{failed} of {total} failed"] if failed else [f"none of {total} failed"]
        return ", ".join([*said, *([f"{undecided} undecided"] if undecided else [])])


def describe_side(name: str, runs: Sequence[RunResult]) -> Side:
    """One side of a comparison from its repeats; the verdict is that of the worst of them."""
    verdicts = [run.verdict for run in runs if run.verdict is not None]
    worst = max(verdicts, key=lambda verdict: verdict.status.rank, default=None)
    return Side(name=name, repeats=len(runs), verdict=worst, facts=dict(_facts(runs[0])) if runs else {})


def _facts(run: RunResult) -> Iterator[tuple[str, str]]:
    """Where a run is from, as far as it says; nothing of the environment but versions and the revision."""
    configuration = run.configuration
    if "model" not in configuration and run.stages:  # of a recipe; its stages know
        configuration = run.stages[0].configuration
    yield "started_at", run.started_at
    for name in ("model", "dataset", "dataset_sha256"):
        if isinstance(configuration.get(name), str):
            yield name, configuration[name]
    revision = run.environment.get("revision")
    if isinstance(revision, Mapping) and revision.get("commit"):
        yield "revision", _revision(revision)
    if run.environment.get("fluxperf"):
        yield "fluxperf", str(run.environment["fluxperf"])


def _revision(revision: Mapping[str, Any]) -> str:
    return str(revision["commit"]) + ("-dirty" if revision.get("dirty") else "")


def verdict_text(side: Side) -> str | None:
    """`degraded: the reasons`; None: nobody judged it."""
    verdict = side.verdict
    if verdict is None:
        return None
    reasons = "; ".join(verdict.reasons) if verdict.status is not Status.VALID else ""
    return f"{verdict.status}: {reasons}" if reasons else str(verdict.status)
