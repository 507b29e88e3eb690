"""`ServerMetrics`: the metrics that a Prometheus server has scraped, asked for after each round.

Wherever they allow it, figures are made of the raw samples; what is left is the server's own estimate. What it knows is
limited by how often it scrapes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median

from fluxperf.clock import now_ns
from fluxperf.units import NS_PER_S, ns_to_s, s_to_ns
from fluxperf.watch.engines import START_TIME
from fluxperf.watch.meaning import (
    Kind,
    Meaning,
    no_such_labels,
    no_such_metric,
    possible_names,
    read_meaning,
    typed_names,
)
from fluxperf.watch.promql import Selector, name_series, quote
from fluxperf.watch.queries import Api, Row, duration
from fluxperf.watch.series import SETTLE_NS, Found, Point, Series, Unavailable, Window, is_exact, is_number

# For a sample that is newer than the end of the round.
WAIT_S = 5.0
POLL_S = 0.25
POLL_TIMEOUT_S = 2.0
# How far back the last sample before a round may lie: scraping each minute is Prometheus' default.
LOOKBACK_NS = 150 * NS_PER_S
_CLOCK_LOOKS = 3
_LONG_INTERVAL_NS = 2 * NS_PER_S
NO_SAMPLE = "Prometheus knows the metric, but has no sample of it (is its target down?)"
NATIVE = "Prometheus holds it as a native histogram, which is not read here; classic buckets are"


class ServerMetrics:
    """For a whole run. `find` tells of the round that ended last."""

    def __init__(
        self,
        api: Api,
        selectors: Sequence[Selector],
        *,
        clock: Callable[[], int] = now_ns,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.address = f"a Prometheus server, {api.shown}"
        self._api = api
        self._clock = clock
        self._pause = pause
        stamps = [
            f"timestamp({selector.promql([name])})"
            for selector in selectors
            for name in possible_names(selector)
            if not name.endswith(("_bucket", "_sum"))
        ]
        self._oldest = f"min({' or '.join(stamps)})" if stamps else None
        self._kinds: dict[str, str] = {}
        self._asked_kinds: set[str] = set()
        self._interval_ns = 0
        self._trouble: Unavailable | None = None
        self._offset_ns = 0
        self._until_ns = 0

    def begin(self) -> None:
        """A round begins: nothing to do, since Prometheus scrapes anyway."""

    def end(self) -> None:
        """The round is over: waits until the server has scraped since, for a while at most."""
        settled_ns = self._clock() + SETTLE_NS
        deadline_ns = self._clock() + s_to_ns(WAIT_S)
        self._trouble = self._set_clock()
        while self._trouble is None and self._oldest is not None:
            oldest = self._api.rows(self._oldest, timeout_s=POLL_TIMEOUT_S)
            if isinstance(oldest, Unavailable):
                self._trouble = oldest
            elif not self._is_worth_waiting(_value_ns(oldest), settled_ns, deadline_ns):
                break
            else:
                self._pause(POLL_S)
        self._until_ns = self._clock() + self._offset_ns

    def _is_worth_waiting(self, stamp_ns: int | None, settled_ns: int, deadline_ns: int) -> bool:
        """Whether a sample that is new enough is still missing and can come in time, by the newest that there is."""
        if stamp_ns is None:
            return False
        newest_ns = stamp_ns - self._offset_ns
        next_ns = max(newest_ns + self._interval_ns, self._clock())
        return newest_ns < settled_ns and next_ns < deadline_ns

    def _set_clock(self) -> Unavailable | None:
        """How far the server's clock is from ours, by the quickest of some answers: stamps of samples are its own."""
        best_ns: int | None = None
        for _ in range(_CLOCK_LOOKS):
            found = self._api.clock(POLL_TIMEOUT_S)
            if isinstance(found, Unavailable):
                return found
            its_ns, answer = found
            took_ns = answer.came_ns - answer.asked_ns
            if best_ns is None or took_ns < best_ns:
                best_ns = took_ns
                self._offset_ns = its_ns - (answer.asked_ns + answer.came_ns) // 2
        return None

    def names(self) -> Sequence[str]:
        """The names of all metrics that the server knows; none where it does not tell."""
        known = self._api.names()
        return () if isinstance(known, Unavailable) else known

    def lacks(self, selector: Selector) -> str | None:
        """Why the server has nothing of the metric now; None: it has."""
        rows = self._api.rows(f"count by (__name__) ({selector.promql(possible_names(selector))})")
        if isinstance(rows, Unavailable):
            return rows.why
        return None if self._read(rows, selector) is not None else self._absence(selector)

    def find(self, selector: Selector, window: Window) -> Found | Unavailable:
        """The metric's series in the round."""
        if self._trouble is not None:
            return self._trouble
        query = selector.promql(possible_names(selector))
        rows = self._raw(query, window)
        if isinstance(rows, Unavailable):
            return rows
        self._learn_kinds(selector)
        meaning = self._read(rows, selector)
        if meaning is None:
            return Unavailable(NATIVE if rows else self._absence(selector))
        series = [one for one in map(_series, rows) if one.name in meaning.parts and _lives(one, window)]
        if not series:
            return Unavailable(NO_SAMPLE)
        self._interval_ns = _interval_ns(series[0].points)
        if meaning.kind is not Kind.GAUGE:
            series = self._check_restarts(series, window)
            if not all(is_exact(one.points, window) for one in series):
                series = self._estimate(series, selector, meaning, window)
        every = f"it scrapes every {ns_to_s(self._interval_ns):.3g} s" if self._interval_ns else ""
        hint = f"{every}; a longer round, or more frequent scraping, would give a figure" if every else "is it scraped?"
        return Found(
            meaning.kind,
            meaning.name,
            series,
            no_before=f"Prometheus has no sample from before the round; {hint}",
            no_after=f"Prometheus has no sample from within {WAIT_S:g} s after the round; {hint}",
            note=f"Prometheus has few samples: {every}" if self._interval_ns >= _LONG_INTERVAL_NS else None,
        )

    def _raw(self, selector: str, window: Window) -> list[Row] | Unavailable:
        """All samples from before the round to after it, stamped on our clock."""
        from_ns = window.began_ns + self._offset_ns - LOOKBACK_NS
        rows = self._api.rows(f"{selector}[{duration(self._until_ns - from_ns)}]", self._until_ns)
        if isinstance(rows, Unavailable):
            return rows
        return [Row(row.labels, tuple((stamp - self._offset_ns, value) for stamp, value in row.points)) for row in rows]

    def _learn_kinds(self, selector: Selector) -> None:
        for name in typed_names(selector):
            if name not in self._kinds and name not in self._asked_kinds:
                kind = self._api.kind(name)
                if isinstance(kind, str) and kind not in ("unknown", "untyped", ""):
                    self._kinds[name] = kind
                if not isinstance(kind, Unavailable):
                    self._asked_kinds.add(name)

    def _read(self, rows: Sequence[Row], selector: Selector) -> Meaning | None:
        return read_meaning(selector, {row.labels.get("__name__", "") for row in rows if row.points}, self._kinds)

    def _check_restarts(self, series: Sequence[Series], window: Window) -> list[Series]:
        """Marks the series whose process began anew during the round."""
        places = {_place(one.labels) for one in series}
        instances = "|".join(sorted({re.escape(instance) for _, instance in places}))
        rows = self._raw(f"{{__name__={quote(START_TIME)},instance=~{quote(instances)}}}", window)
        if isinstance(rows, Unavailable):
            return list(series)
        moved = {_place(tuple(row.labels.items())) for row in rows if _moved(row.points, window)}
        return [replace(one, restarted=_place(one.labels) in moved) for one in series]

    def _estimate(self, series: Sequence[Series], selector: Selector, meaning: Meaning, window: Window) -> list[Series]:
        """Adds what the server makes of the samples within the round: PromQL's `increase`, which extrapolates."""
        length = duration(window.ended_ns - window.began_ns)
        estimates = {}
        for name in meaning.parts:
            rows = self._api.rows(f"increase({selector.promql([name])}[{length}])", window.ended_ns + self._offset_ns)
            for row in [] if isinstance(rows, Unavailable) else rows:
                for _, value in row.points:
                    if is_number(value):
                        estimates[name, tuple(sorted(row.labels.items()))] = value
        return [replace(one, increase=estimates.get((one.name, one.labels))) for one in series]

    def _absence(self, selector: Selector) -> str:
        """Why there is nothing of it: no such name, other labels only, or no samples."""
        known = self._api.names()
        if isinstance(known, Unavailable):
            return known.why
        possible = possible_names(selector)
        if not set(possible) & set(known):
            return no_such_metric("Prometheus", selector.name, known)
        series = self._api.series(replace(selector, matchers=()).promql(possible))
        if isinstance(series, Unavailable):
            return series.why
        if any(selector.accepts(labels) for labels in series):
            return NO_SAMPLE
        others = [
            name_series(labels.get("__name__", ""), [one for one in sorted(labels.items()) if one[0] != "__name__"])
            for labels in series
        ]
        return no_such_labels("Prometheus", others)


