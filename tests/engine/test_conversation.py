from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.api import APIS, ChatOptions
from fluxperf.engine.bodies import Prepared, Script, Share
from fluxperf.engine.conversation import Answer, Conversation

CHAT = APIS["chat"]
OPTIONS = ChatOptions(model="m", max_output_tokens=5)


def said(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def share(question: str, system: str | None = None, tokens: int = 10) -> Share:
    standing = b"" if system is None else CHAT.encode_messages([said("system", system)])
    spoken = CHAT.encode_messages([said("user", question)])
    return Share(standing, spoken, 0 if system is None else tokens, tokens)


def session(*shares: Share) -> Prepared:
    before, after = CHAT.split(CHAT.encode((), OPTIONS, None))
    pieces = [piece for piece in (shares[0].standing, shares[0].spoken) if piece]
    body = before + b",".join(pieces) + after
    return Prepared(3, "s", shares[0].standing_tokens + shares[0].spoken_tokens, body, Script(before, after, shares))


def answer(text: str, tokens: int = 10, dropped_turns: int = 0) -> Answer:
    return Answer(CHAT.encode_messages([said("assistant", text)]), tokens, dropped_turns)


def messages(body: bytes) -> list[Any]:
    found: list[Any] = json.loads(body)["messages"]
    return found


def test_the_history_grows_by_each_answer() -> None:
    talk = Conversation(session(share("one?", "be kind"), share("two?"), share("three?")))
    first = talk.ask()
    assert (first.turn, first.tokens, talk.goes_on) == (0, 20, True)
    assert messages(first.body) == [said("system", "be kind"), said("user", "one?")]
    talk.hear(answer('1 "is" first', tokens=4), None)
    second = talk.ask()
    assert (second.turn, second.tokens) == (1, 34)
    talk.hear(answer("\N{SNOWMAN}"), None)
    third = talk.ask()
    assert (third.turn, third.dropped_turns, talk.goes_on) == (2, 0, False)
    assert messages(third.body) == [
        said("system", "be kind"),
        said("user", "one?"),
        said("assistant", '1 "is" first'),
        said("user", "two?"),
        said("assistant", "\N{SNOWMAN}"),
        said("user", "three?"),
    ]


def test_a_later_request_is_what_would_have_been_encoded_whole() -> None:
    talk = Conversation(session(share("one?"), share("two?")))
    talk.ask()
    talk.hear(answer("1"), None)
    whole = [said("user", "one?"), said("assistant", "1"), said("user", "two?")]
    assert talk.ask().body == CHAT.encode(whole, OPTIONS, None)


def test_a_prompt_without_further_turns_is_sent_as_it_is() -> None:
    talk = Conversation(Prepared(0, None, 7, b"any body"), most_tokens=1)
    assert talk.ask() == (0, b"any body", 7, 0)
    assert not talk.goes_on


def test_the_oldest_turns_are_left_out_but_no_system_message_and_never_the_newest_question() -> None:
    shares = share("one?", "be kind"), share("two?", "be brief"), share("three?", tokens=100)
    talk = Conversation(session(*shares), most_tokens=50)
    assert talk.ask().dropped_turns == 0
    talk.hear(answer("1"), None)
    second = talk.ask()
    assert (second.tokens, second.dropped_turns) == (50, 0)
    talk.hear(answer("2"), None)
    third = talk.ask()
    assert (third.tokens, third.dropped_turns) == (120, 2)  # too long still, but that is the question's doing
    assert messages(third.body) == [said("system", "be kind"), said("system", "be brief"), said("user", "three?")]


def test_what_was_left_out_stays_so() -> None:
    talk = Conversation(session(share("1?"), share("2?", tokens=30), share("3?", tokens=1)), most_tokens=40)
    talk.ask()
    talk.hear(answer("1", tokens=5), None)
    assert talk.ask().dropped_turns == 1
    talk.hear(answer("2", tokens=1), None)
    assert talk.ask().dropped_turns == 1


def test_the_server_counts_what_we_do_not_see() -> None:
    """Its template, and what our estimate was wrong by."""
    shares = share("1?"), share("2?"), share("3?")
    plain, corrected = (Conversation(session(*shares), most_tokens=50) for _ in range(2))
    for talk, told in ((plain, None), (corrected, 11)):
        talk.ask()
        talk.hear(answer("1"), told)
        talk.ask()
        talk.hear(answer("2"), None if told is None else told + 21)
    assert plain.ask().dropped_turns == 0  # 50 by our count
    assert corrected.ask().dropped_turns == 1  # 52 by the server's


def test_what_an_earlier_round_left_out_is_left_out_again() -> None:
    talk = Conversation(session(share("1?"), share("2?"), share("3?")), most_tokens=10)
    talk.ask(0)
    talk.hear(answer("1"), None)
    assert talk.ask(0).dropped_turns == 0
    talk.hear(answer("2"), None)
    last = talk.ask(1)
    assert last.dropped_turns == 1
    assert messages(last.body) == [said("user", "2?"), said("assistant", "2"), said("user", "3?")]


lengths = st.integers(0, 50)


@given(st.lists(st.tuples(lengths, lengths, lengths), min_size=1, max_size=8), st.integers(1, 200))
def test_a_prompt_is_within_the_limit_or_holds_nothing_that_could_go(
    turns: list[tuple[int, int, int]], most_tokens: int
) -> None:
    shares = [Share(b"{}" if standing else b"", b"{}", standing, spoken) for standing, spoken, _ in turns]
    talk = Conversation(session(*shares), most_tokens)
    dropped = 0
    for turn, (_, _, answered) in enumerate(turns):
        request = talk.ask()
        assert request.tokens <= most_tokens or request.dropped_turns == turn
        assert dropped <= request.dropped_turns <= turn
        dropped = request.dropped_turns
        kept = range(dropped, turn)
        expected = sum(one[0] for one in turns[: turn + 1]) + sum(turns[one][1] + turns[one][2] for one in kept)
        assert request.tokens == expected + turns[turn][1]
        talk.hear(Answer(b"{}", answered, dropped), None)


@pytest.mark.parametrize("name", ["m", 'a "messages":[] b', "\\"])
def test_a_body_is_split_where_its_messages_belong(name: str) -> None:
    options = ChatOptions(model=name, extra_body={"stop": ['"messages":[]']})
    before, after = CHAT.split(CHAT.encode((), options, None))
    body = before + CHAT.encode_messages([said("user", "x")]) + after
    assert json.loads(body) == json.loads(CHAT.encode([said("user", "x")], options, None))


def test_half_a_character_is_encoded_as_it_came() -> None:
    assert CHAT.encode_messages([said("user", "\ud83d")]) == b'{"role":"user","content":"\\ud83d"}'
