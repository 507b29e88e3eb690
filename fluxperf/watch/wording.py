"""The words of progress: from values to phrases. Nothing is invented: what is not known is not said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fluxperf.model import Outcome
from fluxperf.units import NS_PER_S, ns_to_ms, ns_to_s
from fluxperf.watch.counts import Flight, LiveCounts
from fluxperf.watch.itinerary import Rest
from fluxperf.watch.pace import Rates

# What is known of the last token is half a second old.
SILENCE_NS = NS_PER_S
_MINUTE_S, _HOUR_S = 60, 3600
FAILURES = {
    "429": "HTTP 429",
    "503": "HTTP 503",
    Outcome.HTTP_STATUS: "status not 2xx",
    Outcome.ERROR_IN_STREAM: "error in the stream",
    Outcome.TIMEOUT: "timed out",
    Outcome.CONNECT: "no connection",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """The request in flight for longest: for how long, and how long ago it was last heard of (never: None)."""

    flight: Flight
    age_ns: int
    silent_ns: int | None

    @property
    def idle_ns(self) -> int:
        """For so long nothing has come of it."""
        return self.age_ns if self.silent_ns is None else self.silent_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A round as it stands; what is None is not known, or not worth a word.

    `doing` says what is waited for while no request is under way.
    """

    title: str
    total: int
    counts: LiveCounts
    elapsed_ns: int
    doing: str | None = None
    rates: Rates | None = None
    left_ns: float | None = None
    rest: Rest | None = None
    wait: Wait | None = None


def say_extent(facts: Facts) -> str:
    """How many are done."""
    return f"{facts.counts.over:,} of {facts.total:,} done"


def say_load(facts: Facts) -> Iterator[str]:
    """What is in flight, or what is waited for."""
    if facts.doing is None:
        yield f"{facts.counts.in_flight:,} in flight"
    else:
        yield facts.doing


def say_failures(failures: Mapping[str, int]) -> str | None:
    """How many failed, by outcome; None: none did."""
    if not (failed := sum(failures.values())):
        return None
    kinds = sorted(failures.items(), key=lambda item: -item[1])
    words = ", ".join(f"{count:,} {FAILURES.get(outcome, outcome.replace('_', ' '))}" for outcome, count in kinds)
    return f"{failed:,} failed: {words}"


def say_tokens(rates: Rates | None) -> Iterator[str]:
    """How fast tokens come, now and on average."""
    if rates is None:
        return
    if rates.tokens_per_s_now is None:
        yield f"{rates.tokens_per_s:,.0f} tokens/s"
    else:
        yield f"{rates.tokens_per_s_now:,.0f} tokens/s now"
        yield f"{rates.tokens_per_s:,.0f} on average"


def say_requests(facts: Facts) -> Iterator[str]:
    """How fast requests are done, and TTFT so far."""
    if facts.rates is not None:
        yield f"{_say_rate(facts.rates.requests_per_s)} requests/s"
    if facts.counts.ttft_ns is not None:
        p50_ns, p99_ns = facts.counts.ttft_ns
        yield f"TTFT p50 {say_time(p50_ns)}, p99 {say_time(p99_ns)}"


def say_times(facts: Facts) -> Iterator[str]:
    """Elapsed, and what is left of the round and of all."""
    yield f"{say_duration(facts.elapsed_ns)} elapsed"
    if facts.left_ns is not None:
        yield f"about {say_duration(facts.left_ns)} left"
        if facts.rest is not None:
            at_most = "at most " if facts.rest.at_most else ""
            yield f"with the later rounds {at_most}about {say_duration(facts.left_ns + facts.rest.ns)}"


def say_wait(wait: Wait) -> Iterator[str]:
    """The request in flight for longest."""
    flight = wait.flight
    turn = f", turn {flight.turn + 1}" if flight.turn else ""
    yield f"longest in flight: {ns_to_s(wait.age_ns):,.1f} s"
    yield f"request {flight.index}{turn}"
    yield f"{flight.input_tokens:,} input tokens"
    if flight.sent_ns is None:
        yield "waiting for a connection"
    elif wait.silent_ns is None:
        yield "no token yet"
    elif wait.silent_ns < SILENCE_NS:
        yield "its tokens come"
    else:
        yield f"last token {ns_to_s(wait.silent_ns):,.1f} s ago"


def say_duration(ns: float) -> str:
    """To the second, beyond ten minutes to the minute."""
    seconds = round(ns_to_s(ns))
    if seconds < _MINUTE_S:
        return f"{seconds} s"
    if seconds < 10 * _MINUTE_S:
        return f"{seconds // _MINUTE_S} min {seconds % _MINUTE_S:02} s"
    minutes = round(seconds / _MINUTE_S)
    if seconds < _HOUR_S:
        return f"{minutes} min"
    return f"{minutes // 60:,} h {minutes % 60:02} min"


def say_time(ns: float) -> str:
    """A latency in its own unit, to three digits or so."""
    if ns >= 10 * NS_PER_S:
        return f"{ns_to_s(ns):,.1f} s"
    if ns >= NS_PER_S:
        return f"{ns_to_s(ns):.2f} s"
    ms = ns_to_ms(ns)
    return f"{ms:.{0 if ms >= 100 else 1 if ms >= 10 else 2}f} ms"


def _say_rate(per_s: float) -> str:
    return f"{per_s:,.0f}" if per_s >= 100 else f"{per_s:.1f}" if per_s >= 1 else f"{per_s:.2f}"
