"""The chat completions API as its many servers speak it: a request's body out, the facts of an event in.

Pure: bytes and values. An event is read by a typed decoder, which looks at nothing but the fields
that count, or, where a server's types are not the documented ones, by a slower reading that takes
what it can.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from fluxperf.api.delta import ANSWER, BLANK, DONE, NOTHING, REASONING, SILENT, Delta, Malformed, read_usage
from fluxperf.api.plain import error_text, one_line


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatOptions:
    """What the requests of a run have in common; None: not sent. `extra_body` goes over it, a null there removes."""

    model: str
    max_output_tokens: int | None = None
    min_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)


def encode(messages: Sequence[Mapping[str, str]], options: ChatOptions, max_output_tokens: int | None = None) -> bytes:
    """The body of a streaming request, compact JSON in UTF-8. `max_output_tokens`: the entry's own, it wins."""
    body = {
        "model": options.model,
        "messages": [dict(message) for message in messages],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": options.max_output_tokens if max_output_tokens is None else max_output_tokens,
        "temperature": _number(options.temperature),
        "min_tokens": options.min_output_tokens,
        "top_p": _number(options.top_p),
        **options.extra_body,
    }
    return _encode({key: value for key, value in body.items() if value is not None})


def encode_messages(messages: Sequence[Mapping[str, str]]) -> bytes:
    """The messages as they stand in a body, without its brackets: with commas between them, a history."""
    return _encode([dict(message) for message in messages])[1:-1]


def split(body: bytes) -> tuple[bytes, bytes]:
    """What stands before and after the messages in a body that has none: between them a history makes a request."""
    before, _, after = body.partition(b'"messages":[]')  # it cannot stand in the model's name, where quotes are escaped
    return before + b'"messages":[', b"]" + after


def _encode(value: object) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        # Half a surrogate pair, which JSON datasets may hold, is no UTF-8; as an escape it goes out as it came in.
        return json.dumps(value, separators=(",", ":")).encode()


def decode(payload: bytes, keep_text: bool = True) -> Delta:
    """What the data of one event say; `text` is left empty without `keep_text`. Raises Malformed.

    Output is non-empty content, reasoning, refusal, or a tool or function call's name or arguments,
    in any choice. An event without data says nothing.
    """
    try:
        chunk = _decode_chunk(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        word = payload.strip()
        if word == b"[DONE]":
            return DONE
        if not word:
            return NOTHING
        chunk = _read_tolerantly(payload)
    return _facts(chunk, keep_text, payload)


class _Message(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: Any = None
    function_call: Any = None


class _Choice(msgspec.Struct, gc=False):
    index: int | None = 0
    delta: _Message | None = None
    finish_reason: str | None = None
    error: Any = None
    usage: Any = None


class _Chunk(msgspec.Struct, gc=False):
    kind: Any = msgspec.field(default=None, name="object")
    choices: list[_Choice] | None = None
    usage: Any = None
    timings: Any = None
    error: Any = None
    message: Any = None
    detail: Any = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode


def _facts(chunk: _Chunk, keep_text: bool, payload: bytes) -> Delta:
    answer = reasoning = False
    finish_reason = None
    text = ""
    usage, error = chunk.usage, chunk.error
    for choice in chunk.choices or ():
        message = choice.delta
        if message is not None:
            if message.content or message.refusal or _calls(message):
                answer = True
            if message.reasoning or message.reasoning_content:
                reasoning = True
            if keep_text and not choice.index:
                text += message.content or message.refusal or ""
        if not choice.index:
            finish_reason = choice.finish_reason or finish_reason
        usage = usage or choice.usage
        error = error or choice.error
    if not chunk.choices:
        error = error or _bare_error(chunk)
    if text or finish_reason or usage or error or chunk.timings:
        silent = bool(chunk.choices) and not (answer or reasoning)
        return Delta(
            output=answer or reasoning,
            answer=answer,
            silent=silent,
            blank=silent and _is_blank(chunk, payload),
            finish_reason=finish_reason,
            usage=read_usage(usage, chunk.timings) if usage or chunk.timings else None,
            error=(error_text(error) or "an error without a message") if error else None,
            text=text,
        )
    if answer or reasoning:
        return ANSWER if answer else REASONING
    if not chunk.choices:
        return NOTHING
    return BLANK if _is_blank(chunk, payload) else SILENT


def _is_blank(chunk: _Chunk, payload: bytes) -> bool:
    """Whether the first choice of an event without output has a content of "", and no role.

    The role is looked for in the bytes: a field for it would cost every token something. Within a text its quotes would
    be escaped.
    """
    message = chunk.choices[0].delta if chunk.choices else None
    return message is not None and message.content == "" and b'"role"' not in payload


def _calls(message: _Message) -> bool:
    """Whether the message has a part of a tool or function call in it."""
    if not message.tool_calls and not message.function_call:
        return False
    calls = message.tool_calls if isinstance(message.tool_calls, list) else []
    functions = [call.get("function") for call in calls if isinstance(call, dict)]
    functions.append(message.function_call)
    return any(isinstance(called, dict) and (called.get("name") or called.get("arguments")) for called in functions)


def _bare_error(chunk: _Chunk) -> Any:
    """The error in an event that has no choices: older vLLM and SGLang put its fields at the top, FastAPI a detail."""
    return chunk.detail or (chunk.kind == "error" and (chunk.message or "an error without a message"))


def _read_tolerantly(payload: bytes) -> _Chunk:
    text = payload.decode("utf-8", "replace")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not JSON: {one_line(text)}") from error
    if not isinstance(found, dict):
        raise Malformed(f"JSON, but not an object: {one_line(text)}")
    choices = found.get("choices")
    return _Chunk(
        kind=found.get("object"),
        choices=[_choice(entry) for entry in choices if isinstance(entry, dict)] if isinstance(choices, list) else None,
        usage=found.get("usage"),
        timings=found.get("timings"),
        error=found.get("error"),
        message=found.get("message"),
        detail=found.get("detail"),
    )


def _choice(entry: dict[str, Any]) -> _Choice:
    index, delta = entry.get("index"), entry.get("delta")
    return _Choice(
        index=index if isinstance(index, int) else 0,
        delta=_message(delta) if isinstance(delta, dict) else None,
        finish_reason=_text(entry.get("finish_reason")),
        error=entry.get("error"),
        usage=entry.get("usage"),
    )


def _message(delta: dict[str, Any]) -> _Message:
    content = delta.get("content")
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    return _Message(
        content=_text(content) or ("" if content == "" else None),
        reasoning=_text(delta.get("reasoning")) or "".join(_text(part.get("thinking")) for part in parts),
        reasoning_content=_text(delta.get("reasoning_content")),
        refusal=_text(delta.get("refusal")),
        tool_calls=delta.get("tool_calls"),
        function_call=delta.get("function_call"),
    )


def _text(value: Any) -> str:
    """The text in a string or a list of text parts, else "". Halves of surrogate pairs, which no file takes, go."""
    parts = value if isinstance(value, list) else [{"text": value}]
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    joined = "".join(text for text in texts if isinstance(text, str))
    return joined.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _number(value: float | None) -> float | None:
    """Whole numbers without a fraction: 0, not 0.0."""
    return int(value) if value is not None and float(value).is_integer() else value
