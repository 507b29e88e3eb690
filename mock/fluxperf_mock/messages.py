"""What a request asks and a response says, in any version of HTTP. Knows no framing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MAX_HEADER_BYTES: Final = 64 * 1024
MAX_BODY_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request. `path` is without query."""

    method: str
    path: str
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response."""

    status: int
    body: bytes
    content_type: str = "application/json"
    allow: str | None = None

    def fields(self) -> Iterator[tuple[str, str]]:
        """Its header fields, with names in lower case."""
        yield "content-type", self.content_type
        yield "content-length", str(len(self.body))
        if self.allow:
            yield "allow", self.allow


STREAM_FIELDS: Final = (("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"))
