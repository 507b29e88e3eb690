"""Runs a call that may never return, and gives it up once nothing has been heard of it for a while."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from fluxperf.clock import now_ns
from fluxperf.meter import meter
from fluxperf.units import s_to_ns

T = TypeVar("T")
_LOOK_EVERY_S = 0.2


class Failed(Exception):
    """The call raised `error`; None: it was silent for as long as was agreed."""

    def __init__(self, error: Exception | None) -> None:
        super().__init__(error)
        self.error = error


def attend(call: Callable[[Callable[[int], None]], T], what: str, patience_s: float) -> T:
    """What `call` returns; it is given a function to tell how many more bytes have come, which are shown as `what`.

    Raises Failed. A call that was given up cannot be ended: it is left in a thread that nobody waits for.
    """
    news: queue.SimpleQueue[int | tuple[T] | Failed] = queue.SimpleQueue()

    def work() -> None:
        try:
            news.put((call(news.put),))
        except Exception as error:  # the edge of a thread: whatever it is, it is raised on the other side
            news.put(Failed(error))

    threading.Thread(target=work, name=what, daemon=True).start()
    deadline_ns = now_ns() + s_to_ns(patience_s)
    with meter(what) as advance:
        while now_ns() < deadline_ns:
            try:
                one = news.get(timeout=min(_LOOK_EVERY_S, patience_s))
            except queue.Empty:
                advance(0)
                continue
            if isinstance(one, Failed):
                raise one
            if isinstance(one, tuple):
                return one[0]
            advance(one)
            deadline_ns = now_ns() + s_to_ns(patience_s)
    raise Failed(None)
