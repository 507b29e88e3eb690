"""What in the body of a successful answer says that a cache was not emptied after all. Knows no HTTP."""

from __future__ import annotations

import json
import re
from typing import Any

HTML = "a page of HTML"
"""A refusal too: a page to sign in at, or the front of a web application that has an answer for every path."""

_MAX_SHOWN, _MOST_READ = 200, 4096  # characters
_DONE = ("success", "succeeded", "ok", "cleared", "flushed", "done", "reset")
_STATE = ("status", "result", "state")
_FAILED = ("error", "errors", "failed", "failure", "failures")
_WORDS = ("message", "msg", "detail", "reason")
_NO = ("", "0", "no", "false", "none", "null", "off")
_PAGE = re.compile(r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.I | re.S)
# "no errors", "failed: 0"; and what would be so at other times, as SGLang adds to every success in parentheses.
_HARMLESS = re.compile(
    r"\b(?:no|without|any|0|zero)\s+(?:errors?|failures?|failed)\b|\b(?:errors?|failures?|failed)\s*[:=]?\s*0\b"
    r"|\((?:when|if)\b[^)]*\)",
    re.I,
)
_REFUSAL = re.compile(
    r"\b(?:fail(?:ed|ures?|s)?|errors?|cannot|could not|unable|denied|unauthori[sz]ed|forbidden|refused|rejected)\b"
    r"|(?:\bnot|n['\N{RIGHT SINGLE QUOTATION MARK}]t)\s+(?:yet\s+)?(?:be\s+|been\s+)?"
    r"(?:flushed|cleared|reset|done|emptied|erased|supported|allowed|permitted|performed)\b"
    r"|\bcan['\N{RIGHT SINGLE QUOTATION MARK}]t\b",
    re.I,
)


def find_refusal(text: str) -> str | None:
    """What in the body of a successful answer says that nothing was done; None: nothing does.

    JSON is searched at any depth for `success`, `ok`, `cleared` and the like that are false, 0 or null, a `status` or
    `result` of failure, an `error` that is not empty, and a `message` or `detail` with words of failure. Plain text is
    searched for such words.
    """
    text = text.removeprefix("\ufeff")
    if _PAGE.match(text[:_MOST_READ]):
        return HTML
    try:
        value = json.loads(text)
        return _refusal_in(value) if isinstance(value, list | dict) else _refusal_of(value)
    except (ValueError, RecursionError):
        return _refusal_of(text)


def one_line(text: str) -> str:
    """The beginning of a text, fit to be shown."""
    printable = "".join(char if char.isprintable() else " " for char in text[:_MOST_READ])
    return " ".join(printable.split())[:_MAX_SHOWN]


def _refusal_of(value: Any) -> str | None:
    """The same for what is no list and no object."""
    if value is False:
        return "false"
    return repr(one_line(value)) if isinstance(value, str) and _refuses(value) else None


def _refusal_in(value: Any) -> str | None:
    if isinstance(value, list):
        return next((found for entry in value if (found := _refusal_in(entry))), None)
    if not isinstance(value, dict):
        return None
    for name, entry in value.items():
        key = name.lower()
        says_no = (
            (key in _DONE and not isinstance(entry, list | dict) and _is_no(entry))
            or (key in (*_STATE, *_WORDS) and isinstance(entry, str) and _refuses(entry))
            or (key in _FAILED and not _is_no(entry))
        )
        if says_no:
            return one_line(json.dumps({name: entry}, ensure_ascii=False))
        if found := _refusal_in(entry):
            return found
    return None


def _is_no(entry: Any) -> bool:
    return entry.strip().lower() in _NO if isinstance(entry, str) else not entry


def _refuses(text: str) -> bool:
    """Whether there are words of failure in it."""
    return _REFUSAL.search(_HARMLESS.sub(" ", text[:_MOST_READ])) is not None
