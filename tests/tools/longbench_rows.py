"""Rows of the true shape of LongBench and LongBench-v2, made up; for the tests of the converter."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Row = dict[str, Any]
TEXT = "the river ran past a mill where nobody had ground corn for years and cats slept on warm stones 水 车 在 转"
WORDS = TEXT.split()


def words(seed: object, count: int) -> str:
    return " ".join(random.Random(str(seed)).choices(WORDS, k=count))


def row(task: str, number: int, context_words: int = 40, **changes: Any) -> Row:
    """What a line of `task`.jsonl has; the same for the same arguments, and different texts for different ones."""
    context = f"{task} {number}: {words((task, number), context_words)}"
    return {
        "input": f"What of {task} {number}?",
        "context": context,
        "answers": [words((task, number, "answer"), 3)],
        "length": context_words,
        "dataset": task,
        "language": "zh" if task.endswith("_zh") else "en",
        "all_classes": ["Location", "Number"] if task == "trec" else None,
        "_id": hashlib.sha1(f"{task} {number}".encode()).hexdigest(),
    } | changes


def row_v2(number: int, **changes: Any) -> Row:
    """An entry of LongBench-v2's data.json."""
    return {
        "_id": f"66f36490821e116aacb2{number:04}",
        "domain": "Single-Document QA",
        "sub_domain": "Financial",
        "difficulty": "easy",
        "length": "short",
        "question": f"Which is right, of {number}?",
        "choice_A": "the first",
        "choice_B": "the second",
        "choice_C": "the third",
        "choice_D": "none",
        "answer": "B",
        "context": f"{number}: {words(number, 60)}",
    } | changes


def lines(rows: Iterable[Row]) -> str:
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)


def write_lines(path: Path, rows: Iterable[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(lines(rows), "utf-8")
    return path
