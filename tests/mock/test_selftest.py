from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from fluxperf.clock import now_ns
from fluxperf.units import NS_PER_S
from fluxperf_mock.load import Load
from fluxperf_mock.selftest import Capacity, run_self_test, search


class Machine:
    """One that serves so many streams; the first `hiccups` measurements go wrong, and time is for so many."""

    def __init__(self, serves: int, hiccups: int = 0, measurements: int = 100) -> None:
        self.serves = serves
        self.hiccups = hiccups
        self.left = measurements
        self.asked: list[int] = []

    def measure(self, streams: int) -> float | None:
        if len(self.asked) == self.left:
            return None
        self.asked.append(streams)
        if len(self.asked) <= self.hiccups:
            return 7.0
        return 0.5 if streams <= self.serves else 3.25


def test_the_streams_are_doubled_until_one_step_is_missed_twice() -> None:
    machine = Machine(serves=100)
    assert search(machine.measure) == Capacity(served=64, missed=128, off_ms=3.25)
    assert machine.asked == [16, 32, 64, 128, 128]


def test_one_hiccup_is_not_the_end() -> None:
    machine = Machine(serves=16, hiccups=1)
    assert search(machine.measure) == Capacity(served=16, missed=32, off_ms=3.25)


def test_a_machine_that_serves_nothing_in_time() -> None:
    assert search(Machine(serves=0).measure) == Capacity(served=0, missed=16, off_ms=3.25)


def test_it_ends_when_time_is_up_or_more_is_not_asked_for() -> None:
    assert search(Machine(serves=100, measurements=2).measure) == Capacity(served=32)
    assert search(Machine(serves=10**9).measure) == Capacity(served=4096)
    # A step that was missed once, with no time to try again, was missed.
    assert search(Machine(serves=32, measurements=3).measure) == Capacity(served=32, missed=64, off_ms=3.25)


@pytest.mark.parametrize(
    ("capacity", "replicas", "line"),
    [
        (
            Capacity(128, 256, 3.14),
            1,
            "self-test: on this machine 1 process serves 128 streams of 100 tokens/s (12,800 tokens/s) within 1 ms of "
            "the schedule (HTTP/1.1); at 256 the schedule is missed by 3.1 ms at p99",
        ),
        (
            Capacity(4096),
            4,
            "self-test: on this machine 4 processes serve 4096 streams of 100 tokens/s (409,600 tokens/s) within 1 ms "
            "of the schedule (HTTP/1.1); more was not tried",
        ),
        (
            Capacity(0, 16, 2.0),
            1,
            "self-test: on this machine 1 process serves nothing in time (HTTP/1.1): already at 16 the schedule is "
            "missed by 2.0 ms at p99; is something else running on this machine?",
        ),
    ],
)
def test_the_line(capacity: Capacity, replicas: int, line: str) -> None:
    assert capacity.describe(replicas) == line


@pytest.mark.parametrize("ramp_ns", [0, 5_000_000])
def test_a_load_is_answered_whole(serve: Callable[..., int], ramp_ns: int) -> None:
    port = serve("--decode-ms", "0.1", "--overhead-ms", "0")
    called: list[int] = []
    load = Load(streams=5, answers=3, tokens=40, ramp_ns=ramp_ns)
    assert load.run(port, lambda: called.append(1), now_ns() + 60 * NS_PER_S)
    assert called == [1]


def test_a_load_ends_at_its_deadline(serve: Callable[..., int]) -> None:
    port = serve("--decode-ms", "60000", "--overhead-ms", "0")
    assert not Load(streams=2, answers=1, tokens=3).run(port, lambda: None, now_ns() + NS_PER_S // 10)


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_real_one_of_one_step(replicas: int) -> None:
    line = run_self_test(replicas, budget_ns=2 * NS_PER_S)
    assert re.fullmatch(r"self-test: on this machine \d process(es)? serves? .* \(HTTP/1\.1\).*", line)
