"""The words that prompts are made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxperf.errors import UsageError
from fluxperf_tools.prefix.words import order_starts, own_words, read_corpus


def test_our_words_are_different_and_plain() -> None:
    words = own_words()
    assert len(set(words)) == len(words) > 1000
    assert all(word.isascii() and word.isalpha() and word.islower() for word in words)
    assert sum(len(word) == 3 for word in words) > 250


def test_a_corpus_gives_its_words_as_often_as_they_are_in_it(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text(
        "\ufeffThe end, the _end_ 中文. " + " ".join(chr(0x3B1 + n) * 2 for n in range(25)) + " x" * 60, "utf-8"
    )
    with pytest.raises(UsageError, match="31 different words"):
        read_corpus(path)
    path.write_text(path.read_text("utf-8") + " " + " ".join(chr(0x430 + n) * 3 for n in range(30)), "utf-8")
    words = read_corpus(path)
    assert words[:6] == ["The", "end", "the", "end", "中", "文"]
    assert words.count("x") == 60


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xff"])
def test_a_corpus_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"text\.txt cannot be read"):
        read_corpus(path)


def test_starts_differ_early() -> None:
    assert order_starts(["able", "about", "bad", "able", "cat", "bag"]) == ["able", "bad", "cat", "about", "bag"]
