"""Held against a cache that is known: one that throws out what was used least recently, prompt by prompt."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.analysis.eviction import MOST_COMPARED, Visit, explain_misses, find_limit, find_visits, same_order
from fluxperf.model import CacheCounters, Outcome, RoundResult, Timeline
from tests.analysis.levels import counted, measured
from tests.analysis.rounds import MS

ANSWER, LONGEST = 16, 1200  # tokens


class Lru:
    """Keeps prompts and their answers, as long as they all fit."""

    def __init__(self, capacity_tokens: int) -> None:
        self.capacity = capacity_tokens
        self.kept: OrderedDict[int, int] = OrderedDict()

    def visit(self, index: int, tokens: int) -> bool:
        """Whether the prompt was there; it is now."""
        found = index in self.kept
        self.kept[index] = tokens + ANSWER
        self.kept.move_to_end(index)
        while sum(self.kept.values()) > self.capacity:
            self.kept.popitem(last=False)
        return found


def serve(sizes: Sequence[int], order: Sequence[int], cache: Lru) -> list[Timeline]:
    """One after another in that order; the list is by index, as a round has it."""
    sent = []
    for place, index in enumerate(order):
        found = cache.visit(index, sizes[index])
        sent.append(
            Timeline(
                index=index,
                outcome=Outcome.OK,
                sent_ns=place * MS,
                first_output_ns=place * MS + 1,
                prompt_tokens=sizes[index],
                completion_tokens=ANSWER,
                cached_tokens=sizes[index] - 1 if found else 0,
            )
        )
    return sorted(sent, key=lambda request: request.index)


def two_rounds(
    share: float, order: str = "shuffled", *, count: int = 60, seed: int = 1, counters: CacheCounters | None = None
) -> tuple[RoundResult, RoundResult, int]:
    """Two rounds on a cache that holds this share of the first, and how many tokens that is."""
    draw = Random(seed)
    sizes = [draw.randint(200, LONGEST) for _ in range(count)]
    cache = Lru(round((sum(sizes) + ANSWER * count) * share))
    orders = {"same": range(count), "reversed": range(count)[::-1], "shuffled": draw.sample(range(count), count)}
    before = measured(1, serve(sizes, range(count), cache))
    later = measured(2, serve(sizes, orders[order], cache), counters=counters)
    return before, later, cache.capacity


def hit_rate(later: RoundResult) -> float:
    assert later.summary.cache is not None
    assert later.summary.cache.hit_rate is not None
    return later.summary.cache.hit_rate


# What is said.


@pytest.mark.parametrize("order", ["shuffled", "same", "reversed"])
def test_of_a_cache_that_holds_all_there_is_nothing_to_explain(order: str) -> None:
    before, later, _ = two_rounds(1, order)
    assert hit_rate(later) > 0.99
    assert explain_misses(before, later) is None


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_in_the_same_order_a_cache_that_is_a_little_too_small_finds_nothing(share: float) -> None:
    before, later, capacity = two_rounds(share, "same")
    assert hit_rate(later) == 0
    unknown = explain_misses(before, later)
    assert unknown is not None
    assert unknown.startswith("either the cache is off, or this is LRU thrash: if it holds less than the round's ")
    assert "--round2-order reversed" in unknown
    tokens = sum(request.input_tokens for request in later.requests)
    before, later, _ = two_rounds(share, "same", counters=counted(0, tokens, capacity_tokens=capacity))
    known = explain_misses(before, later)
    work = tokens + ANSWER * 60
    assert known == (
        f"LRU thrash: the cache holds {capacity:,} tokens, and the round has {work:,}, so in the same order each "
        "prompt is thrown out just before it comes again"
    )


@pytest.mark.parametrize("order", ["shuffled", "reversed"])
@pytest.mark.parametrize("share", [0.4, 0.6, 0.8])
def test_in_another_order_the_distance_tells_the_size_of_the_cache(order: str, share: float) -> None:
    before, later, capacity = two_rounds(share, order, count=150)
    told = explain_misses(before, later)
    assert told is not None
    assert told.startswith("LRU eviction: the cache holds about ")
    limit = int(told.split("about ")[1].split(" ")[0].replace(",", ""))
    distances = [visit.distance_tokens for visit in find_visits(before.requests, later.requests)]
    beyond = min(distance for distance in distances if distance > limit)
    assert limit <= capacity <= beyond + LONGEST + ANSWER  # a prompt needs room itself


def test_a_capacity_that_is_told_needs_no_guess() -> None:
    before, later, _ = two_rounds(0.4)
    assert later.summary.cache is not None
    told = replace(later.summary.cache, counters=counted(1, 2, capacity_tokens=12_345))
    later = replace(later, summary=replace(later.summary, cache=told))
    words = explain_misses(before, later)
    assert words is not None
    assert words.startswith("LRU eviction: the cache holds 12,345 tokens")


def test_thrash_finds_nothing_so_where_something_was_found_it_is_none() -> None:
    """A cache that keeps what came first, and lets nothing else in."""
    before, later, _ = two_rounds(1, "same")
    kept = [replace(one, cached_tokens=one.input_tokens - 1 if one.index < 20 else 0) for one in later.requests]
    words = explain_misses(before, measured(2, kept, counters=counted(1, 2, capacity_tokens=12_345)))
    assert words is not None
    assert words.startswith("LRU eviction: the cache holds 12,345 tokens")


def test_a_cache_that_is_off() -> None:
    before, later, _ = two_rounds(0)
    words = explain_misses(before, later)
    assert words is not None
    assert words.startswith("the cache is off or very small: not even a prompt that came again after ")
    before, later, _ = two_rounds(0, counters=counted(0, 40_000, capacity_tokens=10**6))
    assert (explain_misses(before, later) or "").startswith(
        "the cache is off, or does not work: it would hold 1,000,000"
    )
    before, later, _ = two_rounds(0, counters=counted(0, 0))
    assert explain_misses(before, later) == "the cache is off, for the server looked nothing up in it"


def test_a_few_hits_are_not_nothing() -> None:
    before, later, _ = two_rounds(0.08)
    assert 0 < hit_rate(later) < 0.1
    assert explain_misses(before, later) == "the cache is very small: it had no more than 1 of the 60 prompts"


@pytest.mark.parametrize("seed", range(20))
def test_hits_that_go_by_nothing_are_not_called_eviction(seed: int) -> None:
    before, later, _ = two_rounds(1, seed=seed)
    draw = Random(seed)
    tossed = [replace(one, cached_tokens=one.input_tokens * (draw.random() < 0.3)) for one in later.requests]
    assert explain_misses(before, measured(2, tossed)) is None


def silent(requests: Sequence[Timeline]) -> list[Timeline]:
    return [replace(one, cached_tokens=None) for one in requests]


def test_where_nobody_knows_nothing_is_said() -> None:
    before, later, _ = two_rounds(0)
    assert explain_misses(before, measured(2, silent([*later.requests]))) is None
    after_reset = measured(2, [*later.requests], repeats=False)
    assert explain_misses(before, after_reset) is None
    without = replace(later, summary=replace(later.summary, cache=None))
    assert explain_misses(before, without) is None


def test_counters_alone_tell_that_a_cache_is_too_small_but_not_by_how_much() -> None:
    before, later, _ = two_rounds(0.4)
    tokens = sum(request.input_tokens for request in later.requests)
    silent_round = measured(2, silent([*later.requests]), counters=counted(tokens // 3, tokens))
    assert explain_misses(before, silent_round) is None
    known = counted(tokens // 3, tokens, capacity_tokens=tokens // 2)
    assert "LRU eviction" in (explain_misses(before, measured(2, silent([*later.requests]), counters=known)) or "")


class Many(tuple[Timeline, ...]):
    """More requests than anybody compares."""

    def __len__(self) -> int:
        return MOST_COMPARED + 1

    def __iter__(self) -> Any:
        raise AssertionError("they are read")


def test_of_too_many_prompts_nothing_is_said() -> None:
    before, later, _ = two_rounds(0)
    assert explain_misses(replace(before, requests=Many()), later) is None


# Orders.


def in_order(*indices: int) -> list[Timeline]:
    return [Timeline(index=index, sent_ns=place) for place, index in enumerate(indices)]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (range(50), range(50), True),
        (range(50), range(50)[::-1], False),
        (range(50), [1, 0, 3, 2, *range(4, 50)], True),  # as workers mix them
        (range(50), Random(1).sample(range(50), 50), False),
        (range(50), [*range(0, 50, 2)], True),  # of what is in both
        ([1], [1], True),
        ([1, 2], [3, 4], True),  # nothing speaks against it
    ],
)
def test_about_the_same_order(first: Sequence[int], second: Sequence[int], same: bool) -> None:
    assert same_order(in_order(*first), in_order(*second)) is same


def test_what_was_never_sent_has_no_place() -> None:
    unsent = Timeline(index=9)
    assert same_order([*in_order(1, 2, 3), unsent], [unsent, *in_order(1, 2, 3)])


# Distances.


def brute(first: Sequence[Timeline], second: Sequence[Timeline]) -> list[int]:
    """The tokens of each prompt that was sent between a prompt's two visits, once."""
    sizes = {one.index: one.input_tokens + one.output_tokens for one in first}
    distances = []
    for rank, request in enumerate(first):
        places = [place for place, other in enumerate(second) if other.index == request.index]
        if places:
            between = {other.index for other in (*first[rank + 1 :], *second[: places[0]])}
            distances.append(sum(sizes.get(index, 0) for index in between))
    return distances


