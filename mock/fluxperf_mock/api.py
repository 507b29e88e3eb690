"""OpenAI's API as JSON: request bodies in; response bodies and stream events out. No HTTP, no time, no model.

Errors have the shape that vLLM gives them: `{"error": {"message", "type", "param", "code"}}`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from fluxperf_mock.answers import LONGEST_TOKENS, Limits
from fluxperf_mock.prompts import TOKEN_BYTES, render_chat

AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]
_ERROR_TYPES = {404: "NotFoundError", 405: "MethodNotAllowedError", 500: "InternalServerError"}


class Rejection(Exception):
    """What was asked cannot be served; `status` and `body` are the answer."""

    def __init__(self, status: int, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = render_error(status, message, param)


def render_error(status: int, message: str, param: str | None = None) -> bytes:
    """An error object."""
    kind = _ERROR_TYPES.get(status, "BadRequestError")
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": status}})


class StreamOptions(msgspec.Struct):
    """What a stream may carry besides the answer."""

    include_usage: bool | None = None


class GenerationRequest(msgspec.Struct, kw_only=True):
    """The keys that both endpoints share; keys that are not named are ignored."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: AtLeastOne | None = None
    max_completion_tokens: AtLeastOne | None = None
    min_tokens: Annotated[int, msgspec.Meta(ge=0, le=LONGEST_TOKENS)] | None = None
    ignore_eos: bool | None = None
    n: int | None = None

    def limits(self) -> Limits:
        """What the request says about the length of its answer; Rejection if that contradicts itself."""
        most = self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens
        if most is not None and self.min_tokens is not None and self.min_tokens > most:
            raise Rejection(400, f"min_tokens must be at most max_tokens={most}, got {self.min_tokens}", "min_tokens")
        return Limits(most, self.min_tokens or 0, bool(self.ignore_eos))

    @property
    def include_usage(self) -> bool:
        """Whether a stream of this request ends with a usage chunk."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def prompt_text(self) -> bytes:
        """The prompt as the model sees it; Rejection if it is of no form known here."""
        raise NotImplementedError


class Part(msgspec.Struct):
    """A part of a message's content."""

    type: str
    text: str | None = None


class Message(msgspec.Struct):
    """A message of a conversation."""

    role: str
    content: str | list[Part] | None = None

    def text(self) -> str:
        """The content as one string."""
        if not isinstance(self.content, list):
            return self.content or ""
        texts = [part.text for part in self.content if part.text is not None]
        if len(texts) < len(self.content):
            raise Rejection(400, "only content parts with text are understood", "messages")
        return "".join(texts)


class ChatRequest(GenerationRequest, kw_only=True):
    """A body for /v1/chat/completions."""

    messages: Annotated[list[Message], msgspec.Meta(min_length=1)]

    def prompt_text(self) -> bytes:
        """The conversation up to where the assistant's answer begins."""
        return render_chat((message.role, message.text()) for message in self.messages)


class CompletionRequest(GenerationRequest, kw_only=True):
    """A body for /v1/completions: a text, a list of one text, or a list of token ids."""

    prompt: str | list[str | int]

    def prompt_text(self) -> bytes:
        """The text; token ids stand for themselves, one token each."""
        if isinstance(self.prompt, str):
            return self.prompt.encode()
        ids = [part for part in self.prompt if isinstance(part, int)]
        if ids and len(ids) == len(self.prompt):
            try:
                return struct.pack(f"<{len(ids)}I", *ids)
            except struct.error as error:
                raise Rejection(400, f"token ids must be from 0 to {256**TOKEN_BYTES - 1}", "prompt") from error
        if len(self.prompt) == 1:
            return str(self.prompt[0]).encode()
        raise Rejection(400, "prompt must be one text or a list of token ids; several prompts a request are not served")


@dataclass(frozen=True, slots=True)
class Api:
    """What the two endpoints differ in: the body, names, and the choices of a stream's events and of a whole answer."""

    request: type[GenerationRequest]
    id_prefix: str
    chunk_object: str
    whole_object: str
    opening: bytes
    token_before: bytes
    token_after: bytes
    ending: bytes
    whole_before: bytes
    whole_after: bytes


