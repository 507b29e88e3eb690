from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fluxperf.plan.editions import Edition, plan_editions, renewed, salt_of, salted
from fluxperf.plan.entry import Entry, Message, cut
from fluxperf.plan.planner import PLAIN, LevelPlan, PlanRequest, plan_levels

TOKEN = "a1b2c3d4"
MARK = 17  # characters: sixteen hexadecimal digits and a space
CALL: Message = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "f"}}]}
ANSWER: Message = {"role": "tool", "content": "it is 5 degrees in Oslo today", "tool_call_id": "1"}


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def system(text: str) -> Message:
    return {"role": "system", "content": text}


def entry(*messages: Message, index: int = 0) -> Entry:
    return Entry(index, "session", (messages,), 5)


def levels_of(size: int = 10, **asked: object) -> tuple[LevelPlan, ...]:
    facts: dict[str, object] = {"dataset_size": size, "concurrency": (2, 5), "num_samples": (3,), **asked}
    return plan_levels(PlanRequest(**facts))  # type: ignore[arg-type]


def editions_of(token: str = TOKEN, size: int = 10, **asked: object) -> dict[str, Edition]:
    found = plan_editions(levels_of(size, **asked), size, token)
    assert len({edition.name for edition in found}) == len(found)
    return {edition.name: edition for edition in found}


def sent(edition: Edition, one: Entry, max_input_length: int | None = None) -> Entry:
    """The entry as the edition has it."""
    if edition.salt is not None:
        one = edition.salt(one)
    if max_input_length is not None:
        one, _ = cut(one, max_input_length)
    return one if edition.renew is None else edition.renew(one)


def texts(one: Entry) -> list[str | None]:
    return [message["content"] for turn in one.turns for message in turn]


# Which there are.


def test_without_wishes_all_that_is_drawn_is_sent_as_it_stands() -> None:
    (plain,) = editions_of().values()
    assert (plain.name, plain.salt, plain.renew) == (PLAIN, None, None)
    assert list(plain.sample) == sorted({index for level in levels_of() for index in level.sample})


def test_a_control_round_is_an_edition_of_each_level() -> None:
    found = editions_of(control_round=True)
    assert list(found) == [PLAIN, "control/2", "control/5"]
    for level in levels_of():
        control = found[f"control/{level.concurrency}"]
        assert list(control.sample) == list(level.sample)
        assert control.salt is None
        assert control.renew is not None


def test_salts_leave_nothing_as_it_stands() -> None:
    found = editions_of(salted=True, control_round=True)
    assert list(found) == ["salted/2", "control/2", "salted/5", "control/5"]
    assert all(edition.salt is not None for edition in found.values())
    assert [edition.renew is not None for edition in found.values()] == [False, True, False, True]


@given(
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(1, 4),
    st.lists(st.integers(1, 99), min_size=1, unique=True),
)
def test_what_a_round_names_is_there_with_all_its_prompts(
    same: bool, is_salted: bool, control: bool, rounds: int, concurrency: list[int]
) -> None:
    asked: dict[str, Any] = {"same_samples": same, "salted": is_salted, "control_round": control, "rounds": rounds}
    found = editions_of(concurrency=tuple(concurrency), **asked)
    levels = levels_of(concurrency=tuple(concurrency), **asked)
    for level in levels:
        for plan in level.rounds:
            assert set(plan.order) <= set(found[plan.edition].sample)
    assert set(found) == {plan.edition for level in levels for plan in level.rounds}


def test_rounds_of_a_level_share_its_salt_and_levels_do_not() -> None:
    found = editions_of(salted=True, rounds=3)
    assert list(found) == ["salted/2", "salted/5"]
    first, other = (texts(sent(edition, entry(user("Hello")))) for edition in found.values())
    assert (first, other) == ([f"[{TOKEN}-2] Hello"], [f"[{TOKEN}-5] Hello"])


def test_a_run_has_salts_and_marks_of_its_own() -> None:
    for asked in ({"salted": True}, {"control_round": True}):
        one, other = (editions_of(token, **asked) for token in ("one", "two"))
        for name in set(one) - {PLAIN}:
            assert texts(sent(one[name], entry(user("Hello")))) != texts(sent(other[name], entry(user("Hello"))))


def test_levels_have_fresh_prompts_of_their_own() -> None:
    found = editions_of(control_round=True, same_samples=True)
    first, other = (texts(sent(found[name], entry(user("Hello")))) for name in ("control/2", "control/5"))
    assert first != other


def test_fresh_prompts_of_a_salted_level_are_as_long_as_its_salted_ones() -> None:
    found = editions_of(salted=True, control_round=True)
    one = entry(system("Be brief."), user("a longer question than fits"))
    for limit in (None, 20):
        plain, fresh = (texts(sent(found[name], one, limit)) for name in ("salted/2", "control/2"))
        assert [len(text or "") for text in plain] == [len(text or "") for text in fresh]
        assert plain[0] != fresh[0]


# Salts.


def test_a_salt_stands_at_the_very_start() -> None:
    assert texts(salted(entry(user("Hello")), salt="[x] ")) == ["[x] Hello"]


