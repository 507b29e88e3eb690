"""The validator and FluxPerf agree: on every file, about every entry, in the same words."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.errors import DatasetError, UsageError
from fluxperf.plan.forms import Mode
from fluxperf.plan.tokens import ESTIMATE
from fluxperf.plan.workload import open_dataset
from fluxperf_tools.validation import Findings, examine
from fluxperf_tools.validation_figures import Spread, spread

FORMS: list[Any] = [
    "a text",
    {"text": "b"},
    {"prompt": "c", "max_output_tokens": 5},
    {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]},
    {"id": "x", "conversations": [{"from": "human", "value": "q1"}, {"from": "gpt", "value": "a"}, {"from": "human"}]},
    {"session_id": "s", "user_messages": ["q1", {"role": "system", "content": "s"}, "q2", "q3"]},
    {"user_messages": ["q1", " "]},
    {"text": " "},
    {"max_output_tokens": 0, "text": "x"},
    {"nothing": 1},
    5,
    None,
]


def found_in(path: Path, mode: Mode = "dual_round", limit: int | None = None) -> Findings:
    return examine(path, mode, ESTIMATE, limit, lambda _: None)


def words_of(findings: Findings) -> list[str]:
    return [
        f"{findings.path}{'' if fault.line is None else f':{fault.line}'}: {fault.what}"
        for fault in findings.faults.first
    ]


def first_of_fluxperf(path: Path, mode: Mode) -> str | None:
    try:
        open_dataset(path, mode).close()
    except DatasetError as error:
        return str(error)
    return None


def corrupt(data: bytes, rng: random.Random) -> bytes:
    """The bytes with a few of them changed, removed, doubled, or the end cut off."""
    spoiled = bytearray(data)
    for _ in range(rng.randint(0, 3)):
        place = rng.randrange(len(spoiled) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            spoiled[place:place] = rng.choice(
                [b"\xff", b"\0", b'"', b"\\", b"\n", b"{", b"]", b"\xef\xbb\xbf", b"\\ud800"]
            )
        elif kind == 1:
            del spoiled[place : place + rng.randint(1, 5)]
        elif kind == 2:
            del spoiled[place:]
        elif kind == 3:
            spoiled += spoiled[place:]
        else:
            spoiled[place : place + 1] = bytes([rng.randrange(256)])
    return bytes(spoiled)


LAYOUTS = [
    lambda entries: "".join(json.dumps(entry) + "\n" for entry in entries),
    lambda entries: "\r\n\r\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries),
    json.dumps,
    lambda entries: json.dumps(entries, indent=1),
    lambda entries: json.dumps({"data": entries, "more": {}}, indent=1),
]


@given(
    st.lists(st.sampled_from(FORMS), max_size=6), st.sampled_from(LAYOUTS), st.sampled_from(get_args(Mode)),
    st.integers(),
)  # fmt: skip
def test_it_agrees_with_fluxperf(
    tmp_path_factory: pytest.TempPathFactory, entries: list[Any], layout: Any, mode: Mode, seed: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "validated.jsonl"
    path.write_bytes(corrupt(layout(entries).encode(), random.Random(seed)))
    told, expected = words_of(found_in(path, mode)), first_of_fluxperf(path, mode)
    assert told[:1] == ([] if expected is None else [expected])


def write(path: Path, entries: list[Any]) -> Path:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), "utf-8")
    return path


def test_all_faults_are_found_and_the_rest_is_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "d", FORMS)
    findings = found_in(path)
    assert [fault.line for fault in findings.faults.first] == [8, 9, 10, 11, 12]
    assert (findings.entries, findings.faults.count) == (12, 5)
    assert findings.forms == {
        "a string": 1, "text": 1, "prompt": 1, "messages": 1, "conversations": 1, "user_messages": 2
    }  # fmt: skip
    assert found_in(path, "multi_turn").faults.count == 7
    assert len(found_in(path, limit=2).faults.first) == 2


def test_what_the_other_mode_refuses_is_no_fault(tmp_path: Path) -> None:
    findings = found_in(write(tmp_path / "d", FORMS[:7]))
    assert (findings.faults.count, findings.elsewhere.count) == (0, 2)
    assert findings.elsewhere.first[0].line == 5
    assert list(findings.turns) == [1, 1, 1, 1, 1, 3, 1]


def test_tokens_are_of_what_the_mode_sends(tmp_path: Path) -> None:
    entries = [{"user_messages": ["x" * 40, "y" * 400, {"role": "system", "content": "z" * 4000}, "w" * 4]}]
    path = write(tmp_path / "d", entries)
    assert list(found_in(path).tokens) == [10]
    assert list(found_in(path, "multi_turn").tokens) == [10 + 100 + 1000 + 1]


def test_duplicates_send_the_same_whatever_their_form(tmp_path: Path) -> None:
    same = [{"text": "a"}, {"id": 1, "prompt": "a"}, "a", {"id": 1, "text": "b"}]
    for path in (write(tmp_path / "d", same), tmp_path / "e"):
        if path.name == "e":
            path.write_text(json.dumps(same))  # on one line
        findings = found_in(path)
        assert (findings.duplicates.count, findings.duplicates.pairs) == (2, [(2, 1), (3, 1)])
        assert (findings.session_ids.count, findings.session_ids.pairs) == (1, [(4, 2)])


def test_the_longest_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "d", [{"text": "a"}, {"text": "a" * 50}, {"text": "b"}])
    findings = found_in(path)
    assert (findings.longest_place, findings.longest_bytes) == (2, 62)


def test_no_entries_are_a_fault(tmp_path: Path) -> None:
    for text in ("", " \n\n", "[]", '{"data": []}'):
        (tmp_path / "d").write_text(text)
        assert words_of(found_in(tmp_path / "d")) == [first_of_fluxperf(tmp_path / "d", "dual_round")]


def test_a_file_that_cannot_be_read_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        found_in(tmp_path / "none")


def test_memory_does_not_grow_with_the_length_of_entries(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "large.jsonl"
    with path.open("w") as file:
        for number in range(300):
            file.write(json.dumps({"text": f"{number} " + "x" * 50_000}) + "\n")
    tracemalloc.start()
    try:
        assert found_in(path).entries == 300
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1_500_000 < path.stat().st_size / 10


def test_percentiles_are_numbers_among_them() -> None:
    assert spread([]) is None
    assert spread([7]) == Spread(7, 7, 7, 7, 7, 7)
    assert spread(range(1, 101)) == Spread(5050, 1, 50, 90, 99, 100)
    assert spread([3, 1, 2]) == Spread(6, 1, 2, 3, 3, 3)
