"""`Lookout`: all that is seen of the server beside its answers. Its cache counters, its metrics, and the resets.

It is asked before and after each round; what it saw is values. It never fails for what a server does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fluxperf.fetch import Access
from fluxperf.masking import mask_url
from fluxperf.model.cache import CacheCounters, CacheReset
from fluxperf.watch.counters import CounterWatch
from fluxperf.watch.course import Course
from fluxperf.watch.identity import Known, Page, identify
from fluxperf.watch.resets import reset_cache

Say = Callable[[str], None]


class Monitor(Protocol):
    """Watches the metrics of `--prometheus-metrics`."""

    courses: dict[str, Course]

    def begin(self) -> None:
        """A round is about to begin."""

    def end(self) -> None:
        """It is over."""

    def figures(self, began_ns: int, ended_ns: int) -> Mapping[str, Mapping[str, Any]]:
        """What each metric was in that window (monotonic ns), by its name as it was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the user wants to be looked at.

    `base` is the server's URL without the path of the API; `secrets` are texts that must not be shown.
    """

    base: str
    engine: str = "auto"
    reset_url: str | None = None
    prometheus_url: str | None = None
    metrics: Sequence[str] = ()
    secrets: Sequence[str] = ()


class Lookout:
    """One for a whole run."""

    def __init__(
        self,
        counters: CounterWatch,
        monitor: Monitor | None = None,
        reset: Callable[[], CacheReset] | None = None,
        announce: Callable[[], None] = lambda: None,
    ) -> None:
        self._counters = counters
        self._monitor = monitor
        self._reset = reset
        self._announce = announce

    def reset(self) -> CacheReset | None:
        """Empties the cache, once the server is quiet; None: nobody said how."""
        if self._reset is None:
            return None
        self._announce()  # it may take a while
        self._counters.begin()  # requests that still run would keep it from being emptied
        return self._reset()

    def begin(self) -> None:
        """A round is about to begin."""
        self._counters.begin()
        if self._monitor is not None:
            self._monitor.begin()

    def end(self, prompt_tokens: int) -> CacheCounters:
        """It is over, and is known to have sent at least so many prompt tokens."""
        counters = self._counters.end(prompt_tokens)
        if self._monitor is not None:
            self._monitor.end()
        return counters

    def give_up(self) -> None:
        """The round that was about to begin did not come to an end: what was started for it ends."""
        if self._monitor is not None:
            self._monitor.end()

    def figures(self, began_ns: int, ended_ns: int) -> Mapping[str, Mapping[str, Any]]:
        """What the metrics that the user named were between two instants (monotonic ns)."""
        return {} if self._monitor is None else self._monitor.figures(began_ns, ended_ns)

    @property
    def courses(self) -> Mapping[str, Course]:
        """How they went between these instants, once their figures were asked for: seconds, and the value."""
        return {} if self._monitor is None else self._monitor.courses


def open_lookout(
    wishes: Wishes, access_to: Callable[[str], Access], say: Say, stop_asked: Callable[[], bool] = lambda: False
) -> Lookout:
    """Finds out what there is to look at. `access_to` says how a URL is to be asked.

    Once a stop is asked for, nothing more is waited for: neither a quiet server nor a reset.
    """
    url = wishes.prometheus_url
    further = [] if url is None else [Page(url, access_to(url))]
    known = identify(wishes.engine, wishes.base, access_to(wishes.base), further)
    if (told := describe(known, named=wishes.engine not in ("auto", "none"))) is not None:
        say(told)
    monitor: Monitor | None = None
    if url is not None and wishes.metrics:
        from fluxperf.watch.prometheus import open_monitor

        monitor = open_monitor(url, wishes.metrics, access_to(url), say)
    counters = CounterWatch(known.identity, known.read, stop_asked=stop_asked)
    reset_url = wishes.reset_url
    if reset_url is None:
        return Lookout(counters, monitor)
    return Lookout(
        counters,
        monitor,
        lambda: reset_cache(reset_url, access_to(reset_url), wishes.secrets, stop_asked=stop_asked),
        lambda: say(f"emptying the cache: {mask_url(reset_url)}"),
    )


def describe(known: Known, *, named: bool) -> str | None:
    """What was found out, if there is anything to say: counters, or why what should show some does not.

    `named`: the user named the engine.
    """
    found = known.identity
    if found.engine is None or found.note is not None:
        return found.note if named or known.answered or found.looks_like is not None else None
    version = f" {found.version}" if found.version else ""
    return f"cache counters of {found.engine.label}{version}: {', '.join(mask_url(page.url) for page in known.pages)}"
