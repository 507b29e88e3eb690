from __future__ import annotations

import errno
import gc
import os
import select
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from itertools import groupby, pairwise
from typing import Any, cast

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from fluxperf.clock import StampClock, kernel_stamps_work, now_ns, stamp_receives
from fluxperf.engine.pace import PATIENT, PROMPT, Pace
from fluxperf.engine.reactor import Reactor
from fluxperf.engine.receiver import POLLED_AT_ONCE
from fluxperf.engine.timers import Timer, Timers
from fluxperf.units import NS_PER_MS, NS_PER_S
from tests.engine.scripted import in_trio, until

# What the conversion between the two clocks may be wrong by.
OFFSET_ERROR_NS = 20_000
BIG = bytes(range(256)) * 32_768
HOUR_NS = 3600 * NS_PER_S

stamping = pytest.mark.skipif(not kernel_stamps_work(), reason="this kernel does not stamp received segments")

# The kernel tells of a reset once: if the sender was told, the reader finds the end.
BROKEN = [("fail", errno.ECONNRESET), ("receive", b"")]


class Line:
    """A channel that writes down what it is told; `on_sent` and `on_receive` let a test join in.

    It does not want to send any longer what is in `unwanted`, and what it seals is marked with `mark`.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.unwanted: set[object] = set()
        self.mark = b""
        self.heard: list[tuple[str, object, int]] = []
        self.on_sent: Callable[[], object] = lambda: None
        self.on_receive: Callable[[bytes], object] = lambda data: None

    def wants(self, parcel: object) -> bool:
        return parcel not in self.unwanted

    def seal(self, data: bytes) -> bytes:
        return self.mark + data

    def sent(self, parcel: object, at_ns: int) -> None:
        self.heard.append(("sent", parcel, at_ns))
        self.on_sent()

    def receive(self, data: bytes, at_ns: int) -> None:
        self.heard.append(("receive", data, at_ns))
        self.on_receive(data)

    def fail(self, error: OSError, at_ns: int) -> None:
        self.heard.append(("fail", error.errno, at_ns))

    @property
    def told(self) -> list[tuple[str, object]]:
        return [(name, value) for name, value, _ in self.heard]

    def stamp(self, name: str) -> int:
        """The stamp of the first call of this name."""
        return next(at_ns for called, _, at_ns in self.heard if called == name)


Pair = tuple[Line, socket.socket]
MakePair = Callable[[], AbstractContextManager[Pair]]


@contextmanager
def local_pair() -> Iterator[Pair]:
    """A line, and the socket at its other end. The kernel does not stamp what comes over it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield Line(ours), theirs


