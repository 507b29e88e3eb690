from __future__ import annotations

import tracemalloc
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.errors import UsageError
from fluxperf.model import CONTROL
from fluxperf.plan.planner import PLAIN, LevelPlan, PlanRequest, WorkerPlan, deal_lanes, find_drawn, plan_levels


@st.composite
def requests(draw: st.DrawFn) -> PlanRequest:
    levels = draw(st.lists(st.integers(1, 1000), min_size=1, max_size=5, unique=True))
    one_count = st.none() | st.integers(1, 50)
    counts = draw(
        st.lists(one_count, min_size=len(levels), max_size=len(levels)) | st.lists(one_count, max_size=1),
    )
    return PlanRequest(
        dataset_size=draw(st.integers(1, 60)),
        concurrency=tuple(levels),
        num_samples=tuple(counts),
        same_samples=draw(st.booleans()),
        rounds=draw(st.integers(1, 4)),
        later_order=draw(st.sampled_from(["shuffled", "same", "reversed"])),
        control_round=draw(st.booleans()),
        salted=draw(st.booleans()),
        seed=draw(st.integers()),
    )


def dealt_request() -> st.SearchStrategy[PlanRequest]:
    return requests().map(lambda request: replace(request, same_samples=False))


@given(requests())
def test_levels_are_those_asked_for_with_as_many_prompts(request: PlanRequest) -> None:
    plans = plan_levels(request)
    assert tuple(plan.concurrency for plan in plans) == request.concurrency
    counts = request.num_samples or (None,)
    assert tuple(plan.asked for plan in plans) == (counts * len(plans) if len(counts) == 1 else counts)
    for plan in plans:
        asked = request.dataset_size if plan.asked is None else plan.asked
        assert len(plan.sample) == min(asked, request.dataset_size)


@given(requests())
def test_no_prompt_is_twice_in_a_level(request: PlanRequest) -> None:
    for plan in plan_levels(request):
        assert len(set(plan.sample)) == len(plan.sample)
        assert set(plan.sample) <= set(range(request.dataset_size))


@given(dealt_request())
def test_no_prompt_is_sent_again_before_all_were_sent(request: PlanRequest) -> None:
    dealt = [index for plan in plan_levels(request) for index in plan.sample]
    for start in range(0, len(dealt), request.dataset_size):
        once = dealt[start : start + request.dataset_size]
        assert len(set(once)) == len(once)


@given(requests())
def test_same_samples_are_prefixes_of_one_permutation(request: PlanRequest) -> None:
    plans = plan_levels(replace(request, same_samples=True))
    for shorter, longer in pairwise(sorted(plans, key=lambda plan: len(plan.sample))):
        assert list(longer.sample[: len(shorter.sample)]) == list(shorter.sample)


@given(requests())
def test_every_round_sends_the_sample(request: PlanRequest) -> None:
    for plan in plan_levels(request):
        control = [CONTROL] if request.control_round else []
        assert [one.round for one in plan.rounds] == [*range(1, request.rounds + 1), *control]
        assert list(plan.rounds[0].order) == list(plan.sample)
        for one in plan.rounds:
            assert one.concurrency == plan.concurrency
            assert sorted(one.order) == sorted(plan.sample)


@given(requests())
def test_later_rounds_have_the_order_that_was_asked_for(request: PlanRequest) -> None:
    for plan in plan_levels(request):
        for one in plan.rounds[1:]:
            if request.later_order == "same":
                assert list(one.order) == list(plan.sample)
            elif request.later_order == "reversed":
                assert list(one.order) == list(plan.sample)[::-1]


@given(requests())
def test_an_edition_is_what_the_rounds_of_a_level_have_in_common(request: PlanRequest) -> None:
    for plan in plan_levels(request):
        for one in plan.rounds:
            if one.round == CONTROL:
                assert one.edition == f"control/{plan.concurrency}"
            else:
                assert one.edition == (f"salted/{plan.concurrency}" if request.salted else PLAIN)


@given(requests())
def test_drawn_is_what_any_level_sends(request: PlanRequest) -> None:
    plans = plan_levels(request)
    assert list(find_drawn(plans, request.dataset_size)) == sorted({index for plan in plans for index in plan.sample})


def test_memory_does_not_grow_with_the_requests() -> None:
    size = 20_000
    tracemalloc.start()
    try:
        plans = plan_levels(PlanRequest(dataset_size=size, concurrency=(1, 2), num_samples=(size,), rounds=3))
        assert len(find_drawn(plans, size)) == size
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 400_000 < 8 * size * 4


