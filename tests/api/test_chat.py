"""Requests as they are written, and answers whose types are not the documented ones."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxperf.api import ChatOptions, Delta, Malformed, Usage
from fluxperf.api.chat import decode, encode

MESSAGES = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Grüße, 漢字 \u2028"}]


def body(limit: int | None = None, **options: Any) -> dict[str, Any]:
    found = json.loads(encode(MESSAGES, ChatOptions(model="m", **options), limit))
    assert isinstance(found, dict)
    return found


def test_body_is_compact_utf8() -> None:
    options = ChatOptions(model="m", max_output_tokens=256, temperature=0.0)
    assert (
        encode(MESSAGES[1:], options)
        == (
            '{"model":"m","messages":[{"role":"user","content":"Grüße, 漢字 \u2028"}],"stream":true,'
            '"stream_options":{"include_usage":true},"max_tokens":256,"temperature":0}'
        ).encode()
    )


def test_only_what_is_asked_is_sent() -> None:
    assert set(body()) == {"model", "messages", "stream", "stream_options"}
    assert (
        body(min_output_tokens=8, top_p=0.9, temperature=0.7).items()
        >= {
            "min_tokens": 8,
            "top_p": 0.9,
            "temperature": 0.7,
        }.items()
    )


@pytest.mark.parametrize(("value", "sent"), [(0.0, b":0}"), (1.0, b":1}"), (1, b":1}"), (0.5, b":0.5}")])
def test_whole_numbers_are_sent_without_a_fraction(value: float, sent: bytes) -> None:
    assert encode([], ChatOptions(model="m", temperature=value)).endswith(b'"temperature"' + sent)
    assert encode([], ChatOptions(model="m", top_p=value)).endswith(b'"top_p"' + sent)


def test_the_entrys_own_limit_wins() -> None:
    assert body(7, max_output_tokens=256)["max_tokens"] == 7
    assert body(7)["max_tokens"] == 7
    assert body(None, max_output_tokens=256)["max_tokens"] == 256


def test_extra_body_overrides_adds_and_removes() -> None:
    extra = {"temperature": 1.0, "max_tokens": None, "seed": 3, "absent": None, "stream_options": {"x": None}}
    found = body(9, max_output_tokens=256, temperature=0.0, extra_body=extra)
    assert found["temperature"] == 1.0
    assert found["seed"] == 3
    assert found["stream_options"] == {"x": None}
    assert not {"max_tokens", "absent"} & set(found)


def test_half_a_surrogate_pair_is_sent_as_an_escape() -> None:
    encoded = encode([{"role": "user", "content": "\ud83d é"}], ChatOptions(model="m"))
    assert rb'"content":"\ud83d \u00e9"' in encoded


@pytest.mark.parametrize(
    ("payload", "delta"),
    [
        pytest.param(
            '{"choices":[{"delta":{"content":[{"type":"text","text":"A"},{"text":"B"}]}}]}',
            Delta(output=True, answer=True, text="AB"),
            id="content as parts",
        ),
        pytest.param('{"choices":[{"delta":{"content":7}}]}', Delta(silent=True), id="content a number"),
        pytest.param('{"choices":[{"delta":{"content":[1,null,{"text":2}]}}]}', Delta(silent=True), id="no parts"),
        pytest.param('{"choices":[{"index":0,"delta":null}]}', Delta(silent=True), id="delta null"),
        pytest.param('{"choices":[{"index":0}]}', Delta(silent=True), id="delta missing"),
        pytest.param('{"choices":[{"delta":[]}]}', Delta(silent=True), id="delta a list"),
        pytest.param('{"choices":null}', Delta(), id="choices null"),
        pytest.param('{"choices":{}}', Delta(), id="choices an object"),
        pytest.param('{"choices":[null,7,[]]}', Delta(), id="choices of no kind"),
        pytest.param("{}", Delta(), id="nothing at all"),
        pytest.param(
            '{"choices":[{"index":null,"delta":{"content":"A"},"finish_reason":"stop"}]}',
            Delta(output=True, answer=True, text="A", finish_reason="stop"),
            id="index null",
        ),
        pytest.param(
            '{"choices":[{"index":"0","delta":{"content":"A"},"finish_reason":7}]}',
            Delta(output=True, answer=True, text="A"),
            id="index a string, reason a number",
        ),
        pytest.param(
            '{"choices":[{"index":0.5,"delta":{"tool_calls":[{"function":{"arguments":{"a":1}}}]}}]}',
            Delta(output=True, answer=True),
            id="arguments as an object",
        ),
        pytest.param(
            '{"choices":[{"delta":{"tool_calls":"x","function_call":"y"}}]}', Delta(silent=True), id="calls as strings"
        ),
        pytest.param(
            '{"usage":{"prompt_tokens":5.0,"completion_tokens":"3","prompt_tokens_details":7}}',
            Delta(usage=Usage(5)),
            id="counts as float and string",
        ),
        pytest.param(
            '{"usage":{"prompt_tokens":-1,"completion_tokens":true,"prompt_tokens_details":{"cached_tokens":1.5}}}',
            Delta(),
            id="counts that are none",
        ),
        pytest.param('{"usage":[1],"timings":"fast"}', Delta(), id="usage a list"),
        pytest.param('{"usage":{"prompt_tokens":1e400,"completion_tokens":2}}', Delta(usage=Usage(None, 2)), id="inf"),
        pytest.param('{"timings":{"cache_n":4}}', Delta(usage=Usage(None, None, 4)), id="timings without prompt_n"),
        pytest.param(
            '{"choices":[{"delta":{"content":"A"},"logprobs":NaN}]}',
            Delta(output=True, answer=True, text="A"),
            id="NaN, which is no JSON",
        ),
    ],
)
def test_wrong_types_are_read_as_far_as_they_go(payload: str, delta: Delta) -> None:
    assert decode(payload.encode()) == delta


def test_bytes_that_are_not_utf8_are_replaced() -> None:
    assert decode(b'{"choices":[{"delta":{"content":"A\xff"}}]}').text == "A\ufffd"


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert decode(rb'{"choices":[{"delta":{"content":"A\ud83d"}}]}').text == "A\ufffd"


def test_text_is_left_out_unless_wanted() -> None:
    payload = b'{"choices":[{"index":0,"delta":{"content":"A"}}]}'
    assert decode(payload, keep_text=False) == Delta(output=True, answer=True)
    assert decode(payload, keep_text=False) is decode(payload, keep_text=False)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"Internal Server Error", "not JSON: Internal Server Error"),
        (b'{"choices":[{"delta', 'not JSON: {"choices":[{"delta'),
        (b'{"a":1}\n{"b":2}', 'not JSON: {"a":1} {"b":2}'),
        (b"[1]", "JSON, but not an object: [1]"),
        (b'"[DONE]"', 'JSON, but not an object: "[DONE]"'),
        (b"null", "JSON, but not an object: null"),
        (b"\xff\x1b[31m", "not JSON: \ufffd [31m"),
        (b"x" * 5000, "not JSON: " + "x" * 297 + "..."),
        (b'{"x":' * 100_000, "not JSON: " + ('{"x":' * 60)[:297] + "..."),
        (b'{"usage":{"prompt_tokens":' + b"9" * 5000 + b"}, \xff", None),
    ],
)
def test_malformed_payloads_are_shown(payload: bytes, message: str | None) -> None:
    with pytest.raises(Malformed) as caught:
        decode(payload)
    assert message is None or str(caught.value) == message


KEYS = ["choices", "delta", "content", "reasoning", "refusal", "tool_calls", "function", "name", "arguments", "text"]
KEYS += ["index", "finish_reason", "usage", "prompt_tokens", "completion_tokens", "prompt_tokens_details", "type"]
KEYS += ["cached_tokens", "timings", "cache_n", "prompt_n", "error", "message", "detail", "object", "loc", "thinking"]
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["error", ""])
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


def assert_sound(payload: bytes) -> None:
    for keep_text in (True, False):
        try:
            delta = decode(payload, keep_text)
        except Malformed:
            continue
        assert delta.error != ""
        assert delta.finish_reason != ""
        assert delta.output or not delta.answer
        msgspec.msgpack.encode(delta)  # whatever it holds can be written


def some(keys: str, of: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(keys.split(), of))


texts = st.none() | st.text(max_size=5)
messages = some("content reasoning reasoning_content refusal role", texts)
choices = st.builds(lambda **fields: fields, index=st.integers(0, 1), delta=st.none() | messages, finish_reason=texts)
chunks = st.builds(
    lambda choices, rest: {"choices": choices, **rest}, st.lists(choices, max_size=2), some("usage error", values)
)
oddities = some(
    "choices usage timings error message detail object", values | st.lists(some("index delta error", values))
)


@settings(max_examples=400, deadline=None)
@given(chunks | oddities | values)
def test_any_json_is_read_or_malformed(value: Any) -> None:
    assert_sound(json.dumps(value).encode())


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 60))
def test_any_bytes_are_read_or_malformed(noise: bytes, place: int) -> None:
    payload = b'{"choices":[{"index":0,"delta":{"content":"A"}}],"error":"x"}'
    assert_sound(noise)
    assert_sound(payload[:place] + noise + payload[place:])


@settings(max_examples=300, deadline=None)
@given(chunks | oddities)
def test_both_readings_agree(value: dict[str, Any]) -> None:
    payload = json.dumps(value)
    tolerant = payload[:-1] + (", " if value else "") + '"x": NaN}'  # NaN is more than the typed decoder takes
    assert decode(payload.encode()) == decode(tolerant.encode())


@pytest.mark.parametrize("depth", [300, 900, 3000, 100_000])
def test_deep_nesting_is_read_or_malformed(depth: int) -> None:
    assert_sound(b'{"error":' * depth + b"1" + b"}" * depth)
    assert_sound(b'{"error":' + b"[" * depth + b"]" * depth + b"}")
    assert_sound(b'{"choices":[{"delta":{"content":' + b"[" * depth + b"]" * depth + b"}}]}")
