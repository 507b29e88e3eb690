"""`Pace`: how much of each thing the reactor does before the others get their turn."""

from __future__ import annotations

from dataclasses import dataclass

from fluxperf.units import NS_PER_MS, NS_PER_US


@dataclass(frozen=True, slots=True)
class Pace:
    """Between two looks at the sockets: how long to think about what came, how much to send, how many tasks to wake.

    Each task that is woken takes a tenth of a millisecond, or two, to record its request and to prepare the next.
    """

    thinking_ns: int
    sends: int
    sending_ns: int
    wake_ups: int
    rest_s: float  # how long not to look, when there is nothing to do, so that the next look finds more
    to_the_end: bool  # look until nothing is left


# For sockets whose stamps are as good however late they are read: each look shall find much.
PATIENT = Pace(thinking_ns=2 * NS_PER_MS, sends=32, sending_ns=NS_PER_MS, wake_ups=8, rest_s=0.0003, to_the_end=False)
# For sockets whose segments merge if they lie unread (HTTP/2), or that the kernel does not stamp.
PROMPT = Pace(thinking_ns=150 * NS_PER_US, sends=4, sending_ns=100 * NS_PER_US, wake_ups=4, rest_s=0, to_the_end=True)
