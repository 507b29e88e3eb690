from __future__ import annotations

import json
from typing import Any

import pytest

from fluxperf.errors import DatasetError
from fluxperf.plan.entry import Entry, Message, Turn
from fluxperf.plan.forms import Mode, read_entry

MODES: tuple[Mode, ...] = ("dual_round", "multi_turn")


def read(value: object, mode: Mode = "dual_round") -> Entry:
    return read_entry(json.dumps(value).encode(), 7, mode)


def turns(value: object, mode: Mode) -> tuple[Turn, ...]:
    return read(value, mode).turns


def user(content: str) -> Message:
    return {"role": "user", "content": content}


def system(content: str) -> Message:
    return {"role": "system", "content": content}


def assistant(content: str) -> Message:
    return {"role": "assistant", "content": content}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("value", ["hello", {"text": "hello"}, {"prompt": "hello"}])
def test_text_is_one_user_message(value: object, mode: Mode) -> None:
    assert turns(value, mode) == ((user("hello"),),)


CHAT = [system("be kind"), user("one"), assistant("two"), user("three"), assistant("four")]
SHAREGPT = [
    {"from": "system", "value": "be kind"},
    {"from": "Human", "value": "one"},
    {"from": "gpt", "value": "two"},
    {"from": "user", "value": "three"},
    {"from": "chatgpt", "value": "four"},
]


def test_dual_round_sends_messages_up_to_the_last_user_message() -> None:
    assert turns({"messages": CHAT}, "dual_round") == (tuple(CHAT[:4]),)


def test_dual_round_sends_the_first_user_message_of_a_conversation() -> None:
    assert turns({"conversations": SHAREGPT}, "dual_round") == ((system("be kind"), user("one")),)
    assert turns({"conversations": SHAREGPT[2:]}, "dual_round") == ((user("three"),),)
    assert turns({"user_messages": ["one", "three"]}, "dual_round") == ((user("one"),),)


@pytest.mark.parametrize("value", [{"messages": CHAT}, {"conversations": SHAREGPT}, {"conversations": CHAT}])
def test_multi_turn_sends_each_user_message_and_drops_the_answers(value: object) -> None:
    assert turns(value, "multi_turn") == ((system("be kind"), user("one")), (user("three"),))


def test_multi_turn_sends_a_later_system_message_with_the_turn_it_precedes() -> None:
    messages = [user("one"), assistant("two"), system("shorter"), user("three"), system("too late")]
    assert turns({"messages": messages}, "multi_turn") == ((user("one"),), (system("shorter"), user("three")))


def test_user_messages_may_be_strings_or_objects() -> None:
    value = {"user_messages": ["one", {"content": "two"}, {"role": "user", "content": "three"}]}
    assert turns(value, "multi_turn") == ((user("one"),), (user("two"),), (user("three"),))
    value = {"user_messages": [{"role": "system", "content": "be kind"}, "one"]}
    assert turns(value, "dual_round") == ((system("be kind"), user("one")),)


@pytest.mark.parametrize("mode", MODES)
def test_text_parts_are_put_together(mode: Mode) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b\n"}, {"text": "c"}]
    assert turns({"messages": [{"role": "user", "content": parts}]}, mode) == ((user("ab\nc"),),)


def test_tool_calls_are_kept_as_they_stand() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages = [
        user("rain?") | {"weight": 1},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "no", "tool_call_id": "c1", "name": "weather"},
        user("sure?"),
    ]
    assert turns({"messages": messages}, "dual_round") == ((user("rain?"), *messages[1:]),)
    assert turns({"messages": messages}, "multi_turn") == ((user("rain?"),), (user("sure?"),))


def test_what_is_not_sent_is_not_judged() -> None:
    value = {"conversations": [{"from": "human", "value": "one"}, {"from": "observation"}, {"from": "human"}]}
    assert turns(value, "dual_round") == ((user("one"),),)
    chat = {"messages": [user("one"), {"role": "assistant", "content": None}]}
    assert turns(chat, "dual_round") == turns(chat, "multi_turn") == ((user("one"),),)


def test_null_is_as_good_as_absent_and_the_fullest_form_counts() -> None:
    value: dict[str, Any] = {"messages": None, "conversations": None, "prompt": "p", "text": "t", "answers": [1]}
    assert turns(value, "dual_round") == ((user("p"),),)
    assert turns(value | {"messages": [user("m")], "conversations": 5}, "dual_round") == ((user("m"),),)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, None),
        ({"session_id": "s", "id": "i"}, "s"),
        ({"id": "i"}, "i"),
        ({"id": 12}, "12"),
        ({"session_id": None, "id": 1.5}, "1.5"),
    ],
)
def test_session_id(value: dict[str, Any], expected: str | None) -> None:
    assert read({"text": "a", **value}).session_id == expected


