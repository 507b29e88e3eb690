"""Live progress on stderr: how it is shown is chosen here. It is shown counts and knows not where they come from."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol, TextIO

from fluxperf.clock import now_ns
from fluxperf.files import write_stream
from fluxperf.units import NS_PER_S
from fluxperf.watch.counts import LiveCounts
from fluxperf.watch.itinerary import Itinerary, Leg
from fluxperf.watch.live import Block
from fluxperf.watch.view import View
from fluxperf.watch.wording import (
    Facts,
    say_extent,
    say_failures,
    say_load,
    say_requests,
    say_times,
    say_tokens,
    say_wait,
)

PLAIN_LINE_EVERY_NS = 10 * NS_PER_S
# A request of which nothing has come for so long, and for twice as long as p99 of TTFT, is worth a line of its own.
HANG_NS = 5 * NS_PER_S
_DUMB = ("", "dumb", "unknown")


class Progress(Protocol):
    """Shows how far a round is, and what is waited for around it."""

    def announce(self, what: str, *, long: bool = False) -> None:
        """That is done now, as in "reading the server's counters"; `long`: it will take a while."""

    def begin(self, leg: Leg, total: int) -> None:
        """A round of `total` requests starts."""

    def show(self, counts: LiveCounts) -> None:
        """So far it is here."""

    def end(self) -> None:
        """The round is over, or what was announced is: nothing is left on the screen."""

    def give_way(self) -> None:
        """Something else is going to be printed. A round that is shown goes on below it."""


class Silence:
    """No progress."""

    def announce(self, what: str, *, long: bool = False) -> None:
        """See `Progress`."""

    def begin(self, leg: Leg, total: int) -> None:
        """See `Progress`."""

    def show(self, counts: LiveCounts) -> None:
        """See `Progress`."""

    def end(self) -> None:
        """See `Progress`."""

    def give_way(self) -> None:
        """See `Progress`."""


class PlainLines:
    """For logs: a line at the start, now and then, and when something hangs."""

    def __init__(self, out: TextIO, itinerary: Itinerary, clock: Callable[[], int] = now_ns) -> None:
        self._out = out
        self._itinerary = itinerary
        self._clock = clock
        self._view: View | None = None
        self._said_ns = 0
        self._idle_ns = 0  # for so long nothing had come, when that was said last

    def announce(self, what: str, *, long: bool = False) -> None:
        """See `Progress`."""
        if long:
            self._say(what)

    def begin(self, leg: Leg, total: int) -> None:
        """See `Progress`."""
        self._view = View(leg, total, self._itinerary, self._clock)
        self._said_ns, self._idle_ns = self._clock(), 0
        self._say(f"{self._view.facts.title}: {total} requests")

    def show(self, counts: LiveCounts) -> None:
        """See `Progress`."""
        if self._view is None:
            return
        facts, now = self._view.look(counts), self._clock()
        if now - self._said_ns >= PLAIN_LINE_EVERY_NS or self._hangs(facts):
            self._said_ns = now
            self._idle_ns = 0 if facts.wait is None else facts.wait.idle_ns
            self._say(f"{facts.title}: {', '.join(tell(facts))}")

    def _hangs(self, facts: Facts) -> bool:
        """Whether something hangs, for twice as long as when it was said last."""
        p99_ns = 0 if facts.counts.ttft_ns is None else facts.counts.ttft_ns[1]
        idle_ns = 0 if facts.wait is None else facts.wait.idle_ns
        return idle_ns >= max(HANG_NS, 2 * p99_ns, 2 * self._idle_ns)

    def end(self) -> None:
        """See `Progress`."""
        if self._view is not None:
            self._view.end()
            self._view = None

    def give_way(self) -> None:
        """See `Progress`."""

    def _say(self, line: str) -> None:
        write_stream(self._out, line + "\n")


def tell(facts: Facts) -> list[str]:
    """All that is known, in phrases."""
    failures, wait = say_failures(facts.counts.failures), facts.wait
    phrases = [say_extent(facts), *say_load(facts), *([] if failures is None else [failures])]
    phrases += [*say_tokens(facts.rates), *say_requests(facts), *say_times(facts)]
    return [*phrases, *([] if wait is None else say_wait(wait))]


def choose_progress(out: TextIO, itinerary: Itinerary, *, silent: bool) -> Progress:
    """A block on a terminal that can move its cursor, plain lines elsewhere, nothing if asked."""
    if silent:
        return Silence()
    if out.isatty() and os.environ.get("TERM", "").lower() not in _DUMB:
        return Block(out, itinerary)
    return PlainLines(out, itinerary)