@given(st.data())
def test_distances_are_of_the_prompts_in_between_each_counted_once(data: st.DataObject) -> None:
    indices = data.draw(st.lists(st.integers(0, 30), unique=True, max_size=12))
    again = data.draw(st.permutations(indices))[: data.draw(st.integers(0, 12))]
    sizes = {index: data.draw(st.integers(1, 1000)) for index in indices}
    first = [Timeline(index=index, sent_ns=place, prompt_tokens=sizes[index]) for place, index in enumerate(indices)]
    second = [
        Timeline(index=index, sent_ns=place, prompt_tokens=sizes[index], cached_tokens=0)
        for place, index in enumerate(again)
    ]
    found = find_visits(first, second)
    assert sorted(visit.distance_tokens for visit in found) == sorted(brute(first, second))


def test_a_prompt_is_found_if_half_of_it_was() -> None:
    first = [Timeline(index=index, sent_ns=index, prompt_tokens=100) for index in range(3)]
    second = [replace(one, cached_tokens=cached) for one, cached in zip(first, (49, 50, None), strict=True)]
    assert {visit.found for visit in find_visits(first, second)} == {False, True}
    assert len(find_visits(first, second)) == 2


# Limits.


def visits(found: Sequence[int], missed: Sequence[int]) -> list[Visit]:
    return [*(Visit(distance, True) for distance in found), *(Visit(distance, False) for distance in missed)]


