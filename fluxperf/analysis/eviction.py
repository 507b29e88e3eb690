"""Why prompts that were sent before were not found again: is the cache off, or too small for all of them?

A cache that throws out what was used least recently keeps a prompt until more than it can hold has come after it. So
what counts is the *reuse distance*: the tokens of all other prompts between a prompt's two visits (Mattson et al.,
1970). Where prompts of short distance were found and others not, the limit is the size of the cache. And in the same
order every distance is the whole round, so a cache that is a little too small finds nothing at all: LRU thrash.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from fluxperf.model import RoundResult, Timeline

# From this share of its tokens on a prompt counts as found; a round is as it should be from that share of what could
# have hit.
FOUND, ENOUGH = 0.5, 0.9
# Below this share of what could have hit, nothing to speak of was found.
NOTHING = 0.1
# A limit is believed if it has this share of those that were found on its one side, and of the others on its other, on
# average. And if there are so many of either: with fewer, chance often draws a line as good.
LEAST_RIGHT = 0.9
LEAST_SHARE, LEAST_COUNT = 0.05, 3
MOST_COMPARED = 20_000


@dataclass(frozen=True, slots=True)
class Visit:
    """A prompt's second visit: how many tokens of others came in between, and whether it was found."""

    distance_tokens: int
    found: bool


def explain_misses(before: RoundResult, later: RoundResult) -> str | None:
    """Why `later` found less than nine tenths of what could have hit, in a sentence.

    None: it found more, or nobody knows.
    """
    cache = later.summary.cache
    if cache is None or not cache.repeats or cache.hit_rate is None or not cache.expected_rate:
        return None
    found = cache.hit_rate / cache.expected_rate
    if found >= ENOUGH or len(before.requests) > MOST_COMPARED:
        return None
    if cache.counters is not None and cache.counters.queries == 0:
        return "the cache is off, for the server looked nothing up in it"
    work = sum(one.size_tokens for one in _sent(before.requests))
    capacity = cache.counters.capacity_tokens if cache.counters is not None else None
    thrash = found <= NOTHING and same_order(before.requests, later.requests)
    if capacity is not None and capacity < work:
        return _too_small(f"{capacity:,}", work, thrash=thrash)
    visits = find_visits(before.requests, later.requests)
    limit = find_limit(visits)
    if limit is not None:
        return _too_small(f"about {limit:,}", work, thrash=thrash)
    if found > NOTHING or not visits:
        return None
    if capacity is not None:
        return f"the cache is off, or does not work: it would hold {capacity:,} tokens, and the round has {work:,}"
    if thrash:
        return (
            f"either the cache is off, or this is LRU thrash: if it holds less than the round's {work:,} tokens, in "
            "the same order each prompt is thrown out just before it comes again (--round2-order reversed would tell)"
        )
    if hits := sum(visit.found for visit in visits):
        return f"the cache is very small: it had no more than {hits} of the {len(visits)} prompts"
    nearest = max(min(visit.distance_tokens for visit in visits), 1)
    return f"the cache is off or very small: not even a prompt that came again after {nearest:,} tokens was found"


def _too_small(holds: str, work: int, *, thrash: bool) -> str:
    size = f"the cache holds {holds} tokens, and the round has {work:,}"
    if thrash:
        return f"LRU thrash: {size}, so in the same order each prompt is thrown out just before it comes again"
    return f"LRU eviction: {size}, so only prompts that came again soon enough were found"


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


@dataclass(frozen=True, slots=True)
class _Sent:
    """A prompt as it was sent in one round, or a session: its first request, and the size to which it grew."""

    index: int
    sent_ns: int
    size_tokens: int
    found: bool | None


def _sent(requests: Iterable[Timeline]) -> list[_Sent]:
    """What was sent, in that order. The requests are in order of index, then turn."""
    items = []
    sent = (one for one in requests if one.sent_ns is not None)
    for index, group in groupby(sent, key=lambda one: one.index):
        first, *others = group
        cached = first.believed_cached_tokens
        found = None if cached is None else cached >= FOUND * first.input_tokens
        items.append(_Sent(index, first.sent_ns or 0, max(map(_size, (first, *others))), found))
    return sorted(items, key=lambda one: one.sent_ns)


def _size(request: Timeline) -> int:
    """What it takes of the cache: engines keep what they generate too."""
    return request.input_tokens + request.output_tokens


def find_visits(before: Iterable[Timeline], later: Iterable[Timeline]) -> list[Visit]:
    """The second visits of all prompts whose cached tokens are known.

    Between the two visits of a prompt come those that were sent after it in the first round, and those before it in
    the second; what is in both sets counts once, and a sum over the second round's order says how much that is.
    """
    first, second = _sent(before), _sent(later)
    place = {request.index: rank for rank, request in enumerate(second)}
    sizes = {request.index: request.size_tokens for request in first}
    ahead = _Sums(len(second))  # tokens by place in the second round, of prompts that are later in the first
    before_it = _running([sizes.get(request.index, 0) for request in second])
    visits, after = [], 0
    for request in reversed(first):
        rank = place.get(request.index)
        if rank is None:
            after += sizes[request.index]
            continue
        again = second[rank]
        if again.found is not None:
            distance = after + before_it[rank] - ahead.below(rank)
            visits.append(Visit(distance, again.found))
        after += sizes[request.index]
        ahead.add(rank, sizes[request.index])
    return visits


def find_limit(visits: Sequence[Visit]) -> int | None:
    """The distance up to which prompts were found, tokens; None: distance does not tell which were."""
    hits = sum(visit.found for visit in visits)
    misses = len(visits) - hits
    if min(hits, misses) < max(LEAST_COUNT, LEAST_SHARE * len(visits)):
        return None
    best, limit = 0.0, 0
    within = Counter[bool]()  # those of the distance so far, by whether they were found
    for visit in sorted(visits, key=lambda visit: (visit.distance_tokens, visit.found)):
        within[visit.found] += 1
        right = (within[True] / hits + 1 - within[False] / misses) / 2
        if right > best:
            best, limit = right, visit.distance_tokens
    return limit if best >= LEAST_RIGHT and limit else None


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
