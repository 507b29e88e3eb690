from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.errors import RunFailed
from fluxperf_tools.sharegpt.pool import Choice, Pool
from fluxperf_tools.sharegpt.session import Session, Turn


def session(text: str, name: str | None = None) -> Session:
    return Session(name, (Turn((), text, None),))


def rows(folder: Path, sessions: list[Session], choice: Choice) -> list[tuple[str, str]]:
    with Pool(folder, choice) as pool:
        for one in sessions:
            if not pool.is_full:
                pool.add(one)
        found = [(row["session_id"], row["user_messages"][0]) for row in pool.rows()]
        assert len(found) == len(pool)
        return found


MANY = [session(f"text {number}", f"id {number}") for number in range(200)]


def test_a_choice_depends_on_the_seed_and_not_on_the_order(tmp_path: Path) -> None:
    chosen = rows(tmp_path, MANY, Choice(20))
    assert len(set(chosen)) == 20
    assert rows(tmp_path, random.Random(1).sample(MANY, 200), Choice(20)) == chosen
    assert rows(tmp_path, MANY, Choice(20, seed=43)) != chosen
    assert rows(tmp_path, MANY, Choice())[:20] == chosen


def test_more_than_there_is_are_all_of_it(tmp_path: Path) -> None:
    assert len(rows(tmp_path, MANY + MANY, Choice(1000))) == 200


def test_unshuffled_the_first_are_kept_in_their_order(tmp_path: Path) -> None:
    sessions = [session("b"), session("a"), session("b"), session("c")]
    assert [text for _, text in rows(tmp_path, sessions, Choice(shuffle=False))] == ["b", "a", "c"]
    assert [text for _, text in rows(tmp_path, sessions, Choice(2, shuffle=False))] == ["b", "a"]


def test_duplicates_count_once_and_keep_the_first_id_of_the_alphabet(tmp_path: Path) -> None:
    sessions = [session("x", "b"), session("x"), session("x", "a"), session("x", "c")]
    for order in (sessions, sessions[::-1], sessions[1:] + sessions[:1]):
        with Pool(tmp_path, Choice()) as pool:
            for one in order:
                pool.add(one)
            assert (pool.duplicates, pool.distinct, len(pool)) == (3, 1, 1)
            assert [row["session_id"] for row in pool.rows()] == ["a"]


def test_ids_are_of_one_session_each(tmp_path: Path) -> None:
    found = rows(tmp_path, [session("x", "a"), session("y", "a"), session("z", "b")], Choice(shuffle=False))
    names = [name for name, _ in found]
    assert len(set(names)) == 3
    assert all(name.startswith("a-") for name in names[:2])
    assert names[2] == "b"
    assert rows(tmp_path, [session("y", "a"), session("x", "a")], Choice(shuffle=False))[1] == found[0]


def test_a_missing_id_comes_from_the_content(tmp_path: Path) -> None:
    (name, _), (other, _) = rows(tmp_path, [session("x"), session("y")], Choice(shuffle=False))
    assert name.startswith("sharegpt-")
    assert name != other
    assert rows(tmp_path, [session("x")], Choice(seed=1)) == [(name, "x")]


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([None, "a", "b"])), max_size=30), st.integers(1, 6))
def test_any_order_gives_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[int, str | None]], limit: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    sessions = [session(f"text {number}", name) for number, name in drawn]
    expected = rows(folder, sessions, Choice(limit))
    assert len(expected) == min(limit, len({number for number, _ in drawn}))
    assert len({name for name, _ in expected}) == len(expected)
    assert rows(folder, sessions[::-1], Choice(limit)) == expected


def test_nothing_is_left_in_the_folder(tmp_path: Path) -> None:
    with Pool(tmp_path, Choice()) as pool:
        pool.add(session("x"))
        assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="temporary file"):
        Pool(tmp_path / "none", Choice())
