"""The converter as a command: files of the true shape in, a dataset out."""

from __future__ import annotations

import io
import json
import os
import random
import re
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from fluxperf.plan.workload import open_dataset
from fluxperf_tools.convert_longbench import USAGE, main
from fluxperf_tools.longbench.conversion import _batches, _Prompt
from tests.tools import hub as fake
from tests.tools.longbench_rows import Row, lines, row, row_v2, write_lines
from tests.tools.parquet_files import write_parquet

ROOT = Path(__file__).resolve().parents[3]


def texts(path: Path) -> list[str]:
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert all(list(one) == ["text"] for one in rows)
    return [one["text"] for one in rows]


def convert(*words: str | Path | int) -> int:
    return main([str(word) for word in words])


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "new" / "folder" / "out.jsonl"


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A folder with every kind of file, some duplicates and some bad lines."""
    folder = tmp_path / "LongBench"
    write_lines(folder / "narrativeqa.jsonl", [row("narrativeqa", n) for n in range(6)])
    write_lines(
        folder / "e" / "narrativeqa_e.jsonl", [row("narrativeqa", n, dataset="narrativeqa_e") for n in range(3)]
    )
    (folder / "gov_report.json").write_text(json.dumps([row("gov_report", n, input="") for n in range(4)], indent=1))
    shard = folder / "trec" / "test-00000-of-00001.parquet"
    shard.parent.mkdir()
    no_name = [{key: value for key, value in row("trec", n).items() if key != "dataset"} for n in range(5)]
    write_parquet(no_name, shard)
    with zipfile.ZipFile(folder / "data.zip", "w") as archive:
        archive.writestr("data/lcc.jsonl", lines(row("lcc", n) for n in range(2)))
        archive.writestr("data/narrativeqa.jsonl", lines(row("narrativeqa", n) for n in range(2)))
    (folder / "vcsum.jsonl").write_bytes(
        lines([row("vcsum", 1)]).encode()
        + b'{"input": "\xff"}\n\n{"text": 1}\n'
        + lines([row("vcsum", 2)]).encode()[:-9]
    )
    write_lines(folder / "mine.jsonl", [{"context": "C", "input": "Q"}, {"context": "C", "input": "Q"}])
    return folder


def test_a_mixed_folder_gets_a_format_for_each_row(mixed: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert("--input-dir", mixed, "--output", out) == 0
    by_task = {
        "narrativeqa": (6, "{context}\n\nQuestion: {input}"),
        "gov_report": (4, "{context}"),
        "trec": (5, "{context}\n{input}"),
        "lcc": (2, "{context}\n{input}"),
        "vcsum": (1, "{context}"),
    }
    wanted = {"C\n\nQuestion: Q"}
    for task, (count, template) in by_task.items():
        for number in range(1 if task == "vcsum" else 0, count + (1 if task == "vcsum" else 0)):
            wanted.add(template.format_map(row(task, number)))
    assert len(texts(out)) == len(wanted) == 19
    assert set(texts(out)) == wanted
    said, faults = capsys.readouterr()
    assert "read            25 entries from 7 files" in said
    assert "bad lines       3" in said
    assert "duplicates      6 removed" in said
    assert "19, all of them" in said
    assert f"{out}, " in said
    assert "(estimated)" in said
    for word in ("narrativeqa", "few-shot, en", "context_only", "unknown: context_question", "--format chooses"):
        assert word in said
    assert [line.split(": ")[1] for line in faults.splitlines()] == [
        f"skipped {mixed}/vcsum.jsonl:{n}" for n in (2, 4, 5)
    ]
    assert max(map(len, said.replace(str(out), "").splitlines())) <= 80
    with open_dataset(out, "dual_round") as dataset:
        assert len(dataset) == 19


@pytest.mark.parametrize(
    ("form", "template"),
    [
        ("context_question", "{context}\n\nQuestion: {input}"),
        ("context_only", "{context}"),
        ("question_only", "{input}"),
        ("concatenate", "{context}\n{input}"),
    ],
)
def test_a_format_that_is_asked_for_holds_for_all(form: str, template: str, tmp_path: Path, out: Path) -> None:
    rows = [row("trec", 1), row("gov_report", 2), row("qasper", 3)]
    path = write_lines(tmp_path / "x.jsonl", rows)
    assert convert("--input-file", path, "--output", out, "--format", form, "--no-shuffle") == 0
    assert texts(out) == [template.format_map(one) for one in rows]


def test_longbench_v2(tmp_path: Path, out: Path) -> None:
    (tmp_path / "data.json").write_text(json.dumps([row_v2(1, context="C", question="Q?")]))
    assert convert("--input-file", tmp_path / "data.json", "--output", out) == 0
    assert texts(out) == ["C\n\nQuestion: Q?\n(A) the first\n(B) the second\n(C) the third\n(D) none"]


def test_more_than_there_is_uses_all_and_says_so(tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_lines(tmp_path / "qasper.jsonl", [row("qasper", n % 10) for n in range(50)])
    assert convert("--input-file", path, "--output", out, "--num-samples", 1000) == 0
    assert len(texts(out)) == len(set(texts(out))) == 10
    said = capsys.readouterr().out
    assert "10, all of them: 1,000 were asked for, and none is taken twice" in said
    assert "duplicates      40" in said


def test_the_number_is_of_all_sources_together_and_drawn_from_all(mixed: Path, out: Path) -> None:
    assert convert("--input-dir", mixed, "--output", out, "--num-samples", 12) == 0
    some = texts(out)
    assert len(set(some)) == 12
    assert convert("--input-dir", mixed, "--output", out) == 0
    assert texts(out)[:12] == some
    assert convert("--input-dir", mixed, "--output", out, "--seed", 43) == 0
    assert texts(out)[:12] != some


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32), st.integers(-3, 3), st.none() | st.integers(1, 40))
def test_the_order_of_files_and_lines_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, shuffled: int, seed: int, count: int | None
) -> None:
    draw = random.Random(shuffled)
    rows: list[Row] = [row("qasper", n, dataset=draw.choice(["qasper", "qasper_e"])) for n in range(20)]
    rows += [row("trec", n, _id=draw.choice(["", None])) for n in range(10)] + rows[:5]
    rows += [row("lcc", n, _id=f"same {n % 3}") for n in range(9)]
    found = []
    for _ in range(2):
        folder = tmp_path_factory.mktemp("in")
        parts = [draw.sample(rows, len(rows))[:0] for _ in range(3)]
        for one in draw.sample(rows, len(rows)):
            draw.choice(parts).append(one)
        for number, part in enumerate(parts):
            write_lines(folder / f"{draw.random()}" / f"part {number}.jsonl", part)
        asked = [] if count is None else ["--num-samples", str(count)]
        out = folder / "out.jsonl"
        assert convert("--input-dir", folder, "--output", out, "--seed", str(seed), *asked) == 0
        found.append(out.read_bytes())
    assert found[0] == found[1]


def test_without_shuffling_the_sources_keep_their_order(tmp_path: Path, out: Path) -> None:
    for name, numbers in (("b", [3, 1]), ("a", [2, 9, 3]), ("a/x", [7])):
        write_lines(tmp_path / name / "trec.jsonl", [row("trec", n) for n in numbers])
    for count, wanted in ((None, [2, 9, 3, 7, 1]), (3, [2, 9, 3])):
        asked = [] if count is None else ["--num-samples", str(count)]
        assert convert("--input-dir", tmp_path, "--output", out, "--no-shuffle", *asked) == 0
        assert texts(out) == [f"{row('trec', n)['context']}\n{row('trec', n)['input']}" for n in wanted]


def test_limits_on_tokens_leave_out_what_is_outside(
    tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"context": "x" * 4 * tokens, "input": "", "_id": str(tokens)} for tokens in (*range(1, 21), 5, 5, 1)]
    path = write_lines(tmp_path / "gov_report.jsonl", rows)
    command: list[str | Path] = ["--input-file", path, "--output", out]
    assert convert(*command, "--min-tokens", 5, "--max-tokens", 8) == 0
    assert sorted(map(len, texts(out))) == [20, 24, 28, 32]
    said = capsys.readouterr().out
    assert "left out        16 with too few or too many tokens (estimated)" in said
    assert "duplicates      3" in said
    assert "5 to 8 each, 26 in all (estimated)" in said
    before = out.read_bytes()
    assert convert(*command, "--min-tokens", 99) == 2
    assert "20 entries are outside of --min-tokens 99" in capsys.readouterr().err
    assert out.read_bytes() == before


def test_a_tokenizer_counts_exactly_and_is_named(tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.save(str(tmp_path / "tokenizer.json"))
    rows = [{"context": "word " * count, "input": "", "_id": str(count)} for count in range(1, 200)]
    path = write_lines(tmp_path / "gov_report.jsonl", rows)
    command: list[str | Path] = ["--input-file", path, "--output", out, "--tokenizer", tmp_path / "tokenizer.json"]
    assert convert(*command, "--min-tokens", 3, "--max-tokens", 150, "--no-shuffle") == 0
    assert [text.count("word") for text in texts(out)] == list(range(3, 151))
    said = capsys.readouterr().out
    assert f"3 to 150 each, {sum(range(3, 151)):,} in all (by {tmp_path}/tokenizer.json)" in said
    assert "estimated" not in said


def test_strict_ends_at_the_first_bad_line_and_writes_nothing(
    tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trec.jsonl"
    path.write_bytes(lines([row("trec", 1)]).encode() + b'{"input": \n{"x": 1}\n')
    assert convert("--input-file", path, "--output", out, "--strict") == 2
    said = capsys.readouterr().err
    assert f"{path}:2: incomplete" in said
    assert ":3" not in said
    assert not out.parent.exists()
    assert convert("--input-file", path, "--output", out) == 0


def test_only_the_first_bad_lines_are_shown_and_all_are_counted(
    tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trec.jsonl"
    path.write_text("nonsense\n" * 1234 + lines([row("trec", 1)]))
    assert convert("--input-file", path, "--output", out) == 0
    said, faults = capsys.readouterr()
    assert len(faults.splitlines()) == 11
    assert "1,224 more bad lines" in faults
    assert "bad lines       1,234" in said


@pytest.mark.parametrize("content", [b"", b"[]", b"nonsense", b'{"context": "", "input": ""}', b"\xff\xfe{\0"])
def test_nothing_usable_writes_nothing(
    content: bytes, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out.parent.mkdir(parents=True)
    out.write_text("before")
    (tmp_path / "x.jsonl").write_bytes(content)
    assert convert("--input-file", tmp_path / "x.jsonl", "--output", out) == 2
    assert "nothing is left to write" in capsys.readouterr().err
    assert out.read_text() == "before"
    assert [one.name for one in out.parent.iterdir()] == ["out.jsonl"]


def test_a_file_is_replaced_and_said_so_unless_refused(
    tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_lines(tmp_path / "trec.jsonl", [row("trec", 1)])
    assert convert("--input-file", path, "--output", out) == 0
    assert "earlier" not in capsys.readouterr().out
    assert convert("--input-file", path, "--output", out) == 0
    assert f"{out}, {out.stat().st_size} bytes, in the place of an earlier file" in capsys.readouterr().out
    before = out.stat().st_ino
    assert convert("--input-file", path, "--output", out, "--no-clobber") == 2
    assert "--no-clobber" in capsys.readouterr().err
    assert out.stat().st_ino == before


def test_what_an_earlier_run_wrote_into_the_folder_is_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lines(tmp_path / "trec.jsonl", [row("trec", n) for n in range(3)])
    for _ in range(2):
        assert convert("--input-dir", tmp_path, "--output", tmp_path / "mixed.jsonl", "--strict") == 0
    assert len(texts(tmp_path / "mixed.jsonl")) == 3
    (tmp_path / "trec.jsonl").unlink()
    assert convert("--input-dir", tmp_path, "--output", tmp_path / "mixed.jsonl") == 2
    assert "mixed.jsonl was left out as the output" in capsys.readouterr().err


def test_a_source_is_never_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    raw = write_lines(folder / "trec.jsonl", [row("trec", n) for n in range(3)])
    sessions = write_lines(folder / "s.jsonl", [{"user_messages": ["x"]}])
    write_parquet([row("trec", 5)], folder / "x.parquet")
    (tmp_path / "link").symlink_to(raw)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for output in (raw, tmp_path / "link", sessions, folder / "x.parquet"):
        assert convert("--input-dir", folder, "--output", output) == 2
        assert f"{output} is one of the sources and would be lost: name another" in capsys.readouterr().err
    for output in (raw, tmp_path / "link"):
        assert convert("--input-file", raw, "--output", output) == 2
        assert "is the source itself, and would be lost: name another" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_an_entry_without_an_id_that_says_what_another_does_is_a_duplicate(
    tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And with an id it is none, but counted; 5, 5.0 and "5" are one id."""
    said: Row = {"dataset": "trec", "context": "C", "input": "I"}
    other = said | {"context": "D"}
    rows: list[Row] = [said, said | {"_id": 5}, other | {"_id": 5.0}, other | {"_id": "5"}, said | {"_id": "six"}, said]
    for seed in range(9):
        path = write_lines(tmp_path / "x.jsonl", random.Random(seed).sample(rows, len(rows)))
        for asked in ([], ["--no-shuffle"], ["--num-samples", "1"]):
            assert convert("--input-file", path, "--output", out, "--seed", seed, *asked) == 0
            assert "duplicates      4 removed" in capsys.readouterr().out
    write_lines(path, [said, said | {"_id": 5}, said | {"_id": 6}])
    assert convert("--input-file", path, "--output", out) == 0
    assert texts(out) == ["C\nI"] * 2
    assert "1 of the written texts is the same as another's" in capsys.readouterr().out


