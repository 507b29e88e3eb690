from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxperf.errors import DatasetError
from fluxperf.plan.entry import Entry
from fluxperf.plan.forms import Mode
from fluxperf.plan.workload import open_dataset

ROOT = Path(__file__).resolve().parents[2]


def entries(path: Path, mode: Mode = "dual_round") -> list[Entry]:
    with open_dataset(path, mode) as dataset:
        return list(dataset)


def texts(path: Path) -> list[str]:
    return [entry.turns[0][0]["content"] for entry in entries(path)]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


words = st.text(min_size=1).filter(lambda text: not text.isspace())
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": words}), max_size=4
).map(lambda some: [*some, {"role": "user", "content": "last"}])
lines = st.one_of(
    words,
    st.fixed_dictionaries({"text": words}, optional={"id": st.integers(), "other": st.lists(words, max_size=2)}),
    st.fixed_dictionaries({"prompt": words}, optional={"max_output_tokens": st.integers(1, 1000)}),
    st.fixed_dictionaries({"messages": messages}),
    st.fixed_dictionaries({"session_id": words, "user_messages": st.lists(words, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"conversations": words.map(lambda text: [{"from": "human", "value": text}])}),
)


def jsonl(values: list[Any]) -> str:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


LAYOUTS: dict[str, Callable[[list[Any]], str]] = {
    "jsonl, ascii": lambda values: "\n".join(map(json.dumps, values)),
    "jsonl, crlf, blank lines, BOM": lambda values: "\ufeff\r\n" + jsonl(values).replace("\n", "\r\n \r\n"),
    "array": json.dumps,
    "array, indented, not ascii": lambda values: json.dumps(values, indent=2, ensure_ascii=False),
    "array, BOM, blank lines": lambda values: "\ufeff\n\n" + json.dumps(values) + "\n\n",
    "data": lambda values: json.dumps({"data": values}),
    "data, other keys": lambda values: json.dumps({"version": [1], "data": values, "license": {"a": [2]}}, indent=1),
    "data, crlf, BOM": lambda values: "\ufeff" + json.dumps({"data": values}, indent="\t").replace("\n", "\r\n"),
}


@settings(max_examples=40, deadline=None)
@given(values=st.lists(lines, min_size=1, max_size=6), mode=st.sampled_from(["dual_round", "multi_turn"]))
def test_every_layout_gives_the_same_entries(
    tmp_path_factory: pytest.TempPathFactory, values: list[Any], mode: Mode
) -> None:
    path = tmp_path_factory.getbasetemp() / "dataset"
    expected = entries(write(path, jsonl(values)), mode)
    assert [entry.index for entry in expected] == list(range(len(values)))
    for name, layout in LAYOUTS.items():
        content = layout(values).encode()
        with open_dataset(write(path, content), mode) as dataset:
            assert list(dataset) == expected, name
            assert dataset.sha256 == sha256(content).hexdigest()


def test_entries_are_read_in_any_order(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", '\n{"text": "a"}\n\n{"text": "b"}\n"c"')
    with open_dataset(str(path), "dual_round") as dataset:
        assert dataset.path == path
        assert len(dataset) == 3
        assert [dataset[index].turns[0][0]["content"] for index in (2, 0, 1, 2)] == ["c", "a", "b", "c"]
        for outside in (-1, 3):
            with pytest.raises(IndexError):
                dataset[outside]


def test_one_indented_object_is_a_dataset_of_one(tmp_path: Path) -> None:
    assert texts(write(tmp_path / "d.json", '{\n  "text": "a",\n  "data": [1]\n}\n')) == ["a"]


def test_data_beside_a_form_is_a_key_like_any_other(tmp_path: Path) -> None:
    assert texts(write(tmp_path / "d", '{"text": "a", "data": ["x"]}\n{"text": "b"}\n')) == ["a", "b"]


def test_data_is_found_behind_a_list_that_looks_like_it(tmp_path: Path) -> None:
    assert texts(write(tmp_path / "d", '{"meta": ["a"], "data": ["a", "b"]}')) == ["a", "b"]


def test_a_line_separator_in_a_text_ends_no_line(tmp_path: Path) -> None:
    assert texts(write(tmp_path / "d", '{"text": "a\u2028b\x85"}\n')) == ["a\u2028b\x85"]


def test_a_pipe_is_a_dataset() -> None:
    reader, writer = os.pipe()
    content = b'{"text": "a"}\n{"text": "b"}\n'
    os.write(writer, content)
    os.close(writer)
    try:
        with open_dataset(f"/dev/fd/{reader}", "dual_round") as dataset:
            assert [entry.index for entry in dataset] == [0, 1]
            assert dataset[1] == Entry(1, None, (({"role": "user", "content": "b"},),))
            assert dataset.sha256 == sha256(content).hexdigest()
    finally:
        os.close(reader)


def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    path = tmp_path / "large.jsonl"
    with path.open("w") as file:
        for number in range(300):
            file.write(json.dumps({"text": f"{number} " + "x" * 50_000}) + "\n")
    tracemalloc.start()
    try:
        with open_dataset(path, "dual_round") as dataset:
            assert sum(len(entry.turns) for entry in dataset) == 300
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1_000_000 < path.stat().st_size / 10


DEEP = b"[" * 1_000_000 + b"]" * 1_000_000


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", ": no entries: give a file with one prompt or session a line"),
        (b"\xef\xbb\xbf\n \r\n", ": no entries: give a file with one prompt or session a line"),
        (b'{"data": []}', ": no entries: give a file with one prompt or session a line"),
        (b'{"text": "a"}\n\n{"text": 5}\n', ":3: text must be a string, but is a number"),
        (b'[\n {"text": "a"},\n\n {"text": 5}\n]', ":4: entry 2 of 2: text must be a string, but is a number"),
        (b'{"data":\n["a",\n"b", 5]}', ":3: entry 3 of 3: no known form: it is a number, but "),
        (b'\n{"data": 5}\n', ":2: no known form: it has the keys 'data', but "),
        (b'{"text": "a"}\n{"text": "b', ":2: incomplete: it ends inside the string that begins at column 10; "),
        (b'{"text": "a"}\n{"text": "b"', ":2: incomplete: it ends before its JSON value does; is the file cut off?"),
        (b'{"text": "a\n{"text": "b"}\n', ":1: incomplete: it ends inside the string that begins at column 10; "),
        (b'[{"text": "a"},\n', ":1: incomplete: it ends before its JSON value does; is the file cut off?"),
        ('{"text": "a"}\n'.encode("utf-16"), ":1: UTF-16, not UTF-8: convert the file"),
        ('{"text": "a"}\n'.encode("utf-16-le"), ":1: UTF-16, not UTF-8: convert the file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", ":1: a pointer of Git LFS, not the data "),
        (b'{"text": "a"}\n"\xff"\n', ":2: not UTF-8: byte 0xff at byte 2 of the line; "),
        (b'{"text": "a", "other": "\xff"}\n', ":1: not UTF-8: byte 0xff at byte 25 of the line; "),
        (b'[{"text": "a"},\n {"text": "\xff"}]', ":2: not UTF-8: byte 0xff at byte 12 of the line; "),
        (b'"a"\n{"text": "\\ud800"}\n', ":2: \\ud800 at column 11 is half a surrogate pair, "),
        (b'["a",\n{"text": "\\ud800"}]', ":2: \\ud800 at column 11 is half a surrogate pair, "),
        pytest.param(b'"a"\n{"text": ' + DEEP + b"}", ":2: its lists or objects are nested too deeply", id="deep line"),
        pytest.param(DEEP, ":1: its lists or objects are nested too deeply", id="deep document"),
        (b'{\n"text": "a"\n}\n{\n"text": "b"\n}\n', ":4: more follows after the JSON value, at column 1, near '{'; "),
        (b'{"data": ["a"]}\n{"data": ["b"]}\n', ":2: more follows after the JSON value, at column 1, "),
        (b"A prompt that is not JSON\n", ":1: not JSON at column 1, near 'A prompt that is not JSON': "),
    ],
)
def test_bad_file_is_named_with_its_line(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = write(tmp_path / "bad", content)
    with pytest.raises(DatasetError) as caught:
        open_dataset(path, "dual_round")
    assert str(caught.value).startswith(f"{path}{complaint}")


@given(content=st.binary() | st.sampled_from(list(b'{}[]",:\n')).map(lambda byte: bytes([byte]) * 3))
def test_any_bytes_are_a_dataset_or_a_dataset_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = write(tmp_path_factory.getbasetemp() / "fuzz", content)
    try:
        assert entries(path)
    except DatasetError as error:
        assert str(error).startswith(f"{path}:")  # noqa: PT017


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="missing: the dataset cannot be read: No such file or directory; give a"):
        open_dataset(tmp_path / "missing", "dual_round")
    with pytest.raises(DatasetError, match="the dataset cannot be read: Is a directory"):
        open_dataset(tmp_path, "dual_round")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission(tmp_path: Path) -> None:
    path = write(tmp_path / "secret", "[]")
    path.chmod(0)
    with pytest.raises(DatasetError, match="the dataset cannot be read: Permission denied"):
        open_dataset(path, "dual_round")


def test_file_that_changes_after_it_was_checked(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", '{"text": "a"}\n{"text": "b"}\n')
    with open_dataset(path, "dual_round") as dataset:
        os.truncate(path, 20)
        assert dataset[0].index == 0
        with pytest.raises(DatasetError, match="the entry with index 1 cannot be read again, the file has changed"):
            dataset[1]


@pytest.mark.parametrize("mode", ["dual_round", "multi_turn"])
def test_example_dataset(mode: Mode) -> None:
    found = entries(ROOT / "examples" / "example_dataset.json", mode)
    assert len(found) == 10
    prompts = [entry.turns[0][0]["content"] for entry in found]
    assert len(set(prompts)) == 10
    # Some are long enough for a cache to matter, and none begins like another: the first round is to be cold.
    assert sum(len(prompt) > 1500 for prompt in prompts) >= 3
    assert len({prompt[:32] for prompt in prompts}) == 10