CHAT = Api(
    request=ChatRequest,
    id_prefix="chatcmpl-",
    chunk_object="chat.completion.chunk",
    whole_object="chat.completion",
    opening=b'{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}',
    token_before=b'{"index":0,"delta":{"content":"',
    token_after=b'"},"logprobs":null,"finish_reason":null}',
    ending=b'{"index":0,"delta":{},"logprobs":null,"finish_reason":"%b"}',
    whole_before=b'{"index":0,"message":{"role":"assistant","content":"',
    whole_after=b'"},"logprobs":null,"finish_reason":"%b"}',
)
COMPLETIONS = Api(
    request=CompletionRequest,
    id_prefix="cmpl-",
    chunk_object="text_completion",
    whole_object="text_completion",
    opening=b"",
    token_before=b'{"index":0,"text":"',
    token_after=b'","logprobs":null,"finish_reason":null}',
    ending=b'{"index":0,"text":"","logprobs":null,"finish_reason":"%b"}',
    whole_before=b'{"index":0,"text":"',
    whole_after=b'","logprobs":null,"finish_reason":"%b"}',
)
APIS: dict[str, Api] = {"/v1/chat/completions": CHAT, "/v1/completions": COMPLETIONS}


def decode_request(api: Api, body: bytes) -> GenerationRequest:
    """The request in a body; Rejection (400) says where it is malformed."""
    try:
        request = msgspec.json.decode(body, type=api.request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Rejection(400, f"the body is not a valid request: {error}") from error
    if request.n is not None and request.n != 1:
        raise Rejection(400, f"one choice a request is served, n={request.n} asks for more or none", "n")
    return request


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of one request; `cached_tokens` None: that is not told."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None

    def render(self) -> bytes:
        """The usage object."""
        cached = self.cached_tokens
        details = b"" if cached is None else b',"prompt_tokens_details":{"cached_tokens":%d}' % cached
        return b'{"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":%d%b}' % (
            self.prompt_tokens,
            self.prompt_tokens + self.completion_tokens,
            self.completion_tokens,
            details,
        )


@dataclass(frozen=True, slots=True)
class Identity:
    """What every event of one answer repeats."""

    number: int
    created_s: int
    model: str

    def render(self, api: Api, name: str) -> bytes:
        """The beginning of a JSON object, up to its choices."""
        head: dict[str, Any] = {
            "id": f"{api.id_prefix}{self.number:016x}",
            "object": name,
            "created": self.created_s,
            "model": self.model,
        }
        return msgspec.json.encode(head)[:-1] + b',"choices":['


class StreamText:
    """Renders one answer's server-sent events. What the tokens have in common is rendered once."""

    __slots__ = ("_after", "_api", "_before", "_head")

    def __init__(self, api: Api, identity: Identity) -> None:
        self._api = api
        self._head = b"data: " + identity.render(api, api.chunk_object)
        self._before = self._head + api.token_before
        self._after = api.token_after + b"]}\n\n"

    def opening(self) -> bytes:
        """The event before all tokens: the role of a chat's message; a completion has none."""
        return b"%b%b]}\n\n" % (self._head, self._api.opening) if self._api.opening else b""

    def token(self, word: bytes) -> bytes:
        """The event of one token; `word` needs no escape in JSON."""
        return self._before + word + self._after

    def ending(self, finish_reason: str, usage: Usage | None) -> bytes:
        """The events after all tokens: the finish reason, the usage if it was asked for, and `[DONE]`."""
        events = b"%b%b]}\n\n" % (self._head, self._api.ending % finish_reason.encode())
        if usage is not None:
            events += b'%b],"usage":%b}\n\n' % (self._head, usage.render())
        return events + b"data: [DONE]\n\n"


def render_whole(api: Api, identity: Identity, text: bytes, finish_reason: str, usage: Usage) -> bytes:
    """The body of an answer in one piece; `text` needs no escape in JSON."""
    choice = api.whole_before + text + api.whole_after % finish_reason.encode()
    return b'%b%b],"usage":%b}' % (identity.render(api, api.whole_object), choice, usage.render())


def render_models(model: str, created_s: int) -> bytes:
    """The body of /v1/models: the one model."""
    entry = {"id": model, "object": "model", "created": created_s, "owned_by": "fluxperf"}
    return msgspec.json.encode({"object": "list", "data": [entry]})
