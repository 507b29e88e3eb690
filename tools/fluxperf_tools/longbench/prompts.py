"""A row of LongBench as the text of a prompt. Knows one row at a time, and neither files nor samples."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from fluxperf_tools.longbench.tasks import LONGBENCH_V2, PICKED, Format, Task, find_task

KEY_BYTES = 16
_CHOICES = ("A", "B", "C", "D")
_KEYS_SHOWN = 8
_NEEDED: dict[Format, str] = {
    "context_question": "its context and its input are",
    "context_only": "its context is",
    "question_only": "its input is",
    "concatenate": "its context and its input are",
}


class Unusable(Exception):
    """What is wrong with a row: words that go on after its place and a colon."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What of a row makes a prompt. `label` is the name of its task, and `task` that task if it is a known one."""

    context: str
    question: str
    identity: str | None
    task: Task | None
    label: str

    @property
    def key(self) -> bytes:
        """16 bytes that are equal for entries with the same `_id`; where there is none, the same context and input."""
        if self.identity is None:
            return self.text_key
        return blake2b(b"_id\0" + _encode(self.identity), digest_size=KEY_BYTES).digest()

    @property
    def text_key(self) -> bytes:
        """16 bytes that are equal for entries with the same context and input."""
        context = _encode(self.context)
        digest = blake2b(b"text\0%d\0" % len(context), digest_size=KEY_BYTES)
        digest.update(context)
        digest.update(_encode(self.question))
        return digest.digest()


@dataclass(frozen=True, slots=True)
class Choice:
    """The format for an entry, and why it is that one."""

    form: Format
    why: str


def read_entry(value: Any, task: Task | None, label: str) -> Entry:
    """The entry in a row (a decoded JSON value), whose file says the task `task`, or none known but `label`.

    The row's own `dataset` goes before that. Rows of LongBench-v2 are told by their shape: the question
    and its choices are their input. Raises Unusable.
    """
    if not isinstance(value, dict):
        raise Unusable(f"no entry, but {_kind(value)}; a row of LongBench is an object with context and input")
    named = value.get("dataset")
    if isinstance(named, str) and named.strip():
        task, label = find_task(named), named.strip()
        label = task.name if task else label
    if "input" not in value and "question" in value:
        question = _text(value, "question")
        if f"choice_{_CHOICES[0]}" in value:
            task, label = LONGBENCH_V2, LONGBENCH_V2.name
            choices = [f"({letter}) {_text(value, f'choice_{letter}')}" for letter in _CHOICES]
            question = "\n".join([question, *choices])
    elif "input" not in value and "context" not in value:
        keys = ", ".join(repr(key[:40]) for key in list(value)[:_KEYS_SHOWN]) or "none"
        raise Unusable(f"neither context nor input; its keys are {keys}")
    else:
        question = _text(value, "input")
    return Entry(_text(value, "context"), question, _identity(value.get("_id")), task, label)


def choose_format(entry: Entry, asked: Format | None) -> Choice:
    """What was asked for; None (`auto`): what suits the type of the task, or of an unknown one the row itself."""
    if asked is not None:
        return Choice(asked, "asked for with --format")
    if entry.task is not None:
        return Choice(*PICKED[entry.task.kind])
    if _is_blank(entry.question):
        return Choice("context_only", "the rows have a context and no input")
    if _is_blank(entry.context):
        return Choice("question_only", "the rows have an input and no context")
    return Choice("context_question", "the rows have a context and an input")


def write_prompt(entry: Entry, form: Format) -> str:
    """The text. Context and input stand in it as they are; a blank one is left out, with what would join it.

    Raises Unusable if nothing is left.
    """
    parts = []
    if form != "question_only" and not _is_blank(entry.context):
        parts.append(entry.context)
    if form != "context_only" and not _is_blank(entry.question):
        parts.append(f"Question: {entry.question}" if form == "context_question" else entry.question)
    if not parts:
        raise Unusable(f"{_NEEDED[form]} empty, so that nothing is left for format {form}")
    return ("\n\n" if form == "context_question" else "\n").join(parts)


def _is_blank(text: str) -> bool:
    return not text or text.isspace()


def _text(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Unusable(f"its {key} is {_kind(value)}, not a text")
    return value


def _identity(value: object) -> str | None:
    """An `_id` that tells something: a text that is not blank, or a number; 5 and 5.0 are "5", too."""
    if isinstance(value, str):
        return None if _is_blank(value) else value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _kind(value: object) -> str:
    kinds = {bool: "a boolean", str: "a text", list: "a list", dict: "an object", int: "a number", float: "a number"}
    return kinds.get(type(value), "null" if value is None else f"a {type(value).__name__}")


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
