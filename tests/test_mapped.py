from __future__ import annotations

import errno
import os
import resource
import tempfile
import tracemalloc
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.errors import RunFailed
from fluxperf.mapped import PIECE, in_order, mapped
from tests.engine.forks import forked

SIZES = [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5]

integers = st.integers(0, 2**64 - 1)


def drawn(count: int, below: int) -> list[int]:
    draw = Random(count)
    return [draw.randrange(below) for _ in range(count)]


@given(st.lists(integers))
def test_values_are_read_back(values: list[int]) -> None:
    assert list(mapped(values)) == values


@pytest.mark.parametrize("size", SIZES)
def test_any_number_of_values(size: int) -> None:
    values = drawn(size, 2**64)
    found = mapped(iter(values))
    assert len(found) == size
    assert found.tolist() == values


def test_a_slice_is_a_view_that_keeps_the_mapping() -> None:
    values = mapped(range(10))
    odd = values[1::2]
    odd[0] = 100
    assert values[1] == 100
    del values
    assert list(odd) == [100, 3, 5, 7, 9]


def test_forked_processes_read_the_same_values() -> None:
    values = mapped(range(1000))
    with forked(2, lambda number: array("Q", values[number::100]).tobytes()) as found:
        pass
    assert [list(array("Q", data)) for data in found] == [list(range(start, 1000, 100)) for start in (0, 1)]


@given(st.lists(integers))
def test_in_order_is_sorted(values: list[int]) -> None:
    assert list(in_order(values)) == sorted(values)


@pytest.mark.parametrize("size", SIZES)
def test_in_order_is_sorted_and_stable_over_many_pieces(size: int) -> None:
    values = drawn(size, 1000)
    assert list(in_order(iter(values))) == sorted(values)
    places = range(size)
    assert list(in_order(places, values.__getitem__)) == sorted(places, key=values.__getitem__)
    assert list(in_order(places, lambda at: -values[at])) == sorted(places, key=lambda at: -values[at])


def test_memory_does_not_grow_with_the_values() -> None:
    count = 100_000
    tracemalloc.start()
    try:
        values = mapped(number * 7919 % count for number in range(count))
        assert all(map(int.__eq__, in_order(values), range(count)))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1_000_000 < 8 * count * 2


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))
    values = mapped(range(3))
    assert list(tmp_path.iterdir()) == []
    assert len(list(descriptors.iterdir())) == before + 1
    del values
    assert len(list(descriptors.iterdir())) == before


def test_no_directory_to_write_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(RunFailed) as caught:
        mapped([1])
    assert str(caught.value) == (
        f"cannot write a temporary file in {tmp_path}/missing: No such file or directory; "
        "make room, or name another directory in TMPDIR"
    )


@contextmanager
def small_files() -> Iterator[None]:
    """No file of this process may grow beyond 1,000 bytes: for the block only, since pytest writes files, too."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_no_room_to_write() -> None:
    no_room = f"cannot write a temporary file in .*: {os.strerror(errno.EFBIG)}; make room"
    with pytest.raises(RunFailed, match=no_room), small_files():
        mapped(range(10_000))


def test_an_error_of_the_source_is_its_own() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise OSError("of the source")

    with pytest.raises(OSError, match="of the source"):
        mapped(source())
