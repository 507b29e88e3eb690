from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.api import APIS, ChatOptions
from fluxperf.engine import texts
from fluxperf.engine.bodies import BodyWriter, Prepared
from fluxperf.engine.texts import Texts, find_messages
from fluxperf.model import PromptBytes

OPTIONS = ChatOptions(model="m", max_output_tokens=5, temperature=0)


def lay_out(prompts: Sequence[bytes]) -> Texts:
    """The prompts as they stand in a file of bodies, each with something before and behind it."""
    writer = BodyWriter()
    starts = []
    for index, prompt in enumerate(prompts):
        writer.add(Prepared(index, None, 1, b"<<" + prompt + b">>"))
        starts.append(writer.body_start + 2)
    ends = [start + len(prompt) for start, prompt in zip(starts, prompts, strict=True)]
    return Texts(writer.finish(), starts, ends)


def measure(prompts: Sequence[bytes], sample: Sequence[int] | None = None) -> tuple[PromptBytes, ...]:
    found = lay_out(prompts).measure(range(len(prompts)) if sample is None else sample)
    assert found is not None
    return found


def saved_by_a_trie(prompts: Sequence[bytes]) -> int:
    """How many bytes need no node of their own."""
    nodes: set[bytes] = set()
    for prompt in prompts:
        nodes.update(prompt[:end] for end in range(1, len(prompt) + 1))
    return sum(map(len, prompts)) - len(nodes)


few_letters = st.lists(st.binary(max_size=6) | st.text("ab", max_size=8).map(str.encode), min_size=1, max_size=40)
long_beginnings = st.lists(
    st.builds(lambda length, end: b"x" * length + end, st.sampled_from([0, 255, 256, 257, 1280, 5000]), st.binary()),
    min_size=1,
    max_size=12,
)


@given(few_letters | long_beginnings)
def test_what_is_shared_is_what_a_trie_saves(prompts: list[bytes]) -> None:
    found = measure(prompts)
    assert sum(one.shared for one in found) == saved_by_a_trie(prompts)


@given(few_letters | long_beginnings)
def test_each_prompt_is_there_once_with_its_length(prompts: list[bytes]) -> None:
    found = measure(prompts)
    assert sorted(one.index for one in found) == list(range(len(prompts)))
    assert all(one.length == len(prompts[one.index]) for one in found)
    assert all(0 <= one.shared <= one.length for one in found)


@given(few_letters | long_beginnings)
def test_what_a_prompt_shares_another_one_has(prompts: list[bytes]) -> None:
    for one in measure(prompts):
        beginning = prompts[one.index][: one.shared]
        assert any(prompts[other].startswith(beginning) for other in range(len(prompts)) if other != one.index) or (
            not beginning
        )


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_the_sum_does_not_go_by_the_order(order: tuple[int, ...]) -> None:
    prompts = [b"the same beginning, one", b"the same beginning, two", b"the same", b"another"]
    found = measure(prompts, order)
    assert sum(one.shared for one in found) == len(b"the same beginning, ") + len(b"the same")


def test_only_the_sample_is_compared() -> None:
    found = measure([b"abc", b"abd", b"abe"], [0, 2])
    assert sorted((one.index, one.length, one.shared) for one in found) == [(0, 3, 0), (2, 3, 2)]


def test_equal_prompts_are_all_shared_but_one() -> None:
    assert sorted(one.shared for one in measure([b"x" * 1000] * 3)) == [0, 1000, 1000]


def test_one_prompt_shares_nothing() -> None:
    assert measure([b"alone"]) == (PromptBytes(0, 5, 0),)
    assert measure([b"alone"], []) == ()


def test_what_stands_before_and_behind_a_prompt_is_not_compared() -> None:
    assert [one.shared for one in measure([b"a", b"ab", b""])] == [0, 0, 1]


def test_too_many_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "MOST_COMPARED", 2)
    laid_out = lay_out([b"a"] * 3)
    assert laid_out.measure(range(3)) is None
    assert laid_out.measure(range(2)) is not None


# Where the messages stand.


def messages_in(body: bytes) -> bytes:
    start, end = find_messages(body)
    return body[start:end]


@pytest.mark.parametrize(
    "options",
    [
        OPTIONS,
        ChatOptions(model='a "messages":[{ b', max_output_tokens=5),
        ChatOptions(model="m", extra_body={"tools": [{"type": "function"}], "user": "}],stream"}),
        ChatOptions(model="m", extra_body={"model": "another", "stream_options": None}),
    ],
)
@pytest.mark.parametrize("text", ["Hello", 'a "quote"\n\u4f60', '"messages":[', '"}],"stream":true'])
def test_the_messages_of_a_body_that_we_made(options: ChatOptions, text: str) -> None:
    body = APIS["chat"].encode([{"role": "system", "content": "s"}, {"role": "user", "content": text}], options, None)
    encoded = text.replace('"', '\\"').replace("\n", "\\n").encode()
    assert messages_in(body) == b'[{"role":"system","content":"s"},{"role":"user","content":"' + encoded + b'"'


@given(st.text(), st.text())
def test_messages_are_as_far_apart_as_their_texts(one: str, other: str) -> None:
    """What two bodies have in common at their beginnings begins with their first texts."""
    found = [
        messages_in(APIS["chat"].encode([{"role": "user", "content": text}], OPTIONS, None)) for text in (one, other)
    ]
    assert all(text.startswith(b'[{"role":"user","content":"') for text in found)
    assert (found[0] == found[1]) is (one == other)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"prompt":"a"}', b'{"messages":[]}', b'}],"stream":true,"messages":[{'])
def test_of_another_body_it_is_all(body: bytes) -> None:
    assert messages_in(body) == body