@contextmanager
def tcp_pair(*, stamped: bool = True) -> Iterator[Pair]:
    """A line over TCP, and the socket at its other end."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as ours:
        theirs, _ = server.accept()
        with theirs:
            ours.setblocking(False)
            if stamped:
                stamp_receives(ours)
            yield Line(ours), theirs


def unstamped_pair() -> AbstractContextManager[Pair]:
    return tcp_pair(stamped=False)


@asynccontextmanager
async def running(reactor: Reactor, *lines: Line) -> AsyncIterator[Reactor]:
    """The reactor, watching the lines."""
    async with trio.open_nursery() as nursery:
        for line in lines:
            reactor.watch(line)
        nursery.start_soon(reactor.run)
        yield reactor
        nursery.cancel_scope.cancel()
    reactor.close()


async def a_turn(reactor: Reactor) -> None:
    """Lets the reactor do what can be done by now."""
    turns: list[None] = []
    reactor.call_at(0, lambda: turns.append(None))
    await until(lambda: bool(turns))


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


# Stamps.


@stamping
@in_trio
async def test_a_kernel_stamp_is_of_the_arrival_and_not_of_the_read() -> None:
    with tcp_pair() as (line, peer):
        before_ns = now_ns()
        peer.send(b"hello")
        reactor = Reactor()
        select.select([line.sock], [], [])
        reading_ns = now_ns()
        async with running(reactor, line):
            await until(lambda: bool(line.heard))
        assert line.told == [("receive", b"hello")]
        assert before_ns - OFFSET_ERROR_NS <= line.stamp("receive") <= reading_ns
        audit = reactor.gauge.take()
        assert (audit.reads, audit.voided_stamps, audit.unstamped_reads) == (1, 0, 0)


@stamping
@in_trio
async def test_kernel_stamps_are_put_on_the_clock_of_the_batch() -> None:
    class HourBack(StampClock):
        def sample(self) -> bool:
            return True

    with tcp_pair() as (line, peer):
        peer.send(b"hello")
        reactor = Reactor()
        reactor.receiver.clock = HourBack()
        reactor.receiver.clock.offset_ns -= HOUR_NS
        async with running(reactor, line):
            await until(lambda: bool(line.heard))
        assert HOUR_NS < now_ns() - line.stamp("receive") < 2 * HOUR_NS


@stamping
@in_trio
async def test_a_step_of_the_wall_clock_voids_the_stamps_of_its_batch() -> None:
    class Stepped(StampClock):
        def sample(self) -> bool:
            return False

    with tcp_pair() as (line, peer):
        peer.send(b"hello")
        reactor = Reactor()
        reactor.receiver.clock = Stepped()
        reading_ns = now_ns()
        async with running(reactor, line):
            await until(lambda: bool(line.heard))
        assert reading_ns <= line.stamp("receive") <= now_ns()
        audit = reactor.gauge.take()
        assert (audit.reads, audit.voided_stamps, audit.unstamped_reads) == (1, 1, 0)


@pytest.mark.parametrize("pair", [local_pair, unstamped_pair])
@in_trio
async def test_without_a_kernel_stamp_it_is_the_time_of_the_read(pair: MakePair) -> None:
    with pair() as (line, peer):
        peer.send(b"hello")
        reading_ns = now_ns()
        async with running(Reactor(), line) as reactor:
            await until(lambda: bool(line.heard))
        assert reading_ns <= line.stamp("receive") <= now_ns()
        audit = reactor.gauge.take()
        assert (audit.reads, audit.voided_stamps, audit.unstamped_reads) == (1, 0, 1)


@in_trio
async def test_sent_is_before_the_first_byte_is_written() -> None:
    class Watched(socket.socket):
        writing_ns = 0

        def send(self, *arguments: Any) -> int:
            self.writing_ns = now_ns()
            return super().send(*arguments)

    with local_pair() as (line, peer), Watched(fileno=os.dup(line.sock.fileno())) as watched:
        line.sock = watched
        async with running(Reactor(), line) as reactor:
            asked_ns = now_ns()
            reactor.send(line, b"hello", None)
            await until(lambda: bool(line.heard))
        assert asked_ns <= line.stamp("sent") <= watched.writing_ns
        assert peer.recv(100) == b"hello"


# Receiving.


@in_trio
async def test_all_ready_sockets_are_read_before_the_first_is_thought_about() -> None:
    reactor = Reactor()
    reactor.pace = PATIENT
    reads: list[int] = []
    with ExitStack() as stack:
        pairs = [stack.enter_context(local_pair()) for _ in range(100)]
        for line, peer in pairs:
            peer.send(b"x")
            line.on_receive = lambda data: reads.append(reactor.receiver.reads)
        async with running(reactor, *(line for line, _ in pairs)):
            await until(lambda: len(reads) == 100)
    assert reads == [100] * 100


@stamping
@pytest.mark.parametrize("pace", [PATIENT, PROMPT], ids=["patient", "prompt"])
@in_trio
async def test_what_comes_while_it_thinks_is_read_before_more_of_it_comes(pace: Pace) -> None:
    """Thinking about each of five arrivals takes its time, and at each something comes elsewhere."""
    reactor = Reactor()
    reactor.pace = pace
    with tcp_pair() as (line, peer), ExitStack() as stack:
        pairs = [stack.enter_context(local_pair()) for _ in range(5)]

        def think(data: bytes) -> None:
            peer.send(b"x")
            spin(now_ns() + pace.thinking_ns)

        for slow, slow_peer in pairs:
            slow.on_receive = think
            slow_peer.send(b"think")
        async with running(reactor, line, *(slow for slow, _ in pairs)):
            await until(lambda: b"".join(data for _, data in line.told if isinstance(data, bytes)) == b"xxxxx")
    assert line.told == [("receive", b"x")] * 5
    stamps = [at_ns for _, _, at_ns in line.heard]
    assert all(later - earlier >= pace.thinking_ns - OFFSET_ERROR_NS for earlier, later in pairwise(stamps))


@in_trio
async def test_the_end_is_told_once_and_after_the_data() -> None:
    with local_pair() as (line, peer):
        peer.send(b"hello")
        peer.close()
        async with running(Reactor(), line) as reactor:
            await until(lambda: len(line.heard) == 2)
            await a_turn(reactor)
            await a_turn(reactor)
        assert line.told == [("receive", b"hello"), ("receive", b"")]


@in_trio
async def test_a_reset_is_told_once_and_after_the_data() -> None:
    with tcp_pair() as (line, peer):
        peer.send(b"hello")
        reset(peer)
        async with running(Reactor(), line) as reactor:
            await until(lambda: len(line.heard) == 2)
            await a_turn(reactor)
            await a_turn(reactor)
        assert line.told == [("receive", b"hello"), ("fail", errno.ECONNRESET)]


@in_trio
async def test_what_arrived_is_handed_out_before_timers_that_are_due() -> None:
    with local_pair() as (line, peer):
        order: list[str] = []
        line.on_receive = lambda data: order.append("data")
        reactor = Reactor()
        reactor.call_at(1, lambda: order.append("timer"))
        peer.send(b"x")
        async with running(reactor, line):
            await until(lambda: len(order) == 2)
        assert order == ["data", "timer"]


@in_trio
async def test_a_forgotten_channel_hears_nothing() -> None:
    with local_pair() as (line, peer):
        async with running(Reactor(), line) as reactor:
            reactor.send(line, b"dropped", None)
            reactor.forget(line)
            reactor.forget(line)
            peer.send(b"unheard")
            await a_turn(reactor)
            await a_turn(reactor)
        peer.setblocking(False)
        with pytest.raises(BlockingIOError):
            peer.recv(1)
        assert line.heard == []


@pytest.mark.parametrize("begun", [False, True], ids=["queued", "partly sent"])
@in_trio
async def test_what_was_to_be_sent_does_not_go_to_the_next_socket_of_that_number(begun: bool) -> None:
    with tcp_pair() as (gone, _), tcp_pair() as (line, peer):
        async with running(Reactor(), gone) as reactor:
            reactor.send(gone, BIG, None)
            if begun:
                await until(lambda: reactor.is_sending(gone))
            reactor.forget(gone)
            number = gone.sock.fileno()
            gone.sock.close()
            with socket.socket(fileno=os.dup2(line.sock.fileno(), number)) as same_number:
                line.sock.close()
                line.sock = same_number
                reactor.watch(line)
                assert not reactor.is_sending(line)
                reactor.send(line, b"for you", None)
                await until(lambda: bool(line.heard))
                reactor.forget(line)
        assert peer.recv(100) == b"for you"


# Sending.


@in_trio
async def test_what_a_slow_peer_does_not_take_at_once_arrives_in_order() -> None:
    with tcp_pair() as (line, peer), tcp_pair() as (other_line, other_peer):
        async with running(Reactor(), line, other_line) as reactor:
            reactor.send(line, BIG, None)
            reactor.send(other_line, BIG[::-1], None)
            await until(lambda: reactor.is_sending(line) and reactor.is_sending(other_line))
            for sock, expected in ((peer, BIG), (other_peer, BIG[::-1])):
                assert await read_slowly(sock, len(expected)) == expected
            assert not reactor.is_sending(line)
            await a_turn(reactor)
        assert line.told == other_line.told == [("sent", None)]


@in_trio
async def test_nothing_is_written_where_the_end_has_been_read() -> None:
    """What came before the end may be thought about after it was read, and bring forth an answer."""
    with tcp_pair() as (line, peer):
        async with running(Reactor(), line) as reactor:
            reactor.send(line, BIG, None)
            await until(lambda: reactor.is_sending(line))
            line.on_receive = lambda data: reactor.write(line, BIG) if not data else None
            peer.send(b"413 too large")
            peer.shutdown(socket.SHUT_WR)
            await until(lambda: line.told[-1:] == [("receive", b"")])
            assert not reactor.is_sending(line)


async def read_slowly(sock: socket.socket, size: int) -> bytes:
    """Reads `size` bytes in small pieces."""
    data = bytearray()
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(socket.socket(fileno=socket.dup(sock.fileno()))))
    async with stream:
        while len(data) < size:
            data += await stream.receive_some(50_000)
    return bytes(data)


@in_trio
async def test_a_peer_that_answers_while_it_is_sent_to_is_heard() -> None:
    with tcp_pair() as (line, peer):
        async with running(Reactor(), line) as reactor:
            reactor.send(line, BIG, None)
            await until(lambda: reactor.is_sending(line))
            peer.send(b"413 too large")
            await until(lambda: len(line.heard) == 2)
            assert reactor.is_sending(line)
            reset(peer)
            await until(lambda: len(line.heard) == 3)
            assert not reactor.is_sending(line)
        assert line.told[:2] == [("sent", None), ("receive", b"413 too large")]
        assert line.told[2] in BROKEN


@in_trio
async def test_a_peer_that_answered_and_closed_before_it_was_sent_to_is_heard() -> None:
    with tcp_pair() as (line, peer):
        peer.send(b"408 too late")
        peer.close()
        reactor = Reactor()
        reactor.send(line, b"hello", None)
        async with running(reactor, line):
            await until(lambda: len(line.heard) >= 3)
        assert line.told[:2] == [("sent", None), ("receive", b"408 too late")]
        assert line.told[2] in BROKEN


@in_trio
async def test_held_sends_wait_for_the_release() -> None:
    with local_pair() as (line, peer), local_pair() as (ear, ear_peer):
        async with running(Reactor(), line, ear) as reactor:
            reactor.hold()
            for number in range(3):
                reactor.send(line, b"%d" % number, None)
            for _ in range(PATIENT.wake_ups * 3):
                reactor.wake(trio.Event())
            ear_peer.send(b"x")
            await until(lambda: bool(ear.heard))
            await a_turn(reactor)
            assert (reactor.queued, line.heard) == (3, [])
            reactor.release()
            await until(lambda: reactor.queued == 0)
        assert peer.recv(100) == b"012"


class Steps(trio.abc.Instrument):
    """Counts the turns of trio's loop that the reactor takes."""

    def __init__(self) -> None:
        self.taken = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.taken += task.name.endswith("Reactor.run")


