from __future__ import annotations

import pytest

from fluxperf.errors import UsageError
from fluxperf_tools.longbench.tasks import (
    LONGBENCH_V2,
    PICKED,
    TASKS,
    find_task,
    name_task,
    read_dataset_name,
)

FORMATS = {
    "context_question": "narrativeqa qasper multifieldqa_en multifieldqa_zh hotpotqa 2wikimqa musique dureader",
    "context_only": "gov_report qmsum multi_news vcsum",
    "concatenate": "trec triviaqa samsum lsht passage_count passage_retrieval_en passage_retrieval_zh lcc repobench-p",
}
CHINESE = {"multifieldqa_zh", "dureader", "vcsum", "lsht", "passage_retrieval_zh"}


def test_all_tasks_are_known_with_their_format_and_language() -> None:
    wanted = {name: form for form, names in FORMATS.items() for name in names.split()}
    assert {name: PICKED[task.kind][0] for name, task in TASKS.items()} == wanted
    assert len(TASKS) == 21
    assert {name for name, task in TASKS.items() if task.language == "zh"} == CHINESE
    assert PICKED[LONGBENCH_V2.kind][0] == "context_question"


@pytest.mark.parametrize("name", TASKS)
def test_a_name_is_found_in_any_case_with_either_dash_and_as_an_edition(name: str) -> None:
    task = TASKS[name]
    for written in (name, name.upper(), name.replace("_", "-"), name.replace("-", "_"), f"{name}_e", f"{name}-E"):
        assert find_task(written) is task
    assert read_dataset_name(name.upper()) == (task, name)
    if task.is_in_edition:
        assert read_dataset_name(f"{name}-e") == read_dataset_name(f"{name}_E") == (task, f"{name}_e")
    else:
        with pytest.raises(UsageError, match=f"LongBench-E has no {name}, did you mean {name}") as caught:
            read_dataset_name(f"{name}_e")
        assert "\nit has qasper_e, multifieldqa_en_e," in str(caught.value)


def test_the_edition_with_even_lengths_has_thirteen_tasks() -> None:
    assert " ".join(name for name, task in TASKS.items() if task.is_in_edition) == (
        "qasper multifieldqa_en hotpotqa 2wikimqa gov_report multi_news trec triviaqa samsum passage_count "
        "passage_retrieval_en lcc repobench-p"
    )


@pytest.mark.parametrize("name", ["longbench-v2", "LongBench_v2", "longbenchv2", "LongBench2"])
def test_the_second_edition_is_found(name: str) -> None:
    assert read_dataset_name(name) == (LONGBENCH_V2, "longbench-v2")


@pytest.mark.parametrize(
    ("name", "near"), [("naratiiveqa", "narrativeqa"), ("hotpot_qa", "hotpotqa"), ("repobench", "repobench-p")]
)
def test_an_unknown_name_is_told_the_nearest(name: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean {near}") as caught:
        read_dataset_name(name)
    assert all(task in str(caught.value) for task in TASKS)


def test_a_name_like_none_is_told_them_all() -> None:
    with pytest.raises(UsageError, match="unknown task 'x'\nknown are narrativeqa"):
        read_dataset_name("x")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("narrativeqa.jsonl", "narrativeqa"),
        ("/a/b/narrativeqa_e.jsonl", "narrativeqa"),
        ("data.zip/data/repobench-p.jsonl", "repobench-p"),
        ("RepoBench_P.json", "repobench-p"),
        ("qasper/test-00000-of-00001.parquet", "qasper"),
        ("qasper/test/0000.parquet", "qasper"),
        ("x/2wikimqa-test.jsonl", "2wikimqa"),
        ("longbench_lcc_e.test.jsonl", "lcc"),
        ("x/LongBench-v2.json", "longbench-v2"),
        ("lsht-00000-of-00002.parquet", "lsht"),
    ],
)
def test_the_name_of_a_file_tells_the_task(path: str, name: str) -> None:
    task, label = name_task(path)
    assert (task and task.name, label) == (name, name)


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("mine.jsonl", "mine"),
        ("mine/test/0000.parquet", "mine"),
        ("mine/train-00001-of-00010.parquet", "mine"),
        ("0000.parquet", "0000"),
        ("qasper/a/b/mine.jsonl", "mine"),
    ],
)
def test_an_unknown_task_is_called_by_what_tells_something(path: str, label: str) -> None:
    assert name_task(path) == (None, label)
