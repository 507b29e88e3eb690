"""How uncertain a figure is, from by how much each request moves it. Knows arrays and stretches of time, no metric.

Influences are of a figure's logarithm: what it would change by if there were more of that request, so that they sum to
0. Of pairs they are those of both rounds' requests together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fluxperf.analysis.clustered import LEAST_STRETCHES, Stretches, estimate
from fluxperf.analysis.numeric import np
from fluxperf.analysis.samples import Sample
from fluxperf.analysis.uncertain import Uncertain, on_logs, unknown
from fluxperf.model.contrast import Way

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Spread:
    """A standard error, and how well it is known."""

    standard_error: float
    degrees_of_freedom: float

    def __add__(self, other: Spread) -> Spread:
        """That of the sum, or the difference, of two that have nothing to do with each other (Welch, Satterthwaite)."""
        first, second = self.standard_error**2, other.standard_error**2
        if not first + second:
            return Spread(0.0, min(self.degrees_of_freedom, other.degrees_of_freedom))
        weighed = first**2 / self.degrees_of_freedom + second**2 / other.degrees_of_freedom
        return Spread(math.sqrt(first + second), (first + second) ** 2 / weighed if weighed else math.inf)


def spread_of_one(influences: NDArray[np.float64], labels: NDArray[np.int64]) -> Spread | None:
    """The spread of what these add up to, in one round; None where there are too few stretches."""
    return spread_of_pairs(influences, Stretches(labels, labels))


def spread_of_pairs(influences: NDArray[np.float64], stretches: Stretches) -> Spread | None:
    """The same of pairs, in the stretches of both rounds."""
    if influences.size < LEAST_STRETCHES:
        return None
    found = estimate(0.0, np.ones(influences.size), influences, stretches)
    return None if found is None else Spread(found.standard_error, found.degrees_of_freedom)


def uncertain(log_value: float, spread: Spread | None, way: Way, counts: tuple[int, int], why: str) -> Uncertain:
    """The figure of this logarithm, by Student's t; `why` is told where there is no spread."""
    if spread is None:
        return Uncertain(value=math.exp(log_value), limits=unknown(), way=way, counts=counts, why=why)
    return Uncertain(
        value=math.exp(log_value),
        limits=on_logs(log_value, spread.standard_error, spread.degrees_of_freedom),
        way=way,
        counts=counts,
        standard_error=spread.standard_error,
        degrees_of_freedom=spread.degrees_of_freedom,
    )


def too_few(*samples: Sample) -> str:
    """Why nothing can be said of so short a round."""
    sample = min(samples, key=lambda one: int(np.count_nonzero(one.sent)) / one.concurrency)
    return (
        f"{np.count_nonzero(sample.sent)} prompts at a concurrency of {sample.concurrency} are fewer than "
        f"{LEAST_STRETCHES} stretches of time: at least {LEAST_STRETCHES * sample.concurrency} are needed"
    )
