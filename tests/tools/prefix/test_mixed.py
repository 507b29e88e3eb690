"""The mixed dataset, and that the one in datasets/ is what is made today."""

from __future__ import annotations

import json
from pathlib import Path

from fluxperf_tools.prefix.mixed import mixed_texts
from fluxperf_tools.prefix.phrases import ASSISTANTS, CODE, LANGUAGES, SHORT

ROOT = Path(__file__).resolve().parents[3]


def test_the_dataset_is_that_of_the_generator() -> None:
    lines = (ROOT / "datasets" / "MixedBench.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [{"text": text} for text in mixed_texts(42)]


def test_it_is_mixed() -> None:
    texts = mixed_texts(42)
    assert len(set(texts)) == len(texts)
    assert set(SHORT) <= set(texts)
    assert sum("```" in text for text in texts) == len(CODE)
    assert all(sum(text.startswith(opening) for text in texts) == 6 for opening in ASSISTANTS.values())
    assert all(sum(body in text for text in texts) == 3 for _, _, body, _ in LANGUAGES)
    documents = [text for text in texts if text.startswith("Logbook")]
    assert len(documents) == 4 * len({text.partition("Question:")[0] for text in documents}) == 40


def test_the_seed_decides() -> None:
    assert mixed_texts(1) == mixed_texts(1) != mixed_texts(2)
