from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from fluxperf.clock import StampClock, now_ns, stamp_receives
from fluxperf_mock.truth import Truth
from fluxperf_mock.wire import Surroundings, Wire


class FakeLoop:
    """Remembers what it was asked for; the test does it."""

    def __init__(self) -> None:
        self.readers: dict[object, Callable[[], None]] = {}
        self.writers: dict[object, Callable[[], None]] = {}
        self.soon: list[Callable[[], None]] = []
        self.later: list[Callable[[], None]] = []

    def add_reader(self, sock: object, callback: Callable[[], None]) -> None:
        self.readers[sock] = callback

    def remove_reader(self, sock: object) -> None:
        self.readers.pop(sock, None)

    def add_writer(self, sock: object, callback: Callable[[], None]) -> None:
        self.writers[sock] = callback

    def remove_writer(self, sock: object) -> None:
        self.writers.pop(sock, None)

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        self.later.append(callback)


class Recorder:
    """A connection that only remembers."""

    def __init__(self) -> None:
        self.received: list[tuple[bytes, int]] = []
        self.lost = 0

    def receive(self, data: bytes, at_ns: int) -> None:
        self.received.append((data, at_ns))

    def lose(self, at_ns: int) -> None:
        self.lost += 1


class Setting:
    """A wire, and the client's end of it."""

    def __init__(self, ours: socket.socket, client: socket.socket) -> None:
        self.loop = FakeLoop()
        self.truth = Truth()
        self.turns = 0
        self.ours = ours
        self.client = client
        self.connection = Recorder()
        self.wire = Wire(ours, Surroundings(cast("Any", self.loop), StampClock(), self.truth, self._turn))
        self.wire.open(self.connection)

    def _turn(self) -> None:
        self.turns += 1

    def read(self) -> None:
        self.loop.readers[self.ours]()

    def flush(self) -> None:
        self.loop.writers[self.ours]()


@pytest.fixture
def setting() -> Iterator[Setting]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        stamp_receives(server)
        client = socket.create_connection(server.getsockname(), timeout=5)
        ours, _ = server.accept()
    ours.setblocking(False)
    with client, ours:
        yield Setting(ours, client)


def test_bytes_arrive_with_a_stamp_between_send_and_read(setting: Setting) -> None:
    before = now_ns()
    setting.client.sendall(b"hello")
    setting.read()
    ((data, at_ns),) = setting.connection.received
    assert data == b"hello"
    assert before - 100_000 <= at_ns <= now_ns()
    assert setting.turns == 1


def test_a_read_without_a_kernel_stamp_is_counted(setting: Setting) -> None:
    setting.ours.setsockopt(socket.SOL_SOCKET, 35, 0)
    setting.client.sendall(b"hello")
    setting.read()
    assert setting.truth.counts.user_stamps == 1
    assert len(setting.connection.received) == 1


def test_a_read_for_nothing_is_no_loss(setting: Setting) -> None:
    setting.read()
    assert (setting.connection.received, setting.connection.lost) == ([], 0)


def test_a_write_goes_out_at_once_with_its_stamp(setting: Setting) -> None:
    stamps: list[int] = []
    before = now_ns()
    setting.wire.write(b"hello", stamps.append)
    assert before <= stamps[0] <= now_ns()
    assert setting.client.recv(100) == b"hello"
    assert not setting.loop.writers


def test_what_does_not_fit_is_sent_later_in_order_and_stamped_when_it_is(setting: Setting) -> None:
    pieces = [bytes([65 + index]) * 300_000 for index in range(8)]
    stamps: list[tuple[int, int]] = []
    for index, piece in enumerate(pieces):
        setting.wire.write(piece, lambda at_ns, index=index: stamps.append((index, at_ns)))  # type: ignore[misc]
    assert len(stamps) < len(pieces)
    unstamped_at = now_ns()
    early = len(stamps)
    setting.wire.finish()
    received = b""
    while setting.loop.writers:
        readable, writable, _ = select.select([setting.client], [setting.ours], [], 5)
        assert readable or writable
        if readable:
            received += setting.client.recv(1 << 20)
        if writable:
            setting.flush()
    while data := setting.client.recv(1 << 20):
        received += data
    assert received == b"".join(pieces)
    assert [index for index, _ in stamps] == list(range(8))
    late = [at_ns for _, at_ns in stamps[early:]]
    assert unstamped_at <= late[0] < late[-1]
    assert late == sorted(late)


def test_a_client_that_leaves_too_much_unread_is_dropped(setting: Setting) -> None:
    setting.wire.write(bytes(60 * 1024 * 1024))
    assert setting.loop.soon == []
    setting.wire.write(bytes(20 * 1024 * 1024))
    for callback in setting.loop.soon:
        callback()
    assert setting.connection.lost == 1
    assert not setting.loop.writers


def test_a_client_that_closes_is_lost_once(setting: Setting) -> None:
    setting.client.close()
    setting.read()
    assert setting.connection.lost == 1
    setting.wire.close()
    setting.wire.write(b"too late")
    assert setting.connection.lost == 1
    assert not setting.loop.readers


def test_a_write_to_a_reset_connection_is_a_loss_in_the_next_turn(setting: Setting) -> None:
    setting.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    setting.client.close()
    setting.wire.write(b"a")
    assert setting.connection.lost == 0
    for callback in setting.loop.soon:
        callback()
    assert setting.connection.lost == 1
    assert not setting.loop.writers


def test_after_finish_input_is_passed_over_until_the_client_closes(setting: Setting) -> None:
    setting.wire.write(b"bye")
    setting.wire.finish()
    assert setting.client.recv(100) == b"bye"
    assert setting.client.recv(100) == b""
    setting.client.sendall(b"more")
    setting.read()
    assert (setting.connection.received, setting.connection.lost) == ([], 0)
    setting.client.close()
    setting.read()
    assert setting.connection.lost == 1


def test_a_client_that_does_not_close_is_closed(setting: Setting) -> None:
    setting.wire.finish()
    for callback in setting.loop.later:
        callback()
    assert setting.connection.lost == 1
