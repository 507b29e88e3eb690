"""The generator's command line, and its two files."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from fluxperf.plan.workload import open_dataset
from fluxperf_tools.generate_prefix_dataset import main

SMALL = "--groups 3 --per-group 4 --shared-tokens 40 --unique-tokens 20 --permutations 2"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "made" / "prompts.jsonl"


def generate(output: Path, words: str) -> int:
    return main(["--output", str(output), *words.split()])


def theory(output: Path) -> Any:
    return json.loads(output.with_suffix(".theory.json").read_text("utf-8"))


def test_a_dataset_and_its_theory(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate(output, f"{SMALL} --cache-tokens 200 100000") == 0
    with open_dataset(output, "dual_round") as dataset:
        entries = list(dataset)
    found = theory(output)
    assert len(entries) == 12
    assert [entry.session_id for entry in entries] == [one["id"] for one in found["prompts"]]
    assert found["dataset_sha256"] == sha256(output.read_bytes()).hexdigest()
    assert [(one["block_tokens"], one["cache_tokens"]) for one in found["block_caches"]] == [
        *((16, room) for room in (None, 200, 100_000)),
        *((1, room) for room in (None, 200, 100_000)),
    ]
    endless = found["block_caches"][0]
    assert endless["file_order"]["round_1"]["cached_tokens"] == 9 * 32
    assert endless["file_order"]["round_1"]["hit_rate"] == round(9 * 32 / (12 * 60), 6)
    assert [(one["slots"], one["host_memory"]) for one in found["llama_cpp"]] == [(1, True), (1, False), (4, True)]
    assert not found["tokens_are_exact"]
    out = capsys.readouterr().out
    assert "12 prompts in 3 groups" in out
    assert "(estimated)" in out
    assert f"fluxperf --dataset {output}" in out
    assert all(len(line) <= 80 or str(output.parent) in line for line in out.splitlines())


def test_the_same_options_make_the_same_files(tmp_path: Path) -> None:
    made = []
    for folder in ("one", "other"):
        output = tmp_path / folder / "prompts.jsonl"
        assert generate(output, SMALL) == 0
        made.append((output.read_bytes(), theory(output)["block_caches"]))
    assert made[0] == made[1]


def test_a_hit_rate(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate(output, "--hit-rate 60% --prompt-tokens 1000 --groups 3 --per-group 10 --permutations 1") == 0
    assert theory(output)["block_caches"][0]["file_order"]["round_1"]["hit_rate"] == pytest.approx(0.6, abs=0.01)
    captured = capsys.readouterr()
    assert "wanted 60.0%" in captured.out
    assert captured.err == ""
    assert generate(output, "--hit-rate 0.95 --prompt-tokens 1000 --groups 3 --per-group 10 --permutations 1") == 0
    assert "the nearest to a hit rate of 95.0% is 89.3%" in capsys.readouterr().err


def test_a_hit_rate_beyond_reach_makes_no_monster(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = "--hit-rate 0.99 --shared-tokens 60 --unique-tokens 30 --groups 2 --permutations 1"
    assert generate(output, wanted) == 0
    assert len(output.read_text("utf-8").splitlines()) < 400
    told = capsys.readouterr().err
    assert "the nearest to a hit rate of 99.0% is " in told
    assert "prompts a group: more is to be had of more --shared-tokens" in told


def test_lengths_that_words_cannot_make_are_told(
    output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(" ".join(chr(97 + n % 26) + chr(97 + n // 26) + "x" * 20 for n in range(300)), "utf-8")
    words = f"--corpus {corpus} --groups 2 --per-group 3 --shared-tokens 40 --unique-tokens 1 --permutations 1"
    assert generate(output, words) == 0
    assert "6 of 6 prompts are not as long as designed, by +" in capsys.readouterr().err
    for tokenizer in ("", "--tokenizer mock", "--template-tokens 3 6 5"):
        assert generate(output, f"{SMALL} --turns 4 {tokenizer}") == 0
        assert "as long as designed" not in capsys.readouterr().err


def test_a_distance_that_there_are_too_few_groups_for_is_told(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate(output, f"{SMALL} --repeat-distance 3") == 0
    assert "--repeat-distance 3 takes 4 groups, but there are 3: what came of it is 2" in capsys.readouterr().err
    assert generate(output, f"{SMALL} --repeat-distance 2") == 0
    assert "--repeat-distance" not in capsys.readouterr().err


def test_sessions_are_requests_with_their_history(output: Path) -> None:
    assert generate(output, f"{SMALL} --turns 3 --branching 2 --reply-tokens 15") == 0
    rows = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert sorted(len(row.get("messages", [0])) for row in rows) == [1] * 12 + [3] * 24 + [5] * 48
    with open_dataset(output, "dual_round") as dataset:
        assert max(len(turn) for entry in dataset for turn in entry.turns) == 5


def test_a_corpus_is_spared(output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(" ".join(f"wort{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(300)), "utf-8")
    assert generate(output, f"{SMALL} --corpus {corpus}") == 0
    words = " ".join(json.loads(line)["text"] for line in output.read_text("utf-8").splitlines()).split()
    assert set(words) <= set(corpus.read_text("utf-8").split())
    assert generate(corpus, f"{SMALL} --corpus {corpus}") == 2
    assert "would be lost" in capsys.readouterr().err


def test_no_clobber_minds_both_files(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate(output, SMALL) == 0
    output.unlink()
    assert generate(output, f"{SMALL} --no-clobber") == 2
    assert "prompts.theory.json exists" in capsys.readouterr().err
    assert not output.exists()


def test_more_prompts_than_words(output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(" ".join(f"{chr(97 + n % 26)}{chr(97 + n // 26)}x" for n in range(52)), "utf-8")
    words = f"--corpus {corpus} --groups 2 --per-group 60 --shared-tokens 40 --unique-tokens 20 --permutations 1"
    assert generate(output, words) == 0
    assert "60 texts are to begin differently, but there are 52 words" in capsys.readouterr().err
    assert theory(output)["measured"]["shared_in_group"] == [40, 41]


def test_the_mix(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate(output, "--mixed --seed 7") == 0
    assert "prompts of many kinds" in capsys.readouterr().out
    assert generate(output, "--mixed --groups 3") == 2
    assert "--mixed takes no --groups" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--group 3", "did you mean --groups?"),
        ("--groups 0", "--groups must be a whole number of at least 1"),
        ("--zipf -1", "--zipf must be a number from 0 to 10"),
        ("--hit-rate 0.5", "--hit-rate needs --prompt-tokens"),
        ("--hit-rate 1.5 --prompt-tokens 100", "from 0 to 1"),
        ("--hit-rate 0.5 --prompt-tokens 100 --shared-tokens 5", "leave --shared-tokens out"),
        ("--hit-rate 0.5 --shared-tokens 100 --unique-tokens 5 --per-group 4", "nothing is left"),
        ("--hit-rate 0.5 --prompt-tokens 100 --turns 2", "leave --turns out"),
        ("--prompt-tokens 100", "is for --hit-rate"),
        ("--branching 2", "give --turns 2 or more"),
        ("--turns 2 --unique-tokens 0", "each turn needs a text"),
        ("--template-tokens 3", "BEFORE AFTER"),
        ("--template-tokens 3 99999", "no chat template is that long"),
        ("--tokenizer mock --template-tokens 3 4", "knows the mock server's template"),
        ("--tokenizer ./nowhere", "tokenizer ./nowhere"),
        ("--block-sizes 16 16", "16 twice"),
        ("--corpus nowhere.txt", "nowhere.txt cannot be read"),
        ("--seed x", "--seed must be a whole number"),
        ("--groups 100000 --per-group 100", "more than the 1,000,000"),
    ],
)
def test_wrong_usage(output: Path, capsys: pytest.CaptureFixture[str], words: str, message: str) -> None:
    assert generate(output, words) == 2
    assert message in capsys.readouterr().err
    assert not output.parent.exists()


def test_where_it_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate(tmp_path / "x.theory.json", SMALL) == 2
    assert "name the dataset" in capsys.readouterr().err
    assert generate(Path("-"), SMALL) == 2
    assert generate(tmp_path / "..", SMALL) == 2
