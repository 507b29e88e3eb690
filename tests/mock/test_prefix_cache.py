from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fluxperf_mock.cache import PrefixCache

# Chains as trees have them: the key of a block says the whole path to it.
paths = st.lists(st.integers(0, 2), max_size=8)


def chain(path: list[int]) -> list[int]:
    return [hash(tuple(path[: end + 1])) for end in range(len(path))]


@given(st.integers(0, 10), st.lists(paths))
def test_the_cache_never_holds_more_than_it_may(capacity: int, stored: list[list[int]]) -> None:
    cache = PrefixCache(capacity)
    for path in stored:
        cache.store(chain(path))
        assert len(cache) <= capacity


@given(st.integers(0, 10), st.lists(paths), paths)
def test_what_was_just_stored_is_found_as_far_as_there_is_room(
    capacity: int, earlier: list[list[int]], path: list[int]
) -> None:
    cache = PrefixCache(capacity)
    for other in earlier:
        cache.store(chain(other))
    cache.store(chain(path))
    assert cache.match(chain(path)) == min(len(path), capacity)


@given(st.lists(paths), paths)
def test_without_eviction_a_match_is_the_longest_stored_prefix(stored: list[list[int]], path: list[int]) -> None:
    cache = PrefixCache(1000)
    for other in stored:
        cache.store(chain(other))
    ends = [end for end in range(len(path) + 1) if any(other[:end] == path[:end] for other in stored)]
    assert cache.match(chain(path)) == max(ends, default=0)


def test_the_least_recently_used_chain_goes_first() -> None:
    cache = PrefixCache(4)
    cache.store([1, 2])
    cache.store([3, 4])
    cache.store([1, 2])
    cache.store([5, 6])
    assert [cache.match(keys) for keys in ([1, 2], [3, 4], [5, 6])] == [2, 0, 2]


def test_within_a_chain_the_last_block_goes_first() -> None:
    cache = PrefixCache(4)
    cache.store([1, 2, 3])
    cache.store([7, 8])
    assert cache.match([1, 2, 3]) == 2


def test_a_look_alone_keeps_nothing_alive() -> None:
    cache = PrefixCache(2)
    cache.store([1])
    cache.store([2])
    cache.match([1])
    cache.store([3])
    assert cache.match([1]) == 0


def test_clear_forgets_everything() -> None:
    cache = PrefixCache(2)
    cache.store([1, 2])
    cache.clear()
    assert cache.match([1, 2]) == len(cache) == 0
