from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from fluxperf import clock
from fluxperf.clock import SO_TIMESTAMPNS, STAMP_SPACE, StampClock, TimerFd, now_ns, realtime_stamp_ns, stamp_receives

US = 1_000
MS = 1_000_000
S = 1_000_000_000
LONGEST_WAIT_MS = 10_000


class FakeTime:
    """The two clocks of the host. Reading one takes `read_ns`; `wall_ns` is how far the wall clock is ahead."""

    def __init__(self) -> None:
        self.at_ns = 5 * S
        self.wall_ns = 1_700_000_000 * S
        self.read_ns = 100

    def monotonic_ns(self) -> int:
        self.at_ns += self.read_ns
        return self.at_ns

    def time_ns(self) -> int:
        return self.monotonic_ns() + self.wall_ns


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(clock, "time", fake)
    monkeypatch.setattr(clock, "now_ns", fake.monotonic_ns)
    return fake


def test_the_offset_puts_wall_stamps_on_the_monotonic_clock(host: FakeTime) -> None:
    stamps = StampClock()
    assert host.time_ns() + stamps.offset_ns == host.at_ns


@pytest.mark.parametrize("step_ns", [S, -S, 60 * US, -60 * US])
def test_a_step_of_the_wall_clock_is_noticed_once(host: FakeTime, step_ns: int) -> None:
    stamps = StampClock()
    assert stamps.sample()
    host.wall_ns += step_ns
    assert not stamps.sample()
    assert stamps.sample()
    assert stamps.steps == 1
    assert stamps.offset_ns == -host.wall_ns


def test_slow_drift_is_followed_and_no_step(host: FakeTime) -> None:
    stamps = StampClock()
    for _ in range(100):
        host.wall_ns += 10 * US
        assert stamps.sample()
    assert stamps.steps == 0
    assert stamps.offset_ns == -host.wall_ns


def test_an_interruption_between_the_two_clocks_is_no_step(host: FakeTime) -> None:
    stamps = StampClock()
    before = stamps.offset_ns
    host.read_ns = 3 * MS
    assert stamps.sample()
    assert (stamps.offset_ns, stamps.steps) == (before, 0)


def test_a_step_during_an_interruption_is_noticed_after_it(host: FakeTime) -> None:
    stamps = StampClock()
    host.wall_ns += S
    host.read_ns = 3 * MS
    assert stamps.sample()
    host.read_ns = 100
    assert not stamps.sample()


def test_a_host_that_always_interrupts_still_has_an_offset(host: FakeTime) -> None:
    host.read_ns = MS
    assert StampClock().offset_ns == pytest.approx(-host.wall_ns, abs=2 * MS)


def test_the_stamp_is_found_among_other_control_messages() -> None:
    stamp = (socket.SOL_SOCKET, SO_TIMESTAMPNS, struct.pack("qq", 1_700_000_000, 5))
    others = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, bytes(4)), (socket.IPPROTO_TCP, SO_TIMESTAMPNS, bytes(16))]
    assert realtime_stamp_ns([*others, stamp]) == 1_700_000_000 * S + 5
    assert realtime_stamp_ns(others) is None
    assert realtime_stamp_ns([]) is None


@pytest.mark.skipif(not clock.kernel_stamps_work(), reason="this kernel does not stamp received segments")
def test_a_kernel_stamp_lies_between_send_and_receipt() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        client.settimeout(LONGEST_WAIT_MS / 1000)
        stamp_receives(client)
        peer, _ = server.accept()
        with peer:
            before = time.time_ns()
            peer.sendall(b"x")
            data, ancillary, _, _ = client.recvmsg(1, STAMP_SPACE)
            after = time.time_ns()
    stamp = realtime_stamp_ns(ancillary)
    assert data == b"x"
    assert stamp is not None
    assert before <= stamp <= after


@pytest.fixture
def timer() -> Iterator[TimerFd]:
    timer = TimerFd()
    yield timer
    timer.close()


def fires(timer: TimerFd, within_ms: int) -> bool:
    poll = select.poll()
    poll.register(timer.fileno(), select.POLLIN)
    return bool(poll.poll(within_ms))


def test_a_timer_never_fires_early(timer: TimerFd) -> None:
    deadline_ns = now_ns() + MS // 2
    timer.arm(deadline_ns)
    assert fires(timer, LONGEST_WAIT_MS)
    assert now_ns() >= deadline_ns


@pytest.mark.parametrize("deadline_ns", [-1, 0, 1, S])
def test_a_deadline_that_is_past_fires_at_once(timer: TimerFd, deadline_ns: int) -> None:
    timer.arm(deadline_ns)
    assert fires(timer, LONGEST_WAIT_MS)


def test_a_timer_that_is_not_armed_or_disarmed_does_not_fire(timer: TimerFd) -> None:
    assert not fires(timer, 0)
    timer.arm(1)
    timer.arm(None)
    assert not fires(timer, 0)


def test_armed_again_only_the_last_deadline_counts(timer: TimerFd) -> None:
    timer.arm(1)
    timer.arm(now_ns() + 3600 * S)
    assert not fires(timer, 0)


def test_once_cleared_it_is_no_longer_readable(timer: TimerFd) -> None:
    timer.arm(1)
    assert fires(timer, LONGEST_WAIT_MS)
    timer.clear()
    assert not fires(timer, 0)
    timer.clear()  # nor does it block where there is nothing to take notice of


def test_children_do_not_inherit_it(timer: TimerFd) -> None:
    assert not os.get_inheritable(timer.fileno())


def test_what_libc_refuses_is_an_os_error() -> None:
    timer = TimerFd()
    timer.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        timer.arm(1)
