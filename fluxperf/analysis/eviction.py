"""Why prompts that were sent before were not found again: is the cache off, or too small for all of them?

A cache that throws out what was used least recently keeps a prompt until more than it can hold has come after it. So
what counts is the *reuse distance*: the tokens of all other prompts between a prompt's two visits (Mattson et al.,
1970). Where prompts of short distance were found and others not, the limit is the size of the cache. And in the same
order every distance is the whole round, so a cache that is a little too small finds nothing at all: LRU thrash.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fluxperf.model import RoundResult, Timeline

# From this share of its tokens on a prompt counts as found.
FOUND = 0.5
# A limit is believed if it puts so many prompts on the right side, and so many are on either.
LEAST_RIGHT, LEAST_SIDE = 0.9, 0.05
# Below this share of what could have hit, nothing to speak of was found.
NOTHING = 0.1
MOST_COMPARED = 20_000


@dataclass(frozen=True, slots=True)
class Visit:
    """A prompt's second visit: how many tokens of others came in between, and whether it was found."""

    distance_tokens: int
    found: bool


def explain_misses(before: RoundResult, later: RoundResult) -> str | None:
    """Why `later` found less than half of what could have hit, in a sentence; None: it found more, or nobody knows."""
    cache = later.summary.cache
    if cache is None or not cache.repeats or cache.hit_rate is None or not cache.expected_rate:
        return None
    found = cache.hit_rate / cache.expected_rate
    if found >= FOUND or len(before.requests) > MOST_COMPARED:
        return None
    work = sum(request.input_tokens + request.output_tokens for request in before.requests)
    capacity = cache.counters.capacity_tokens if cache.counters is not None else None
    if capacity is not None and capacity < work:
        return _too_small(same_order(before.requests, later.requests), capacity, work, told=True)
    visits = find_visits(before.requests, later.requests)
    limit = find_limit(visits)
    if limit is not None:
        return _too_small(same_order(before.requests, later.requests), limit, work, told=False)
    if found > NOTHING:
        return None
    if capacity is None and same_order(before.requests, later.requests):
        return (
            f"LRU thrash, if the cache holds less than the round's {work:,} tokens: in the same order each prompt is "
            "thrown out just before it comes again; or the cache is off. --round2-order reversed, or fewer prompts, "
            "tell which"
        )
    shortest = min((visit.distance_tokens for visit in visits), default=None)
    if shortest is None:
        return None
    return (
        f"the cache is off, or holds less than {max(shortest, 1):,} tokens: nothing was found, though prompts came "
        "again after no more than that of others"
        if capacity is None
        else f"the cache holds {capacity:,} tokens, more than the round's {work:,}, and found nothing: is it on?"
    )


def _too_small(same: bool, capacity: int, work: int, *, told: bool) -> str:
    holds = f"the cache holds {'' if told else 'about '}{capacity:,} tokens, and the round has {work:,}"
    if same:
        return f"LRU thrash: {holds}, so in the same order each prompt is thrown out just before it comes again"
    return f"LRU eviction: {holds}, so only prompts that came again soon enough were found"


def same_order(before: Iterable[Timeline], later: Iterable[Timeline]) -> bool:
    """Whether two rounds sent their prompts in about the same order (rank correlation of 0.9 or more)."""
    first, second = ([request.index for request in _sent(requests)] for requests in (before, later))
    common = set(first) & set(second)
    ranks = {index: rank for rank, index in enumerate(index for index in first if index in common)}
    again = [ranks[index] for index in second if index in common]
    count = len(common)
    if count < 2:
        return True
    distances = sum((rank - place) ** 2 for place, rank in enumerate(again))
    return 1 - 6 * distances / (count * (count * count - 1)) >= 0.9


def _sent(requests: Iterable[Timeline]) -> list[Timeline]:
    return sorted((one for one in requests if one.sent_ns is not None), key=lambda one: one.sent_ns or 0)


def find_visits(before: Iterable[Timeline], later: Iterable[Timeline]) -> list[Visit]:
    """The second visits of all prompts whose cached tokens are known.

    Between the two visits of a prompt come those that were sent after it in the first round, and those before it in
    the second; what is in both sets counts once, and a sum over the second round's order says how much that is.
    """
    first, second = _sent(before), _sent(later)
    place = {request.index: rank for rank, request in enumerate(second)}
    sizes = {request.index: request.input_tokens + request.output_tokens for request in first}
    ahead = _Sums(len(second))  # tokens by place in the second round, of prompts that are later in the first
    before_it = _running([sizes.get(request.index, 0) for request in second])
    visits, after = [], 0
    for request in reversed(first):
        rank = place.get(request.index)
        if rank is None:
            after += sizes[request.index]
            continue
        again = second[rank]
        if again.cached_tokens is not None and again.input_tokens:
            distance = after + before_it[rank] - ahead.below(rank)
            visits.append(Visit(distance, again.cached_tokens >= FOUND * again.input_tokens))
        after += sizes[request.index]
        ahead.add(rank, sizes[request.index])
    return visits


def find_limit(visits: Sequence[Visit]) -> int | None:
    """The distance up to which prompts were found, tokens; None: distance does not tell which were."""
    ordered = sorted(visits, key=lambda visit: visit.distance_tokens)
    hits = sum(visit.found for visit in ordered)
    if not ordered or not LEAST_SIDE <= hits / len(ordered) <= 1 - LEAST_SIDE:
        return None
    right = len(ordered) - hits  # with a limit below all of them
    best, limit = right, 0
    for visit in ordered:
        right += 1 if visit.found else -1
        if right > best:
            best, limit = right, visit.distance_tokens
    return limit if best >= LEAST_RIGHT * len(ordered) and limit else None


def _running(values: Sequence[int]) -> list[int]:
    """At each place the sum of what is before it."""
    sums, total = [], 0
    for value in values:
        sums.append(total)
        total += value
    return sums


class _Sums:
    """Sums of what stands before a place, while values are added (a Fenwick tree, 1994)."""

    def __init__(self, size: int) -> None:
        self._tree = [0] * (size + 1)

    def add(self, place: int, value: int) -> None:
        place += 1
        while place < len(self._tree):
            self._tree[place] += value
            place += place & -place

    def below(self, place: int) -> int:
        total = 0
        while place:
            total += self._tree[place]
            place -= place & -place
        return total
