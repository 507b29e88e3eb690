from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.watch.promql import Matcher, Selector, name_series, parse_selector, quote


def matchers(text: str) -> list[tuple[str, str, str]]:
    return [(one.label, one.operator, one.value) for one in parse_selector(text).matchers]


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("up", "up", []),
        (" vllm:x ", "vllm:x", []),
        ("a{}", "a", []),
        ('a{b="c"}', "a", [("b", "=", "c")]),
        ('a{b="c",}', "a", [("b", "=", "c")]),
        ('a { b = "c" , d != "e" } ', "a", [("b", "=", "c"), ("d", "!=", "e")]),
        ('a{b=~"0|1",c!~"x.*"}', "a", [("b", "=~", "0|1"), ("c", "!~", "x.*")]),
        ('a{b="c, } and more"}', "a", [("b", "=", "c, } and more")]),
        (r'a{b="say \"hi\"\n\\"}', "a", [("b", "=", 'say "hi"\n\\')]),
        ("""a{b='say "hi"'}""", "a", [("b", "=", 'say "hi"')]),
        (r"a{b=`C:\new`}", "a", [("b", "=", r"C:\new")]),
        (r'a{b="\xc3\xa9\303\251\u00e9\U000000e9"}', "a", [("b", "=", "éééé")]),
        ('a{b=""}', "a", [("b", "=", "")]),
    ],
)
def test_selectors(text: str, name: str, expected: list[tuple[str, str, str]]) -> None:
    assert parse_selector(text).name == name
    assert parse_selector(text).text == text
    assert matchers(text) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "does not begin with the name of a metric"),
        ('{a="b"}', "does not begin with the name of a metric"),
        ("0a", "does not begin with the name of a metric"),
        ("rate(a[5m])", "is an expression"),
        ("a[5m]", "is an expression"),
        ("a offset 5m", "is an expression"),
        ("a / b", "is an expression"),
        ("a,b", "has ',b' after the name; separate metrics by spaces"),
        ("model_name=x}", "has '=x}' after the name"),
        ('a{b="c"}[5m]', "has '[5m]' after its labels"),
        ("a{b=0}", "has no value in quotes after b="),
        ("a{b=0,", "has no value in quotes after b="),
        ('a{b="c"', "has no } at its end"),
        ("a{", "has no } at its end"),
        ('a{b="c",', "has no } at its end"),
        ("a{b}", "has the label b without ="),
        ("a{b>1}", "has the label b without ="),
        ('a{,b="c"}', "where the name of a label must stand"),
        ('a{b="c" d="e"}', "where a comma or } must stand"),
        ('a{__name__="b"}', "the name itself stands before"),
        (r'a{b="\q"}', r"unknown escape \q"),
        (r'a{b="\ud800"}', "is no character"),
        (r'a{b="\xff"}', "not UTF-8"),
        ('a{b="\udcff"}', "not UTF-8"),
        ('a{b=~"("}', "no regular expression after b=~"),
    ],
)
def test_complaints(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        parse_selector(text)


@pytest.mark.parametrize(
    ("operator", "value", "accepted"),
    [
        *[("=", "x", ["x"]), ("!=", "x", ["xx", None]), ("=~", "x+", ["x", "xx"]), ("!~", "x+", [None])],
        # A label that is not there is an empty one.
        *[("=", "", [None]), ("!=", "", ["x", "xx"]), ("=~", ".*", ["x", "xx", None]), ("!~", "", ["x", "xx"])],
        ("=~", "x|y", ["x"]),
    ],
)
def test_labels_that_match(operator: str, value: str, accepted: list[str | None]) -> None:
    matcher = Matcher("b", operator, value)
    for text in ("x", "xx", None):
        assert matcher.accepts({"a": "z"} | ({} if text is None else {"b": text})) is (text in accepted)


def test_all_matchers_must_agree() -> None:
    selector = parse_selector('a{b="1",c="2"}')
    assert selector.accepts({"b": "1", "c": "2", "d": "3"})
    assert not selector.accepts({"b": "1"})
    assert selector.asks_for("c")
    assert not selector.asks_for("d")


def test_promql() -> None:
    selector = parse_selector(r"""vllm:x{b='say "hi"\n\\',c=~"a|b"}""")
    assert selector.promql(["vllm:x"]) == r"""{__name__="vllm:x",b="say \"hi\"\n\\",c=~"a|b"}"""
    assert parse_selector("a").promql(["a", "a_total"]) == '{__name__=~"a|a_total"}'


def test_series_by_name() -> None:
    assert name_series("a", [("b", 'c"'), ("d", "e")]) == r'a{b="c\"",d="e"}'
    assert name_series("a", []) == "a"


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
MATCHERS = st.builds(
    Matcher,
    st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,5}", fullmatch=True).filter(lambda name: name != "__name__"),
    st.sampled_from(["=", "!="]),
    TEXTS,
)
SPACES = st.sampled_from(["", " ", "\t "])


@given(st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,8}", fullmatch=True), st.lists(MATCHERS, max_size=3), SPACES, SPACES)
def test_what_is_written_is_read(name: str, those: list[Matcher], before: str, after: str) -> None:
    terms = [f"{before}{one.label}{after}{one.operator}{before}{quote(one.value)}{after}" for one in those]
    text = f"{name}{after}{{{','.join(terms)}{before}}}{after}"
    assert parse_selector(text) == Selector(text, name, tuple(those))


@given(TEXTS)
def test_a_quoted_text_is_one_line(text: str) -> None:
    assert "\n" not in quote(text)
    assert matchers(f"a{{b={quote(text)}}}") == [("b", "=", text)]


@given(st.text(st.sampled_from("ab{}\"'`\\=!~,nxu0 \n"), max_size=20))
def test_any_text_is_a_selector_or_is_refused(text: str) -> None:
    try:
        selector = parse_selector(text)
    except ValueError:
        return
    again = parse_selector(selector.promql([selector.name]).replace("{__name__=", "x{name=", 1))
    assert again.matchers[1:] == selector.matchers
