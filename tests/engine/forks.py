"""Real processes for tests of what processes share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE_S = 10


@contextmanager
def forked(count: int, work: Callable[[int], bytes]) -> Iterator[list[bytes]]:
    """Forks `count` processes before the block; each does `work(number)` after it. What they gave is in the list then.

    A child that takes too long is killed by its alarm; one that fails, fails the test.
    """
    results: list[bytes] = []
    gate, opener = os.pipe()
    children = [_fork(number, work, (gate, opener)) for number in range(count)]
    os.close(gate)
    try:
        yield results
    finally:
        os.close(opener)
        statuses = []
        for pid, pipe in children:
            with os.fdopen(pipe, "rb") as file:
                results.append(file.read())
            statuses.append(os.waitpid(pid, 0)[1])
    assert statuses == [0] * count


def _fork(number: int, work: Callable[[int], bytes], gate: tuple[int, int]) -> tuple[int, int]:
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid:
        os.close(theirs)
        return pid, ours
    status = 1
    try:
        signal.alarm(PATIENCE_S)
        os.close(gate[1])
        os.read(gate[0], 1)
        with os.fdopen(theirs, "wb") as file:
            file.write(work(number))
        status = 0
    finally:
        os._exit(status)