@pytest.mark.parametrize(
    ("found", "missed", "limit"),
    [
        (range(10, 60, 10), range(60, 110, 10), 50),
        (range(10, 110, 10), range(200, 2000, 10), 100),
        (range(60, 110, 10), range(10, 60, 10), None),  # the far ones were found, and the near ones not
        (range(10, 100, 20), range(20, 110, 20), None),
        ([10, 20], range(60, 110, 10), None),  # so few may be chance
        (range(10, 60, 10), [60, 70], None),
        ([10, 20, 30], range(60, 1060, 10), None),  # three of a hundred too
        ([0, 0, 0], [10, 20, 30], None),  # nothing in between: no size is known
        ([50] * 5, [50] * 5, None),  # at one distance there is nothing to tell
        ([], [10, 20, 30], None),
        ([], [], None),
    ],
)
def test_the_limit_is_where_what_was_found_ends(found: Sequence[int], missed: Sequence[int], limit: int | None) -> None:
    assert find_limit(visits(found, missed)) == limit


def test_some_may_be_on_the_wrong_side() -> None:
    found, missed = [*range(10, 210, 10)], [*range(300, 500, 10)]
    assert find_limit(visits([*found, 1000], missed)) == 200
    assert find_limit(visits([*found, *range(1000, 1010)], missed)) is None


@pytest.mark.parametrize("count", [10, 30, 100])
def test_chance_seldom_draws_a_line(count: int) -> None:
    draw = Random(count)
    lines = 0
    for _ in range(200):
        tossed = [Visit(distance, draw.random() < 0.3) for distance in range(1, count + 1)]
        lines += find_limit(tossed) is not None
    assert lines <= 10


# Sessions.


def test_a_session_is_one_visit_of_the_size_to_which_it_grew() -> None:
    """Its turns repeat one another, so their tokens do not add up."""

    def sent(index: int, turn: int, at_ms: int, tokens: int, cached: int) -> Timeline:
        return Timeline(
            index=index,
            turn=turn,
            outcome=Outcome.OK,
            sent_ns=at_ms * MS,
            prompt_tokens=tokens,
            completion_tokens=10,
            cached_tokens=cached,
        )

    before = [sent(0, 0, 0, 100, 0), sent(0, 1, 1, 300, 110), sent(1, 0, 2, 50, 0), sent(2, 0, 3, 70, 0)]
    later = [sent(0, 0, 10, 100, 99), sent(0, 1, 13, 300, 110), sent(1, 0, 11, 50, 0), sent(2, 0, 12, 70, 0)]
    visits = find_visits(before, later)
    assert sorted((visit.distance_tokens, visit.found) for visit in visits) == [
        (140, True),  # the two that came after it
        (310 + 60, False),
        (310 + 80, False),
    ]
