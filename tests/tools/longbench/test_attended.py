from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from fluxperf_tools.longbench.attended import Failed, attend


def test_what_is_returned_or_raised_comes_back() -> None:
    assert attend(lambda _: "x", "x", 60) == "x"
    assert attend(lambda _: None, "x", 60) is None

    def fail(_: Callable[[int], None]) -> None:
        raise KeyError("k")

    with pytest.raises(Failed) as caught:
        attend(fail, "x", 60)
    assert repr(caught.value.error) == "KeyError('k')"


def test_what_is_silent_is_given_up() -> None:
    gate = threading.Event()
    with pytest.raises(Failed) as caught:
        attend(lambda _: gate.wait(), "x", 0.05)
    assert caught.value.error is None
    gate.set()


def test_what_moves_is_waited_for() -> None:
    """Longer than the patience, which each byte renews."""
    steps = threading.Semaphore(0)
    done: list[int] = []

    def move(tell: Callable[[int], None]) -> int:
        for count in range(40):
            steps.acquire(timeout=0.01)
            tell(1)
            done.append(count)
        return len(done)

    assert attend(move, "x", 0.2) == 40