@pytest.mark.parametrize("pace", [PATIENT, PROMPT], ids=["patient", "prompt"])
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "in company"])
@in_trio
async def test_while_much_comes_it_reads_on_by_itself_unless_others_need_the_loop(alone: bool, pace: Pace) -> None:
    """Whatever it reads brings the next: at least every second read is without a turn of the loop, if that is free."""
    with local_pair() as (line, peer), ExitStack() as stack:
        async with running(Reactor(), line) as reactor:
            reactor.pace = pace
            if not alone:
                stack.enter_context(reactor.company())
            line.on_receive = lambda data: peer.send(b"x") if len(line.heard) < 50 else None
            steps = Steps()
            trio.lowlevel.add_instrument(steps)
            peer.send(b"x")
            await until(lambda: len(line.heard) == 50)
            trio.lowlevel.remove_instrument(steps)
    assert steps.taken <= 26 if alone else steps.taken >= 50


@in_trio
async def test_while_it_holds_it_rests() -> None:
    with local_pair() as (line, _):
        async with running(Reactor(), line) as reactor:
            reactor.hold()
            reactor.send(line, b"x", None)
            await a_turn(reactor)
            steps = Steps()
            trio.lowlevel.add_instrument(steps)
            for _ in range(100):
                await trio.lowlevel.checkpoint()
            trio.lowlevel.remove_instrument(steps)
        assert steps.taken <= 1


