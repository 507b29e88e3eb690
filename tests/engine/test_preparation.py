from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fluxperf.api import APIS, ChatOptions
from fluxperf.engine.bodies import Prepared
from fluxperf.engine.preparation import Encoded, Encoding, Preparation, prepare
from fluxperf.engine.texts import Texts
from fluxperf.mapped import mapped
from fluxperf.model import CONTROL
from fluxperf.plan.editions import Edition, Rewrite, plan_editions, salted
from fluxperf.plan.planner import PLAIN, PlanRequest, plan_levels
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


def plain(*sample: int) -> Edition:
    return Edition(PLAIN, sample)


def read(preparation: Preparation, order: list[int], edition: str = PLAIN) -> list[Prepared]:
    return [preparation.bodies[ticket] for ticket in preparation.tickets(edition, order)]


def question(entry: Prepared) -> str:
    text: str = json.loads(entry.body)["messages"][-1]["content"]
    return text


def questions(preparation: Preparation, edition: str, order: list[int]) -> list[str]:
    return [question(entry) for entry in read(preparation, order, edition)]


def test_what_is_drawn_can_be_sent_in_any_order(dataset: Dataset) -> None:
    found = read(prepare(dataset, [plain(0, 1, 3)], ENCODING), [3, 0, 1, 3])
    assert [entry.index for entry in found] == [3, 0, 1, 3]
    assert [entry.session_id for entry in found] == [None, None, "b", None]
    assert [question(entry) for entry in found] == ["fourth", "first", "second", "fourth"]
    assert all(entry.prompt_tokens_estimate > 0 for entry in found)


def test_the_limit_of_an_entry_goes_before_that_of_the_run(dataset: Dataset) -> None:
    first, limited = read(prepare(dataset, [plain(0, 2)], ENCODING), [0, 2])
    assert (json.loads(first.body)["max_tokens"], json.loads(limited.body)["max_tokens"]) == (9, 5)


def test_duplicates_are_counted_within_a_sample(dataset: Dataset) -> None:
    preparation = prepare(dataset, [plain(0, 1, 2, 3)], ENCODING)
    assert preparation.count_duplicates(PLAIN, [0, 1, 2, 3]) == 1
    assert preparation.count_duplicates(PLAIN, [0, 1, 3]) == 0
    assert preparation.count_cut(PLAIN, [0, 1, 2, 3]) == 0


