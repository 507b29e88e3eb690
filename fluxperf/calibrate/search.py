"""Which load a calibration tries next, and what it says in the end. Pure: steps in, a number or a verdict out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fluxperf.calibrate.step import ABSOLUTE_BOUND_MS, MOST_CPU_SHARE, RELATIVE_BOUND, Step, allowed_ms

FIRST_STREAMS = 16
BOUND = f"{RELATIVE_BOUND:.0%} or {ABSOLUTE_BOUND_MS:g} ms".replace("%", " %")


@dataclass(frozen=True, slots=True)
class Range:
    """The loads to try: doubled from `first` on, at most `most`; then `halvings` of what is left in between."""

    most: int
    first: int = FIRST_STREAMS
    halvings: int = 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one worker on one core of this machine can be trusted with; 0 streams: nothing that was tried.

    `ended_by` is what the search ended with: the client's errors, the test server, or the range of loads.
    """

    streams: int
    tokens_per_s: float
    ended_by: Literal["client", "server", "range"]
    text: str

    @property
    def says_nothing(self) -> bool:
        """Whether not even the client was put to the test, as the server kept no schedule."""
        return not self.streams and self.ended_by == "server"


def next_streams(steps: Sequence[Step], loads: Range) -> int | None:
    """The streams of the next step; None: the search is over."""
    good = max((step.streams for step in steps if step.limit is None), default=0)
    failed = [step for step in steps if step.limit is not None]
    if not steps:
        return min(loads.first, loads.most)
    if not failed:
        return min(2 * good, loads.most) if good < loads.most else None
    low, high = good, min(step.streams for step in failed)
    since_failure = len(steps) - steps.index(failed[0]) - 1
    if not good or any(step.limit == "server" for step in failed) or since_failure >= loads.halvings:
        return None
    middle = (low + high) // 2
    return middle if low < middle < high else None


def conclude(steps: Sequence[Step]) -> Verdict:
    """The verdict over all steps, of which there is at least one."""
    best = max((step for step in steps if step.limit is None), key=lambda step: step.streams, default=None)
    failed = min((step for step in steps if step.limit is not None), key=lambda step: step.streams, default=None)
    streams = best.streams if best is not None else 0
    tokens_per_s = best.tokens_per_s if best is not None else 0.0
    ended_by = "range" if failed is None else failed.limit or "range"
    trust = f"on this machine trust up to {count(streams, 'stream')} / {tokens_per_s:,.0f} tokens/s per core"
    if failed is None:
        text = f"{trust}; at least {streams:,}: more was not tried"
    elif best is None and failed.limit == "server":
        why = f"the test server did not keep its schedule ({describe_limit(failed)})"
        text = f"nothing can be said about this machine: {why}; is something else running?"
    elif failed.limit == "server":
        text = f"{trust}; at least {streams:,}: the test server was the limit ({describe_limit(failed)})"
    elif best is None:
        text = f"on this machine no load that was tried can be trusted: {describe_limit(failed)}"
    else:
        text = f"{trust} ({describe_limit(failed)})"
    return Verdict(streams, tokens_per_s, ended_by, text)


def describe_limit(step: Step) -> str:
    """Why the step failed, in a few words."""
    at = f"at {count(step.streams, 'stream')}"
    if step.limit == "server":
        if step.late_mean_ms > allowed_ms(step.answer_ms):
            return f"{at} it was {step.late_mean_ms:.2f} ms late on average"
        return f"{at} it was {step.late_p99_ms:.2f} ms late at p99"
    if not step.lost and step.client_excess <= 1:
        return f"{at} the worker used {step.cpu_share:.0%} of its core, more than {MOST_CPU_SHARE:.0%}"
    if step.lost:
        return f"{at} client and server disagree about {step.lost:,} requests and tokens"
    name, figure = max(step.figures.items(), key=lambda item: item[1].excess)
    if figure.error_ms is None:
        return f"{at} the client could not tell {label(name)}"
    return f"{at} {label(name)} was off by {figure.error_ms:.2f} ms, more than {BOUND}"


def count(amount: int, noun: str) -> str:
    """`1 stream`, `1,024 streams`."""
    return f"{amount:,} {noun}" if amount == 1 else f"{amount:,} {noun}s"


def label(name: str) -> str:
    """A figure's name in words."""
    kind, _, point = name.partition("_")
    return f"{'TTFT' if kind == 'ttft' else 'chunk gap'} {point}"
