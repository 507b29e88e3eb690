from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxperf.api import APIS, ChatOptions
from fluxperf.engine.bodies import Prepared
from fluxperf.engine.preparation import Encoding, Preparation, prepare
from fluxperf.mapped import mapped
from fluxperf.plan.workload import Dataset, open_dataset

LINES = [
    {"text": "first"},
    {"session_id": "b", "messages": [{"role": "user", "content": "second"}]},
    {"text": "first", "max_output_tokens": 5},
    {"text": "fourth"},
]
ENCODING = Encoding(APIS["chat"], ChatOptions(model="m", max_output_tokens=9))


@pytest.fixture
def dataset(tmp_path: Path) -> Iterator[Dataset]:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    with open_dataset(str(path), "dual_round") as opened:
        yield opened


def read(preparation: Preparation, order: list[int]) -> list[Prepared]:
    return [preparation.bodies[ticket] for ticket in preparation.tickets(order)]


def question(entry: Prepared) -> object:
    return json.loads(entry.body)["messages"][-1]["content"]


def test_what_is_drawn_can_be_sent_in_any_order(dataset: Dataset) -> None:
    found = read(prepare(dataset, [0, 1, 3], ENCODING), [3, 0, 1, 3])
    assert [entry.index for entry in found] == [3, 0, 1, 3]
    assert [entry.session_id for entry in found] == [None, None, "b", None]
    assert [question(entry) for entry in found] == ["fourth", "first", "second", "fourth"]
    assert all(entry.prompt_tokens_estimate > 0 for entry in found)


def test_the_limit_of_an_entry_goes_before_that_of_the_run(dataset: Dataset) -> None:
    first, limited = read(prepare(dataset, [0, 2], ENCODING), [0, 2])
    assert (json.loads(first.body)["max_tokens"], json.loads(limited.body)["max_tokens"]) == (9, 5)


def test_duplicates_are_counted_within_a_sample(dataset: Dataset) -> None:
    preparation = prepare(dataset, [0, 1, 2, 3], ENCODING)
    assert preparation.count_duplicates([0, 1, 2, 3]) == 1
    assert preparation.count_duplicates([0, 1, 3]) == 0
    assert preparation.count_cut([0, 1, 2, 3]) == 0


def test_memory_does_not_grow_with_the_requests(dataset: Dataset) -> None:
    some = prepare(dataset, [0], ENCODING)
    count = 50_000
    numbers = mapped(number // 2 for number in range(count))
    tracemalloc.start()
    try:
        many = Preparation(some.bodies, numbers, numbers, numbers)
        assert many.count_duplicates(range(count)) == count // 2
        assert sum(many.tickets(range(count))) == many.count_cut(range(count)) == sum(numbers)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1_000_000 < 8 * count * 4


def test_long_prompts_are_cut_and_counted(dataset: Dataset) -> None:
    encoding = Encoding(ENCODING.api, ENCODING.options, max_input_length=5)
    preparation = prepare(dataset, [0, 1, 3], encoding)
    assert [question(entry) for entry in read(preparation, [0, 1, 3])] == ["first", "secon", "fourt"]
    assert [preparation.count_cut(sample) for sample in ([0], [1], [0, 1, 3])] == [0, 1, 2]
