from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fluxperf_tools.validate_jsonl import USAGE, main

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = {"tool": ROOT / "tools" / "validate_jsonl.py", "test": ROOT / "tests" / "test_jsonl_output.py"}


def write(path: Path, text: str) -> str:
    path.write_text(text, "utf-8")
    return str(path)


def run(script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPTS[script], *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_a_dataset_that_is_well_is_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "d", '{"text": "one two"}\n{"id": "s", "user_messages": ["a", "b"]}\n{"prompt": "a"}\n')
    assert main([path]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    for expected in (
        f"{path}: well-formed for --mode dual_round",
        "entries 3 (1 text, 1 user_messages, 1 prompt)",
        "turns of a session min 1, P50 1, P90 2, P99 2, max 2; 4 in all",
        "4 in all (estimated)",
        "longest line line 2, 40 bytes",
        "duplicates 1 entry that sends the same as one before it:",
        "line 3 as 2",
        "repeated ids none",
    ):
        assert expected.split() in lines


def test_faults_have_their_lines_and_end_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "d", '{"text": ""}\n{"text": "a"}\n' + "{]\n" * 30)
    assert main([path]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{path}:1: text is empty: there is nothing to send; remove the entry or give it a text"
    assert lines[19].startswith(f"{path}:21: not JSON at column 2")
    assert lines[20] == f"{path}: and 11 more faults (--all shows them)"
    assert lines[21] == f"{path}: 31 faults: cannot be read for --mode dual_round"
    assert main([path, "--all"]) == 1
    assert capsys.readouterr().out.splitlines()[30].startswith(f"{path}:32: ")


def test_a_mode_has_its_own_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "d", '{"user_messages": ["a", ""]}\n')
    assert main([path]) == 0
    assert "not for multi_turn  1 entry, the first:" in capsys.readouterr().out
    assert main([path, "--mode", "multi_turn"]) == 1
    assert f"{path}:1: user_messages[1].content is empty" in capsys.readouterr().out


def test_several_files_are_read_to_the_last(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad, good = write(tmp_path / "bad", ""), write(tmp_path / "good", '["a"]')
    assert main([bad, good]) == 1
    said = capsys.readouterr().out
    assert f"{bad}: no entries" in said
    assert f"\n\n{good}: well-formed" in said


def test_json_has_all_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "d", '{"text": "a"}\n{"text": "a"}\n{}\n')
    assert main(["--json", path]) == 1
    report: dict[str, Any] = json.loads(capsys.readouterr().out)[0]
    assert report["is_well_formed"] is False
    assert (report["entries"], report["faults"], report["duplicates"]) == (3, 1, 1)
    assert report["first_faults"][0]["line"] == 3
    assert report["first_duplicates"] == [[2, 1]]
    assert report["tokens"]["counted_by"] == "estimate"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["none"], "none is not there"),
        (["."], ". is a directory"),
        (["d", "none"], "none is not there"),
        (["d", "--mode", "x"], "--mode must be"),
        (["d", "--modes", "x"], "did you mean --mode?"),
        ([], "Usage:"),
        (["d", "--tokenizer", "./none"], "./none"),
    ],
)
def test_wrong_usage_ends_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "d", '"a"')
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert what in captured.err
    assert captured.out == ""


def test_a_tokenizer_counts_exactly_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert main([write(tmp_path / "d", '"one two three"'), "--tokenizer", str(tmp_path)]) == 0
    assert f"3 in all (by {tmp_path})" in capsys.readouterr().out


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_scripts_run_anywhere_and_say_the_same(tmp_path: Path, script: str) -> None:
    good, bad = write(tmp_path / "good", '"a"\n'), write(tmp_path / "bad", '"a"\n7\n')
    ended = run(script, "good", "bad", cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert "bad:2: no known form" in ended.stdout
    assert run(script, good, cwd=tmp_path).returncode == 0
    assert run(script, f"{bad}.none", cwd=tmp_path).returncode == 2
    helped = run(script, "--help", cwd=tmp_path)
    assert (helped.returncode, helped.stdout) == (0, USAGE)


def test_the_script_is_executable() -> None:
    assert os.access(SCRIPTS["tool"], os.X_OK)


def test_a_pipe_is_validated(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, SCRIPTS["tool"], "/dev/stdin"], input=b'"a"\n{}\n', capture_output=True, check=False
    )
    assert ended.returncode == 1
    assert b"/dev/stdin:2: no known form" in ended.stdout
