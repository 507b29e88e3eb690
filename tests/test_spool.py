from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.spool import Spooled, SpoolWriter

Record = tuple[int, int, Any]  # index, turn, value

values = st.none() | st.integers(-(2**63), 2**63 - 1) | st.text() | st.lists(st.floats(allow_nan=False) | st.binary())
keys = st.integers(0, 5) | st.integers(0, 2**40)
records = st.tuples(keys, st.integers(0, 3), values)


def write(path: Path, content: Iterable[Record]) -> Path:
    writer = SpoolWriter(path)
    for index, turn, value in content:
        writer.append(index, turn, value)
    writer.close()
    return path


def read(*paths: Path) -> list[Any]:
    return list(Spooled(paths, as_lists))


def as_lists(value: Any) -> Any:
    """The value with lists where the reader gives tuples."""
    return list(value) if isinstance(value, tuple) else value


@pytest.fixture(scope="session")
def spool_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Sequence[Iterable[Record]]], list[Path]]:
    """Writes one file for each group of records, over those of the time before."""
    folder = tmp_path_factory.mktemp("spool")
    return lambda groups: [write(folder / f"{number}.rows", group) for number, group in enumerate(groups)]


@given(groups=st.lists(st.lists(records, max_size=8), max_size=3))
def test_records_of_all_files_come_in_order_of_index_and_turn(
    spool_of: Callable[[Sequence[Iterable[Record]]], list[Path]], groups: list[list[Record]]
) -> None:
    everything = [record for group in groups for record in group]
    expected = [value for _, _, value in sorted(everything, key=lambda record: record[:2])]
    spooled = Spooled(spool_of(groups), as_lists)
    assert len(spooled) == len(everything)
    assert list(spooled) == expected
    assert list(spooled) == expected  # and again


@pytest.mark.parametrize("size", [4085, 4090, 4096, 4100, 8192, 100_000])
def test_records_of_any_size(tmp_path: Path, size: int) -> None:
    content = [(2, 0, "c" * size), (0, 0, "a"), (1, 0, "b" * size)]
    assert read(write(tmp_path / "rows", content)) == ["a", "b" * size, "c" * size]


def test_a_record_that_was_cut_short_is_passed_over(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole", [(1, 0, "first" * 9), (0, 0, ["second"])]).read_bytes()
    first = len(write(tmp_path / "first", [(1, 0, "first" * 9)]).read_bytes())
    cut = tmp_path / "cut"
    for length in range(len(whole)):
        cut.write_bytes(whole[:length])
        assert read(cut) == (["first" * 9] if length >= first else [])
    cut.write_bytes(whole)
    assert len(read(cut)) == 2


def test_a_record_cut_short_spoils_no_other_file(tmp_path: Path) -> None:
    cut = write(tmp_path / "cut", [(0, 0, "kept"), (1, 0, "lost")])
    cut.write_bytes(cut.read_bytes()[:-1])
    assert read(cut, write(tmp_path / "whole", [(2, 0, "whole")])) == ["kept", "whole"]


def test_what_is_appended_is_in_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    writer = SpoolWriter(path)
    sizes = []
    for index in range(3):
        writer.append(index, 0, "x")
        sizes.append(path.stat().st_size)
    writer.close()
    assert all(before < after for before, after in pairwise([0, *sizes]))


def test_the_writer_begins_anew(tmp_path: Path) -> None:
    write(tmp_path / "rows", [(0, 0, "earlier"), (1, 0, "earlier")])
    assert read(write(tmp_path / "rows", [(5, 0, "later")])) == ["later"]


def test_iterations_do_not_disturb_each_other(tmp_path: Path) -> None:
    spooled = Spooled([write(tmp_path / "rows", [(0, 0, "a"), (1, 0, "b")])], str)
    assert list(zip(spooled, spooled, strict=True)) == [("a", "a"), ("b", "b")]
    assert "b" in spooled
    assert "c" not in spooled


def test_memory_does_not_grow_with_the_records(tmp_path: Path) -> None:
    count = 20_000
    path = write(tmp_path / "rows", ((number * 7919 % count, 0, number) for number in range(count)))
    tracemalloc.start()
    try:
        spooled = Spooled([path], int)
        assert sum(1 for _ in spooled) == count
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1_200_000


def test_an_iteration_that_is_given_up_leaves_no_file_open(tmp_path: Path) -> None:
    descriptors = Path("/proc/self/fd")
    spooled = Spooled([write(tmp_path / "rows", [(0, 0, "a"), (1, 0, "b")])], str)
    assert len(spooled) == 2  # reads the files once
    before = len(list(descriptors.iterdir()))
    iterator = iter(spooled)
    next(iterator)
    assert len(list(descriptors.iterdir())) == before + 1
    iterator.close()  # type: ignore[attr-defined]
    assert len(list(descriptors.iterdir())) == before


def test_no_files_and_empty_files_are_no_records(tmp_path: Path) -> None:
    assert read() == []
    assert read(write(tmp_path / "rows", [])) == []
