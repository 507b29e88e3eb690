from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf_tools.longbench.prompts import Unusable, choose_format, read_entry, write_prompt
from fluxperf_tools.longbench.tasks import FORMATS, TASKS, Format
from tests.tools.longbench_rows import row, row_v2


def prompt(value: Any, form: Format | None = None, task: str = "") -> str:
    entry = read_entry(value, TASKS.get(task), task)
    return write_prompt(entry, choose_format(entry, form).form)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("context_question", "\n C \n\n\nQuestion: Q\n"),
        ("context_only", "\n C \n"),
        ("question_only", "Q\n"),
        ("concatenate", "\n C \n\nQ\n"),
    ],
)
def test_context_and_input_stand_in_the_templates_as_they_are(form: Format, text: str) -> None:
    assert prompt({"context": "\n C \n", "input": "Q\n"}, form) == text


@pytest.mark.parametrize("blank", ["", "  \n", None])
def test_what_is_blank_is_left_out_with_what_would_join_it(blank: str | None) -> None:
    assert prompt({"context": blank, "input": "Q"}, "context_question") == "Question: Q"
    assert prompt({"context": "C", "input": blank}, "context_question") == "C"
    assert prompt({"context": blank, "input": "Q"}, "concatenate") == "Q"
    assert prompt({"context": "C", "input": blank}, "concatenate") == "C"
    assert prompt({"context": "C"}, "concatenate") == "C"


@pytest.mark.parametrize(
    ("value", "form", "said"),
    [
        ({"context": "", "input": "Q"}, "context_only", "its context is empty"),
        ({"context": "C", "input": " "}, "question_only", "its input is empty"),
        ({"context": "", "input": ""}, "concatenate", "its context and its input are empty"),
        ({"context": "", "input": "", "dataset": "trec"}, None, "are empty"),
        ({"context": "", "input": "Q", "dataset": "gov_report"}, None, "its context is empty"),
        ({"context": ["C"], "input": "Q"}, None, "its context is a list, not a text"),
        ({"context": "C", "input": 7}, None, "its input is a number, not a text"),
        ({"text": "C"}, None, "neither context nor input; its keys are 'text'"),
        ({}, None, "its keys are none"),
        (["C"], None, "no entry, but a list"),
        (None, None, "no entry, but null"),
        ("C", None, "no entry, but a text"),
    ],
)
def test_what_cannot_be_used_is_said(value: Any, form: Format | None, said: str) -> None:
    with pytest.raises(Unusable) as caught:
        prompt(value, form)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("task", "form"),
    [
        ("hotpotqa", "context_question"),
        ("vcsum", "context_only"),
        ("lsht", "concatenate"),
        ("passage_count", "concatenate"),
        ("repobench-p", "concatenate"),
    ],
)
def test_auto_goes_by_the_row_before_the_file(task: str, form: Format) -> None:
    for name in (task, f"{task}_e", task.upper()):
        entry = read_entry(row(task, 1, dataset=name), TASKS["qmsum"], "qmsum")
        assert (entry.task, entry.label) == (TASKS[task], task)
        assert choose_format(entry, None).form == form
    entry = read_entry(row(task, 1, dataset=None), TASKS["qmsum"], "qmsum")
    assert choose_format(entry, None).form == "context_only"


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ({"context": "C", "input": "Q"}, "context_question"),
        ({"context": "C", "input": ""}, "context_only"),
        ({"input": "Q"}, "question_only"),
    ],
)
def test_of_an_unknown_task_the_row_decides(value: dict[str, str], form: Format) -> None:
    entry = read_entry({**value, "dataset": "new_task"}, TASKS["qmsum"], "qmsum")
    assert (entry.task, entry.label) == (None, "new_task")
    choice = choose_format(entry, None)
    assert choice.form == form
    assert "rows have" in choice.why


def test_longbench_v2_is_told_by_its_shape() -> None:
    entry = read_entry(row_v2(1, context="C", question="Q?"), None, "data")
    assert entry.label == "longbench-v2"
    text = "C\n\nQuestion: Q?\n(A) the first\n(B) the second\n(C) the third\n(D) none"
    assert write_prompt(entry, choose_format(entry, None).form) == text
    assert prompt({"context": "C", "question": "Q"}, "context_question") == "C\n\nQuestion: Q"


def key(**changes: Any) -> bytes:
    return read_entry({"context": "C", "input": "Q", "_id": "x"} | changes, None, "").key


def test_entries_are_the_same_by_their_id() -> None:
    assert key() == key(context="other", input="other")
    assert key() != key(_id="y")
    assert key(_id=7) == key(_id="7")


@pytest.mark.parametrize("none", ["", "  ", None, True, ["x"], {}])
def test_without_an_id_they_are_the_same_by_the_whole_of_their_text(none: object) -> None:
    assert key(_id=none) == key(_id=None)
    assert key(_id=none) != key()
    assert key(_id=none, input="Q2") != key(_id=None)
    assert key(_id=none, context="C" * 100_000 + "x") != key(_id=none, context="C" * 100_000 + "y")
    assert key(_id=none, context="CQ", input="") != key(_id=none, context="C", input="Q")


TEXTS = st.none() | st.text(st.characters(codec=None))


@given(TEXTS, TEXTS, st.sampled_from([None, *FORMATS]))
def test_any_texts_give_a_prompt_or_are_unusable(
    context: str | None, question: str | None, form: Format | None
) -> None:
    value = {"context": context, "input": question}
    try:
        text = prompt(value, form)
    except Unusable:
        return
    assert text.strip()
    assert not (context or "").strip() or form == "question_only" or (context or "") in text
    assert read_entry(value, None, "").key