def test_texts_without_an_id_are_all_kept_until_it_is_known_which_are_duplicates(tmp_path: Path, out: Path) -> None:
    rows = [
        {"context": f"{n}", "input": "", **({"_id": f"{n}"} if named else {})} for n in range(60) for named in (0, 1)
    ]
    write_lines(tmp_path / "x.jsonl", rows)
    for seed in range(5):
        command = ("--input-file", tmp_path / "x.jsonl", "--output", out, "--seed", seed)
        assert convert(*command) == 0
        wanted = texts(out)
        assert len(set(wanted)) == 60
        assert convert(*command, "--num-samples", 7) == 0
        assert texts(out) == wanted[:7]


def test_what_a_pipe_has_is_not_called_0_bytes(tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=[lines([row("trec", 1)])])
    writer.start()
    assert convert("--input-file", tmp_path / "pipe", "--output", out) == 0
    writer.join()
    assert "read            1 entry from 1 file\n" in capsys.readouterr().out


def test_batches_are_bounded_by_their_characters_and_their_number() -> None:
    def sizes(lengths: list[int]) -> list[int]:
        prompts = (_Prompt(0, True, 0, 0, "x" * length) for length in lengths)
        return [len(batch) for batch in _batches(prompts)]

    assert sizes([1] * 130) == [64, 64, 2]
    assert sizes([1 << 19] * 5) == [2, 2, 1]
    assert sizes([1, 1 << 20, (1 << 20) - 1, 1, 1]) == [2, 2, 1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--output", "x"], "exactly one of --dataset, --input-file and --input-dir"),
        (["--output", "x", "--input-file", "a", "--input-dir", "b"], "--input-file and --input-dir are given"),
        (["--output", "x", "--dataset", "trec", "--input-dir", "b"], "--dataset and --input-dir are given"),
        (["--input-file", "/dev/null"], "--output is missing"),
        (["--output", "x", "--dataset", "trec", "naratiiveqa"], "did you mean narrativeqa?"),
        (["--output", "x", "--dataset", "trec", "--format", "context"], "did you mean context_only?"),
        (
            ["--output", "x", "--dataset", "trec", "--num-samples", "0"],
            "--num-samples must be a whole number of at least 1",
        ),
        (
            ["--output", "x", "--dataset", "trec", "--num-samples", "-1"],
            "--num-samples must be a whole number of at least 1",
        ),
        (["--output", "x", "--dataset", "trec", "--num-samples", "ten"], "--num-samples must be a whole number"),
        (["--output", "x", "--dataset", "trec", "--seed", "0.5"], "--seed must be a whole number"),
        (["--output", "x", "--dataset", "trec", "--min-tokens", "9", "--max-tokens", "8"], "is more than"),
        (["--output", "x", "--dataset", "narrativeqa_e"], "LongBench-E has no narrativeqa"),
        (["--output", "x", "--dataset", "trec", "--num-sample", "1"], "did you mean --num-samples?"),
        (["--output", "x", "--input-file", "absent.jsonl"], "there is no absent.jsonl"),
        (["--output", "x", "--input-file", "."], "--input-dir reads all files in it"),
        (["--output", "x", "--input-dir", "absent"], "absent is no directory"),
        (["--output", ".", "--input-file", "/dev/null"], "is a directory"),
        (["--output", "-", "--input-file", "/dev/null"], "not to stdout"),
        (["--output", "x", "--input-dir", "{empty}"], "is no file named *.jsonl, *.json, *.parquet, *.zip"),
    ],
)
def test_wrong_usage_is_said_before_any_work(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    assert convert(*(word.format(empty="empty") for word in words)) == 2
    assert said in capsys.readouterr().err
    assert [one.name for one in tmp_path.iterdir()] == ["empty"]


def start(*words: str | Path | int, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """The script of a clone, started as a user does."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "PYTHON"))}
    command = [sys.executable, str(ROOT / "tools" / "convert_longbench.py"), *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=inherited | env, capture_output=True, text=True, check=False)


def test_the_script_runs_from_any_directory(mixed: Path, tmp_path: Path) -> None:
    ended = start("--help", cwd=tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, USAGE, "")
    ended = start("--input-dir", "LongBench/", "--num-samples", "5", "--output", "data/mixed.jsonl", cwd=tmp_path)
    assert (ended.returncode, "5 of them, as asked for" in ended.stdout) == (0, True)
    assert len(texts(tmp_path / "data" / "mixed.jsonl")) == 5
    assert max(map(len, USAGE.splitlines())) <= 80
    assert "Exit codes: 0 done, 2 wrong usage" in USAGE


def test_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    with (tmp_path / "qasper.jsonl").open("w") as file:
        for number in range(4000):
            file.write(lines([row("qasper", number, 1, context=f"{number} " + "x" * 40_000)]))
    code = (
        "import sys; from fluxperf_tools.convert_longbench import main; assert main() == 0; "
        "sys.stderr.write(open('/proc/self/status').read())"
    )
    words = [sys.executable, "-c", code, "--input-dir", str(tmp_path), "--output", str(tmp_path / "out")]
    env = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tools'}"}
    ended = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
    peak = re.search(r"VmHWM:\s+(\d+) kB", ended.stderr)
    assert peak
    assert int(peak[1]) < 100_000  # of 160 MB of data


@pytest.fixture(scope="module")
def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        for task in ("narrativeqa", "trec", "trec_e"):
            zipped.writestr(f"data/{task}.jsonl", lines(row(task, n, dataset=task) for n in range(20)))
    return file.getvalue()


def test_datasets_of_the_hub(archive: bytes, tmp_path: Path) -> None:
    env: dict[str, Any] = {"HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": "hf_secret1234"}
    command = ["--dataset", "narrativeqa", "TREC", "--num-samples", "30", "--output", "out.jsonl"]
    with fake.serve(fake.Hub()) as hub:
        hub.add("zai-org/LongBench", "data.zip", archive)
        ended = start(*command, cwd=tmp_path, HF_ENDPOINT=hub.url, **env)
        assert ended.returncode == 0, ended.stderr
        assert len(set(texts(tmp_path / "out.jsonl"))) == 30
        assert "narrativeqa: zai-org/LongBench, data.zip of main, commit" in ended.stdout
        assert "trec: zai-org/LongBench, data.zip" in ended.stdout
        assert "read            40 entries" in ended.stdout
        assert all("not from zai-org/LongBench" in line for line in ended.stderr.splitlines())
        assert set(hub.tokens) == {"Bearer hf_secret1234"}
        assert "hf_secret" not in ended.stdout + ended.stderr
    first = (tmp_path / "out.jsonl").read_bytes()
    ended = start(*command, cwd=tmp_path, HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="1", **env)
    assert ended.returncode == 0, ended.stderr
    assert "from the cache: HF_HUB_OFFLINE is set" in ended.stderr
    assert (tmp_path / "out.jsonl").read_bytes() == first
    ended = start("--dataset", "lcc", "--output", "x", cwd=tmp_path, HF_ENDPOINT=hub.url, **env)
    assert ended.returncode == 3
    assert "no connection" in ended.stderr
    assert "hf download zai-org/LongBench data.zip" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "x").exists()


def test_without_the_library_files_are_read_and_the_hub_is_not(tmp_path: Path) -> None:
    for name in ("datasets", "huggingface_hub", "pyarrow"):
        (tmp_path / "without" / f"{name}.py").parent.mkdir(exist_ok=True)
        (tmp_path / "without" / f"{name}.py").write_text(f"raise ModuleNotFoundError('No module named {name}')")
    env = {"PYTHONPATH": str(tmp_path / "without"), "HF_ENDPOINT": "http://127.0.0.1:1"}
    ended = start("--dataset", "trec", "--output", "x", cwd=tmp_path, **env)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "convert_longbench: pip install datasets" in ended.stderr.splitlines()
    write_lines(tmp_path / "in" / "trec.jsonl", [row("trec", 1)])
    assert start("--input-dir", "in", "--output", "x", cwd=tmp_path, **env).returncode == 0
    write_parquet([row("trec", 2)], tmp_path / "in" / "0.parquet")
    ended = start("--input-dir", "in", "--output", "y", cwd=tmp_path, **env)
    assert ended.returncode == 2
    assert "convert_longbench: pip install pyarrow" in ended.stderr.splitlines()
