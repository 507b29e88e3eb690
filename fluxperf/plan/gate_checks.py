"""What gates need of a plan, and gates that can hardly be meant: found before anything is sent. Judges no figure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from fluxperf.model import CONTROL, RoundName, RunResult
from fluxperf.model.gate import Against, Gate
from fluxperf.plan.campaign import StageSpec
from fluxperf.plan.gates import LOWER_IS_BETTER, SHARES

_HERE = "there is"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStage:
    """A stage as far as gates ask: its title (None: a run without a recipe), levels, and rounds in their order."""

    title: str | None
    levels: tuple[int, ...]
    rounds: tuple[RoundName, ...]
    has_slo: bool


def plan_of_stages(stages: Sequence[StageSpec]) -> tuple[PlannedStage, ...]:
    """What is going to be measured, each stage once, however often the plan is repeated."""
    return tuple(_planned(stage) for stage in stages if stage.repeat in (None, 1))


def _planned(stage: StageSpec) -> PlannedStage:
    settings = stage.settings
    return PlannedStage(
        title=stage.plain_title,
        levels=settings.concurrency,
        rounds=(*range(1, settings.rounds + 1), *([CONTROL] if settings.control_round else [])),
        has_slo=settings.slo_file is not None,
    )


def plan_of_results(runs: Sequence[RunResult]) -> tuple[PlannedStage, ...]:
    """What has been measured, for runs that are on disk."""
    rounds = [result for run in runs for result in run.rounds]
    found = []
    for title in dict.fromkeys(result.stage for result in rounds):
        own = [result for result in rounds if result.stage == title]
        found.append(
            PlannedStage(
                title=title,
                levels=tuple(dict.fromkeys(result.concurrency for result in own)),
                rounds=tuple(dict.fromkeys(result.round for result in own)),
                has_slo=any(result.summary.goodput is not None for result in own),
            )
        )
    return tuple(found)


def find_problems(gates: Sequence[Gate], plan: Sequence[PlannedStage], *, has_baseline: bool) -> list[str]:
    """Why gates cannot be judged of this plan; empty: they can. Each begins with its gate, as in `parse_gate`."""
    found = []
    for gate in gates:
        problem = _find_missing(gate, plan, _HERE)
        if gate.against is Against.BASELINE and not has_baseline:
            problem = "is about a baseline, and none is given: add --baseline NAME, or the directory of an earlier run"
        if problem is not None:
            found.append(f"gate {gate.text!r}: {problem}")
    return found


def find_base_problems(gates: Sequence[Gate], base: Sequence[PlannedStage]) -> list[str]:
    """What gates want of the baseline and it does not hold."""
    about = [gate for gate in gates if gate.against is Against.BASELINE]
    problems = [(gate, _find_missing(gate, base, "the baseline has")) for gate in about]
    return [f"gate {gate.text!r}: {problem}" for gate, problem in problems if problem is not None]


def _find_missing(gate: Gate, plan: Sequence[PlannedStage], there_is: str) -> str | None:
    """What the gate is about and no stage has."""
    stages = [stage for stage in plan if names_stage(gate, stage.title)]
    if not stages:
        return f"{there_is} no stage {_quote(gate.stage)}{_near_stage(gate.stage, plan)}"
    levels = dict.fromkeys(level for stage in stages for level in stage.levels)
    if gate.concurrency is not None and gate.concurrency not in levels:
        return f"{there_is} no concurrency {gate.concurrency}; there are {', '.join(map(str, levels)) or 'none'}"
    stages = [stage for stage in stages if gate.concurrency is None or gate.concurrency in stage.levels]
    if not any(set(_rounds_of(gate)) <= set(stage.rounds) for stage in stages):
        rounds = dict.fromkeys(name for stage in stages for name in stage.rounds)
        missing = [name for name in _rounds_of(gate) if name not in rounds] or _rounds_of(gate)
        have = ", ".join(map(_word, rounds)) or "none"
        more = "; --control-round adds one" if CONTROL in missing else "; --rounds says how many"
        return f"{there_is} no {_word(missing[0])}; there are {have}{more if there_is == _HERE else ''}"
    if gate.figure.metric == "goodput" and not any(stage.has_slo for stage in stages):
        return f"{there_is} no goodput without objectives: add --slo-file"
    return None


def _rounds_of(gate: Gate) -> list[RoundName]:
    return [name for name in (gate.round, gate.earlier) if name is not None]


def _word(name: RoundName) -> str:
    return CONTROL if name == CONTROL else f"round{name}"


def names_stage(gate: Gate, title: str | None) -> bool:
    """Whether the gate is about the stage of this title, which it may name without its suite."""
    return gate.stage is None or (title is not None and (title == gate.stage or title.endswith(f"/{gate.stage}")))


def _near_stage(name: str | None, plan: Sequence[PlannedStage]) -> str:
    titles = [stage.title for stage in plan if stage.title is not None]
    if not titles:
        return "; without a recipe there are no stages"
    names = dict.fromkeys([*titles, *(title.rpartition("/")[2] for title in titles)])
    near = get_close_matches(name or "", list(names), 1, 0.5)
    return f"; did you mean {_quote(near[0])}?" if near else f"; there are {', '.join(map(_quote, titles))}"


def _quote(name: str | None) -> str:
    return json.dumps(name, ensure_ascii=False)


def find_doubts(gates: Sequence[Gate]) -> list[str]:
    """Gates that fail always, never, or where nothing got worse: a sentence each, with what was likely meant."""
    return [f"gate {gate.text!r}: {doubt}" for gate in gates if (doubt := next(_doubts(gate), None)) is not None]


def _doubts(gate: Gate) -> Iterator[str]:
    figure, threshold = gate.figure, gate.threshold
    least, most = 0.0, 1.0 if figure.metric in SHARES and gate.against is Against.VALUE else float("inf")
    if threshold < least if gate.above else threshold > most:
        hint = f"; {figure} is a share from 0 to 1" if most == 1 else ""
        yield f"always fails{hint}"
    if threshold >= most if gate.above else threshold <= least:
        hint = f"; {figure} is a share from 0 to 1" if most == 1 else ""
        yield f"can never fail{hint}"
    worse_is_above = figure.metric in LOWER_IS_BETTER
    if gate.against is Against.BASELINE:
        percent = abs(threshold - 1) * 100
        meant = f"'{figure} {'> +' if worse_is_above else '< -'}{percent:g}%'"
        if threshold > 1 if not gate.above else threshold < 1:
            yield f"fails where nothing has changed; if a change for the worse is to fail, write {meant}"
        elif gate.above != worse_is_above:
            yield f"fails where it got better; if a change for the worse is to fail, write {meant}"
    elif gate.above != worse_is_above:
        side = ">" if worse_is_above else "<"
        yield f"fails where {figure} is good; if a bad value is to fail, write {side}"
