from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.errors import UsageError
from fluxperf.plan.recipe.document import MOST_NODES, Block, Listing, Scalar, Value, read_document
from fluxperf.plan.recipe.faults import Faults
from fluxperf.plan.recipe.values import Reader

FILE = Path("r.yaml")


def read(text: str | bytes) -> tuple[Block, list[str]]:
    faults = Faults(FILE)
    document = read_document(FILE, text if isinstance(text, bytes) else text.encode(), faults)
    return document.top, list(faults.found)


def to_python(value: Value) -> object:
    return Reader(Faults(FILE), lambda _: None).python(value)


def refusal(text: str | bytes) -> str:
    with pytest.raises(UsageError) as caught:
        read(text)
    return str(caught.value)


def places(value: Value) -> dict[str, int]:
    """The line of each path."""
    found = {value.place.path: value.place.line}
    inner = value.entries.values() if isinstance(value, Block) else value.entries if isinstance(value, Listing) else ()
    for entry in inner:
        found |= places(entry)
    return found


def test_everything_knows_its_place() -> None:
    top, faults = read('a:\n  b: 1\n  c:\n    - x\n    - d: |\n        text\n"odd\\nkey": {e: 5}\n')
    assert faults == []
    assert places(top) == {
        "": 1,
        "a": 1,
        "a.b": 2,
        "a.c": 3,
        "a.c[0]": 4,
        "a.c[1]": 5,
        "a.c[1].d": 5,
        r"'odd\nkey'": 7,
        r"'odd\nkey'.e": 7,
    }


def test_values_are_kept_as_they_are_written() -> None:
    top, _ = read("a: 0755\nb: '5'\nc: !!str 5\nd: yes\n")
    written = [(value.text, value.plain, value.tag) for value in top.entries.values() if isinstance(value, Scalar)]
    text = "tag:yaml.org,2002:str"
    assert written == [("0755", True, None), ("5", False, None), ("5", True, text), ("yes", True, None)]


@pytest.mark.parametrize(
    "text",
    [
        "base: &b {x: 1, y: [2]}\nuse: *b\nmerged: {<<: *b, x: 3}\n",
        "a: &a {x: 1, z: 0}\nb: &b {x: 2, y: 2}\nmerged: {<<: [*a, *b], y: 5}\n",
        "a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {z: 3, <<: *b}\n",
        "a: [1, 1.5, true, ~, '', 'true', 0x10, 1_000, .inf, text]\n",
        "? a\n: b\n",
    ],
)
def test_values_are_those_of_yaml(text: str) -> None:
    top, faults = read(text)
    assert faults == []
    assert to_python(top) == yaml.safe_load(text)


def test_a_date_stays_a_text() -> None:
    assert to_python(read("a: 2024-01-01")[0]) == {"a": "2024-01-01"}


