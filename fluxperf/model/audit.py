"""`Audit`: what a client noticed about its own work while it measured. Counts and histograms only; audits merge.

Whether the figures of a round can be believed is judged from it, in `fluxperf.analysis`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from fluxperf.model.histogram import Histogram


@dataclass(slots=True)
class Audit:
    """One worker's account of itself over one round, or the sum of several. All times are in nanoseconds.

    A stamp is late through the client's doing only if what it stamps lay unread: an output event that the kernel
    stamped by itself is not late at all (0), and of several that shared a read the last is not. The others came
    after the drain before had ended; and if the event loop has slept since then (the loop, not just the reactor's
    task), not before it woke or, if that is earlier, the earliest stamp of the drain: the first arrival woke it.
    From there to the stamp is by how much the stamp may be late. Without kernel stamps the time of the read takes
    the place of the stamp, for every event.
    """

    # Of each drain: the longest that anything it read had been waiting in the kernel. Empty without kernel stamps.
    receive_lag: Histogram = field(default_factory=Histogram)
    # From when a request was due (the common start; later: handed over) to when its first byte was written.
    send_lag: Histogram = field(default_factory=Histogram)
    # From the end of an answer to when the next request of its lane was written, connecting and waiting left out.
    turnaround: Histogram = field(default_factory=Histogram)
    # Each time that nobody looked for arrivals: for how long, whether or not there were any.
    away: Histogram = field(default_factory=Histogram)
    # Of each output event: by how much its stamp may be late, as above.
    stamp_slack: Histogram = field(default_factory=Histogram)
    # The same of each answer's first output event.
    first_stamp_slack: Histogram = field(default_factory=Histogram)
    # How long each run of the garbage collector took.
    collections: Histogram = field(default_factory=Histogram)
    reads: int = 0  # recvmsg calls that gave something
    shared_reads: int = 0  # reads that carried more than one output event
    unstamped_reads: int = 0  # reads that the kernel did not stamp though it was asked to
    voided_stamps: int = 0  # reads whose kernel stamp a step of the wall clock made useless
    opened: int = 0  # connections opened before the round's start
    reopened: int = 0  # connections opened during the round
    cpu_ns: int = 0  # CPU time of the process
    span_ns: int = 0  # from the round's start to its end, on this worker

    def merge(self, other: Audit) -> None:
        """Adds what `other` counted."""
        for name in _NAMES:
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, Histogram):
                mine.merge(theirs)
            else:
                setattr(self, name, mine + theirs)

    def to_state(self) -> dict[str, Any]:
        """The audit as plain values that msgpack carries."""
        values = {name: getattr(self, name) for name in _NAMES}
        return {name: value.to_state() if isinstance(value, Histogram) else value for name, value in values.items()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Audit:
        """The audit that `to_state` described."""
        new = cls()
        for name, value in state.items():
            setattr(new, name, Histogram.from_state(value) if isinstance(value, dict) else value)
        return new


_NAMES = tuple(field.name for field in fields(Audit))
