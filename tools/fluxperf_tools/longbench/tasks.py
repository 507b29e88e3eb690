"""The tasks of LongBench by name and type, and the format that `auto` picks for each. Knows no rows."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePath
from typing import Literal

from fluxperf.errors import UsageError

Format = Literal["context_question", "context_only", "question_only", "concatenate"]
AUTO = "auto"
FORMATS: tuple[Format, ...] = ("context_question", "context_only", "question_only", "concatenate")

_SINGLE, _MULTI = "single-document QA", "multi-document QA"
_SUMMARY, _FEW_SHOT, _SYNTHETIC, _CODE = "summarisation", "few-shot", "synthetic", "code"
_CHOICE = "multiple choice"

PICKED: dict[str, tuple[Format, str]] = {
    _SINGLE: ("context_question", "the question comes after the text"),
    _MULTI: ("context_question", "the question comes after the texts"),
    _CHOICE: ("context_question", "question and choices come after the text"),
    _SUMMARY: ("context_only", "the text is what there is to sum up"),
    _FEW_SHOT: ("concatenate", "the input goes on where the examples end"),
    _SYNTHETIC: ("concatenate", "the input is a part of the text, no question"),
    _CODE: ("concatenate", "the input is the code that follows"),
}
"""The format for each type of task, and why."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task: its name as LongBench writes it, its type, and its language (`code`: a programming language)."""

    name: str
    kind: str
    language: str

    @property
    def is_in_edition(self) -> bool:
        """Whether LongBench-E has it, too."""
        return self.language != "zh" and self.name not in _NOT_IN_EDITION


_TABLE: dict[tuple[str, str], str] = {
    (_SINGLE, "en"): "narrativeqa qasper multifieldqa_en",
    (_SINGLE, "zh"): "multifieldqa_zh",
    (_MULTI, "en"): "hotpotqa 2wikimqa musique",
    (_MULTI, "zh"): "dureader",
    (_SUMMARY, "en"): "gov_report qmsum multi_news",
    (_SUMMARY, "zh"): "vcsum",
    (_FEW_SHOT, "en"): "trec triviaqa samsum",
    (_FEW_SHOT, "zh"): "lsht",
    (_SYNTHETIC, "en"): "passage_count passage_retrieval_en",
    (_SYNTHETIC, "zh"): "passage_retrieval_zh",
    (_CODE, "code"): "lcc repobench-p",
}
TASKS = {name: Task(name, *of) for of, names in _TABLE.items() for name in names.split()}
LONGBENCH_V2 = Task("longbench-v2", _CHOICE, "en")

_BY_NAME = {name.replace("-", "_"): task for name, task in TASKS.items()}
_BY_NAME |= dict.fromkeys(("longbench_v2", "longbenchv2", "longbench2"), LONGBENCH_V2)
_EDITION = "_e"  # LongBench-E: the same tasks, with lengths that are spread evenly
_NOT_IN_EDITION = {"narrativeqa", "musique", "qmsum"}  # nor are those in Chinese
_AROUND = re.compile(r"^longbench_(?!v2)|_\d+_of_\d+$|_(test|train|dev|val|validation)$")
_SAYS_NOTHING = re.compile(r"(test|train|dev|val|validation|data|default|part|\d+)(_\d+)*(_of_\d+)?")
_LOOKED_AT = 3  # names of a path: of the file and of two folders


def find_task(name: str) -> Task | None:
    """The task of that name: case does not matter, `-` is as good as `_`, and `_e` counts as the task itself."""
    plain = _plain(name)
    return _BY_NAME.get(plain) or _BY_NAME.get(plain.removesuffix(_EDITION))


def read_dataset_name(name: str) -> tuple[Task, str]:
    """The task that `--dataset name` means, and its name on the hub, with `_e` or without. Raises UsageError."""
    task = find_task(name)
    if task is not None:
        is_edition = task is not LONGBENCH_V2 and _plain(name).endswith(_EDITION)
        if is_edition and not task.is_in_edition:
            known = ", ".join(f"{one.name}{_EDITION}" for one in TASKS.values() if one.is_in_edition)
            raise UsageError(f"--dataset: LongBench-E has no {task.name}, did you mean {task.name}?\nit has {known}")
        return task, f"{task.name}{_EDITION if is_edition else ''}"
    near = difflib.get_close_matches(_plain(name), _BY_NAME, n=1, cutoff=0.5)
    hint = f", did you mean {_BY_NAME[near[0]].name}?" if near else ""
    hint = "; several are separated by spaces" if "," in name else hint
    raise UsageError(f"--dataset: unknown task {name!r}{hint}\nknown are {_list_names()}")


@lru_cache(maxsize=64)
def name_task(path: str) -> tuple[Task | None, str]:
    """The task that a file's path tells, and its name; of an unknown one, what the file is called.

    The name of the file counts, then those of the two folders that it is in: `qasper/test/0000.parquet` is qasper.
    """
    parts = PurePath(path).parts[-_LOOKED_AT:][::-1]
    names = [PurePath(parts[0]).stem, *parts[1:]]
    for name in names:
        task = find_task(name) or find_task(_strip(name))
        if task is not None:
            return task, task.name
    telling = (name for name in names if not _SAYS_NOTHING.fullmatch(_plain(name)))
    return None, next(telling, names[0])


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_")


def _strip(name: str) -> str:
    """The name without what stands around it in names of files: `longbench_`, `-00000-of-00001`, `_test`."""
    plain = re.sub(r"[^a-z0-9_]", "_", _plain(name))
    while (shorter := _AROUND.sub("", plain)) != plain:
        plain = shorter
    return plain


def _list_names() -> str:
    names = [*TASKS, LONGBENCH_V2.name]
    lines = [", ".join(names[start : start + 6]) for start in range(0, len(names), 6)]
    return ",\n  ".join(lines)