def test_a_system_message_is_what_a_prompt_starts_with() -> None:
    assert texts(salted(entry(system("Be brief."), user("Hello")), salt="[x] ")) == ["[x] Be brief.", "Hello"]


def test_the_first_message_with_a_text_has_the_salt() -> None:
    assert texts(salted(entry(CALL, ANSWER, user("Hello")), salt="[x] ")) == [None, f"[x] {ANSWER['content']}", "Hello"]


def test_only_the_turn_that_begins_is_salted() -> None:
    one = Entry(0, None, ((user("a"),), (user("b"),)))
    assert texts(salted(one, salt="[x] ")) == ["[x] a", "b"]


def test_a_salt_changes_nothing_else() -> None:
    one = entry(system("a"), user("b"), index=7)
    changed = salted(one, salt="")
    assert changed == one
    assert texts(one) == ["a", "b"]


@given(st.text(min_size=1), st.text(min_size=1), st.integers(1, 100), st.integers(1, 100))
def test_salts_differ_as_soon_as_their_level_does(token: str, other_token: str, one: int, other: int) -> None:
    assume((token, one) != (other_token, other))
    assert salt_of(TOKEN, one).startswith(f"[{TOKEN}")
    assert (salt_of(TOKEN, one) == salt_of(TOKEN, other)) is (one == other)
    assert (salt_of(token, one) == salt_of(other_token, one)) is (token == other_token)


# Fresh prompts.

words = st.text("abcdefgh \n\t,.\u3000\u3002\uff0c\u4f60\u597d", min_size=1, max_size=200)
messages = st.lists(st.builds(user, words) | st.builds(system, words), min_size=1, max_size=4)
entries = st.builds(lambda found, index: entry(*found, index=index), messages, st.integers(0, 10**6))


@given(entries)
def test_fresh_prompts_have_the_length_of_the_old(one: Entry) -> None:
    fresh = renewed(one, token=TOKEN)
    for place, (old, new) in enumerate(zip(texts(one), texts(fresh), strict=True)):
        assert old is not None
        assert new is not None
        assert len(new) == (max(len(old), MARK) if place == 0 else len(old))


@given(entries)
def test_fresh_prompts_begin_like_no_other(one: Entry) -> None:
    """But for a digit or two by chance."""
    others = [renewed(Entry(one.index + 1, None, one.turns), token=TOKEN), renewed(one, token="another"), one]
    for other in others:
        assert (texts(renewed(one, token=TOKEN))[0] or "")[: MARK - 1] != (texts(other)[0] or "")[: MARK - 1]


@given(entries)
def test_fresh_prompts_are_made_of_the_same_characters(one: Entry) -> None:
    fresh = renewed(one, token=TOKEN)
    for old, new in zip(texts(one)[1:], texts(fresh)[1:], strict=True):
        assert sorted(old or "") == sorted(new or "")
    first = texts(fresh)[0] or ""
    left = list(texts(one)[0] or "")
    for character in first[MARK:]:
        left.remove(character)


@given(entries)
def test_the_same_prompt_is_made_each_time(one: Entry) -> None:
    assert renewed(one, token=TOKEN) == renewed(one, token=TOKEN)


def test_words_stand_in_another_order_and_gaps_stay() -> None:
    text = " ".join(f"word{number}" for number in range(100)).replace("word50 ", "word50\n\n")
    fresh = texts(renewed(entry(system("first"), user(text)), token=TOKEN))[1] or ""
    assert sorted(fresh.split()) == sorted(text.split())
    assert fresh.split() != text.split()
    assert [place for place, part in enumerate(fresh.split(" ")) if "\n\n" in part] == [50]


@pytest.mark.parametrize("gap", ["\u3002", "\uff0c", "\u3000"])
def test_clauses_of_scripts_without_spaces_change_places(gap: str) -> None:
    clauses = [chr(0x4E00 + number) * 3 for number in range(50)]
    fresh = texts(renewed(entry(system("first"), user(gap.join(clauses))), token=TOKEN))[1] or ""
    assert sorted(fresh.split(gap)) == clauses
    assert fresh.split(gap) != clauses


def test_what_a_model_or_a_tool_has_said_stays() -> None:
    one = entry(system("Be brief and kind."), user("How warm is it today?"), CALL, ANSWER, user("Are you quite sure?"))
    fresh = renewed(one, token=TOKEN)
    assert fresh.turns[0][2:4] == (CALL, ANSWER)
    assert [message["role"] for message in fresh.turns[0]] == [message["role"] for message in one.turns[0]]
    assert (fresh.index, fresh.session_id, fresh.max_output_tokens) == (one.index, one.session_id, 5)


def test_a_mark_stands_at_the_start_whoever_speaks_first() -> None:
    one = entry({"role": "assistant", "content": "Good morning, what can I do?"}, user("Nothing."))
    fresh = texts(renewed(one, token=TOKEN))
    assert (fresh[0] or "")[MARK:] == "Good morning, what can I do?"[MARK:]
    assert fresh[1] == "Nothing."
