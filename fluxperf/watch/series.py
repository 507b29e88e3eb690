"""The samples of a metric around a round, and by how much it grew. What is not known is `Unavailable`, never 0."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from fluxperf.units import NS_PER_MS, ns_to_s
from fluxperf.watch.exposition import Labels
from fluxperf.watch.meaning import Kind

Point = tuple[int, float]
"""A stamp (monotonic, ns) and a value."""

SETTLE_NS = 200 * NS_PER_MS
# An estimate is believed if the samples within the window cover so much of it.
LEAST_COVER = 0.5
"""Servers count a request a moment after its last byte; a sample so long after the round has seen it."""
MOST = 1e100
"""What is beyond it is no measurement; the squares of what is not can still be added up."""
RESET = "the counter began again during the round (the server restarted?)"


def is_number(value: float) -> bool:
    """Whether it can be reckoned with: not NaN, not infinite, not beyond all reason."""
    return abs(value) <= MOST


@dataclass(frozen=True, slots=True)
class Window:
    """A round, from its first send to its last end (monotonic). `quiet_ns`: when the round before it had ended."""

    began_ns: int
    ended_ns: int
    quiet_ns: int | None = None

    @property
    def duration_s(self) -> float:
        """Its length."""
        return ns_to_s(self.ended_ns - self.began_ns)


@dataclass(frozen=True, slots=True)
class Series:
    """A series and its points in order of time, from before the round to after it, as far as there are any.

    `increase`: what a Prometheus server estimates for the round. `restarted`: its process did so during the round.
    """

    name: str
    labels: Labels
    points: Sequence[Point]
    increase: float | None = None
    restarted: bool = False


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Why there is no number."""

    why: str


@dataclass(frozen=True, slots=True)
class Found:
    """A metric's series. `no_before` and `no_after` say why there may be no sample before the round, or after it.

    `missed` counts the samples that could not be taken; `note` is what to know about all of them.
    """

    kind: Kind
    name: str
    series: Sequence[Series]
    no_before: str
    no_after: str
    missed: int = 0
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Growth:
    """By how much series grew in the window, and from how many samples that is known."""

    amount: float
    samples: int
    approximate: bool = False


def inside(points: Sequence[Point], window: Window) -> slice:
    """The points within the window."""
    return slice(bisect_left(points, (window.began_ns,)), bisect_right(points, (window.ended_ns, math.inf)))


def means(several: Iterable[Sequence[Point]]) -> list[Point]:
    """The mean over the series at each sample, with the stamp at which the sample began.

    Series of one page share their stamps. Those of several pages do not: what came since each was last sampled is one
    sample.
    """
    return [(stamp, math.fsum(values) / len(values)) for stamp, values in _by_sample(several)]


def sums(several: Sequence[Sequence[Point]]) -> list[Point]:
    """The same of the sum, of samples that have all series in them."""
    return [(stamp, math.fsum(values)) for stamp, values in _by_sample(several) if len(values) == len(several)]


def _by_sample(several: Iterable[Sequence[Point]]) -> list[tuple[int, Collection[float]]]:
    by_stamp: dict[int, dict[int, float]] = defaultdict(dict)
    for number, points in enumerate(several):
        for stamp, value in points:
            by_stamp[stamp][number] = value
    samples: list[tuple[int, dict[int, float]]] = []
    for stamp, values in sorted(by_stamp.items()):
        if samples and samples[-1][1].keys().isdisjoint(values):
            samples[-1][1].update(values)
        else:
            samples.append((stamp, dict(values)))
    return [(stamp, values.values()) for stamp, values in samples]


def add_up(found: Found, series: Iterable[Series], window: Window) -> Growth | Unavailable:
    """The growth of all series together; one that is not known makes the sum unknown."""
    parts = []
    for one in series:
        growth = grow(one, found, window)
        if isinstance(growth, Unavailable):
            return growth
        parts.append(growth)
    if not parts:
        return Unavailable("the histogram has no _sum or no _count")
    return Growth(
        math.fsum(part.amount for part in parts),
        max(part.samples for part in parts),
        any(part.approximate for part in parts),
    )


def grow(series: Series, found: Found, window: Window) -> Growth | Unavailable:
    """From the last sample before the first send to the first one after the end.

    It is approximate where a server had to estimate it, for lack of samples that bound this round alone.
    """
    points = series.points
    before, after = _ends(points, window)
    counted = points[max(before, 0) : len(points) if after is None else after + 1]
    if series.restarted or any(later[1] < earlier[1] for earlier, later in pairwise(counted)):
        return Unavailable(RESET)
    if is_exact(points, window) and after is not None:
        return Growth(points[after][1] - points[before][1], len(counted))
    within = points[inside(points, window)]
    if series.increase is not None and _covers(within, window):
        return Growth(series.increase, len(within), approximate=True)
    if before < 0:
        return Unavailable(found.no_before)
    # With a sample from within the round before, the difference would hold a part of that round, or all of it.
    return Unavailable(found.no_after if after is None else found.no_before)


def _covers(within: Sequence[Point], window: Window) -> bool:
    """Whether the samples within the window are of most of it, so that little is left to be extrapolated."""
    return bool(within) and within[-1][0] - within[0][0] >= LEAST_COVER * (window.ended_ns - window.began_ns)


def is_exact(points: Sequence[Point], window: Window) -> bool:
    """Whether there are a sample before the window and one after it that no other round of ours has touched."""
    before, after = _ends(points, window)
    return before >= 0 and after is not None and (window.quiet_ns is None or points[before][0] >= window.quiet_ns)


def _ends(points: Sequence[Point], window: Window) -> tuple[int, int | None]:
    """Where the last point before the window is (-1: there is none) and the first one after it (None: none)."""
    before = bisect_right(points, (window.began_ns, math.inf)) - 1
    after = min(bisect_left(points, (window.ended_ns + SETTLE_NS,)), len(points) - 1)
    return before, after if after >= 0 and points[after][0] >= window.ended_ns else None