def test_memory_does_not_grow_with_the_requests(dataset: Dataset) -> None:
    some = prepare(dataset, [plain(0)], ENCODING)
    count = 50_000
    numbers = mapped(number // 2 for number in range(count))
    tracemalloc.start()
    try:
        texts = Texts(some.bodies, numbers, numbers)
        many = Preparation(some.bodies, {PLAIN: Encoded(numbers, numbers, texts, numbers, numbers)})
        assert many.count_duplicates(PLAIN, range(count)) == count // 2
        assert sum(many.tickets(PLAIN, range(count))) == many.count_cut(PLAIN, range(count)) == sum(numbers)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1_000_000 < 8 * count * 4


def test_long_prompts_are_cut_and_counted(dataset: Dataset) -> None:
    preparation = prepare(dataset, [plain(0, 1, 3)], replace(ENCODING, max_input_length=5))
    assert questions(preparation, PLAIN, [0, 1, 3]) == ["first", "secon", "fourt"]
    assert [preparation.count_cut(PLAIN, sample) for sample in ([0], [1], [0, 1, 3])] == [0, 1, 2]


# Editions.


def begin(text: str) -> Rewrite:
    """Puts a text before each prompt."""
    return lambda entry: salted(entry, salt=text)


def test_each_edition_is_sent_in_its_own_form(dataset: Dataset) -> None:
    editions = [plain(0, 1), Edition("salted", [1, 3], salt=begin("[x] ")), Edition("fresh", [0], renew=begin("new "))]
    preparation = prepare(dataset, editions, ENCODING)
    assert questions(preparation, PLAIN, [0, 1]) == ["first", "second"]
    assert questions(preparation, "salted", [3, 1]) == ["[x] fourth", "[x] second"]
    assert questions(preparation, "fresh", [0]) == ["new first"]
    assert [entry.index for entry in read(preparation, [3, 1], "salted")] == [3, 1]
    assert [entry.session_id for entry in read(preparation, [3, 1], "salted")] == [None, "b"]


def test_a_salt_is_part_of_what_is_cut_and_what_is_renewed_has_that_length(dataset: Dataset) -> None:
    editions = [
        Edition("salted", [0, 3], salt=begin("[x] ")),
        Edition("fresh", [0, 3], salt=begin("[x] "), renew=begin("new ")),
    ]
    preparation = prepare(dataset, editions, replace(ENCODING, max_input_length=9))
    assert questions(preparation, "salted", [0, 3]) == ["[x] first", "[x] fourt"]
    assert questions(preparation, "fresh", [0, 3]) == ["new [x] first", "new [x] fourt"]
    assert preparation.count_cut("salted", [0, 3]) == preparation.count_cut("fresh", [0, 3]) == 1


def test_what_is_noticed_in_one_edition_is_not_lost_in_another(dataset: Dataset) -> None:
    levels = plan_levels(PlanRequest(dataset_size=4, concurrency=(2,), control_round=True))
    preparation = prepare(dataset, plan_editions(levels, 4, "token"), replace(ENCODING, max_input_length=5))
    assert (preparation.count_duplicates(PLAIN, range(4)), preparation.count_cut(PLAIN, range(4))) == (1, 2)
    assert preparation.count_duplicates("control/2", range(4)) == 0  # each is fresh
    assert preparation.count_cut("control/2", range(4)) == 2


@pytest.mark.parametrize("same_samples", [False, True])
def test_duplicates_are_found_under_a_salt_too(dataset: Dataset, *, same_samples: bool) -> None:
    request = PlanRequest(
        dataset_size=4, concurrency=(2, 3), num_samples=(4, 1), salted=True, same_samples=same_samples
    )
    preparation = prepare(dataset, plan_editions(plan_levels(request), 4, "token"), ENCODING)
    assert preparation.count_duplicates("salted/2", range(4)) == 1


def test_a_plan_can_be_sent_as_it_says(dataset: Dataset) -> None:
    request = PlanRequest(dataset_size=4, concurrency=(2, 3), num_samples=(2,), control_round=True, salted=True)
    levels = plan_levels(request)
    preparation = prepare(dataset, plan_editions(levels, 4, "token"), ENCODING)
    sent = {}
    for level in levels:
        for plan in level.rounds:
            found = read(preparation, list(plan.order), plan.edition)
            assert [entry.index for entry in found] == list(plan.order)
            sent[level.concurrency, plan.round] = {entry.body for entry in found}
    for concurrency in (2, 3):
        assert sent[concurrency, 1] == sent[concurrency, 2]
        assert not sent[concurrency, 1] & sent[concurrency, CONTROL]
    assert not sent[2, 1] & sent[3, 1]


def test_texts_are_measured_as_an_edition_has_them(dataset: Dataset) -> None:
    """Between [{ and }]: the role, and the text with its quotes."""
    preparation = prepare(dataset, [plain(0, 2, 3), Edition("salted", [0, 3], salt=begin("[x] "))], ENCODING)
    around = len(b'[{"role":"user","content":""')
    found = preparation.measure_texts(PLAIN, [0, 2, 3])
    assert found is not None
    assert sorted((one.length - around, one.shared - around) for one in found) == [(5, -around), (5, 5), (6, 0)]
    found = preparation.measure_texts("salted", [0, 3])
    assert found is not None
    assert max(one.shared for one in found) == around - 1 + len("[x] f")
