from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.plan.syntax import explain, is_incomplete

DEEP = b"[" * 1_000_000


@pytest.mark.parametrize(
    ("data", "line", "what"),
    [
        (
            b'{"text": "a\xff"}',
            1,
            "not UTF-8: byte 0xff at byte 12 of the line; convert the file to UTF-8 (with iconv, say)",
        ),
        (
            b'[\n"a",\n "\xe4"]',
            3,
            "not UTF-8: byte 0xe4 at byte 3 of the line; convert the file to UTF-8 (with iconv, say)",
        ),
        (
            b'{"text": "a',
            1,
            "incomplete: it ends inside the string that begins at column 10; "
            "is the file cut off, or a line break not written as \\n?",
        ),
        (b'{"text": "a" \n', 1, "incomplete: it ends before its JSON value does; is the file cut off?"),
        (b'["a",\n', 1, "incomplete: it ends before its JSON value does; is the file cut off?"),
        (
            b'{"text": "a"},\n',
            1,
            "more follows after the JSON value, at column 14, near ','; "
            "write each entry on a line of its own, with nothing between (jq -c . does)",
        ),
        (
            b'{"text": "a\tb"}',
            1,
            "a line break, tab or the like in a string, at column 12; write it as \\n, \\t or \\u00..",
        ),
        (
            b"[\n{'text': 'a'}]",
            2,
            "not JSON at column 2, near \"'text': 'a'}]\": expecting property name enclosed in double quotes; "
            'an entry looks like {"text": "..."}',
        ),
        (
            b"Hello",
            1,
            'not JSON at column 1, near \'Hello\': expecting value; an entry looks like {"text": "..."}',
        ),
        (b'{"text": NaN}', 1, "not JSON: NaN is no JSON number; write null or leave the key out"),
        pytest.param(DEEP, 1, "its lists or objects are nested too deeply", id="deep"),
        (b'{"text": 1e999}', 1, "it has a number that is too large"),
        (
            rb'{"text": "\ud83d\ude00\\ud800 \ud83d!"}',
            1,
            r"\ud83d at column 31 is half a surrogate pair, no character, and cannot be sent; repair or remove it",
        ),
        (
            b'[\n"\\n",\n"\\ude00"]',
            3,
            r"\ude00 at column 2 is half a surrogate pair, no character, and cannot be sent; repair or remove it",
        ),
    ],
)
def test_explains_with_line_and_column(data: bytes, line: int, what: str) -> None:
    assert explain(data) == (line, what)


def test_giant_integer_is_explained() -> None:
    assert explain(b'{"id": ' + b"9" * 5000 + b"}") == (1, "it has a number that is too large")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, min_size=1) | st.dictionaries(st.text(), inner, min_size=1),
    max_leaves=10,
).filter(lambda value: isinstance(value, list | dict))


@given(json_values)
def test_every_line_of_an_indented_document_but_the_last_begins_one(value: object) -> None:
    lines = json.dumps(value, indent=1).encode().splitlines(keepends=True)
    beginnings = [b"".join(lines[:count]) for count in range(1, len(lines))]
    assert all(map(is_incomplete, beginnings))
    assert not is_incomplete(b"".join(lines))


@pytest.mark.parametrize(
    "data",
    [b'{"text": "a\n', b'{"text": "a"}', b"{text", b'{"text": NaN}', b'"\xff', pytest.param(DEEP, id="deep")],
)
def test_other_text_begins_no_document(data: bytes) -> None:
    assert not is_incomplete(data)


@given(st.binary())
def test_any_bytes_are_explained(data: bytes) -> None:
    line, what = explain(data)
    assert line >= 1
    assert what
