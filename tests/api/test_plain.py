"""What is shown of bodies that are not event streams."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxperf.api import error_message, looks_like_completion

NGINX = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center>nginx &amp; co</center></body></html>"
)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(
            b'{"error":{"code":400,"message":"\'messages\' is required"}}', "'messages' is required", id="OpenAI"
        ),
        pytest.param(b'{"error":"overloaded","error_type":"overloaded"}', "overloaded", id="TGI"),
        pytest.param(b'{"object":"error","message":"no such model","code":404}', "no such model", id="vLLM"),
        pytest.param(b'[{"error":{"code":400,"message":"bad key"}}]', "bad key", id="Gemini"),
        pytest.param(b'{"detail":"Not Found"}', "Not Found", id="FastAPI"),
        pytest.param(
            b'{"detail":[{"loc":["body","messages",0],"msg":"field required"},{"loc":["body","n"],"msg":"too many"}]}',
            "body.messages.0: field required; body.n: too many",
            id="FastAPI's validation",
        ),
        pytest.param(b'{"message":"no Route matched"}', "no Route matched", id="gateway"),
        pytest.param(b'{"status":500,"error":"Internal","message":"null pointer"}', "null pointer", id="both keys"),
        pytest.param(b'{"message":null,"error":"bad key"}', "bad key", id="message null"),
        pytest.param(b'{"error":{"message":{"reason":"x"}}}', '{"reason": "x"}', id="message an object"),
        pytest.param(b'{"success": false}', '{"success": false}', id="unknown JSON"),
        pytest.param(b'{"error":{"message":" "}}', '{"error":{"message":" "}}', id="blank message"),
        pytest.param(b'\xef\xbb\xbf{"detail":"BOM"}', "BOM", id="byte order mark"),
        pytest.param(b"Internal Server Error", "Internal Server Error", id="plain text"),
        pytest.param(b"two\n  lines\t\x1b[31m\x00\xff", "two lines [31m \ufffd", id="control characters"),
        pytest.param(NGINX, "502 Bad Gateway nginx & co", id="HTML"),
        pytest.param(b"<style>p{}</style><SCRIPT>x<1</script ><!-- a > b --><p>Down</p", "Down", id="unseen HTML"),
        pytest.param(b"<p>Down<script>var a", "Down", id="HTML cut short"),
        pytest.param(b"<script></script>", "<script></script>", id="HTML without text"),
        pytest.param(b"", "(empty body)", id="empty"),
        pytest.param(b" \r\n\x00", "(empty body)", id="blank"),
    ],
)
def test_error_message(body: bytes, message: str) -> None:
    assert error_message(body) == message


def test_long_messages_are_cut() -> None:
    assert error_message(b"x" * 301) == "x" * 297 + "..."
    assert error_message(b"x" * 300) == "x" * 300
    assert error_message(json.dumps({"error": {"message": "y" * 100_000}}).encode()) == "y" * 297 + "..."
    assert error_message(b"<p>" + b"z" * 100_000) == "z" * 297 + "..."


@pytest.mark.parametrize("depth", [300, 900, 3000, 100_000])
def test_deep_nesting_is_no_trouble(depth: int) -> None:
    assert error_message(b'{"error":' * depth + b"1" + b"}" * depth)
    assert error_message(b"[" * depth + b"]" * depth)
    assert not looks_like_completion(b"[" * depth + b"]" * depth)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=400)
    | st.lists(st.sampled_from(["<script", ">", "</script>", "<!--", "-->", "a", "&lt;", "{", '"']), max_size=30)
    .map("".join)
    .map(str.encode)
)
def test_any_body_is_one_printable_line(body: bytes) -> None:
    message = error_message(body)
    assert 0 < len(message) <= 300
    assert message.isprintable()
    looks_like_completion(body)


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b'{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"A"}}]}', True),
        (b'{"choices":[{"text":"A"}]}', True),
        (b'{"choices":[{"delta":{"content":"A"}}]}', False),
        (b'{"choices":[]}', False),
        (b'{"choices":["message"]}', False),
        (b'{"choices":null}', False),
        (b'{"error":{"message":"no"}}', False),
        (b'[{"choices":[{"text":"A"}]}]', False),
        (b"choices", False),
        (b"\xff", False),
        (b"", False),
    ],
)
def test_looks_like_completion(body: bytes, answer: bool) -> None:
    assert looks_like_completion(body) is answer