@in_trio
async def test_a_timer_may_release() -> None:
    with local_pair() as (line, _):
        async with running(Reactor(), line) as reactor:
            reactor.hold()
            reactor.send(line, b"x", None)
            reactor.call_at(now_ns(), reactor.release)
            await until(lambda: bool(line.heard))


async def sends_between_drains(pace: Pace, count: int, after_each_ns: int) -> list[int]:
    """How many of so many sends go before the first drain, before the second, ...

    Each send takes so long and brings an answer at once; a drain is seen by the answers that it reads.
    """
    with local_pair() as (line, _), local_pair() as (ear, ear_peer):
        order: list[str] = []

        def send() -> None:
            order.append("sent")
            ear_peer.send(b"x")
            spin(now_ns() + after_each_ns)

        line.on_sent = send
        ear.on_receive = lambda data: order.append("drained")
        async with running(Reactor(), line, ear) as reactor:
            reactor.pace = pace
            reactor.hold()
            for _ in range(count):
                reactor.send(line, b"x", None)
            reactor.release()
            await until(lambda: order.count("sent") == count and order[-1] == "drained")
    return runs(order, "sent")


@pytest.mark.parametrize("pace", [PATIENT, PROMPT], ids=["patient", "prompt"])
@in_trio
async def test_only_so_many_sends_go_between_two_drains(pace: Pace) -> None:
    pace = replace(pace, sending_ns=HOUR_NS)
    assert await sends_between_drains(pace, pace.sends * 3 + 1, 0) == [pace.sends] * 3 + [1]


