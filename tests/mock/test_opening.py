from __future__ import annotations

import pytest

from fluxperf_mock.connection import Connection, Output
from fluxperf_mock.generation import Receipt
from fluxperf_mock.http2_frames import PREFACE
from fluxperf_mock.opening import Opening


class Bench:
    """An opening, the output it was given, and the connection it opens, which only remembers."""

    def __init__(self) -> None:
        self.http2: bool | None = None
        self.received: list[tuple[bytes, int]] = []
        self.lost: list[int] = []
        self.opening = Opening(self, self.choose)

    def choose(self, output: Output, http2: bool) -> Connection:
        assert output is self
        assert self.http2 is None
        self.http2 = http2
        return self

    def receive(self, data: bytes, at_ns: int) -> None:
        self.received.append((data, at_ns))

    def lose(self, at_ns: int) -> None:
        self.lost.append(at_ns)

    def write(self, data: bytes, receipt: Receipt | None = None) -> None:
        raise AssertionError

    def finish(self) -> None:
        raise AssertionError


@pytest.mark.parametrize("cut", range(len(PREFACE) + 1))
def test_the_preface_means_http2_wherever_it_is_cut(cut: int) -> None:
    bench = Bench()
    bench.opening.receive(PREFACE[:cut], 1)
    assert bench.http2 is (True if cut == len(PREFACE) else None)
    bench.opening.receive(PREFACE[cut:] + b"rest", 2)
    assert bench.http2 is True
    assert b"".join(data for data, _ in bench.received) == PREFACE + b"rest"
    assert bench.received[-1][1] == 2


@pytest.mark.parametrize("start", [b"G", b"POST / HTTP/1.1\r\n", b"PRI * HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nX"])
def test_anything_else_means_http1_at_its_first_byte(start: bytes) -> None:
    bench = Bench()
    bench.opening.receive(start, 1)
    bench.opening.receive(b"more", 2)
    assert bench.http2 is False
    assert bench.received == [(start, 1), (b"more", 2)]


def test_a_first_letter_that_both_share_is_held() -> None:
    bench = Bench()
    bench.opening.receive(b"P", 1)
    assert bench.http2 is None
    bench.opening.receive(b"OST", 2)
    assert bench.received == [(b"POST", 2)]


def test_a_client_that_leaves_is_lost_to_the_connection_if_there_is_one() -> None:
    bench = Bench()
    bench.opening.lose(1)
    bench.opening.receive(b"GET", 2)
    bench.opening.lose(3)
    assert bench.lost == [3]
