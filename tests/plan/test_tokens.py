from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.errors import UsageError
from fluxperf.plan.entry import estimate_tokens
from fluxperf.plan.tokens import ESTIMATE, FileTokens, Tokens, load_tokens
from tests.plan.model_hub import ModelHub
from tests.plan.tokenizers_made import KINDS, SENTENCES

ROOT = Path(__file__).parents[2]
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)
WORDS = st.sampled_from([*(word for sentence in SENTENCES for word in sentence.split()), " ", "   ", "\n", "😀", "ö"])
TEXTS = st.text() | st.lists(WORDS).map("".join) | st.lists(WORDS).map(" ".join)


@pytest.fixture(scope="session")
def all_tokens(tokenizer_folders: dict[str, Path]) -> dict[str, Tokens]:
    return {kind: load_tokens(str(folder)) for kind, folder in tokenizer_folders.items()} | {"estimate": ESTIMATE}


def changed(folder: Path, **changes: Any) -> FileTokens:
    """The tokens of a tokenizer.json with other settings."""
    content = json.loads((folder / "tokenizer.json").read_bytes())
    content["model"] |= changes.pop("model", {})
    return FileTokens("changed", json.dumps(content | changes).encode())


# Counting.


def test_without_a_name_it_is_the_estimate() -> None:
    tokens = load_tokens(None)
    assert tokens is ESTIMATE
    assert (tokens.name, tokens.exact) == ("estimate", False)
    assert tokens.count("a" * 400) == estimate_tokens("a" * 400) == 100
    assert tokens.count_all(["a" * 8, "你好"]) == [2, 2]


@EVERY_KIND
def test_a_tokenizer_counts_as_its_library_does(tokenizer_folders: dict[str, Path], kind: str) -> None:
    from tokenizers import Tokenizer

    path = tokenizer_folders[kind] / "tokenizer.json"
    tokens, library = load_tokens(str(path)), Tokenizer.from_file(str(path))
    assert (tokens.name, tokens.exact) == (str(path), True)
    expected = [len(library.encode(sentence, add_special_tokens=False)) for sentence in SENTENCES]
    assert tokens.count_all(SENTENCES) == [tokens.count(sentence) for sentence in SENTENCES] == expected
    assert load_tokens(str(path), parallel=False).count_all([]) == []


def test_no_special_tokens_are_added(tokenizer_folders: dict[str, Path]) -> None:
    from tokenizers import Tokenizer

    folder = tokenizer_folders["byte_level"]
    assert len(Tokenizer.from_file(str(folder / "tokenizer.json")).encode("question")) == 3
    assert load_tokens(str(folder)).count("question") == 1


