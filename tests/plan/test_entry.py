from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from fluxperf.plan.entry import Entry, Message, cut, estimate_tokens, fingerprint
from fluxperf.plan.tokens import ESTIMATE


def message(content: str, role: str = "user") -> Message:
    return {"role": role, "content": content}


def entry(*turns: tuple[Message, ...], index: int = 0, session_id: str | None = None) -> Entry:
    return Entry(index, session_id, turns)


def test_fingerprint_goes_by_the_messages_only() -> None:
    one = entry((message("a"),), index=1, session_id="x")
    assert fingerprint(one) == fingerprint(entry((message("a"),), index=2))
    assert len(fingerprint(one)) == 16


def test_fingerprint_tells_turns_roles_and_texts_apart() -> None:
    different = [
        entry((message("ab"),)),
        entry((message("a"), message("b"))),
        entry((message("a"),), (message("b"),)),
        entry((message("a", "system"), message("b"))),
    ]
    assert len({fingerprint(one) for one in different}) == len(different)


def test_cut_shortens_each_user_message_at_its_end() -> None:
    long = entry((message("system prompt", "system"), message("abcdef")), (message("abc"),), (message("abcd"),))
    shorter, was_cut = cut(long, 3)
    assert was_cut
    assert shorter.turns == ((message("system prompt", "system"), message("abc")), (message("abc"),), (message("abc"),))
    assert long.turns[0][1] == message("abcdef")


def test_cut_leaves_the_other_keys_of_a_message() -> None:
    shorter, _ = cut(entry(({"role": "user", "content": "abc", "name": "ann"},)), 1)
    assert shorter.turns == (({"role": "user", "content": "a", "name": "ann"},),)


def test_cut_gives_an_entry_that_is_short_enough_as_it_is() -> None:
    short = entry((message("a call", "assistant"), {"role": "assistant", "content": None}, message("abc")))
    assert cut(short, 3) == (short, False)
    assert cut(short, 3)[0] is short


class Words:
    """Tokens that are words."""

    name = "words"
    exact = True
    sha256 = None

    def count(self, text: str) -> int:
        return len(text.split())

    def count_all(self, texts: Sequence[str]) -> list[int]:
        return [self.count(text) for text in texts]

    def cut(self, text: str, limit: int) -> str:
        return " ".join(text.split(" ")[:limit]) if "+" not in text else ""


def test_cut_goes_by_tokens_where_they_can_be_counted() -> None:
    long = entry((message("a b c d", "system"), message("a b c d")), (message("a b"),))
    shorter, was_cut = cut(long, 2, Words())
    assert was_cut
    assert shorter.turns == ((message("a b c d", "system"), message("a b")), (message("a b"),))
    assert cut(shorter, 2, Words()) == (shorter, False)


def test_cut_goes_by_characters_where_tokens_are_an_estimate() -> None:
    shorter, _ = cut(entry((message("abcdefghijkl"),)), 2, ESTIMATE)
    assert shorter.turns == ((message("ab"),),)


def test_cut_leaves_something_to_send() -> None:
    shorter, was_cut = cut(entry((message("+ of many tokens"),)), 1, Words())
    assert (shorter.turns, was_cut) == (((message("+"),),), True)


@given(st.lists(st.text(), min_size=1), st.integers(1, 20))
def test_cut_keeps_beginnings_and_says_whether_it_cut(texts: list[str], length: int) -> None:
    shorter, was_cut = cut(entry(tuple(message(text) for text in texts)), length)
    assert [one["content"] for one in shorter.turns[0]] == [text[:length] for text in texts]
    assert was_cut == any(len(text) > length for text in texts)


def test_estimate_is_four_characters_a_token_and_at_least_one() -> None:
    assert estimate_tokens("a" * 400) == 100
    assert estimate_tokens("ä" * 400) == 100
    assert estimate_tokens("") == estimate_tokens("a") == 1


def test_estimate_counts_wide_scripts_by_the_character() -> None:
    assert estimate_tokens("你好世界") == 4
    assert estimate_tokens("你好世界" + "word" * 10) == 14
    assert estimate_tokens("こんにちは、안녕") == 8


def test_estimate_of_an_entry_is_that_of_all_its_messages() -> None:
    several = entry((message("a" * 40, "system"), message("b" * 40)), ({"role": "assistant", "content": None},))
    assert estimate_tokens(several) == 20
