"""`Monitor`: the metrics of --prometheus-metrics, round by round, from wherever --prometheus-url leads.

That is a page of metrics, which is sampled during the round, or a Prometheus server, which is asked after it. Which of
them, is found out by asking. Whatever a server does is told in the figures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from fluxperf.clock import now_ns
from fluxperf.fetch import Access, Answer, fetch, fetch_moved
from fluxperf.masking import mask_url
from fluxperf.watch.course import Course, follow
from fluxperf.watch.figures import Figures, describe, unavailable
from fluxperf.watch.page import PageMetrics
from fluxperf.watch.promql import Selector, parse_selector
from fluxperf.watch.queries import Api
from fluxperf.watch.sampler import LOOK_TIMEOUT_S
from fluxperf.watch.series import Found, Unavailable, Window
from fluxperf.watch.server import ServerMetrics

Say = Callable[[str], None]
Fetch = Callable[..., Answer]

# What people copy from a Prometheus server's address bar or from its documentation, behind its base URL.
_SERVER_PATH = re.compile(r"/(?:api/v1(?:/\w+)?|classic/graph|graph|query)/?$")


class Source(Protocol):
    """Where metrics come from."""

    address: str

    def begin(self) -> None:
        """A round begins."""

    def end(self) -> None:
        """It is over."""

    def names(self) -> Sequence[str]:
        """The names of what it has, as far as it tells."""

    def lacks(self, selector: Selector) -> str | None:
        """Why it has nothing of the metric now; None: it has."""

    def find(self, selector: Selector, window: Window) -> Found | Unavailable:
        """The metric's series in the round that ended last."""


class Monitor:
    """For a whole run. A `source` that is not there yet is looked for before each round."""

    def __init__(
        self,
        selectors: Sequence[Selector],
        look_for: Callable[[], Source | Unavailable],
        clock: Callable[[], int] = now_ns,
    ) -> None:
        self._selectors = selectors
        self._look_for = look_for
        self._clock = clock
        self.source = look_for()
        self._ended_ns: int | None = None
        self._quiet_ns: int | None = None
        self._failure: str | None = None
        self.courses: dict[str, Course] = {}
        """How each metric went over the round whose `figures` were asked for last."""

    @property
    def address(self) -> str:
        """What kind of address it is, or what is wrong with it."""
        return self.source.why if isinstance(self.source, Unavailable) else self.source.address

    def complaints(self) -> list[str]:
        """What the user should know before the first round: nothing answers, or some metrics are not there."""
        if isinstance(self.source, Unavailable):
            return [f"--prometheus-url: {self.source.why}; the run goes on, and it is asked again before each round"]
        lacking = ((selector.text, self.source.lacks(selector)) for selector in self._selectors)
        return [f"--prometheus-metrics {text}: {why}" for text, why in lacking if why is not None]

    def begin(self) -> None:
        """A round is about to begin."""
        self._failure = None
        self._quiet_ns = self._ended_ns
        with self._contained():
            if isinstance(self.source, Unavailable):
                self.source = self._look_for()
            if not isinstance(self.source, Unavailable):
                self.source.begin()

    def end(self) -> None:
        """It is over: takes the last sample, or waits for it. Leaves no thread."""
        self._ended_ns = self._clock()
        with self._contained():
            if not isinstance(self.source, Unavailable):
                self.source.end()

    def figures(self, began_ns: int, ended_ns: int) -> dict[str, dict[str, Any]]:
        """The figures of the round that ended last, from its first send to its last end (monotonic), by metric.

        A metric goes by the text that it was asked for with. Where several series match, each has an entry of its own
        as well, by its full name. What is not known is {"unavailable": why}.
        """
        figures: dict[str, Figures] = {}
        self.courses = {}
        if self._failure is None:
            with self._contained():
                figures = self._figures(Window(began_ns, ended_ns, self._quiet_ns))
        if self._failure is not None:
            return {selector.text: unavailable(self._failure) for selector in self._selectors}
        return figures

    @contextmanager
    def _contained(self) -> Iterator[None]:
        """What goes wrong within is the failure of the round's figures, and not of the run."""
        try:
            yield
        # As broad as can be: what another program's page holds must not end hours of measuring.
        except Exception as error:
            self._failure = self._failure or f"internal error: {type(error).__name__}: {error}"

    def _figures(self, window: Window) -> dict[str, Figures]:
        asked = {selector.text for selector in self._selectors}
        figures: dict[str, Figures] = {}
        for selector in self._selectors:
            found = self.source if isinstance(self.source, Unavailable) else self.source.find(selector, window)
            if isinstance(found, Unavailable):
                figures[selector.text] = unavailable(found.why)
                continue
            if course := follow(found, window):
                self.courses[selector.text] = course
            described = describe(found, window)
            figures[selector.text] = described.pop("")
            figures |= {name: its for name, its in described.items() if name not in asked}
        return figures


