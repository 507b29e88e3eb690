from __future__ import annotations

import io
import json
import os
import random
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.errors import UsageError
from fluxperf_tools import documents, json_records
from fluxperf_tools.json_records import read_json
from fluxperf_tools.reading import Fault, Place, Record, find_files, read_records
from tests.tools.parquet_files import write_parquet

ROWS = [{"text": f"row {number} é 数据 \u2028", "n": number, "x": None, "y": 1.5} for number in range(7)]


def dump(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def values(path: Path) -> list[Any]:
    found = list(read_records(path))
    assert not [one for one in found if isinstance(one, Fault)]
    return [one.value for one in found if isinstance(one, Record)]


def told(found: list[Record | Fault]) -> list[str]:
    """The values and faults in a row, as text."""
    return [f"{one}" if isinstance(one, Fault) else f"{one.place}: = {json.dumps(one.value)}" for one in found]


def told_of(data: bytes) -> list[str]:
    return told(list(read_json(io.BytesIO(data), "f")))


def as_parquet(path: Path) -> None:
    write_parquet(ROWS, path)


def as_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data/b.jsonl", dump(ROWS[3:]))
        archive.writestr("data/a.json", json.dumps(ROWS[:3]))
        archive.writestr("__MACOSX/data/._a.json", b"\0\5\16\7")
        archive.writestr("README.md", "# not data")


WRITERS: dict[str, Callable[[Path], object]] = {
    "lines": lambda path: path.write_bytes(dump(ROWS)),
    "lines without the last line end": lambda path: path.write_bytes(dump(ROWS).rstrip()),
    "lines with a BOM, CR LF and blank ones": lambda path: path.write_bytes(
        b"\xef\xbb\xbf" + dump(ROWS).replace(b"\n", b"\r\n \r\n")
    ),
    "an array": lambda path: path.write_text(json.dumps(ROWS)),
    "a pretty array with a BOM": lambda path: path.write_text("\ufeff" + json.dumps(ROWS, indent=2)),
    "wrapped": lambda path: path.write_text(json.dumps({"version": {"end": [1]}, "data": ROWS, "more": 1})),
    "wrapped and pretty": lambda path: path.write_text(json.dumps({"data": ROWS}, indent=2)),
    "pretty objects, one after another": lambda path: path.write_text("\n".join(json.dumps(r, indent=1) for r in ROWS)),
    "parquet": as_parquet,
    "zip": as_zip,
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ""])
def test_every_kind_of_file_is_told_by_what_is_in_it(name: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"file{suffix}"
    WRITERS[name](path)
    assert values(path) == ROWS


def test_places() -> None:
    assert told_of(b'\n{"a": 1}\n\n{"a": 2}') == ['f:2: = {"a": 1}', 'f:4: = {"a": 2}']
    assert told_of(b'[{"a": 1},\n {"a": 2}]') == ['f: entry 1: = {"a": 1}', 'f: entry 2: = {"a": 2}']
    assert str(Fault(Place("f"), "gone")) == "f: gone"


def test_members_of_a_zip_have_its_name_before_theirs(tmp_path: Path) -> None:
    as_zip(tmp_path / "data.zip")
    places = [str(one.place) for one in read_records(tmp_path / "data.zip")]
    assert places[0] == f"{tmp_path}/data.zip/data/a.json: entry 1"
    assert places[-1] == f"{tmp_path}/data.zip/data/b.jsonl:4"


def test_a_broken_line_is_a_fault_and_the_next_is_read() -> None:
    data = b'{"a": 1}\n{"a": \n{"a": "\xff"}\n\0\0\0\n<html>\n{"a": 2} {"a": 3}\n{"a": "\t"}\n{"a": 4}\n{"a": "cut'
    found = told_of(data)
    assert [line.split(":")[1] for line in found] == list("123456789")
    assert found[0] == 'f:1: = {"a": 1}'
    assert found[7] == 'f:8: = {"a": 4}'
    for number, word in enumerate(["incomplete", "not UTF-8", "not JSON", "not JSON", "more follows", "tab"], 1):
        assert word in found[number]
    assert "incomplete" in found[8]
    assert "an entry looks like" not in "".join(found)


def test_what_is_not_quite_json_but_common_is_read() -> None:
    half, whole = list(read_json(io.BytesIO(b'{"a": "\\ud83d"}\n{"a": [NaN, -Infinity, 1e999]}\n'), "f"))
    assert isinstance(half, Record)
    assert half.value == {"a": "\ud83d"}
    assert isinstance(whole, Record)
    assert len(whole.value["a"]) == 3


def test_numbers_too_large_and_nesting_too_deep_are_faults() -> None:
    found = told_of(b'{"a": ' + b"9" * 5000 + b'}\n{"a": ' + b"[" * 100_000 + b'}\n{"a": 1}\n')
    assert "too large" in found[0]
    assert "f:2: " in found[1]
    assert found[2] == 'f:3: = {"a": 1}'


@pytest.mark.parametrize("start", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_one_fault_that_says_what_to_do(start: str) -> None:
    (fault,) = told_of('{"a": 1}\n{"a": 2}\n'.encode(start))
    assert fault.startswith("f:1: UTF-16")
    assert "iconv" in fault


def test_a_pointer_of_lfs_is_called_one() -> None:
    (fault,) = told_of(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert "Git LFS" in fault


@pytest.mark.parametrize(
    ("broken", "word"),
    [(b'{"a": 2', "incomplete"), (b'{"a": nope}]', "not JSON"), (b'{"a": "\xff"}]', "UTF8"), (b"] x", "not JSON")],
)
@pytest.mark.parametrize("before", [b"[", b'{"data": ['])
def test_a_document_that_goes_wrong_at_its_end(before: bytes, broken: bytes, word: str) -> None:
    first, fault = told_of(before + b'\n{"a": 1}' + (b"" if broken[:1] == b"]" else b",\n") + broken)
    assert first == 'f: entry 1: = {"a": 1}'
    assert fault.startswith("f: entry 2: ")
    assert word in fault


@pytest.mark.parametrize(
    "broken", [b'"\xff"', b"nope", b'{"deep": [1, 2}', b'"no end', b"9" * 5000, b"[" * 9000, b'"\n"']
)
@pytest.mark.parametrize("kind", ["array", "wrapped", "pretty", "objects"])
@pytest.mark.parametrize("bad", [0, 1, 50, 99])
def test_after_a_fault_in_a_document_it_is_read_on_from_the_next_entry(broken: bytes, kind: str, bad: int) -> None:
    if kind == "objects" and bad == 0:
        return  # this looks like lines
    rows = [{"id": str(n), "text": '}, {"id": "x"}', "more": [{"a": "x" * n * 9}]} for n in range(100)]
    data = {
        "array": json.dumps(rows),
        "wrapped": json.dumps({"version": 2, "data": rows}),
        "pretty": json.dumps(rows, indent=2),
        "objects": "\n".join(json.dumps(row, indent=2) for row in rows),
    }[kind].encode()
    at = data.index(b"[", data.index(b'"more"', data.index(b'"id": "%d"' % bad)))
    found = list(read_json(io.BytesIO(data[:at] + broken + data[at:]), "f"))
    read = [one.value["id"] for one in found if isinstance(one, Record)]
    faults = [one for one in found if isinstance(one, Fault)]
    assert read == [str(n) for n in range(100) if n != bad]
    assert [fault.place.entry for fault in faults] == [bad + 1]
    if kind == "pretty":
        assert f"near line {3 + 9 * bad:,}"[:-1] in faults[0].what


@given(st.integers(1, 200), st.integers(0, 2**32))
def test_an_entry_is_found_again_wherever_pieces_end(size: int, seed: int) -> None:
    draw = random.Random(seed)
    rows = [{"id": n, "text": "x" * draw.randrange(9)} for n in range(30)]
    data = json.dumps(rows).replace('"id": 7,', '"id": 7 "', 1).encode()
    document = documents._Document("f", documents.ARRAY)
    pieces = [data[:20], *(data[at : at + size] for at in range(20, len(data), size))]
    found = [one for piece in pieces for one in document.take(piece)]
    read = [one.value["id"] for one in found if isinstance(one, Record)]
    # Where a piece ends at the beginning of an entry, one more may be lost; none is read twice.
    assert read in ([n for n in range(30) if n != 7], [n for n in range(30) if n not in (7, 8)])


def test_a_truncated_first_line_does_not_take_the_others_with_it() -> None:
    assert len(told_of(b'{"a": \n{"a": 2}\n{"a": 3}\n')) == 3
    assert len(told_of(b'{"a": "x\n{"a": 2}\n{"a": 3}\n')) == 3
    assert len(told_of(b'{"a": 1} x\n{"a": 2}\n')) == 2


def test_lines_longer_than_any_entry_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_records, "LINE_BYTES", 32)
    found = told_of(b'{"a": 1}\n{"a": "' + b"x" * 100 + b'"}\n{"a": 2}\n')
    assert [line.split(": ")[0] for line in found] == ["f:1", "f:2", "f:3"]
    assert "a line of more than" in found[1]


def test_nothing_is_nothing(tmp_path: Path) -> None:
    for data in (b"", b"\n \n", b"[]", b'{"data": []}', b"\xef\xbb\xbf"):
        assert told_of(data) == []
    (fault,) = read_records(tmp_path / "absent.jsonl")
    assert str(fault) == f"{tmp_path}/absent.jsonl: cannot be read: No such file or directory"


def test_broken_archives_are_faults(tmp_path: Path) -> None:
    as_zip(tmp_path / "whole.zip")
    whole = (tmp_path / "whole.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "html.zip").write_text("<html>404</html>")
    as_parquet(tmp_path / "whole.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "whole.parquet").read_bytes()[:-20])
    (tmp_path / "html.parquet").write_text("<html>404</html>")
    (tmp_path / "x.jsonl").write_bytes(b"\x1f\x8b\x08\0")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("README.md", "nothing")
    for name in ("cut.zip", "html.zip", "cut.parquet", "html.parquet", "x.jsonl", "empty.zip"):
        (fault,) = read_records(tmp_path / name)
        assert isinstance(fault, Fault)
        assert str(fault).startswith(str(tmp_path / name))


def test_a_member_that_does_not_unpack_is_a_fault_and_the_next_is_read(tmp_path: Path) -> None:
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.jsonl", b'{"a": 1}\n{"a": "spoiled"}\n')
        archive.writestr("b.jsonl", b'{"b": 1}\n')
    path.write_bytes(path.read_bytes().replace(b"spoiled", b"unspoil"))
    *_, fault, last = told(list(read_records(path)))
    assert "a.jsonl: cannot be unpacked" in fault
    assert last.endswith('b.jsonl:1: = {"b": 1}')


def test_an_encrypted_member_is_called_that_and_the_next_is_read(tmp_path: Path) -> None:
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.jsonl", b'{"a": 1}\n')
        archive.writestr("b.jsonl", b'{"b": 1}\n')
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # of the first member, and of its entry in the list
        data[data.index(signature) + flags] |= 1
    path.write_bytes(data)
    fault, last = told(list(read_records(path)))
    assert fault == f"{path}/a.jsonl: encrypted: unpack it with its password"
    assert last.endswith('b.jsonl:1: = {"b": 1}')


@pytest.mark.parametrize("name", ["empty.zip", "empty"])
def test_an_empty_zip_is_called_that(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / name, "w"):
        pass
    assert told(list(read_records(tmp_path / name))) == [f"{tmp_path}/{name}: an empty zip: there is nothing in it"]


def test_a_zip_in_a_zip_is_told_beside_what_can_be_read(tmp_path: Path) -> None:
    as_zip(tmp_path / "inner.zip")
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.write(tmp_path / "inner.zip", "in/inner.zip")
        archive.writestr("a.jsonl", b'{"a": 1}\n')
    fault, record = told(list(read_records(tmp_path / "data.zip")))
    assert fault.startswith(f"{tmp_path}/data.zip/in/inner.zip: a zip within a zip is not read")
    assert record.endswith('a.jsonl:1: = {"a": 1}')
    assert len(list(read_records(tmp_path / "data.zip", member="a.jsonl"))) == 1


def test_parquet_in_a_zip(tmp_path: Path) -> None:
    as_parquet(tmp_path / "0.parquet")
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.write(tmp_path / "0.parquet", "qasper/0.parquet")
    assert values(tmp_path / "data.zip") == ROWS


def test_without_pyarrow_parquet_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_parquet(tmp_path / "x.parquet")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UsageError, match="pip install pyarrow"):
        list(read_records(tmp_path / "x.parquet"))


def test_a_pipe_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=[dump(ROWS)])
    writer.start()
    assert values(path) == ROWS
    writer.join()


def test_each_byte_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"data": ROWS * 5000}))
    told_bytes: list[int] = []
    assert len(list(read_records(path, told_bytes.append))) == 35_000
    assert sum(told_bytes) == path.stat().st_size


