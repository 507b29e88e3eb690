"""How a metric went over a round, for a plot: few points, in seconds since the first send. It makes no figures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from fluxperf.units import NS_PER_S, ns_to_s
from fluxperf.watch.meaning import Kind
from fluxperf.watch.series import Found, Point, Window, means, sums

Course = tuple[tuple[float, float], ...]

MOST_POINTS = 600
# What is seen just before and after the round belongs to its picture.
MARGIN_NS = 2 * NS_PER_S


def follow(found: Found, window: Window) -> Course:
    """A gauge's mean over its series at each sample; of what counts, the rate per second since the sample before."""
    points = _values(found) if found.kind is Kind.GAUGE else _rates(_counts(found))
    near = [
        (round(ns_to_s(stamp - window.began_ns), 6), value)
        for stamp, value in points
        if window.began_ns - MARGIN_NS <= stamp <= window.ended_ns + MARGIN_NS
    ]
    return tuple(near[:: -(-len(near) // MOST_POINTS) or 1])


def _values(found: Found) -> list[Point]:
    return means(one.points for one in found.series)


def _counts(found: Found) -> list[Point]:
    """The sum of the counters; of histograms and summaries that of their observations."""
    is_counter = found.kind is Kind.COUNTER
    return sums([one.points for one in found.series if is_counter or one.name.endswith("_count")])


def _rates(points: Sequence[Point]) -> list[Point]:
    """None where a counter began again."""
    return [
        (later[0], (later[1] - before[1]) / ns_to_s(later[0] - before[0]))
        for before, later in pairwise(points)
        if later[0] > before[0] and later[1] >= before[1]
    ]
