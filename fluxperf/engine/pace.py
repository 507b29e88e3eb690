"""`Pace`: how much of each thing the reactor does at a time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """How much of each thing is done before the others get their turn."""

    batch: int  # reads before what they gave is handed out
    # A burst of first requests must not keep the reactor from the first answers.
    sends: int
    # Nor must a burst of finished ones: each woken task takes a tenth of a millisecond to prepare its next request.
    wake_ups: int
    rest_s: float  # between two drains
    to_the_end: bool  # read on until nothing is left


# For sockets whose stamps are as good however late they are read: each drain shall have much to do.
PATIENT = Pace(batch=512, sends=32, wake_ups=8, rest_s=0.0003, to_the_end=False)
# For sockets whose segments may merge if they lie unread (several streams on one), or that the kernel does not stamp.
PROMPT = Pace(batch=32, sends=2, wake_ups=1, rest_s=0, to_the_end=True)
