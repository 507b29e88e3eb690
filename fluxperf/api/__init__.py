"""The APIs that servers speak, sans-IO: how a request is written and what the events of its answer say."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fluxperf.api import chat
from fluxperf.api.chat import ChatOptions
from fluxperf.api.delta import Delta, Malformed, Usage
from fluxperf.api.plain import error_message, looks_like_completion
from fluxperf.api.sse import EventTooLong, SseDecoder

__all__ = [
    "APIS",
    "Api",
    "ChatOptions",
    "Delta",
    "EventTooLong",
    "Malformed",
    "SseDecoder",
    "Usage",
    "error_message",
    "looks_like_completion",
]


@dataclass(frozen=True, slots=True)
class Api:
    """One API: `encode(messages, options, max_output_tokens)` and `decode(payload, keep_text)`.

    `encode_messages(messages)` is what stands between the brackets of a body's list of messages, and
    `split(body)` a body without any, before and after that place.
    """

    encode: Callable[[Sequence[Mapping[str, str]], ChatOptions, int | None], bytes]
    encode_messages: Callable[[Sequence[Mapping[str, str]]], bytes]
    split: Callable[[bytes], tuple[bytes, bytes]]
    decode: Callable[[bytes, bool], Delta]


APIS: dict[str, Api] = {
    "chat": Api(chat.encode, chat.encode_messages, chat.split, chat.decode),
}
