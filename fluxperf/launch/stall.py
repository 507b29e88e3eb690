"""A worker that stands still on purpose, so that tests can see whether it notices. For tests alone."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass

import trio

VARIABLE = "FLUXPERF_TEST_STALL"
_EXAMPLES = "'20ms every 200ms' or '20ms every 200ms in worker 1'"
_FORM = re.compile(r"(\d+)ms every (\d+)ms(?: in worker (\d+))?")


@dataclass(frozen=True, slots=True)
class Stall:
    """How long the event loop stands still, and how often; `worker` None: in every worker."""

    length_s: float
    period_s: float
    worker: int | None = None


def planned_stall(number: int) -> Stall | None:
    """The stall that the environment asks of worker `number`, as `20ms every 200ms in worker 1`; None: none.

    Raises ValueError if it asks for something else.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"{VARIABLE} must look like {_EXAMPLES}, not {text!r}")
    length_ms, period_ms, worker = found.groups()
    stall = Stall(int(length_ms) / 1000, int(period_ms) / 1000, None if worker is None else int(worker))
    return stall if stall.worker in (None, number) else None


async def stand_still(stall: Stall) -> None:
    """Blocks the event loop again and again, until it is cancelled."""
    while True:
        await trio.sleep(stall.period_s)
        time.sleep(stall.length_s)