@given(requests())
def test_the_same_request_gives_the_same_plan(request: PlanRequest) -> None:
    assert plan_levels(request) == plan_levels(replace(request))


def plan_one(**changes: int | bool | str) -> LevelPlan:
    request = PlanRequest(dataset_size=100, concurrency=(5,), rounds=3)
    return plan_levels(replace(request, **changes))[0]  # type: ignore[arg-type]


def test_seed_decides_the_sample_and_each_later_round_is_shuffled_anew() -> None:
    assert plan_one(seed=1).sample != plan_one(seed=2).sample
    orders = [tuple(one.order) for one in plan_one(control_round=True).rounds]
    assert len(set(orders)) == len(orders) == 4


def test_how_later_rounds_are_ordered_changes_no_sample() -> None:
    samples = {order: list(plan_one(later_order=order).sample) for order in ("shuffled", "same", "reversed")}
    assert samples["shuffled"] == samples["same"] == samples["reversed"]


def test_a_control_round_and_salts_change_no_other_round() -> None:
    plain, changed = plan_one(), plan_one(control_round=True, salted=True)
    assert [list(one.order) for one in plain.rounds] == [list(one.order) for one in changed.rounds[:-1]]
    assert [one.edition for one in changed.rounds] == ["salted/5"] * 3 + ["control/5"]


def test_plan_is_the_same_in_every_python() -> None:
    plan = plan_levels(PlanRequest(dataset_size=8, concurrency=(3,), num_samples=(5,)))[0]
    assert [list(one.order) for one in plan.rounds] == [[3, 4, 6, 7, 2], [6, 2, 7, 3, 4]]


def test_the_deck_starts_again_where_it_ends() -> None:
    plans = plan_levels(PlanRequest(dataset_size=10, concurrency=(1, 2, 3), num_samples=(4,)))
    first, second, third = (list(plan.sample) for plan in plans)
    assert third[2:] == first[:2]
    assert not set(third[:2]) & set(first + second)


def test_more_asked_than_there_is_uses_all_once() -> None:
    plan = plan_levels(PlanRequest(dataset_size=3, concurrency=(1,), num_samples=(50,)))[0]
    assert plan.asked == 50
    assert sorted(plan.sample) == [0, 1, 2]


BASE = PlanRequest(dataset_size=10, concurrency=(5, 10, 20))


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        (replace(BASE, concurrency=()), "no concurrency given; give at least one level, such as --concurrency 10"),
        (replace(BASE, concurrency=(0,)), "a concurrency must be at least 1, but is 0"),
        (
            replace(BASE, concurrency=(5, 10, 5)),
            "the concurrency 5 is given more than once; its result files would be the same",
        ),
        (replace(BASE, num_samples=(0,)), "a number of samples must be at least 1, but is 0"),
        (
            replace(BASE, num_samples=(5, None)),
            "2 numbers of samples (5 all) for 3 levels of concurrency (5 10 20); give one for all, or one for each",
        ),
        (replace(BASE, rounds=0), "the rounds must be at least 1, but are 0"),
        (replace(BASE, dataset_size=0), "the dataset has no entries, so there is nothing to send"),
    ],
)
def test_what_cannot_be_planned(request_: PlanRequest, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan_levels(request_)
    assert str(caught.value) == complaint


@given(st.integers(1, 5000), st.integers(1, 300))
def test_lanes_are_dealt_evenly_and_none_is_lost(concurrency: int, workers: int) -> None:
    plans = deal_lanes(concurrency, workers)
    lanes = [plan.lanes for plan in plans]
    assert sum(lanes) == concurrency
    assert max(lanes) - min(lanes) <= 1
    assert min(lanes) >= 1
    assert [plan.worker for plan in plans] == list(range(min(workers, concurrency)))
    assert {plan.workers for plan in plans} == {len(plans)}


def test_lanes_of_a_small_case() -> None:
    assert deal_lanes(5, 2) == (WorkerPlan(0, 2, 3), WorkerPlan(1, 2, 2))


def test_the_order_of_the_file_is_kept_where_that_is_asked_for() -> None:
    request = PlanRequest(dataset_size=5, concurrency=(1, 2), num_samples=(3,), first_order="file", later_order="same")
    first, second = plan_levels(request)
    assert [list(plan.order) for plan in first.rounds] == [[0, 1, 2]] * 2
    assert list(second.sample) == [3, 4, 0]  # dealt out all the same
