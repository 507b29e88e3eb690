from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.plan.readers import Fault
from fluxperf.plan.recipe.variables import DEEPEST, MOST_CHARACTERS, escape, substitute

ENV = {"A": "1", "B_2": "two words", "EMPTY": "", "DOLLAR": "${A}"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain } text {", "plain } text {"),
        ("${A}", "1"),
        ("x${A}y${B_2}z", "x1ytwo wordsz"),
        ("${EMPTY}", ""),
        ("${EMPTY:-d}", "d"),
        ("${NONE:-d}", "d"),
        ("${NONE:-}", ""),
        ("${A:-d}", "1"),
        ("${NONE:-${ALSO_NONE:-x}}", "x"),
        ("${NONE:-${A}}", "1"),
        ("${NONE:-a${A}b}c}", "a1bc}"),
        ("${NONE:-:-$5}", ":-$5"),
        ("${NONE:-$$}", "$"),
        ("${NONE:-$${A}}", "${A}"),
        ("${A:-${NONE}}", "1"),
        ("$A $ $1 $(ls) `ls`", "$A $ $1 $(ls) `ls`"),
        ("$$", "$"),
        ("$${A}", "${A}"),
        ("$$$", "$$"),
        ("$$${A}", "$1"),
        ("${DOLLAR}", "${A}"),
        ("${NONE:-a\nb}", "a\nb"),
    ],
)
def test_variables_are_put_in(text: str, expected: str) -> None:
    assert substitute(text, ENV.get) == expected


@pytest.mark.parametrize("text", ["${NONE}", "a ${EMPTY:-${NONE}} b"])
def test_a_variable_without_a_value_needs_a_default(text: str) -> None:
    with pytest.raises(Fault, match=r"^needs NONE, which is not set; \$\{NONE:-\.\.\.\} gives it a default$"):
        substitute(text, ENV.get)


@pytest.mark.parametrize(
    "text", ["${}", "${1A}", "${A-b}", "${A:?b}", "${A:", "${A", "${ A}", "${NONE:-${B C}}", "${é}", "${A\n}"]
)
def test_what_is_no_variable_is_refused(text: str) -> None:
    with pytest.raises(Fault, match=r"^has .*, which is no variable: write \$\{NAME\}"):
        substitute(text, ENV.get)


@pytest.mark.parametrize("text", ["${A:-b", "x ${A:-${B}", "${A:-$$"])
def test_a_default_ends_somewhere(text: str) -> None:
    with pytest.raises(Fault, match="never closed"):
        substitute(text, ENV.get)


def test_defaults_are_not_nested_for_ever() -> None:
    def nested(depth: int) -> str:
        return "${N:-" * depth + "x" + "}" * depth

    assert substitute(nested(DEEPEST), ENV.get) == "x"
    for depth in (DEEPEST + 1, 100_000):
        with pytest.raises(Fault, match="within each other"):
            substitute(nested(depth), ENV.get)


def test_little_text_does_not_become_more_than_memory_holds() -> None:
    with pytest.raises(Fault, match="is longer than"):
        substitute("${A}" * MOST_CHARACTERS, lambda _: "x" * 2**17)


@given(st.text())
def test_an_escaped_text_stands_for_itself(text: str) -> None:
    assert substitute(escape(text), lambda _: None) == text


@given(st.text(), st.text(), st.text())
def test_a_value_is_put_in_as_it_is(before: str, value: str, after: str) -> None:
    assert substitute(f"{escape(before)}${{X}}{escape(after)}", {"X": value}.get) == before + value + after


@given(st.text(), st.text().filter(lambda text: "}" not in text))
def test_a_default_is_put_in_as_it_is(before: str, default: str) -> None:
    assert substitute(f"{escape(before)}${{X:-{escape(default)}}}", lambda _: None) == before + default


@given(st.lists(st.sampled_from(["${", "}", "$", "$$", ":-", "A", "NONE", " ", "\n", "{"])).map("".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(Fault):
        assert isinstance(substitute(text, ENV.get), str)
