"""What servers say outside the stream's own form: error objects, and bodies that are not event streams.

It does not know which of these an event or a response is: callers ask once they know that it is none of theirs.
"""

from __future__ import annotations

import html
import json
import re
from typing import Any

_LONGEST_LINE = 300
_LONGEST_SEARCH = 64 * 1024
_MOST_ENTRIES = 10
_MESSAGE_KEYS = ("message", "error", "detail", "msg")
# An element or comment that is never closed reaches to the end, so that no text is searched twice.
_UNSEEN = re.compile(r"<(script|style)\b.*?(?=</\1|\Z)|<!--.*?(?:-->|\Z)", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"<[^>]*(?:>|\Z)")


def one_line(text: str) -> str:
    """`text` fit for one line of a terminal: only printable characters, single spaces, at most 300 characters."""
    printable = "".join(char if char.isprintable() else " " for char in text[:_LONGEST_SEARCH])
    line = " ".join(printable.split())
    return line if len(line) <= _LONGEST_LINE else line[: _LONGEST_LINE - 3] + "..."


def error_text(error: Any) -> str:
    """The message in a decoded error object, on one line; "" if it is blank, JSON if no message is found in it.

    Read are OpenAI's `{"error": {"message": ...}}` and its parts, `{"detail": ...}` and FastAPI's
    list of `{"loc": [...], "msg": ...}`.
    """
    try:
        return one_line(_message(error))
    except RecursionError:
        return "an error object that is nested too deep to read"


def error_message(body: bytes) -> str:
    """What the body of a failed response says, on one line: an error object, other JSON, HTML or plain text."""
    text = body.decode("utf-8-sig", "replace").strip()
    try:
        message = error_text(json.loads(text))
    except (ValueError, RecursionError):
        message = one_line(_html_text(text[:_LONGEST_SEARCH]) if text.startswith("<") else text)
    return message or one_line(text) or "(empty body)"


def looks_like_completion(body: bytes) -> bool:
    """Whether a body is one JSON object with a whole answer in it, as from a server that does not stream."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return False
    choices = found.get("choices") if isinstance(found, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return isinstance(first, dict) and ("message" in first or "text" in first)


def _message(error: Any) -> str:
    if isinstance(error, str):
        return error
    if isinstance(error, list) and error:
        return "; ".join(_message(entry) for entry in error[:_MOST_ENTRIES])
    if isinstance(error, dict):
        found = next((error[key] for key in _MESSAGE_KEYS if error.get(key)), None)
        if found is not None:
            place = error.get("loc")
            return ".".join(map(str, place)) + ": " + _message(found) if isinstance(place, list) else _message(found)
    return json.dumps(error, ensure_ascii=False)


def _html_text(text: str) -> str:
    return html.unescape(_TAG.sub(" ", _UNSEEN.sub(" ", text)))