def _value_ns(rows: Sequence[Row]) -> int | None:
    """A stamp that is the value of a result, in ns; None: there is none."""
    stamps = [value for row in rows for _, value in row.points if is_number(value)]
    return s_to_ns(stamps[0]) if stamps else None


def _place(labels: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Which process a series is from."""
    named = dict(labels)
    return named.get("job", ""), named.get("instance", "")


def _moved(points: Sequence[Point], window: Window) -> bool:
    """Whether a value changed from the last sample before the round on."""
    before = [value for stamp, value in points if stamp <= window.began_ns][-1:]
    return len({*before, *(value for stamp, value in points if stamp > window.began_ns)}) > 1


def _series(row: Row) -> Series:
    """The row, without what is no number."""
    labels = tuple(sorted(label for label in row.labels.items() if label[0] != "__name__"))
    return Series(row.labels.get("__name__", ""), labels, tuple(point for point in row.points if is_number(point[1])))


def _lives(series: Series, window: Window) -> bool:
    """Whether its target was still scraped when the round began."""
    points = series.points
    return not points or points[-1][0] >= window.began_ns - 2 * (_interval_ns(points) or LOOKBACK_NS)


def _interval_ns(points: Sequence[Point]) -> int:
    """How far apart samples are; 0: not known."""
    apart = [later[0] - earlier[0] for earlier, later in pairwise(points)]
    return round(median(apart)) if apart else 0
