from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf_tools.longbench import sample
from fluxperf_tools.longbench.sample import Draw, Row, Sieve, Wish, split


def make_rows(entries: list[tuple[bytes, int, bool]], wish: Wish) -> tuple[list[Row], set[int]]:
    """Rows of (key, content, is_outside), and the numbers of those whose text the sieve would have kept."""
    sieve, rows, kept = Sieve(wish), [], set()
    for number, (key, content, is_outside) in enumerate(entries):
        rank = wish.rank(key)
        if not is_outside and sieve.admits(rank):
            kept.add(number)
        rows.append(Row(*split(rank), content, 0, is_outside, 0, number, 1))
    return rows, kept


ENTRIES = st.lists(st.tuples(st.integers(0, 20).map(lambda n: b"%d" % n), st.integers(0, 3), st.booleans()))


@given(ENTRIES, st.none() | st.integers(1, 30), st.integers(), st.booleans())
def test_a_sample_has_no_key_twice_and_all_that_are_asked_for(
    entries: list[tuple[bytes, int, bool]], count: int | None, seed: int, shuffle: bool
) -> None:
    wish = Wish(count, seed, shuffle)
    rows, kept = make_rows(entries, wish)
    draw = Draw(rows, wish)
    keys = {key for key, _, _ in entries}
    inside = {key for key, _, is_outside in entries if not is_outside}
    chosen = [entries[number] for number in draw.chosen]
    assert len({key for key, _, _ in chosen}) == len(chosen)
    assert not any(is_outside for _, _, is_outside in chosen)
    assert len(chosen) == min(len(inside), count if count is not None else len(inside))
    assert (draw.read, draw.duplicates) == (len(entries), len(entries) - len(keys))
    assert (draw.outside, draw.left) == (len(keys - inside), len(inside))
    assert set(draw.chosen) <= kept  # the sieve has let no text go that is needed
    if not shuffle:
        assert list(draw.chosen) == sorted(draw.chosen)


@given(ENTRIES, st.none() | st.integers(1, 30), st.integers(), st.randoms())
def test_a_shuffled_sample_does_not_depend_on_the_order_of_reading(
    entries: list[tuple[bytes, int, bool]], count: int | None, seed: int, draw: random.Random
) -> None:
    wish = Wish(count, seed, shuffle=True)
    other = draw.sample(entries, len(entries))
    chosen = [[of[number] for number in Draw(make_rows(of, wish)[0], wish).chosen] for of in (entries, other)]
    assert chosen[0] == chosen[1]


def test_in_the_order_of_the_sources_the_first_of_the_same_stays() -> None:
    wish = Wish(2, 0, shuffle=False)
    entries = [
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
    entries = [(b"%d" % n, 0, False) for n in range(100)]
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