def test_index_and_own_limit() -> None:
    assert read({"text": "a", "max_output_tokens": 9}) == Entry(7, None, ((user("a"),),), 9)
    assert read({"text": "a", "max_output_tokens": None}).max_output_tokens is None


FORMS = "an entry is a string, or an object with one of messages, conversations, user_messages, prompt, text"
PART = 'must be a text part, such as {"type": "text", "text": "..."}'


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (5, f"no known form: it is a number, but {FORMS}"),
        (None, f"no known form: it is null, but {FORMS}"),
        ([], f"no known form: it is a list, but {FORMS}"),
        ({}, f"no known form: it has the keys (none), but {FORMS}"),
        ({"q": "?", "text": None}, f"no known form: it has the keys 'q', 'text' (null), but {FORMS}"),
        ({"text": 5}, "text must be a string, but is a number"),
        ({"prompt": {"a": 1}}, "prompt must be a string, but is an object"),
        ({"text": " \n\u2003"}, "text is empty: there is nothing to send; remove the entry or give it a text"),
        ("", "the text is empty: there is nothing to send; remove the entry or give it a text"),
        ({"messages": "hello"}, "messages must be a list of messages, but is a string"),
        ({"messages": ["hello"]}, "messages[0] must be an object, but is a string"),
        ({"user_messages": ["a", 5]}, "user_messages[1] must be a string or an object, but is a number"),
        (
            {"messages": [{"content": "a"}]},
            "messages[0] has no role: it needs a role or from, such as user, assistant or system",
        ),
        (
            {"messages": [{"role": "bot", "content": "a"}, user("b")]},
            "messages[0] has the unknown role 'bot'; known are system, developer, user, assistant, tool, function",
        ),
        (
            {"conversations": [{"from": "gpt", "value": "a"}]},
            "no user message: there is nothing to send (the roles are: assistant); remove the entry",
        ),
        (
            {"user_messages": []},
            "no user message: there is nothing to send (the roles are: none); remove the entry",
        ),
        ({"conversations": [{"from": "human"}]}, "conversations[0].value must be a string, but is null"),
        (
            {"messages": [user(" ")]},
            "messages[0].content is empty: there is nothing to send; remove the entry or give it a text",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages[0].content[0] is of type 'image_url': only text can be sent; remove the entry or the part",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, f"messages[0].content[0] {PART}"),
        ({"messages": [{"role": "user", "content": ["a"]}]}, f"messages[0].content[0] {PART}"),
        ({"text": "a", "id": [1]}, "id must be a string or a number, but is a list"),
        ({"text": "a", "session_id": True}, "session_id must be a string or a number, but is a boolean"),
        ({"text": "a", "max_output_tokens": 0}, "max_output_tokens must be a whole number above 0, but is 0"),
        ({"text": "a", "max_output_tokens": 1.5}, "max_output_tokens must be a whole number above 0, but is 1.5"),
        ({"text": "a", "max_output_tokens": True}, "max_output_tokens must be a whole number above 0, but is True"),
        ({"text": "a", "max_output_tokens": "9"}, "max_output_tokens must be a whole number above 0, but is a string"),
    ],
)
def test_bad_entry_says_what_is_wrong(value: object, complaint: str) -> None:
    with pytest.raises(DatasetError) as caught:
        read(value)
    assert str(caught.value) == complaint


def test_empty_later_turn_is_an_error_where_it_would_be_sent() -> None:
    value = {"user_messages": ["one", " "]}
    assert turns(value, "dual_round") == ((user("one"),),)
    with pytest.raises(DatasetError, match=r"user_messages\[1\].content is empty"):
        read(value, "multi_turn")


def test_many_unknown_keys_are_not_all_listed() -> None:
    with pytest.raises(DatasetError, match=r"'k11', \.\.\., but") as caught:
        read({f"k{number}": 1 for number in range(100)})
    assert "k12" not in str(caught.value)


def test_sessions_have_no_unknown_roles() -> None:
    """In the middle too, where a mistyped system message would be lost without a word."""
    value = {"messages": [user("a"), {"role": "sytem", "content": "b"}, user("c")]}
    with pytest.raises(DatasetError, match=r"messages\[1\] has the unknown role 'sytem'"):
        read(value, "multi_turn")
    kept = {"messages": [user("a"), {"role": "tool", "content": "b"}, user("c")]}
    assert turns(kept, "multi_turn") == ((user("a"),), (user("c"),))