def test_a_key_is_given_once() -> None:
    top, faults = read("a: 1\nb: {c: 1, d: 2, c: 3}\na: 2\n")
    assert faults == [
        "r.yaml:2: b.c: given twice, first in line 2; keep one of them",
        "r.yaml:3: a: given twice, first in line 1; keep one of them",
    ]
    assert to_python(top) == {"a": 1, "b": {"c": 1, "d": 2}}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: !thing 5", "r.yaml:1: a: the tag '!thing' means nothing in a recipe"),
        ("a: !!python/none x", "r.yaml:1: a: the tag 'tag:yaml.org,2002:python/none' means nothing in a recipe"),
        ("a: !!set {x}", "r.yaml:1: a: the tag 'tag:yaml.org,2002:set' means nothing in a recipe"),
        ("[a]: 5", "r.yaml:1: a key must be a text"),
        ('b: {"\\0": 5}', "r.yaml:1: b: a key must be a text"),
        ('a: "x\\0y"', "r.yaml:1: a: holds a NUL character, which no file name, variable or command can"),
        ('a: "\\ud800"', "r.yaml:1: a: holds half a surrogate pair, which is no character"),
        ("<<: 5\na: 1", "r.yaml:1: << takes a mapping, or a list of mappings"),
    ],
)
def test_what_a_recipe_cannot_hold_is_a_fault(text: str, fault: str) -> None:
    assert read(text)[1] == [fault]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "r.yaml: the recipe is empty; it needs global, and stages or suites"),
        ("# nothing\n", "r.yaml: the recipe is empty; it needs global, and stages or suites"),
        ("\n- a\n", "r.yaml:2: a recipe is a mapping with keys such as global and stages"),
        ("text", "r.yaml:1: a recipe is a mapping with keys such as global and stages"),
        ("!!str\na: 1\n", "r.yaml:1: the tag 'tag:yaml.org,2002:str' means nothing in a recipe"),
        (b"a: 1\nb: \xff\n", "r.yaml:2: not UTF-8: byte 0xff; convert the file"),
        ("a: 1\nb: \x07\n", "r.yaml:2: not YAML: a character that it does not allow: '\\x07'"),
        (
            "a: 1\nb: [1, 2\n",
            "r.yaml:3: not YAML: while parsing a flow sequence, expected ',' or ']', but got '<stream end>'",
        ),
        ("a: 1\n b: 2\n", "r.yaml:2: not YAML: mapping values are not allowed here"),
        (
            "a: 1\n\tb: 2\n",
            "r.yaml:2: not YAML: while scanning for the next token, found character '\\t' that cannot start any token",
        ),
        ("a: *b\n", "r.yaml:1: not YAML: found undefined alias 'b'"),
        (
            "a: 1\n---\nb: 2\n",
            "r.yaml:2: not YAML: expected a single document in the stream, but found another document",
        ),
    ],
)
def test_what_is_no_recipe_is_told_with_its_line(text: str | bytes, complaint: str) -> None:
    assert refusal(text) == complaint


@pytest.mark.parametrize("text", ['a: "\\UFFFFFFFF"', f"%YAML {'9' * 5000}.1\n---\na: 1"])
def test_what_the_parser_chokes_on_is_no_yaml(text: str) -> None:
    assert "not YAML" in refusal(text)


def test_a_byte_order_mark_is_no_key() -> None:
    assert to_python(read(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")[0]) == {"a": 1, "b": 2}


@pytest.mark.parametrize("text", ["a: " + "[" * 100_000, "a: " + "[" * 70 + "]" * 70, "a: &a [*a]", "a: &a {<<: *a}"])
def test_what_is_nested_too_deeply_is_refused(text: str) -> None:
    assert "deep" in refusal(text) or "merged too often" in refusal(text)


def test_a_few_aliases_do_not_fill_the_memory() -> None:
    lists = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lists += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 20)]
    assert (
        refusal("\n".join(lists))
        == f"r.yaml: the recipe has more than {MOST_NODES:,} values, with its aliases resolved"
    )
    merges = ["a0: &a0 {x: 1}"]
    merges += [f"a{level}: &a{level} {{<<: [{', '.join([f'*a{level - 1}'] * 10)}]}}" for level in range(1, 20)]
    assert "r.yaml" in refusal("\n".join(merges))


@given(st.one_of(st.binary(), st.text().map(str.encode)))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        assert isinstance(read(data)[0], Block)
    except UsageError as error:
        told = str(error)
    else:
        return
    assert told.startswith("r.yaml:")


@given(
    st.recursive(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(-(10**20), 10**20),
            st.floats(allow_nan=False),
            st.text("ab $#:-'\n\té"),
        ),
        lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text("abc:# \n", min_size=1), inner)),
        max_leaves=10,
    ),
    st.booleans(),
)
def test_what_yaml_writes_is_read_back(value: object, flow: bool) -> None:
    text = yaml.safe_dump({"value": value}, default_flow_style=flow, allow_unicode=True)
    top, faults = read(text)
    assert faults == []
    if "$" not in text:
        assert to_python(top) == {"value": value}