def test_a_file_that_truncates_pads_or_draws_lots_does_not_here(tokenizer_folders: dict[str, Path]) -> None:
    folder = tokenizer_folders["byte_level"]
    truncation = {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
    padding = {"strategy": {"Fixed": 64}, "direction": "Right", "pad_id": 0, "pad_type_id": 0, "pad_token": "<|end|>"}
    padding["pad_to_multiple_of"] = None
    plain = load_tokens(str(folder)).count_all(SENTENCES)
    for odd in ({"truncation": truncation}, {"padding": padding}, {"model": {"dropout": 0.9}}):
        assert changed(folder, **odd).count_all(SENTENCES) == plain


@EVERY_KIND
def test_halves_of_characters_do_not_stop_it(all_tokens: dict[str, Tokens], kind: str) -> None:
    assert all_tokens[kind].count("a \ud800 b") == all_tokens[kind].count("a ? b")
    assert "a \ud800 b and more of it".startswith(all_tokens[kind].cut("a \ud800 b and more of it", 4))


def test_the_digest_is_that_of_the_file(tokenizer_folders: dict[str, Path]) -> None:
    from hashlib import sha256

    tokens = load_tokens(str(tokenizer_folders["unigram"]))
    assert isinstance(tokens, FileTokens)
    assert tokens.sha256 == sha256((tokenizer_folders["unigram"] / "tokenizer.json").read_bytes()).hexdigest()


# Cutting.


@pytest.mark.parametrize("kind", [*KINDS, "estimate"])
@given(text=TEXTS, limit=st.integers(1, 40))
def test_what_is_cut_is_a_beginning_within_the_limit(
    all_tokens: dict[str, Tokens], kind: str, text: str, limit: int
) -> None:
    tokens = all_tokens[kind]
    beginning = tokens.cut(text, limit)
    assert text.startswith(beginning)
    assert tokens.count(beginning) <= limit
    assert (beginning == text) == (tokens.count(text) <= limit)


@pytest.mark.parametrize(
    ("kind", "text", "limit", "beginning"),
    [
        ("byte_level", " the cached the", 2, " the cached"),
        ("byte_level", " cached  question", 1, " cached"),
        ("byte_level", "你你你", 5, "你"),  # three bytes, a token each
        ("byte_level", "你你你", 2, ""),
        ("word_piece", "Cache the CACHE", 2, "Cache the"),
        ("unigram", "cached the cached", 2, "cached the"),
        ("byte_fallback", "😀😀😀", 9, "😀😀"),
        ("estimate", "four, five and six", 2, "four, five"),
        ("estimate", "你好世界", 3, "你好世"),
        ("estimate", "abcdef你好", 3, "abcdef你"),
    ],
)
def test_as_much_stays_as_the_limit_allows(
    all_tokens: dict[str, Tokens], kind: str, text: str, limit: int, beginning: str
) -> None:
    assert all_tokens[kind].cut(text, limit) == beginning


@pytest.mark.parametrize("kind", [*KINDS, "estimate"])
def test_nothing_stays_within_no_limit(all_tokens: dict[str, Tokens], kind: str) -> None:
    assert all_tokens[kind].cut("some text", 0) == ""


@given(st.text(), st.integers(1, 30))
def test_the_estimate_leaves_as_much_as_it_can(text: str, limit: int) -> None:
    beginning = ESTIMATE.cut(text, limit)
    longer = text[: len(beginning) + 1]
    assert longer == beginning or ESTIMATE.count(longer) > limit


@EVERY_KIND
def test_a_long_text_is_cut_where_its_tokens_end(all_tokens: dict[str, Tokens], kind: str) -> None:
    tokens, text = all_tokens[kind], " ".join(SENTENCES * 60)
    beginning = tokens.cut(text, 100)
    assert 97 <= tokens.count(beginning) <= 100
    assert beginning == tokens.cut(text[: len(text) // 2], 100)


def test_a_text_of_wide_tokens_is_looked_at_to_its_end(tokenizer_folders: dict[str, Path]) -> None:
    content = json.loads((tokenizer_folders["word_piece"] / "tokenizer.json").read_bytes())
    content["model"]["max_input_chars_per_word"] = 5  # a longer word is one [UNK]
    tokens = FileTokens("wide", json.dumps(content).encode())
    text = " ".join(["x" * 500] * 20)
    assert tokens.cut(text, 20) == text
    assert tokens.cut(text, 10) == " ".join(["x" * 500] * 10)


def test_a_word_that_is_one_token_is_not_judged_by_its_beginning(tokenizer_folders: dict[str, Path]) -> None:
    word = "supercalifragilistic"
    vocabulary = dict.fromkeys(["[UNK]", word, *word, *(f"##{letter}" for letter in word)])
    model = {"vocab": {token: number for number, token in enumerate(vocabulary)}}
    tokens = changed(tokenizer_folders["word_piece"], model=model, added_tokens=[])
    assert tokens.count(word[:16]) == 16
    assert tokens.cut(word, 1) == word


# What a process has that has counted.

LOADING = """
import os, sys
from fluxperf.plan.tokens import load_tokens
before = dict(os.environ)
tokens = load_tokens(sys.argv[1])
assert tokens.count_all(["a text of some words"] * 500) == [tokens.count("a text of some words")] * 500
assert tokens.cut("a text of some words", 2)
print(len(os.listdir("/proc/self/task")), dict(os.environ) == before, "huggingface_hub" in sys.modules, flush=True)
if os.fork() == 0:
    assert tokens.count("a text")
    os._exit(0)
print(os.wait()[1])
"""


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_process_that_has_counted_can_fork(
    tokenizer_folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    ended = run(LOADING, str(tokenizer_folders["byte_level"]))
    assert (ended.stdout.split(), ended.stderr) == (["1", "True", "False", "0"], "")


def test_a_process_that_has_asked_the_hub_can_fork(model_hub: ModelHub) -> None:
    ended = run(LOADING, "org/good")
    assert (ended.stdout.split(), ended.stderr) == (["1", "True", "False", "0"], "")
    assert ("HEAD", "/org/good/resolve/main/tokenizer.json", None) in model_hub.requests


def test_the_users_word_on_parallelism_is_left_alone(
    tokenizer_folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    assert load_tokens(str(tokenizer_folders["byte_level"])).count("question") == 1
    assert os.environ["TOKENIZERS_PARALLELISM"] == "true"


def test_many_cores_count_the_same(tokenizer_folders: dict[str, Path]) -> None:
    code = (
        "import sys\n"
        "from fluxperf.plan.tokens import load_tokens\n"
        "texts = ['word ' * (place % 50) for place in range(300)]\n"
        "one, many = (load_tokens(sys.argv[1], parallel=parallel).count_all(texts) for parallel in (False, True))\n"
        "print(one == many, sum(one) > 0)"
    )
    assert run(code, str(tokenizer_folders["unigram"])).stdout.split() == ["True", "True"]


# What is no tokenizer.json.


def test_without_the_library_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(UsageError) as caught:
        load_tokens(str(tmp_path))
    assert "pip install 'fluxperf[tokenizers]'" in str(caught.value)
    assert load_tokens(None) is ESTIMATE


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "EOF while parsing"),
        (b"{}", "Model missing"),
        (b"\xff\xfe\x00", "expected value"),
        (b'{"model": {"type": "Magic", "vocab": {}, "merges": []}}', "did not match"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull fetches it"),
    ],
)
def test_a_broken_file_is_told(tmp_path: Path, content: bytes, complaint: str) -> None:
    pytest.importorskip("tokenizers")
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        load_tokens(str(tmp_path))
    assert str(caught.value).startswith(f"tokenizer {tmp_path}: {path} is not a tokenizer.json that can be used: ")
    assert complaint in str(caught.value)


@given(st.data())
def test_a_file_that_breaks_off_is_told(tokenizer_folders: dict[str, Path], data: st.DataObject) -> None:
    whole = (tokenizer_folders["byte_level"] / "tokenizer.json").read_bytes()
    with pytest.raises(ValueError, match="Cannot instantiate"):
        FileTokens("broken", whole[: data.draw(st.integers(0, len(whole) - 2))])


def test_a_folder_in_the_files_place_is_told(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    (tmp_path / "tokenizer.json").mkdir()
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        load_tokens(str(tmp_path))
