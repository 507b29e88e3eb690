"""HTTP/2's head fields and error codes in the terms of the rest: a request's fields out, what went wrong in words."""

from __future__ import annotations

from h2.errors import ErrorCodes
from h2.events import StreamReset
from h2.exceptions import NoSuchStreamError, ProtocolError

from fluxperf.engine.session import BrokenResponse, MalformedResponse, Request
from fluxperf.engine.sink import Headers

# Fields that are about the connection, which HTTP/2 has no use for (RFC 9113 8.2.2), and what a pseudo field says.
_LEFT_OUT = (b"connection", b"host", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")


def head_fields(request: Request) -> Headers:
    """The request's head as HTTP/2 has it (RFC 9113 8.3.1)."""
    fields = [(name.lower(), value) for name, value in request.headers]
    pseudo = [
        (b":method", request.method),
        (b":scheme", request.scheme),
        (b":authority", next((value for name, value in fields if name == b"host"), b"")),
        (b":path", request.path),
    ]
    return pseudo + [field for field in fields if field[0] not in _LEFT_OUT]


def reset_error(event: StreamReset) -> Exception:
    """What a reset of a stream means for its exchange."""
    name = error_name(int(event.error_code or 0))
    if not event.remote_reset:
        return MalformedResponse(f"the server broke the rules of HTTP/2 on this stream ({name})")
    # A reset is an answer: only one that is lost with its connection can be the keep-alive race.
    return BrokenResponse(f"the server reset the stream ({name})", untouched=False)


def complaint_of(first: bytes, error: ProtocolError, *, settled: bool) -> str:
    """What is wrong with what came, in words; `settled`: the server had spoken HTTP/2 before."""
    if not settled and first.startswith(b"HTTP/1"):
        return "the server answers in HTTP/1.1: use --http 1.1"
    if not settled and first[:4].isascii() and first[:4].decode("ascii").isprintable():
        return "the server answers, but not in HTTP/2: use --http 1.1"
    what = str(error)
    if isinstance(error, NoSuchStreamError):
        what = f"a frame for stream {error.stream_id}, which is not open"
    return f"the server {'broke the rules of' if settled else 'does not speak'} HTTP/2: {what}"


def error_name(code: int) -> str:
    """The name of an error code (RFC 9113 7)."""
    try:
        return ErrorCodes(code).name
    except ValueError:
        return f"error {code}"


def quote(debug: bytes) -> str:
    """What a GOAWAY says beside its code, if it is text."""
    text = debug[:200].decode("utf-8", "replace").strip()
    return f", {text!r}" if text else ""
