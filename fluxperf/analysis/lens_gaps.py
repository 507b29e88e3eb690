"""`Gaps`: the gaps between a tool's events, pooled over a round, of our histogram and of what is beside it."""

from __future__ import annotations

from fluxperf.analysis.lens_rules import Others, Seen
from fluxperf.analysis.lens_spread import Spread
from fluxperf.metrics import CHUNK_GAP, came_at_once
from fluxperf.model import Histogram, RoundResult, Timeline


class Gaps:
    """Our gaps are in a histogram; those to silent events before and after the output come from each request's stamps.

    Silent events between tokens cut gaps of ours in two, of which a histogram does not tell; `inner` counts them, and
    `outer` the others.
    """

    def __init__(self, others: Others, result: RoundResult) -> None:
        self.inner = self.outer = 0
        self._others = others
        self._histogram = result.histograms.get(CHUNK_GAP.name)
        self._beside: list[tuple[float, int]] = []
        self._sum_ns = self._count = self._ours = 0

    def add(self, request: Timeline, seen: Seen) -> None:
        """The gaps of one request."""
        others = self._others.count(request)
        self._sum_ns += seen.last - seen.first
        self._count += max(request.output_events + others - 1, 0)
        first_ns, last_ns = request.first_output_ns, request.last_output_ns
        if first_ns is None or last_ns is None:
            self.inner += others
            return
        inside = max(request.output_events - 1, 0)
        if not came_at_once(request):
            self._ours += inside
        elif inside:  # these are not in our histogram
            self._beside.append((0.0, inside))
        before, after = self._others.first(request), self._others.last(request)
        edges = [] if before is None or before > first_ns else [first_ns - before]
        if after is not None and after >= last_ns and len(edges) < others:
            edges.append(after - last_ns)
        self._beside += [(float(gap), 1) for gap in edges]
        self.outer += len(edges)
        self.inner += others - len(edges)

    @property
    def are_stored(self) -> bool:
        """Whether our histogram is there, or there was nothing to put in it."""
        return self._histogram is not None or not self._ours

    def mean_ns(self) -> float | None:
        """The mean, which is exact whatever is known of single gaps; None if there is no gap."""
        return self._sum_ns / self._count if self._count else None

    def spread(self) -> Spread:
        """Of nothing where no request was added, or our gaps are not stored."""
        if not self._count or not self.are_stored:
            return Spread(())
        ours = () if self._histogram is None else Histogram.decode(self._histogram).values()
        return Spread([*ours, *self._beside])