@in_trio
async def test_sends_that_take_long_are_fewer_between_two_drains() -> None:
    assert max(await sends_between_drains(PATIENT, 6, PATIENT.sending_ns)) <= 2


@pytest.mark.parametrize("pace", [PATIENT, PROMPT], ids=["patient", "prompt"])
@in_trio
async def test_only_so_many_tasks_wake_between_two_drains(pace: Pace) -> None:
    """Each one that wakes makes itself heard; a drain is seen by what it hears."""
    with local_pair() as (ear, ear_peer):
        order: list[str] = []

        class Sleeper:
            def set(self) -> None:
                order.append("woken")
                ear_peer.send(b"x")

        ear.on_receive = lambda data: order.append("drained")
        reactor = Reactor()
        reactor.pace = pace
        for _ in range(pace.wake_ups * 2 + 1):
            reactor.wake(cast(trio.Event, Sleeper()))
        async with running(reactor, ear):
            await until(lambda: order.count("drained") == 3)
    assert runs(order, "woken") == [pace.wake_ups, pace.wake_ups, 1]


def runs(order: list[str], name: str) -> list[int]:
    """How often the name stands in a row, each time."""
    return [len(list(run)) for found, run in groupby(order) if found == name]


@in_trio
async def test_what_another_task_has_read_is_handed_out() -> None:
    """While the reactor waits for sockets in which nothing is left, and there is nothing to send."""
    with local_pair() as (line, peer):
        async with running(Reactor(), line) as reactor:
            await wait_all_tasks_blocked()
            peer.send(b"x")
            reactor.receiver.looked_ns = 0
            reactor.glance()
            assert reactor.receiver.reads == 1
            await until(lambda: bool(line.heard))
    assert line.told == [("receive", b"x")]


@in_trio
async def test_what_another_task_has_finished_wakes_who_waits_for_it() -> None:
    with local_pair() as (line, _):
        async with running(Reactor(), line) as reactor:
            await wait_all_tasks_blocked()
            event = trio.Event()
            reactor.wake(event)
            await until(event.is_set)


@in_trio
async def test_what_is_not_wanted_any_more_is_not_sent() -> None:
    with local_pair() as (line, peer):
        async with running(Reactor(), line) as reactor:
            reactor.hold()
            for number in range(5):
                reactor.send(line, b"%d" % number, number)
            line.unwanted = {0, 2, 4}
            reactor.release()
            await until(lambda: reactor.queued == 0)
        assert line.told == [("sent", 1), ("sent", 3)]
        assert peer.recv(100) == b"13"


@in_trio
async def test_what_is_sent_is_sealed_and_what_is_written_is_not() -> None:
    with local_pair() as (line, peer):
        line.mark = b"sealed "
        async with running(Reactor(), line) as reactor:
            reactor.send(line, b"request;", "parcel")
            await until(lambda: bool(line.heard))
            reactor.write(line, b"as it stands")
        assert line.told == [("sent", "parcel")]
        assert peer.recv(100) == b"sealed request;as it stands"


@in_trio
async def test_writing_goes_ahead_of_what_is_queued_and_is_not_held_back() -> None:
    with local_pair() as (line, peer):
        async with running(Reactor(), line) as reactor:
            reactor.hold()
            reactor.send(line, b"request", None)
            await a_turn(reactor)
            reactor.write(line, b"window update, ")
            assert peer.recv(100) == b"window update, "
            reactor.release()
            await until(lambda: bool(line.heard))
        assert peer.recv(100) == b"request"


@in_trio
async def test_what_is_written_while_a_socket_takes_no_more_keeps_its_order() -> None:
    """A large request, a window update, another request: frames of one connection must not be mixed up."""
    with tcp_pair() as (line, peer):
        async with running(Reactor(), line) as reactor:
            reactor.send(line, BIG, 1)
            await until(lambda: reactor.is_sending(line))
            reactor.write(line, b"one")
            reactor.send(line, b"two", 2)
            await until(lambda: reactor.queued == 0)
            reactor.write(line, b"three")
            assert reactor.is_sending(line)
            assert await read_slowly(peer, len(BIG) + 11) == BIG + b"onetwothree"
            assert not reactor.is_sending(line)
        assert line.told == [("sent", 1), ("sent", 2)]


