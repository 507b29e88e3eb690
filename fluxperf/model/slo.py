"""Service level objectives as values. `fluxperf.plan.slo` reads files, `fluxperf.metrics` judges requests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Constraint:
    """A bound on one metric, in the unit of its name (`ttft_ms`: milliseconds).

    `below` is exclusive (value < below); `min` and `max` are inclusive. At least one of them is set.
    """

    metric: str
    below: float | None = None
    min: float | None = None
    max: float | None = None

    def met_by(self, value: float) -> bool:
        """Whether `value`, in the metric's unit, keeps the bound."""
        return (
            (self.below is None or value < self.below)
            and (self.min is None or value >= self.min)
            and (self.max is None or value <= self.max)
        )


@dataclass(frozen=True, slots=True)
class Slo:
    """All constraints that a request must meet to count as goodput."""

    constraints: tuple[Constraint, ...]
    name: str | None = None
