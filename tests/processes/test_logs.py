"""A command's log: where a start begins, what of it is quoted, and the line that is waited for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.errors import RunFailed
from fluxperf.processes import logs
from fluxperf.processes.logs import Log


def begin(path: Path, secrets: tuple[str, ...] = ()) -> Log:
    log = Log(path, secrets)
    log.open("start 1", "serve").close()
    return log


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_the_heading_comes_first_and_the_file_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "new" / "server.log"
    log = Log(path)
    with log.open("start 1", "serve --port 1") as file:
        file.write(b"up\n")
    with log.open("start 2", "serve --port 1") as file:
        file.write(b"up again\n")
    first, one, second, two = path.read_text().splitlines()
    assert first.startswith("--- fluxperf: start 1, 20")
    assert first.endswith("Z: serve --port 1")
    assert (one, two) == ("up", "up again")
    assert second.startswith("--- fluxperf: start 2, ")
    assert log.last_lines(30) == ["up again"]


def test_one_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFailed, match=r"cannot write the log .*file/server\.log"):
        begin(tmp_path / "file" / "server.log")


def test_the_last_lines_are_bounded_and_fit_to_be_shown(tmp_path: Path) -> None:
    log = begin(tmp_path / "log", ("sk-secret",))
    append(log.path, b"\n".join(b"line %d" % number for number in range(1000)))
    append(log.path, b"\n\n10%\r20%\r\n\x1b[1;31mred\x1b[0m \x07bell \xff sk-secret\t.\n" + b"y" * 2000 + b"\n")
    lines = log.last_lines(5)
    assert lines[:4] == [
        "line 999",
        "10%",
        "20%",
        "red \N{REPLACEMENT CHARACTER}bell \N{REPLACEMENT CHARACTER} ****    .",
    ]
    assert lines[4] == "y" * logs.LONGEST_LINE + " ..."
    assert log.quote().startswith(f"the last 30 lines of its log {log.path}:\n  | line 9")


def test_only_the_end_of_a_huge_log_is_read(tmp_path: Path) -> None:
    log = begin(tmp_path / "log")
    with log.path.open("r+b") as file:
        file.truncate(1 << 40)  # a hole
        file.seek(0, 2)
        file.write(b"\nthe end")
    assert log.last_lines(1) == ["the end"]


@pytest.mark.parametrize("path", ["/dev/null", "/no/such/file"])
def test_where_nothing_can_be_read_there_is_nothing(path: str) -> None:
    log = Log(Path(path))
    assert log.last_lines(30) == []
    assert log.find_line("ready") is None
    assert "sends its output elsewhere" in log.quote()


def test_a_line_is_found_once_it_is_whole(tmp_path: Path) -> None:
    log = begin(tmp_path / "log")
    assert log.find_line("ready") is None
    append(log.path, b"loading\nrea")
    assert log.find_line("ready") is None
    append(log.path, b"dy at http://127")
    assert log.find_line("ready") is None
    append(log.path, b".0.0.1:1\nmore\n")
    assert log.find_line("ready") == "ready at http://127.0.0.1:1"


def test_a_line_without_an_end_will_do_when_no_more_comes(tmp_path: Path) -> None:
    log = begin(tmp_path / "log")
    append(log.path, b"it is ready")
    assert [log.find_line("ready") for _ in range(2)] == [None, "it is ready"]


def test_an_emptied_log_is_read_from_its_beginning(tmp_path: Path) -> None:
    log = begin(tmp_path / "log")
    append(log.path, b"x" * 1000)
    assert log.find_line("ready") is None
    log.path.write_bytes(b"ready now\n")
    assert log.find_line("ready") == "ready now"


def test_a_line_may_be_longer_than_what_is_kept_of_it(tmp_path: Path) -> None:
    log = begin(tmp_path / "log")
    append(log.path, b"x" * (3 << 20) + b"ready" + b"y" * (3 << 20) + b"\n")
    line = log.find_line("ready")
    assert line is not None
    assert "xreadyy" in line
    assert len(line) < 1 << 20


@given(
    pieces=st.lists(st.binary(max_size=40).map(lambda data: data.replace(b"\r", b"")), max_size=8),
    before=st.sampled_from([b"", b"\n", b"abc ", b"\n re"]),
)
def test_wherever_the_log_is_cut_the_same_line_is_found(
    pieces: list[bytes], before: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    log = begin(tmp_path_factory.mktemp("logs") / "log")
    whole = b"".join(pieces) + before + b"ready 1\n"
    for data in [*pieces, before, b"re", b"ady", b" 1\n"]:
        append(log.path, data)
        found = log.find_line("ready 1")
    wanted = next(line for line in whole.split(b"\n") if b"ready 1" in line)
    assert found == wanted.decode("utf-8", "replace")
