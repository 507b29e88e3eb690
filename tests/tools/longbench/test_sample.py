from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf_tools.longbench import sample
from fluxperf_tools.longbench.sample import Draw, Row, Sieve, Wish, split

Entry = tuple[bytes | None, int, bool]  # its _id, what it says, and whether it is outside of the limits


def key_of(entry: Entry) -> bytes:
    return b"says %d" % entry[1] if entry[0] is None else entry[0]


def make_rows(entries: Sequence[Entry], wish: Wish) -> tuple[list[Row], set[int]]:
    """Rows of entries, and the numbers of those whose text would have been kept while they were read."""
    sieve, rows, kept = Sieve(wish), [], set()
    for number, entry in enumerate(entries):
        name, says, is_outside = entry
        rank = wish.rank(key_of(entry))
        if not is_outside and (name is None or sieve.admits(rank)):
            kept.add(number)
        rows.append(Row(*split(rank), name is not None, says, says, 0, is_outside, 0, number, 1))
    return rows, kept


def true_keys(entries: Sequence[Entry], wish: Wish) -> list[bytes]:
    """What each entry counts as: an unnamed one as a named one that says the same, if there is one."""
    keys = []
    for entry in entries:
        named = [other[0] for other in entries if other[0] is not None and other[1] == entry[1]]
        joined = (min(named, key=wish.rank) if wish.shuffle else named[0]) if named else key_of(entry)
        keys.append(joined if entry[0] is None else entry[0])
    return keys


NAMES = st.none() | st.integers(0, 20).map(lambda n: b"%d" % n)
ENTRIES = st.lists(st.tuples(NAMES, st.integers(0, 9), st.booleans()))


@given(ENTRIES, st.none() | st.integers(1, 30), st.integers(), st.booleans())
def test_a_sample_has_no_key_twice_and_all_that_are_asked_for(
    entries: list[Entry], count: int | None, seed: int, shuffle: bool
) -> None:
    wish = Wish(count, seed, shuffle)
    rows, kept = make_rows(entries, wish)
    draw = Draw(rows, wish)
    of = true_keys(entries, wish)
    keys = set(of)
    inside = {key for key, (_, _, is_outside) in zip(of, entries, strict=True) if not is_outside}
    assert len({of[number] for number in draw.chosen}) == len(draw.chosen)
    assert not any(entries[number][2] for number in draw.chosen)
    assert len(draw.chosen) == min(len(inside), count if count is not None else len(inside))
    if shuffle:  # a smaller sample is the beginning of a larger one
        assert [of[number] for number in draw.chosen] == sorted(inside, key=wish.rank)[:count]
    assert draw.repeated == len(draw.chosen) - len({entries[number][1] for number in draw.chosen})
    assert (draw.read, draw.duplicates) == (len(entries), len(entries) - len(keys))
    assert (draw.outside, draw.left) == (len(keys - inside), len(inside))
    assert set(draw.chosen) <= kept  # the sieve has let no text go that is needed
    if not shuffle:
        assert list(draw.chosen) == sorted(draw.chosen)


@given(ENTRIES, st.none() | st.integers(1, 30), st.integers(), st.randoms())
def test_a_shuffled_sample_does_not_depend_on_the_order_of_reading(
    entries: list[Entry], count: int | None, seed: int, draw: random.Random
) -> None:
    wish = Wish(count, seed, shuffle=True)
    other = draw.sample(entries, len(entries))
    chosen = [[of[number][1:] for number in Draw(make_rows(of, wish)[0], wish).chosen] for of in (entries, other)]
    assert chosen[0] == chosen[1]  # up to the _id, which is not written


def test_in_the_order_of_the_sources_the_first_of_the_same_stays() -> None:
    wish = Wish(2, 0, shuffle=False)
    entries: list[Entry] = [
        (b"a", 9, True),
        (b"b", 5, False),
        (b"a", 3, False),
        (b"b", 1, False),
        (b"a", 1, False),
        (b"c", 0, False),
    ]
    rows, kept = make_rows(entries, wish)
    assert list(Draw(rows, wish).chosen) == [1, 2]
    assert kept == {1, 2, 3, 4}


def test_each_seed_draws_otherwise_and_evenly() -> None:
    entries: list[Entry] = [(b"%d" % n, 0, False) for n in range(100)]
    seen = dict.fromkeys(range(100), 0)
    for seed in range(200):
        wish = Wish(10, seed, shuffle=True)
        for number in Draw(make_rows(entries, wish)[0], wish).chosen:
            seen[number] += 1
    assert sum(seen.values()) == 2000
    assert min(seen.values()) > 4
    assert max(seen.values()) < 45


def test_beyond_some_size_all_texts_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "_KEPT_KEYS", 3)
    wish = Wish(4, 0, shuffle=True)
    assert len(make_rows([(b"%d" % n, 0, False) for n in range(50)], wish)[1]) == 50