# How well it keeps up.


@in_trio
async def test_how_late_a_request_goes_out_is_from_when_it_was_due() -> None:
    with local_pair() as (line, _):
        async with running(Reactor(), line) as reactor:
            reactor.hold()
            reactor.send(line, b"first wave", None)
            due_ns = now_ns()
            spin(due_ns + NS_PER_MS)
            reactor.release(due_ns)
            await until(lambda: len(line.heard) == 1)
            late_ns = line.heard[0][2] - due_ns
            audit = reactor.gauge.take()
            assert (audit.send_lag.count, audit.send_lag.max) == (1, late_ns)
            assert late_ns >= NS_PER_MS
            queued_ns = now_ns()
            reactor.send(line, b"later", None)
            await until(lambda: len(line.heard) == 2)
            assert 0 <= (reactor.gauge.take().send_lag.max or 0) <= line.heard[1][2] - queued_ns


def spin(until_ns: int) -> None:
    """Keeps the reactor from reading."""
    while now_ns() < until_ns:
        pass


@stamping
@in_trio
async def test_how_long_something_lay_unread_is_from_the_stamp_of_the_kernel() -> None:
    with tcp_pair() as (line, peer), tcp_pair() as (other, other_peer):
        async with running(Reactor(), line, other) as reactor:
            await a_turn(reactor)
            reactor.gauge.take()
            peer.send(b"hello")
            sent_ns = now_ns()
            spin(sent_ns + NS_PER_MS)
            other_peer.send(b"hello")
            await until(lambda: bool(line.heard and other.heard))
            lag = reactor.gauge.take().receive_lag
        assert lag.max is not None
        assert lag.max >= NS_PER_MS - OFFSET_ERROR_NS


def counting(reactor: Reactor, line: Line) -> None:
    """Each letter that the line hears is an output event; a capital one is the first of its answer."""

    def count(data: bytes) -> None:
        reactor.gauge.outputs += len(data)
        reactor.gauge.firsts += sum(bytes([byte]).isupper() for byte in data)

    line.on_receive = count


@stamping
@in_trio
async def test_an_event_that_came_alone_is_not_late_however_late_it_is_read() -> None:
    with tcp_pair() as (line, peer):
        async with running(Reactor(), line) as reactor:
            counting(reactor, line)
            for number, letter in enumerate([b"A", b"b", b"c"], start=1):
                peer.send(letter)
                spin(now_ns() + NS_PER_MS)
                await until(lambda: len(line.heard) == number)  # noqa: B023
            audit = reactor.gauge.take()
    assert (audit.stamp_slack.count, audit.stamp_slack.max) == (3, 0)
    assert (audit.first_stamp_slack.count, audit.first_stamp_slack.max) == (1, 0)
    assert audit.shared_reads == 0


@stamping
@pytest.mark.parametrize("count", [1, POLLED_AT_ONCE + 6])
@pytest.mark.parametrize("pace", [PATIENT, PROMPT], ids=["patient", "prompt"])
@in_trio
async def test_of_events_that_share_a_read_the_slack_is_at_least_how_late_they_are(count: int, pace: Pace) -> None:
    """The first came a millisecond before the second, whose stamp both have; the slack must not be less."""
    reactor = Reactor()
    reactor.pace = pace
    with ExitStack() as stack:
        pairs = [stack.enter_context(tcp_pair()) for _ in range(count)]
        async with running(reactor, *(line for line, _ in pairs)):
            await a_turn(reactor)
            reactor.gauge.take()
            for line, peer in pairs:
                counting(reactor, line)
                peer.send(b"A")
            spin(now_ns() + NS_PER_MS)
            for _, peer in pairs:
                peer.send(b"b")
            await until(lambda: all(line.heard for line, _ in pairs))
        assert {line.told[0] for line, _ in pairs} == {("receive", b"Ab")}
        audit = reactor.gauge.take()
    assert audit.shared_reads == count
    assert audit.stamp_slack.count == 2 * count
    assert audit.stamp_slack.count_above(NS_PER_MS - OFFSET_ERROR_NS) == count
    assert audit.first_stamp_slack.count_above(NS_PER_MS - OFFSET_ERROR_NS) == count


