"""`Gauge`: how well the client keeps up, noted while it works; it fills in an `Audit`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from fluxperf.clock import now_ns
from fluxperf.model import Histogram
from fluxperf.model.audit import Audit

_NOTES_AT_ONCE = 4096


class Gauge:
    """Notes of one worker since the last `take`. Observers count output events in it, the reactor reads and sends.

    Slack is by how much a stamp may be late: nothing, if the kernel stamped the segment for one event alone.
    """

    __slots__ = (
        "_audit",
        "_began_cpu_ns",
        "_began_ns",
        "_collecting_since_ns",
        "_lags",
        "_sends",
        "_turnarounds",
        "firsts",
        "outputs",
    )

    def __init__(self) -> None:
        self._collecting_since_ns = 0
        self._begin()

    def _begin(self) -> None:
        self.outputs = 0  # output events
        self.firsts = 0  # those that were the first of their answer
        self._audit = Audit()
        self._lags: list[int] = []
        self._sends: list[int] = []
        self._turnarounds: list[int] = []
        self._began_ns = now_ns()
        self._began_cpu_ns = time.process_time_ns()

    def drained(self, reads: int, lag_ns: int) -> None:
        """One drain: so many reads, of which the oldest had waited in the kernel for so long."""
        self._audit.reads += reads
        self._lags.append(max(lag_ns, 0))
        if len(self._lags) >= _NOTES_AT_ONCE:
            self._settle()

    def read(self, outputs: int, firsts: int, slack_ns: int, *, exact: bool) -> None:
        """A read carried so many output events, `firsts` of them the first of their answer; they came `slack_ns` before
        its stamp at the earliest. If that is `exact`, it is the last one's.
        """
        audit, late = self._audit, outputs - exact
        audit.shared_reads += outputs > 1
        if late:
            slack_ns = max(slack_ns, 0)
            audit.stamp_slack.record(slack_ns, late)
            audit.first_stamp_slack.record(slack_ns, min(firsts, late))

    def unstamped(self, *, void: bool) -> None:
        """A read came without the kernel's stamp, or with one that a step of the wall clock has made void."""
        self._audit.voided_stamps += void
        self._audit.unstamped_reads += not void

    def sent(self, lag_ns: int) -> None:
        """A request was written so long after it was due."""
        self._sends.append(max(lag_ns, 0))
        if len(self._sends) >= _NOTES_AT_ONCE:
            self._settle()

    def turned(self, turnaround_ns: int) -> None:
        """A lane's next request was written so long after its last answer had ended."""
        self._turnarounds.append(max(turnaround_ns, 0))

    def watch_collector(self, phase: str, _: Mapping[str, Any]) -> None:
        """For gc.callbacks."""
        if phase == "start":
            self._collecting_since_ns = now_ns()
        else:
            self._audit.collections.record(now_ns() - self._collecting_since_ns)

    def take(self) -> Audit:
        """The audit since the last time, which starts anew."""
        self._settle()
        audit = self._audit
        _fill(audit.stamp_slack, self.outputs)
        _fill(audit.first_stamp_slack, self.firsts)
        audit.span_ns = now_ns() - self._began_ns
        audit.cpu_ns = time.process_time_ns() - self._began_cpu_ns
        self._begin()
        return audit

    def _settle(self) -> None:
        self._audit.receive_lag.record_all(self._lags)
        self._audit.send_lag.record_all(self._sends)
        self._audit.turnaround.record_all(self._turnarounds)
        self._lags.clear()
        self._sends.clear()
        self._turnarounds.clear()


def _fill(slack: Histogram, events: int) -> None:
    """All events that were not noted had stamps of their own."""
    slack.record(0, max(events - slack.count, 0))
