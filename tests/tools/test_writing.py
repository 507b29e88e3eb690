from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.errors import UsageError
from fluxperf.plan.workload import open_dataset
from fluxperf_tools.writing import check_output, write_jsonl

TEXT = "a \u2028 line\n, 数据, \x00, \U0001f600, </script>"


def test_rows_are_lines_of_utf_8_that_fluxperf_reads(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "x.jsonl"
    written = write_jsonl(path, ({"text": TEXT} for _ in range(3)))
    assert (written.rows, written.size_bytes, written.replaced) == (3, path.stat().st_size, False)
    lines = path.read_bytes().split(b"\n")
    assert [json.loads(line) for line in lines[:-1]] == [{"text": TEXT}] * 3
    assert lines[-1] == b""
    assert "数据, ".encode() in lines[0]
    with open_dataset(path, "dual_round") as dataset:
        assert dataset[2].turns[0][0]["content"] == TEXT


def test_half_a_surrogate_pair_becomes_a_character_and_a_whole_one_its_own(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "x", [{"text": "a\ud83db\ud83d\ude00c\ude00", "list": ["\udfff"]}])
    assert json.loads((tmp_path / "x").read_bytes()) == {"text": "a\ufffdb\U0001f600c\ufffd", "list": ["\ufffd"]}


@given(st.lists(st.text(st.characters(codec=None))))
def test_any_text_can_be_written(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("any") / "x"
    write_jsonl(path, [{"text": ""}, *({"text": text} for text in texts)])
    assert path.read_bytes().decode().count("\n") == len(texts) + 1


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("before")

    def rows() -> Iterator[dict[str, Any]]:
        yield {"text": "x" * 3_000_000}
        assert path.read_text() == "before"
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        write_jsonl(path, rows())
    assert path.read_text() == "before"
    with pytest.raises(UsageError, match="nothing to write"):
        write_jsonl(path, [])
    assert path.read_text() == "before"
    assert write_jsonl(path, [{}]).replaced
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link, target = tmp_path / "link", tmp_path / "there" / "target"
    link.symlink_to(target)
    assert not write_jsonl(link, [{"a": 1}]).replaced
    assert write_jsonl(link, [{"a": 2}]).replaced
    assert link.is_symlink()
    assert target.read_text() == '{"a":2}\n'


def test_no_clobber_refuses_before_and_after_the_work(tmp_path: Path) -> None:
    path = tmp_path / "x"

    def rows() -> Iterator[dict[str, Any]]:
        path.write_text("somebody else's")
        yield {}

    with pytest.raises(UsageError, match="--no-clobber"):
        write_jsonl(path, rows(), no_clobber=True)
    assert path.read_text() == "somebody else's"
    with pytest.raises(UsageError, match="--no-clobber"):
        check_output(path, no_clobber=True)


def test_what_cannot_be_written_is_said_before(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "out").symlink_to("/dev/stdout")
    (tmp_path / "link").symlink_to("out")
    (tmp_path / "devices").symlink_to("/dev")
    (tmp_path / "loop").symlink_to("loop")
    for path, word in [
        (Path("-"), "stdout"),
        (tmp_path, "is a directory"),
        (tmp_path / "file" / "x" / "y", "is a file"),
        (tmp_path / "pipe", "no regular file"),
        (Path("/dev/stdout"), "no place for a file"),
        (Path("/dev/x.jsonl"), "no place for a file"),
        (Path("/dev/fd/1"), "no place for a file"),
        (Path("/proc/self/fd/1"), "no place for a file"),
        (tmp_path / "out", "no place for a file"),
        (tmp_path / "link", "no place for a file"),
        (tmp_path / "devices" / "stdout", "no place for a file"),
    ]:
        with pytest.raises(UsageError, match=word):
            check_output(path)
    check_output(tmp_path / "file")
    check_output(tmp_path / "new" / "x")
    check_output(tmp_path / "loop")


def test_stdout_is_refused_though_it_is_redirected_to_a_file(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from fluxperf_tools import writing; "
    code += "writing.write_jsonl(Path(sys.argv[1]), [{}])"
    root = Path(__file__).resolve().parents[2]
    env = os.environ | {"PYTHONPATH": f"{root}:{root / 'tools'}"}
    (tmp_path / "link").symlink_to("/dev/stdout")
    for path in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"):
        with (tmp_path / "redirected").open("w") as file:
            words = [sys.executable, "-c", code, path]
            ended = subprocess.run(
                words, cwd=tmp_path, env=env, stdout=file, stderr=subprocess.PIPE, text=True, check=False
            )
        assert f"{path} is no place for a file" in ended.stderr
        assert (tmp_path / "redirected").read_text() == ""


def test_the_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "x", [{}])
    (tmp_path / "y").touch()
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == stat.S_IMODE((tmp_path / "y").stat().st_mode)
