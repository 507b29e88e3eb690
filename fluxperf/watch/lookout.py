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
from fluxperf.watch.identity import Known, Page, identify
from fluxperf.watch.resets import reset_cache

Say = Callable[[str], None]


class Monitor(Protocol):
    """Watches the metrics of `--prometheus-metrics`."""

    def begin(self) -> None:
        """A round is about to begin."""

    def end(self) -> None:
        """It is over."""

    def figures(self, began_ns: int, ended_ns: int) -> Mapping[str, Mapping[str, Any]]:
        """What each metric was in that window (monotonic ns), by its name as it was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the user wants to be looked at. `base` is the server's URL without the path of the API."""

    base: str
    engine: str = "auto"
    reset_url: str | None = None
    prometheus_url: str | None = None
    metrics: Sequence[str] = ()


class Lookout:
    """One for a whole run."""

    def __init__(
        self, known: Known, monitor: Monitor | None = None, reset: Callable[[], CacheReset] | None = None
    ) -> None:
        self.known = known
        self._counters = CounterWatch(known.identity, known.read)
        self._monitor = monitor
        self._reset = reset

    def reset(self) -> CacheReset | None:
        """Empties the cache, once the server is quiet; None: nobody said how."""
        if self._reset is None:
            return None
        self._counters.begin()  # requests that still run would keep it from being emptied
        return self._reset()

    def begin(self) -> None:
        """A round is about to begin."""
        self._counters.begin()
        if self._monitor is not None:
            self._monitor.begin()

    def end(self, prompt_tokens: int | None) -> CacheCounters:
        """It is over, and is known to have sent so many prompt tokens (None: not known)."""
        counters = self._counters.end(prompt_tokens)
        if self._monitor is not None:
            self._monitor.end()
        return counters

    def figures(self, began_ns: int, ended_ns: int) -> Mapping[str, Mapping[str, Any]]:
        """What the metrics that the user named were between two instants (monotonic ns)."""
        return {} if self._monitor is None else self._monitor.figures(began_ns, ended_ns)


def open_lookout(wishes: Wishes, access_to: Callable[[str], Access], say: Say) -> Lookout:
    """Finds out what there is to look at. `access_to` says how a URL is to be asked."""
    url = wishes.prometheus_url
    further = [] if url is None else [Page(url, access_to(url))]
    known = identify(wishes.engine, wishes.base, access_to(wishes.base), further)
    if (engine := known.identity.engine) is not None and known.identity.note is None:
        version = f" {known.identity.version}" if known.identity.version else ""
        say(f"cache counters of {engine.label}{version}: {', '.join(mask_url(page.url) for page in known.pages)}")
    elif wishes.engine not in ("auto", "none"):
        say(f"{known.identity.note}")
    monitor: Monitor | None = None
    if url is not None and wishes.metrics:
        from fluxperf.watch.prometheus import open_monitor

        monitor = open_monitor(url, wishes.metrics, access_to(url), say)
    reset_url = wishes.reset_url
    if reset_url is None:
        return Lookout(known, monitor)
    return Lookout(known, monitor, lambda: reset_cache(reset_url, access_to(reset_url)))
