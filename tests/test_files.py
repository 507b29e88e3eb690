from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxperf.errors import RunFailed
from fluxperf.files import write_whole


def interrupted() -> Iterator[str]:
    yield "half"
    raise KeyboardInterrupt


def broken() -> Iterator[bytes]:
    yield b"half"
    raise ValueError("broken")


def test_text_is_utf_8_and_its_line_ends_stay(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", iter(["\ufeffé\r\n", "☃\n"]))
    assert (tmp_path / "file").read_bytes() == b"\xef\xbb\xbf\xc3\xa9\r\n\xe2\x98\x83\n"


def test_bytes_are_as_they_are_and_replace_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("an earlier and longer text")
    write_whole(path, [b"\x00", b"\xff"])
    assert path.read_bytes() == b"\x00\xff"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("chunks", "error"), [(interrupted, KeyboardInterrupt), (broken, ValueError)])
def test_an_interruption_leaves_the_earlier_file_and_nothing_else(
    tmp_path: Path, chunks: type[Iterator[str]], error: type[BaseException]
) -> None:
    path = tmp_path / "file"
    path.write_text("earlier")
    with pytest.raises(error):
        write_whole(path, chunks())
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_until_it_is_whole_it_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def watching() -> Iterator[str]:
        yield "a"
        assert not path.exists()
        (temporary,) = tmp_path.iterdir()
        assert temporary.parent == path.parent
        yield "b"

    write_whole(path, watching())
    assert path.read_text() == "ab"


def test_who_reads_the_earlier_file_meanwhile_reads_on_undisturbed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("earlier")
    with path.open() as reader:
        write_whole(path, ["later"])
        assert reader.read() == "earlier"
    assert path.read_text() == "later"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_are_as_the_umask_says(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "file", ["x"])
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "missing" / "file", tmp_path / "plain" / "file", tmp_path / "folder"):
        with pytest.raises(RunFailed, match=f"cannot write {path}: "):
            write_whole(path, ["x"])
    assert {path.name for path in tmp_path.iterdir()} == {"plain", "folder"}
