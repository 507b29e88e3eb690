"""The command as it is called, from a dump to a dataset that FluxPerf reads."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from fluxperf.plan.forms import Mode
from fluxperf.plan.workload import open_dataset
from fluxperf_tools.process_sharegpt import USAGE, main

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tools" / "process_sharegpt.py"


def conversation(number: int, turns: int = 2, **more: Any) -> dict[str, Any]:
    said = [
        {"from": role, "value": f"{role} {number} turn {turn}"} for turn in range(turns) for role in ("human", "gpt")
    ]
    return {"id": f"{number:05}_0", "conversations": said, **more}


def run(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments], cwd=cwd, capture_output=True, text=True, check=False, encoding="utf-8"
    )


def write(path: Path, entries: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entries), "utf-8")
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def summary(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


LAYOUTS: dict[str, Callable[[Any], str]] = {
    "array": json.dumps,
    "indented": lambda entries: json.dumps(entries, indent=2, ensure_ascii=False),
    "data": lambda entries: json.dumps({"version": 1, "data": entries}),
    "lines": lambda entries: "".join(json.dumps(entry) + "\n" for entry in entries),
    "BOM": lambda entries: "\ufeff" + json.dumps(entries),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_becomes_a_dataset(tmp_path: Path, layout: str) -> None:
    dump = tmp_path / "dump"
    dump.write_text(LAYOUTS[layout]([conversation(number) for number in range(5)]), "utf-8")
    out = tmp_path / "new" / "folder" / "out.jsonl"
    assert main([str(dump), str(out), "--no-shuffle"]) == 0
    assert rows(out)[1] == {
        "session_id": "00001_0",
        "user_messages": ["human 1 turn 0", "human 1 turn 1"],
        "assistant_messages": ["gpt 1 turn 0", "gpt 1 turn 1"],
    }
    assert len(rows(out)) == 5


NASTY = [
    conversation(1),
    {"id": "surrogate", "conversations": [{"from": "human", "value": "half \ud83d of one"}]},
    {"id": "nul\0", "conversations": [{"from": "human", "value": "a\0b\u2028c\x85d\x1be"}]},
    {"id": 5, "conversations": [{"from": "system", "value": "be kind"}, {"from": "human", "value": "héllo 数据"}]},
    {"conversations": [{"from": "human", "value": "no id"}, {"from": "gpt", "value": "<p>\u200b</p>"}]},
    {"id": "", "conversations": [{"from": "human", "value": " "}, {"from": "human", "value": "two\n"}]},
    {"id": "mixed", "conversations": [{"from": "gpt", "value": "x"}, {"from": "human", "value": "y" * 100_000}]},
    {"id": "nobody", "conversations": [{"from": "gpt", "value": "x"}]},
    {"id": "1e999", "items": [{"from": "human", "value": "1"}], "weight": 1.5e308},
]


@pytest.mark.parametrize("layout", ["array", "lines"])
@pytest.mark.parametrize("mode", get_args(Mode))
def test_fluxperf_reads_every_row(tmp_path: Path, mode: Mode, layout: str) -> None:
    dump = tmp_path / "dump"
    dump.write_text(LAYOUTS[layout](NASTY), "utf-8")
    assert main([str(dump), str(tmp_path / "out.jsonl"), "--no-shuffle"]) == 0
    with open_dataset(tmp_path / "out.jsonl", mode) as dataset:
        entries = list(dataset)
    assert len(entries) == len(NASTY) - 1
    assert len({entry.session_id for entry in entries}) == len(entries)
    half = "?" if layout == "array" else "\ufffd"  # ijson has its own sign for it
    assert entries[1].turns[0][0]["content"] == f"half {half} of one"
    assert entries[2].turns[0][0]["content"] == "ab\u2028c\x85d\x1be"
    assert entries[3].turns[0] == ({"role": "system", "content": "be kind"}, {"role": "user", "content": "héllo 数据"})
    assert len(entries[0].turns) == (2 if mode == "multi_turn" else 1)


def test_a_directory_is_one_dump_whatever_the_order_of_its_files(tmp_path: Path) -> None:
    entries = [conversation(number, turns=1 + number % 3) for number in range(60)]
    for place, name in enumerate(["a/x.json", "b.jsonl", "c/d/y.JSON"]):
        part = entries[place * 20 : place * 20 + 25]  # so that some are in two files
        path = tmp_path / "one" / name
        write(path, part)
        write(tmp_path / "other" / f"{9 - place}.json", part[::-1])
    write(tmp_path / "one" / ".hidden.json", [conversation(99)])
    outputs = []
    for folder in ("one", "other"):
        out = tmp_path / f"{folder}.jsonl"
        assert main([str(tmp_path / folder), str(out), "--max-sessions", "10", "--seed", "7"]) == 0
        outputs.append(out.read_bytes())
    assert outputs[0] == outputs[1]
    assert outputs[0].count(b"\n") == 10


def test_turns_are_counted_before_the_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dump = write(tmp_path / "d.json", [conversation(number, turns=number) for number in range(1, 6)])
    out = tmp_path / "out.jsonl"
    assert main([str(dump), str(out), "--no-shuffle", "--min-turns", "3", "--max-turns", "2"]) == 0
    assert [row["session_id"] for row in rows(out)] == ["00003_0", "00004_0", "00005_0"]
    assert (
        {len(row["user_messages"]) for row in rows(out)} == {len(row["assistant_messages"]) for row in rows(out)} == {2}
    )
    said = summary(capsys).split("\n")
    assert "  - of fewer than 3 turns  2" in said
    assert "    cut to 2 turns         3" in said


def test_tokens_limit_what_is_asked(tmp_path: Path) -> None:
    entries = [
        {
            "id": str(size),
            "conversations": [{"from": "human", "value": "abc " * size}, {"from": "gpt", "value": "x" * 999}],
        }
        for size in (5, 50, 500)
    ]
    out = tmp_path / "out.jsonl"
    assert main([str(write(tmp_path / "d.json", entries)), str(out), "--min-tokens", "10", "--max-tokens", "100"]) == 0
    assert [row["session_id"] for row in rows(out)] == ["50"]


def test_the_summary_can_be_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entries = [*[conversation(number) for number in range(8)], conversation(3), {**conversation(4), "id": "twin"}]
    same_id = conversation(5)
    same_id["conversations"][1]["value"] = "another answer"
    unasked = {"conversations": [{"from": "gpt", "value": "a"}, {"from": "human", "value": "\u200b"}]}
    dump = write(tmp_path / "d.json", [*entries, same_id, unasked, {"id": "bad"}, 5])
    out = tmp_path / "out.jsonl"
    assert main([str(dump), str(out), "--max-sessions", "100"]) == 0
    captured = capsys.readouterr()
    lines = [line.split() for line in captured.out.split("\n")]
    for expected in (
        "entries read 14", "- bad 2", "- without a question 1", "- duplicates 2", "= sessions 9",
        "ids of several sessions 1", "100 were asked for, but there are 9: all were taken, each once.",
        "1 answers to no question left out", "1 empty messages left out",
        "1 session asks what another one asks, but got other answers.",
    ):  # fmt: skip
        assert expected.split() in lines, captured.out
    assert f"{dump}: entry 13: no conversation" in captured.err
    assert f"{dump}: entry 14: an entry must be an object" in captured.err
    assert "place of the file" not in captured.out
    assert main([str(dump), str(out)]) == 0
    assert "in the place of the file that was there" in summary(capsys)
    assert max(map(len, captured.out.replace(str(tmp_path), "").split("\n"))) <= 80


def test_unshuffled_reading_ends_with_the_last_that_is_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dump = tmp_path / "d.jsonl"
    dump.write_text("".join(json.dumps(conversation(number)) + "\n" for number in range(9)) + "{broken", "utf-8")
    assert main([str(dump), str(tmp_path / "out"), "--no-shuffle", "--max-sessions", "3", "--strict"]) == 0
    assert [row["session_id"] for row in rows(tmp_path / "out")] == ["00000_0", "00001_0", "00002_0"]
    assert "reading ended" in summary(capsys)


BROKEN = {
    "a truncated array": (json.dumps([conversation(1), conversation(2), conversation(3)])[:-60], 2),
    "a truncated line": (json.dumps(conversation(1)) + "\n" + json.dumps(conversation(2))[:-9], 1),
    "a broken line": (json.dumps(conversation(1)) + "\n{]\n" + json.dumps(conversation(2)), 2),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_told_and_the_rest_is_used(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text, count = BROKEN[name]
    dump, out = tmp_path / "d.json", tmp_path / "out.jsonl"
    dump.write_text(text, "utf-8")
    assert main([str(dump), str(out)]) == 0
    captured = capsys.readouterr()
    assert len(rows(out)) == count
    assert f"left out: {dump}:" in captured.err
    assert ["-", "bad", "1"] in [line.split() for line in captured.out.split("\n")]
    before = out.read_bytes()
    assert main([str(dump), str(out), "--strict"]) == 2
    assert "--strict" in capsys.readouterr().err
    assert out.read_bytes() == before


def test_bytes_that_are_not_utf_8_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dump, out = tmp_path / "d.jsonl", tmp_path / "out.jsonl"
    lines = [json.dumps(conversation(number)).encode() for number in range(20)]
    dump.write_bytes(b"\n".join([*lines, *[line.replace(b"human", b"\xff", 2) for line in lines]]))
    assert main([str(dump), str(out)]) == 0
    told = capsys.readouterr().err.splitlines()
    assert len(rows(out)) == 20
    assert len(told) == 11
    assert f"{dump}:21: " in told[0]
    assert "10 more" in told[-1]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["none.json", "out"], "none.json is not there"),
        (["empty", "out"], "holds no dump"),
        (["dump.json", "dump.json"], "is the source itself, and would be lost"),
        (["dump.json", "old", "--no-clobber"], "--no-clobber"),
        (["dump.json", "empty"], "is a directory"),
        (["dump.json", "out", "--min-turns", "9"], "nothing to write"),
        (["dump.json", "out", "--max-turns", "0"], "--max-turns must be a whole number of at least 1"),
        (["dump.json", "out", "--max-sessions", "1.5"], "--max-sessions must be"),
        (["dump.json", "out", "--max-sessions", "9" * 5000], "--max-sessions must be"),
        (["dump.json", "out", "--seed", "x"], "--seed must be"),
        (["dump.json", "out", "--min-tokens", "5", "--max-tokens", "4"], "is above"),
        (["dump.json", "out", "--max-session", "4"], "did you mean --max-sessions?"),
        (["dump.json"], "Usage:"),
        (["dump.json", "out", "--tokenizer", "./none"], "none"),
    ],
)
def test_wrong_usage_is_told_and_leaves_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "dump.json", [conversation(1)])
    (tmp_path / "empty").mkdir()
    (tmp_path / "old").write_text("old")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert main(arguments) == 2
    assert what in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_output_within_the_input_is_no_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "dump.json", [conversation(1)])
    for _ in range(2):
        assert main([str(tmp_path), str(tmp_path / "out.jsonl")]) == 0
        assert ["entries", "read", "1"] in [line.split() for line in summary(capsys).split("\n")]
    (tmp_path / "dump.json").unlink()
    assert main([str(tmp_path), str(tmp_path / "out.jsonl")]) == 2
    assert "out.jsonl was left out as the output" in capsys.readouterr().err


@pytest.mark.parametrize("entry", [conversation(1), {"user_messages": ["mine"]}, {"text": "x"}, 5])
def test_a_dump_in_the_directory_is_never_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], entry: Any
) -> None:
    write(tmp_path / "other.json", [conversation(2)])
    dump = write(tmp_path / "dump.json", [entry])
    before = dump.read_bytes()
    assert main([str(tmp_path), str(dump)]) == 2
    assert f"{dump} is one of the sources and would be lost: name another" in capsys.readouterr().err
    assert dump.read_bytes() == before
    dump.write_bytes(b"")
    assert main([str(tmp_path), str(dump)]) == 0


def test_what_it_wrote_can_be_processed_again(tmp_path: Path) -> None:
    first, second = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    write(tmp_path / "d.json", [conversation(number, turns=3) for number in range(9)])
    assert main([str(tmp_path / "d.json"), str(first), "--seed", "3"]) == 0
    assert main([str(first), str(second), "--seed", "3"]) == 0
    assert first.read_bytes() == second.read_bytes()


def test_a_fake_tokenizer_labels_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    dump = write(tmp_path / "d.json", [conversation(1, turns=3)])
    arguments = [str(dump), str(tmp_path / "o"), "--tokenizer", str(tmp_path / "tokenizer.json")]
    assert main(arguments) == 0
    assert f"12 in all (by {tmp_path / 'tokenizer.json'})" in summary(capsys)
    assert main([*arguments[:2]]) == 0
    assert "(estimated)" in summary(capsys)


def test_the_script_runs_anywhere(tmp_path: Path) -> None:
    write(tmp_path / "d.json", [conversation(1)])
    ended = run("d.json", "o.jsonl", cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "o.jsonl: 1 session, " in ended.stdout
    helped = run("--help", cwd=tmp_path)
    assert (helped.returncode, helped.stdout) == (0, USAGE)
    assert os.access(SCRIPT, os.X_OK)


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dump")
    process = subprocess.Popen(
        [sys.executable, SCRIPT, "dump", "out.jsonl"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    with (tmp_path / "dump").open("w") as pipe:  # which waits until the other end is open
        pipe.write(json.dumps(conversation(1)) + "\n")
        pipe.flush()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
    assert process.returncode == 130
    assert told == "process_sharegpt: interrupted\n"
    assert [path.name for path in tmp_path.iterdir()] == ["dump"]


def entries_of_true_shape(count: int, rng: random.Random) -> Iterator[str]:
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(1, 9))) for _ in range(500)]
    for number in range(count):
        said = []
        for _ in range(rng.randint(1, 4)):
            said.append({"from": "human", "value": " ".join(rng.choices(words, k=rng.randint(1, 30)))})
            said.append({"from": "gpt", "value": " ".join(rng.choices(words, k=rng.randint(1, 60)))})
        if number == count // 2:
            said.append({"from": "human", "value": "word " * 1_000_000})
        yield json.dumps({"id": f"{number}_0", "conversations": said})


def test_memory_is_bounded(tmp_path: Path) -> None:
    """Decoded as a whole this dump would take more than 200 MB."""
    dump = tmp_path / "dump.json"
    with dump.open("w") as file:
        file.write("[" + ",\n".join(entries_of_true_shape(60_000, random.Random(1))) + "]")
    code = (
        "import pathlib, re, sys\nfrom fluxperf_tools.process_sharegpt import main\ncode = main(sys.argv[1:])\n"
        "status = pathlib.Path('/proc/self/status').read_text()\nprint(re.search(r'VmHWM:\\s+(\\d+)', status)[1], code)"
    )
    path = os.pathsep.join([str(ROOT), str(ROOT / "tools")])
    ended = subprocess.run(
        [sys.executable, "-c", code, str(dump), str(tmp_path / "out")],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    peak_kib, exit_code = ended.stdout.split("\n")[-2].split()
    assert exit_code == "0"
    assert int(peak_kib) < 100_000
