"""Whether two sets of runs can be held against each other: what makes that meaningless, and what else differs.

Pure, over `RunResult`s. The tables of what must be alike are in `fluxperf.compare.facts`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fluxperf.compare.conditions import (
    Runs,
    missing_places,
    other_caches,
    other_objectives,
    other_samples,
    other_timeouts,
    unfinished,
    verdicts,
)
from fluxperf.compare.facts import Facts, facts_alike, facts_free
from fluxperf.compare.telling import Place, tell_apart, tell_where
from fluxperf.model import RunResult, StageResult, Status


@dataclass(frozen=True, slots=True)
class Likeness:
    """Sentences: `differences` make a comparison meaningless; `invalid` are rounds whose figures are worth nothing.

    `remarks` are on what may differ because it is what one compares, and on what else to know.
    """

    differences: tuple[str, ...] = ()
    invalid: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def objections(self) -> tuple[str, ...]:
        """All that speaks against a comparison."""
        return self.differences + self.invalid


def find_likeness(base: Runs, new: Runs, *, goodput: bool = True) -> Likeness:
    """How the runs of BASE and those of NEW differ; several of a side are repeats, and must be alike as well.

    `goodput`: whether it is compared, so that it must have been counted by the same objectives. Raises UsageError
    where requests have to be looked at, and cannot be read.
    """
    differences = [*missing_places(base, new), *_differing(facts_alike, base, new, absent_differs=False)]
    differences += [*other_samples(base, new), *other_timeouts(base, new), *unfinished(base, new)]
    remarks = [*_differing(facts_free, base, new, absent_differs=True)]
    for sentence, objects in (*other_caches(base, new), *(other_objectives(base, new) if goodput else ())):
        (differences if objects else remarks).append(sentence)
    remarks += verdicts(base, new, Status.DEGRADED)
    return Likeness(tuple(differences), tuple(verdicts(base, new, Status.INVALID)), tuple(remarks))


def find_planned_differences(base: Runs, planned: Mapping[str | None, Mapping[str, Any]]) -> list[str]:
    """What of runs in hand is not as it is planned for another one. `planned` has what each stage is asked for.

    What the plan leaves open (the model that the server lists) is not told apart.
    """
    stages = tuple(StageResult(name=name, folder="", configuration=asked) for name, asked in planned.items() if name)
    alone = planned.get(None, {})
    plan = RunResult(
        started_at="",
        partial=False,
        environment={},
        labels={},
        configuration=alone,
        rounds=(),
        comparisons=(),
        stages=stages,
    )
    return list(_differing(facts_alike, base, [plan], absent_differs=False))


def _differing(facts_of: Callable[[RunResult], Facts], base: Runs, new: Runs, *, absent_differs: bool) -> Iterator[str]:
    """A sentence on each fact that is not the same in all runs, at the places that all have.

    `absent_differs`: a fact that one run does not tell is one that it does not have.
    """
    sides = [[facts_of(run) for run in side] for side in (base, new)]
    common = [place for place in sides[0][0] if all(place in facts for side in sides for facts in side)]
    where: dict[tuple[str, str], list[Place]] = {}
    for place in common:
        for name in dict.fromkeys(name for side in sides for facts in side for name in facts[place]):
            if not absent_differs and any(name not in facts[place] for side in sides for facts in side):
                continue
            if text := tell_apart(*([facts[place].get(name) for facts in side] for side in sides)):
                where.setdefault((name, text), []).append(place)
    for (name, text), places in where.items():
        yield f"{name}: {text}{tell_where(places, common)}"
