"""What a request asks and a response says, in any version of HTTP. Knows no framing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

MAX_HEADER_BYTES: Final = 64 * 1024
MAX_BODY_BYTES: Final = 64 * 1024 * 1024

Fields = tuple[tuple[str, str], ...]
"""Header fields: names and values."""


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request. `query` is what follows the path's question mark."""

    method: str
    path: str
    body: bytes = b""
    query: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response. `more` are further header fields, with names in lower case."""

    status: int
    body: bytes
    content_type: str = "application/json"
    allow: str | None = None
    more: Fields = ()

    def fields(self) -> Iterator[tuple[str, str]]:
        """Its header fields, with names in lower case."""
        yield "content-type", self.content_type
        yield "content-length", str(len(self.body))
        if self.allow:
            yield "allow", self.allow
        yield from self.more


STREAM_FIELDS: Final[Fields] = (("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"))


def answer_json(value: object, status: int = 200) -> Response:
    """A response whose body is the value as JSON."""
    return Response(status, msgspec.json.encode(value))
