"""`compare`: both sides read, found alike, compared and judged. Writes nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from fluxperf.analysis.contrast import compare_runs
from fluxperf.analysis.gates import judge_gates
from fluxperf.compare.asked import Asked
from fluxperf.compare.likeness import Likeness, find_likeness
from fluxperf.compare.sides import Resolve, Side, align_stages, check_distinct, read_side
from fluxperf.compare.telling import named_runs
from fluxperf.errors import MeasurementInvalid, UsageError
from fluxperf.model import Status
from fluxperf.model.contrast import Contrast
from fluxperf.model.gate import Against, GateOutcome, GateResult
from fluxperf.plan.gate_checks import find_base_problems, find_problems, plan_of_results
from fluxperf.report.contrast_words import summarize
from fluxperf.report.contrasts import Header
from fluxperf.report.findings import Findings, Heading, describe_side
from fluxperf.report.markdown import render_markdown

_MOST_CHARACTERS = 500  # on differences in a pull request's comment, whose length is limited


@dataclass(frozen=True)
class Comparison:
    """All that came of a comparison, and what the reports are made of. Without a BASE only gates are judged."""

    asked: Asked
    base: Side | None
    new: Side
    likeness: Likeness
    contrasts: tuple[Contrast, ...]
    gates: tuple[GateResult, ...]

    @property
    def header(self) -> Header | None:
        """What stands above the tables; None: nothing was compared."""
        if self.base is None:
            return None
        return Header(
            base=self.base.title,
            new=self.new.title,
            margin=self.asked.margin,
            objections=self.likeness.objections,
            remarks=self.likeness.remarks,
        )

    @cached_property
    def findings(self) -> Findings:
        """What reports for CI are made of."""
        new = describe_side(self.new.given, self.new.runs)
        base = None if self.base is None else describe_side(self.base.given, self.base.runs)
        heading = Heading(new=new, base=base, judge=self.asked.judge, labels=self.new.runs[0].labels)
        return Findings(heading, self.gates, self.contrasts)

    @property
    def summary(self) -> str:
        """The answer in a sentence or two."""
        return summarize(self.contrasts, self.asked.margin)

    @property
    def invalid(self) -> list[str]:
        """Which runs are invalid, and why."""
        return [
            f"{name}: {reason}"
            for name, run in named_runs(() if self.base is None else self.base.runs, self.new.runs)
            if run.verdict is not None and run.verdict.status is Status.INVALID
            for reason in run.verdict.reasons
        ]

    @property
    def markdown(self) -> str:
        """The summary for a pull request, with what speaks against the comparison."""
        text = render_markdown(self.findings)
        if not self.likeness.objections:
            return text
        told = "\n".join(self.likeness.objections).replace("`", "'")
        cut = told if len(told) <= _MOST_CHARACTERS else f"{told[:_MOST_CHARACTERS]}..."
        said = "could not be compared" if self.base is None else "are not alike, and were compared all the same"
        return f"{text}\nThe runs {said}:\n\n```text\n{cut}\n```\n"


def compare(asked: Asked, resolve: Resolve, *, tolerant: bool = False) -> Comparison:
    """Reads both sides and compares them. Raises UsageError where that cannot be done, or would mean nothing.

    Where no BASE is asked for, NEW is only held against the gates. `tolerant`: so it is where the sides turn out not
    to be alike; gates about the baseline are then undecided, and the likeness has the objections.
    """
    if not asked.base:
        return _judge_alone(asked, read_side("NEW", asked.new, resolve))
    base, new = (read_side(name, given, resolve) for name, given in (("BASE", asked.base), ("NEW", asked.new)))
    check_distinct(base, new)
    base, new, remark = align_stages(base, new)
    _check_gates(asked, base, new)
    likeness = find_likeness(base.runs, new.runs, goodput=asked.has_goodput)
    if remark is not None:
        likeness = replace(likeness, remarks=(remark, *likeness.remarks))
    if tolerant and likeness.objections and not asked.allow_different:
        return Comparison(asked, None, new, likeness, (), _judge_what_can_be(asked, new, likeness))
    _check_likeness(asked, likeness)
    contrasts = compare_runs(base.runs, new.runs, margin=asked.margin, figures=asked.figures)
    if not contrasts:
        raise UsageError("BASE and NEW have no figure in common: nothing can be compared")
    gates = judge_gates(asked.gates, new.runs, base.runs, asked.judge)
    return Comparison(asked, base, new, likeness, contrasts, gates)


def _judge_alone(asked: Asked, new: Side) -> Comparison:
    problems = find_problems(asked.gates, plan_of_results(new.runs), has_baseline=False)
    if problems:
        raise UsageError("\n".join(problems))
    return Comparison(asked, None, new, Likeness(), (), judge_gates(asked.gates, new.runs, None, asked.judge))


def _judge_what_can_be(asked: Asked, new: Side, likeness: Likeness) -> tuple[GateResult, ...]:
    """The gates about NEW alone, and for those about the baseline why they cannot be judged."""
    own = [gate for gate in asked.gates if gate.against is not Against.BASELINE]
    why = f"this run and the baseline cannot be compared: {'; '.join(likeness.objections)}"[:_MOST_CHARACTERS]
    others = (
        GateResult(
            gate=gate,
            stage=gate.stage,
            concurrency=gate.concurrency or 0,
            round=1 if gate.round is None else gate.round,
            outcome=GateOutcome.UNDECIDED,
            text=why,
        )
        for gate in asked.gates
        if gate.against is Against.BASELINE
    )
    return (*judge_gates(own, new.runs, None, asked.judge), *others)


def _check_gates(asked: Asked, base: Side, new: Side) -> None:
    problems = find_problems(asked.gates, plan_of_results(new.runs), has_baseline=True)
    problems += find_base_problems(asked.gates, plan_of_results(base.runs))
    if problems:
        raise UsageError("\n".join(problems))


def _check_likeness(asked: Asked, likeness: Likeness) -> None:
    """Raises UsageError for runs that are not alike, and MeasurementInvalid where --strict asks for nothing else."""
    if asked.allow_different or not likeness.objections:
        return
    if asked.strict and not likeness.differences:
        raise MeasurementInvalid("\n".join(["the measurement is invalid (--strict):", *likeness.invalid]))
    lines = [f"  {sentence}" for sentence in likeness.objections]
    hint = "measure again with the same plan, or compare all the same with --allow-different"
    raise UsageError("\n".join(["BASE and NEW cannot be compared:", *lines, hint]))