def open_monitor(url: str, metrics: Sequence[str], access: Access, say: Say, *, ask: Fetch = fetch) -> Monitor:
    """A monitor of the metrics (as `parse_selector` reads them) at `url`; what is amiss already is said.

    Raises ValueError for a metric that is none; never for what a server does.
    """
    selectors = tuple(map(_select, dict.fromkeys(metrics)))
    monitor = Monitor(selectors, lambda: find_source(url, selectors, access, ask))
    if isinstance(monitor.source, PageMetrics) and monitor.source.url != url:
        say(f"--prometheus-url: the page of metrics is {mask_url(monitor.source.url)}")
    for complaint in monitor.complaints():
        say(complaint)
    return monitor


def _select(text: str) -> Selector:
    try:
        return parse_selector(text)
    except ValueError as error:
        raise ValueError(f"{text!r} {error}") from error


class _Silence(Unavailable):
    """Nothing answers at all, so further questions would only take time."""


def find_source(url: str, selectors: Sequence[Selector], access: Access, ask: Fetch = fetch) -> Source | Unavailable:
    """What answers at `url`: a page of metrics, a Prometheus server, or a page below it, at /metrics."""
    try:
        base, parameters, is_its_page = _read_server_url(url)
    except ValueError as error:
        return Unavailable(f"{url!r} is no URL: {error}")
    page = None if is_its_page else _open_page(url, selectors, access, ask)
    if isinstance(page, PageMetrics | _Silence):
        return page
    api = Api(base, parameters, access, ask)
    clock = api.clock(LOOK_TIMEOUT_S)
    if not isinstance(clock, Unavailable):
        return ServerMetrics(api, selectors)
    if page is None:
        return clock
    below = _open_page(f"{base}/metrics", selectors, access, ask)
    return below if isinstance(below, PageMetrics) else Unavailable(f"{page.why}, and no Prometheus server is there")


def _read_server_url(url: str) -> tuple[str, dict[str, str], bool]:
    """The Prometheus server that `url` may mean: its base, parameters for each request, whether it was a page of it."""
    parts = urlsplit(url)
    path = _SERVER_PATH.sub("", parts.path).rstrip("/")
    base = urlunsplit((parts.scheme, parts.netloc, path, "", ""))
    is_its_page = path != parts.path.rstrip("/")  # and has parameters of its own
    return base, {} if is_its_page else dict(parse_qsl(parts.query)), is_its_page


def _open_page(url: str, selectors: Sequence[Selector], access: Access, ask: Fetch) -> PageMetrics | Unavailable:
    url, answer = fetch_moved(url, access, timeout_s=LOOK_TIMEOUT_S, ask=ask)
    page = PageMetrics(url, selectors, access, ask=ask)
    reading = page.take(answer)
    if reading.scrape is None:
        trouble = f"{mask_url(url)} {reading.trouble}"
        return _Silence(trouble) if answer.status is None else Unavailable(trouble)
    return page if page.names() else Unavailable(f"{mask_url(url)} has no metrics (yet)")
