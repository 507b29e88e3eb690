"""`View`: a round as progress sees it. It makes `Facts` of counts; it remembers what went before, and shows nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fluxperf.units import NS_PER_S
from fluxperf.watch.counts import Flight, LiveCounts
from fluxperf.watch.itinerary import Itinerary, Leg
from fluxperf.watch.pace import Pace
from fluxperf.watch.wording import Facts, Wait

# A request that is in flight for less is not worth a word.
NOTABLE_NS = NS_PER_S


class View:
    """Begins with the round, of `total` requests."""

    def __init__(self, leg: Leg, total: int, itinerary: Itinerary, clock: Callable[[], int]) -> None:
        self._leg = leg
        self._itinerary = itinerary
        self._clock = clock
        self._begun_ns = clock()
        self._over_ns: int | None = None
        self._pace = Pace(total, min(leg.concurrency, leg.sessions))
        self._unsent: tuple[int, int, int] | None = None
        self.facts = Facts(
            title=itinerary.describe(leg), total=total, counts=LiveCounts(), elapsed_ns=0, doing="making ready"
        )

    def announce(self, what: str) -> Facts:
        """That is waited for, before the first request is sent."""
        self.facts = replace(self.facts, doing=what)
        return self.facts

    def look(self, counts: LiveCounts) -> Facts:
        """So far it is here."""
        now = self._clock()
        started_ns = counts.started_ns
        facts = Facts(title=self.facts.title, total=self.facts.total, counts=counts, elapsed_ns=now - self._begun_ns)
        if started_ns is None:
            connections = min(self._leg.concurrency, self._leg.sessions)
            doing = "stopping" if counts.stopped else f"opening connections for {connections:,} in flight"
            self.facts = replace(facts, doing=doing)
            return self.facts
        if counts.over >= facts.total and self._over_ns is None:
            self._over_ns = now
        elapsed_ns = max((self._over_ns or now) - started_ns, 0)
        self._pace.note(now, counts)
        left_ns = self._pace.left_ns(elapsed_ns, counts)
        is_over = self._over_ns is not None
        self.facts = replace(
            facts,
            elapsed_ns=elapsed_ns,
            doing="stopping" if counts.stopped else "gathering what was measured" if is_over else None,
            rates=self._pace.rates(elapsed_ns, counts),
            left_ns=left_ns,
            rest=None if left_ns is None else self._itinerary.estimate_rest(self._leg, elapsed_ns + left_ns),
            wait=None if counts.oldest is None or is_over else self._wait(counts.oldest, now),
        )
        return self.facts

    def _wait(self, flight: Flight, now: int) -> Wait | None:
        """None: not long enough to be worth a word."""
        since_ns = self._seen_unsent(flight, now) if flight.sent_ns is None else flight.sent_ns
        if now - since_ns < NOTABLE_NS:
            return None
        heard_ns = flight.last_output_ns
        # A stamp of an earlier request may stand beside this one for a moment.
        silent_ns = None if heard_ns is None or heard_ns < since_ns else max(now - heard_ns, 0)
        return Wait(flight=flight, age_ns=now - since_ns, silent_ns=silent_ns)

    def _seen_unsent(self, flight: Flight, now: int) -> int:
        """Since when it is seen to wait for a connection: nobody notes when that began."""
        if self._unsent is None or self._unsent[:2] != (flight.index, flight.turn):
            self._unsent = (flight.index, flight.turn, now)
        return self._unsent[2]

    def end(self) -> None:
        """The round is over; what it took is of use for what comes, if it was whole."""
        if self._over_ns is not None and not self.facts.counts.stopped:
            self._itinerary.arrive(self._leg, self.facts.elapsed_ns)
