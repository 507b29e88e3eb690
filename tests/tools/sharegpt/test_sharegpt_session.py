"""Entries of every form, and the turns that are made of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.errors import DatasetError
from fluxperf_tools.sharegpt.conversation import Conversation, Message, read_conversation
from fluxperf_tools.sharegpt.session import Changes, Session, make_session

HUMAN, GPT, SYSTEM = "human", "gpt", "system"


def said(*messages: tuple[str, str]) -> dict[str, Any]:
    return {"id": "a", "conversations": [{"from": role, "value": text} for role, text in messages]}


def session_of(entry: object) -> tuple[Session, Changes]:
    changes: Changes = Counter()
    return make_session(read_conversation(entry), changes), +changes


def lists_of(entry: object) -> tuple[list[Any], list[Any]]:
    row = session_of(entry)[0].row()
    return row["user_messages"], row["assistant_messages"]


PAIR = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ({"id": "x", "conversations": PAIR}, "x"),
        ({"id": "x", "items": PAIR, "conversations": None, "model": "GPT-4"}, "x"),
        ({"id": 7, "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}, "7"),
        ({"conversation_id": 3, "conversation": [{"human": "q", "assistant": "a"}]}, "3"),
        ({"session_id": "s", "user_messages": ["q"], "assistant_messages": ["a"]}, "s"),
        ({"user_messages": [{"content": "q"}], "assistant_messages": ["a"], "messages": []}, None),
        ({"conversations": [{"from": "user", "value": None, "text": "q"}, {"from": "BARD", "value": "a"}]}, None),
        (
            {"id": "", "messages": [{"role": "Human", "content": ["q"]}, {"role": "bing", "content": [{"text": "a"}]}]},
            None,
        ),
        ({"id": True, "conversations": PAIR}, None),
        (PAIR, None),
    ],
)
def test_every_form_is_read(entry: object, name: str | None) -> None:
    assert read_conversation(entry) == Conversation(name, (Message("user", "q"), Message("assistant", "a")))


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ("text", "an entry must be an object, but is a string"),
        (None, "an entry must be an object, but is null"),
        ({"prompt": "x"}, "no conversation: it has the keys 'prompt'"),
        ({}, "(none)"),
        ({"conversations": "x"}, "conversations must be a list of messages, but is a string"),
        ({"conversations": ["x"]}, "conversations[0] must be an object, but is a string"),
        ({"items": [{"value": "x"}]}, "items[0] has no role"),
        ({"messages": [{"role": "narrator", "content": "x"}]}, "messages[0] has the unknown role 'narrator'"),
        (
            {"messages": [*PAIR, {"role": "user", "content": 5}]},
            "messages[2].content must be a string, but is a number",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0] is no text"),
    ],
)
def test_what_is_wrong_is_told(entry: object, what: str) -> None:
    with pytest.raises(DatasetError) as caught:
        read_conversation(entry)
    assert what in str(caught.value)


@pytest.mark.parametrize(
    ("messages", "questions", "answers"),
    [
        ([(HUMAN, "q1"), (GPT, "a1"), (HUMAN, "q2")], ["q1", "q2"], ["a1", None]),
        ([(GPT, "a0"), (GPT, "a0"), (HUMAN, "q1"), (GPT, "a1")], ["q1"], ["a1"]),
        ([(HUMAN, "q1"), (HUMAN, "more"), (GPT, "a1"), (GPT, "more")], ["q1\n\nmore"], ["a1\n\nmore"]),
        ([(HUMAN, "q1"), (HUMAN, "q1"), (GPT, "a1")], ["q1"], ["a1"]),
        ([(HUMAN, "q1"), (GPT, "\u200b"), (HUMAN, "q2"), (GPT, "a2")], ["q1", "q2"], [None, "a2"]),
        ([(HUMAN, "q1"), (GPT, "a1"), (HUMAN, "\xa0"), (GPT, "a2"), (HUMAN, "q3")], ["q1", "q3"], ["a1", None]),
        ([(HUMAN, " "), (HUMAN, "q1"), (GPT, ""), (GPT, "a1")], ["q1"], ["a1"]),
        ([(HUMAN, "q1"), ("tool", "x"), (GPT, "a1")], ["q1"], ["a1"]),
        ([(GPT, "a0")], [], []),
        ([], [], []),
    ],
)
def test_roles_alternate(messages: list[tuple[str, str]], questions: list[str], answers: list[str | None]) -> None:
    assert lists_of(said(*messages)) == (questions, answers)


def test_a_system_message_stands_before_its_question_and_beside_null() -> None:
    entry = said((SYSTEM, "be brief"), (HUMAN, "q1"), (GPT, "a1"), (SYSTEM, ""), (SYSTEM, "be long"), (HUMAN, "q2"))
    system = [{"role": "system", "content": text} for text in ("be brief", "be long")]
    assert lists_of(entry) == ([system[0], "q1", system[1], "q2"], [None, "a1", None, None])
    assert session_of(entry)[0].texts == ["be brief", "q1", "be long", "q2"]


def test_a_system_message_waits_for_the_first_question_that_is_one() -> None:
    assert lists_of(said((SYSTEM, "s"), (HUMAN, ""), (GPT, "a"), (HUMAN, "q")))[0][1:] == ["q"]


def test_what_was_done_is_counted() -> None:
    entry = said(
        (GPT, "a0"), (HUMAN, "2 / 2Write"), (HUMAN, "Write"), (HUMAN, "more"), (GPT, "<p>a</p>"), (GPT, "b"),
        ("function", "x"), (HUMAN, ""), (GPT, "c"),
    )  # fmt: skip
    expected = {"unasked": 2, "cleaned": 2, "repeated": 1, "joined": 2, "other": 1, "empty": 1}
    assert session_of(entry)[1] == expected


def test_a_cut_keeps_the_first_turns() -> None:
    session, _ = session_of(said((SYSTEM, "s"), (HUMAN, "q1"), (GPT, "a1"), (SYSTEM, "t"), (HUMAN, "q2")))
    assert session.cut(1).row()["user_messages"] == [{"role": "system", "content": "s"}, "q1"]
    assert session.cut(None) == session.cut(2) == session


def test_content_is_the_messages_alone() -> None:
    one, other = said((HUMAN, "q"), (GPT, "a")), {**said((HUMAN, "q"), (GPT, "a")), "id": "b"}
    assert session_of(one)[0].content == session_of(other)[0].content
    assert session_of(one)[0].content != session_of(said((HUMAN, "q"), (GPT, "b")))[0].content
    assert session_of(said((HUMAN, "a"), (GPT, "b")))[0].content != session_of(said((HUMAN, "a\n\nb")))[0].content


def test_an_id_that_cannot_be_written_is_made_so() -> None:
    assert session_of({"id": "a\ud83d\0", "conversations": PAIR})[0].id == "a\ufffd"


texts = st.one_of(st.text(max_size=4), st.sampled_from(["", " ", "\u200b", "q", "<p>x</p>"]))
messages = st.tuples(st.sampled_from([HUMAN, GPT, SYSTEM, "tool"]), texts)


@given(st.lists(messages, max_size=12))
def test_a_row_alternates_and_is_read_back_as_it_is(some: list[tuple[str, str]]) -> None:
    session, _ = session_of(said(*some))
    row = session.row()
    assert len(row["user_messages"]) == len(row["assistant_messages"])
    assert all(turn.question and turn.answer != "" for turn in session.turns)
    if session.turns:
        again, changes = session_of(row)
        assert changes.keys() <= {"empty"}  # for answers that are not there
        assert again == session


def test_a_long_run_of_one_role_takes_no_square_of_time() -> None:
    """At a square of it this test would take an hour."""
    session, changes = session_of(said(*[(HUMAN, f"line {number} " + "x" * 100) for number in range(100_000)]))
    assert len(session.turns) == 1
    assert changes["joined"] == 99_999