@in_trio
async def test_without_stamps_of_the_kernel_each_event_may_be_as_late_as_its_read() -> None:
    with local_pair() as (line, peer):
        async with running(Reactor(), line) as reactor:
            counting(reactor, line)
            await a_turn(reactor)
            reactor.gauge.take()
            peer.send(b"A")
            spin(now_ns() + NS_PER_MS)
            await until(lambda: bool(line.heard))
            audit = reactor.gauge.take()
    assert (audit.stamp_slack.count, audit.first_stamp_slack.count) == (1, 1)
    assert (audit.stamp_slack.min or 0) >= NS_PER_MS


@stamping
@in_trio
async def test_the_end_of_a_connection_is_no_read_without_a_stamp() -> None:
    with tcp_pair() as (line, peer):
        peer.close()
        async with running(Reactor(), line) as reactor:
            await until(lambda: bool(line.heard))
            audit = reactor.gauge.take()
    assert (audit.unstamped_reads, audit.voided_stamps) == (0, 0)


@in_trio
async def test_standing_still_is_noticed_though_nothing_comes() -> None:
    async with running(Reactor()) as reactor:
        await a_turn(reactor)
        reactor.attention.take()
        spin(now_ns() + 2 * NS_PER_MS)
        await a_turn(reactor)
        assert (reactor.attention.take().max or 0) >= 2 * NS_PER_MS


# Timers.


@in_trio
async def test_timers_fire_in_order_and_not_before_their_time() -> None:
    async with running(Reactor()) as reactor:
        start_ns = now_ns()
        deadlines = [start_ns + after * NS_PER_MS // 4 for after in (6, 2, 8, 0, 4)]
        fired: list[tuple[int, int]] = []

        def note(deadline_ns: int) -> Callable[[], None]:
            return lambda: fired.append((deadline_ns, now_ns()))

        for deadline_ns in deadlines:
            reactor.call_at(deadline_ns, note(deadline_ns))
        await until(lambda: len(fired) == len(deadlines))
    assert [deadline_ns for deadline_ns, _ in fired] == sorted(deadlines)
    assert all(at_ns >= deadline_ns for deadline_ns, at_ns in fired)


@in_trio
async def test_a_timer_that_is_cancelled_does_not_fire() -> None:
    async with running(Reactor()) as reactor:
        fired: list[str] = []
        reactor.cancel(reactor.call_at(now_ns(), lambda: fired.append("cancelled")))
        later = reactor.call_at(2, lambda: fired.append("cancelled by another"))
        reactor.call_at(1, lambda: reactor.cancel(later))
        await a_turn(reactor)
        last = reactor.call_at(3, lambda: fired.append("last"))
        await until(lambda: bool(fired))
        reactor.cancel(last)
    assert fired == ["last"]


@in_trio
async def test_a_timer_may_set_another() -> None:
    async with running(Reactor()) as reactor:
        fired: list[str] = []

        def first() -> None:
            reactor.call_at(2, lambda: fired.append("second"))

        reactor.call_at(1, first)
        await until(lambda: fired == ["second"])


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=300))
def test_exactly_those_fire_that_are_due_and_not_cancelled(plan: list[tuple[int, bool]]) -> None:
    timers = Timers()
    fired: list[int] = []
    added: list[tuple[Timer, bool]] = []
    for deadline_ns, cancelled in plan:
        timer = Timer(deadline_ns, partial(fired.append, deadline_ns))
        timers.add(timer)
        added.append((timer, cancelled))
    timers.add(Timer(now_ns() + HOUR_NS, lambda: fired.append(-1)))
    for timer, cancelled in added:
        if cancelled:
            timers.cancel(timer)
    timers.fire()
    timers.fd.close()
    assert fired == sorted(deadline_ns for deadline_ns, cancelled in plan if not cancelled)


def test_cancelled_timers_are_swept_out() -> None:
    """A timer of each request is far ahead and taken back soon: their number must not grow with the requests."""
    timers = Timers()
    living = [Timer(now_ns() + HOUR_NS, print) for _ in range(50)]
    for timer in living:
        timers.add(timer)
    for _ in range(5000):
        timer = Timer(now_ns() + HOUR_NS, print)
        timers.add(timer)
        timers.cancel(timer)
    kept = sum(isinstance(thing, Timer) for thing in gc.get_objects())
    timers.fd.close()
    assert kept < 250
