"""`PageMetrics`: the metrics of one /metrics page, sampled while a round runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from fluxperf.fetch import Access, Answer, Cut, fetch
from fluxperf.masking import mask_url
from fluxperf.watch.engines import START_TIME
from fluxperf.watch.exposition import Labels, Scrape, names, pack, parse
from fluxperf.watch.meaning import (
    Kind,
    Meaning,
    no_such_labels,
    no_such_metric,
    possible_names,
    read_meaning,
    typed_names,
)
from fluxperf.watch.promql import Selector, name_series
from fluxperf.watch.sampler import Reading, Sampler
from fluxperf.watch.series import Found, Point, Series, Unavailable, Window, is_number

# The text format of Prometheus, which every page has; some give another one to who asks for nothing.
ACCEPT = "text/plain;version=0.0.4,text/plain;q=0.9,*/*;q=0.1"
BORN = "some of it appeared during the round, and was counted from 0"

Fetch = Callable[..., Answer]


class PageMetrics:
    """For a whole run. `find` tells of the round that ended last."""

    def __init__(
        self,
        url: str,
        selectors: Sequence[Selector],
        access: Access,
        *,
        ask: Fetch = fetch,
        make_sampler: Callable[..., Sampler] = Sampler,
    ) -> None:
        self.address = f"a page of metrics, {mask_url(url)}"
        self.url = url
        self._access = replace(access, headers={**access.headers, "accept": ACCEPT})
        self._ask = ask
        self._make_sampler = make_sampler
        asked = (name for selector in selectors for name in (*possible_names(selector), *typed_names(selector)))
        self._wanted = {START_TIME, *asked}
        self._sampler: Sampler | None = None
        self._readings: tuple[Reading, ...] = ()
        self._text = ""
        self._last: Scrape | None = None

    def look(self, timeout_s: float, cut: Cut | None = None) -> Reading:
        """One look at the page."""
        return self.take(self._ask(self.url, self._access, timeout_s=timeout_s, cut=cut))

    def names(self) -> tuple[str, ...]:
        """What the page has, as it was last seen."""
        return names(self._text)

    def take(self, answer: Answer) -> Reading:
        """An answer as a reading."""
        if not answer.ok:
            return Reading(answer.asked_ns, answer.came_ns, None, answer.trouble)
        try:
            scrape = parse(answer.text, answer.came_ns, self._wanted.__contains__)
        except ValueError:
            return Reading(answer.asked_ns, answer.came_ns, None, "is no page of metrics")
        self._text = answer.text
        self._last = pack(scrape, self._last)  # an hour has 3,600 readings
        return Reading(answer.asked_ns, answer.came_ns, self._last)

    def begin(self) -> None:
        """A round begins: a first look, and more while it runs."""
        self.end()  # of a round that broke off
        self._sampler = self._make_sampler(self.look)
        self._sampler.begin()

    def end(self) -> None:
        """The round is over: the last look, and no more."""
        if self._sampler is not None:
            sampler, self._sampler = self._sampler, None
            self._readings = ()
            self._readings = sampler.end()

    def lacks(self, selector: Selector) -> str | None:
        """Why the page as it was last seen has nothing of the metric; None: it has."""
        scrape = parse(self._text, 0, self._wanted.__contains__)
        found = self._read([scrape], selector)
        return found.why if isinstance(found, Unavailable) else None

    def find(self, selector: Selector, window: Window) -> Found | Unavailable:
        """The metric's series in the round."""
        # What was asked for before the end and came after it is neither of the round nor of what followed.
        readings = [one for one in self._readings if not one.asked_ns < window.ended_ns <= one.came_ns]
        scrapes = [reading.scrape for reading in readings if reading.scrape is not None]
        shown = mask_url(self.url)
        if not scrapes:
            return Unavailable(f"{shown} {_troubles(readings)}")
        meaning = self._read(scrapes, selector)
        if isinstance(meaning, Unavailable):
            return meaning
        first, last = readings[0], readings[-1]
        series, born = _collect(scrapes, selector, meaning)
        return Found(
            meaning.kind,
            meaning.name,
            series,
            no_before=f"not known: before the round {shown} {first.trouble}",
            no_after="it was gone from the page after the round"
            if last.scrape is not None
            else f"not known: after the round {shown} {last.trouble}",
            missed=len(readings) - len(scrapes),
            note=BORN if born else None,
        )

    def _read(self, scrapes: Sequence[Scrape], selector: Selector) -> Meaning | Unavailable:
        """What the selector means on the page, or why it means nothing there."""
        # Each series once: there may be thousands of scrapes.
        seen = dict.fromkeys((sample.name, sample.labels) for scrape in scrapes for sample in scrape.samples)
        kinds = {name: kind for scrape in scrapes for name, kind in scrape.kinds.items()}
        meant = {name for name, labels in seen if selector.accepts(dict(labels))}
        meaning = read_meaning(selector, meant, kinds)
        return Unavailable(self._absence(selector, seen)) if meaning is None else meaning

    def _absence(self, selector: Selector, seen: Iterable[tuple[str, Labels]]) -> str:
        possible = possible_names(selector)
        if others := dict.fromkeys(name_series(name, labels) for name, labels in seen if name in possible):
            return no_such_labels("the page", tuple(others))
        return no_such_metric("the page", selector.name, self.names())


def _troubles(readings: Sequence[Reading]) -> str:
    trouble, times = Counter(reading.trouble for reading in readings).most_common(1)[0]
    return f"{trouble} ({times} of {len(readings)} times)"


def _collect(scrapes: Sequence[Scrape], selector: Selector, meaning: Meaning) -> tuple[list[Series], bool]:
    """The series that are meant, and whether one that counts appeared on the way.

    A counter with labels is not shown before it is first counted; it stood at 0 then.
    """
    restarted = _restarted(scrapes)
    points: dict[tuple[str, Labels], list[Point]] = {}
    born = False
    for number, scrape in enumerate(scrapes):
        for sample in scrape.samples:
            if sample.name not in meaning.parts or not selector.accepts(dict(sample.labels)):
                continue
            key = (sample.name, sample.labels)
            if key not in points:
                points[key] = []
                if number and meaning.kind is not Kind.GAUGE:
                    points[key].append((scrapes[0].taken_ns, 0.0))
                    born = True
            if is_number(sample.value):
                points[key].append((scrape.taken_ns, sample.value))
    series = [Series(name, labels, found, restarted=restarted) for (name, labels), found in points.items()]
    return series, born


def _restarted(scrapes: Sequence[Scrape]) -> bool:
    """Whether a process of the page began anew between two looks."""
    began: dict[Labels, float] = {}
    for scrape in scrapes:
        for sample in scrape.find(START_TIME):
            if began.setdefault(sample.labels, sample.value) != sample.value:
                return True
    return False