def test_files_are_found_below_a_folder_in_order(tmp_path: Path) -> None:
    wanted = ["a.jsonl", "b/deep/er/x.JSON", "b/y.parquet", "c.zip"]
    for name in [*wanted, ".hidden.jsonl", ".git/x.jsonl", "__MACOSX/x.jsonl", "notes.txt"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    assert [str(path.relative_to(tmp_path)) for path in find_files(tmp_path)] == wanted


def test_folders_elsewhere_that_links_lead_to_are_searched(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.jsonl").touch()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "elsewhere")
    assert find_files(tmp_path / "here") == [tmp_path / "here" / "link" / "x.jsonl"]


@given(st.integers(), st.integers(1, 40), st.sampled_from(["lines", "array", "wrapped", "pretty"]))
def test_no_corruption_is_a_crash(seed: int, changes: int, kind: str) -> None:
    draw = random.Random(seed)
    texts = {
        "lines": dump(ROWS),
        "array": json.dumps(ROWS).encode(),
        "wrapped": json.dumps({"data": ROWS}).encode(),
        "pretty": json.dumps(ROWS, indent=1).encode(),
    }
    data = bytearray(texts[kind])
    for _ in range(changes):
        place = draw.randrange(len(data) or 1)
        data[place : place + draw.randrange(3)] = draw.choice([b"", b"\n", b"\xff", b"\0", b'"', b"}", b"[", b"\\"])
        if draw.random() < 0.02:
            del data[draw.randrange(1, len(data) + 1) :]
    found = list(read_json(io.BytesIO(data), "f"))
    assert all(isinstance(one, Record | Fault) for one in found)


@given(st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b""))))
def test_each_line_that_is_json_is_read_whatever_stands_around_it(lines: list[bytes]) -> None:
    around = [line for line in lines if line.lstrip()[:1] not in (b"[", b"{", b"\x1f")]
    data = b"\n".join(one for line in around for one in (b"x" + line, b'{"a": 1}'))
    assert sum(isinstance(one, Record) for one in read_json(io.BytesIO(data), "f")) == len(around)
