"""Why some bytes are not JSON text, in words for the user.

Only asked after the fast decoder has refused them, so the standard library's slower one may look
again: it knows positions, and says what it expected.
"""

from __future__ import annotations

import json
import re

_EXCERPT_CHARACTERS = 30
_UTF_16 = (b"\xff\xfe", b"\xfe\xff", b"{\0", b"\0{", b"[\0", b"\0[")
_LFS_POINTER = b"version https://git-lfs"
# Whole surrogate pairs and other escapes are matched, too, so that the next match starts behind them.
_ESCAPES = re.compile(r"\\u[dD][89abAB]\w\w\\u[dD][c-fC-F]\w\w|(?P<lone>\\u[dD][89a-fA-F]\w\w)|\\.", re.DOTALL)


def find_foreign(head: bytes) -> str | None:
    """What a file is that begins with these bytes (32 or more), and what to do; None: it may be JSON in UTF-8."""
    if head.startswith(_UTF_16):
        return "UTF-16, not UTF-8: convert the file (iconv -f UTF-16 -t UTF-8)"
    if head.startswith(_LFS_POINTER):
        return "a pointer of Git LFS, not the data it stands for: git lfs pull fetches them"
    return None


def explain(data: bytes) -> tuple[int, str]:
    """The line in `data` (from 1) where it stops being UTF-8 or JSON (RFC 8259), and what is wrong there."""
    try:
        text = data.decode().rstrip()
    except UnicodeDecodeError as error:
        line_start = data.rfind(b"\n", 0, error.start) + 1
        return data.count(b"\n", 0, error.start) + 1, (
            f"not UTF-8: byte 0x{data[error.start]:02x} at byte {error.start - line_start + 1} of the line; "
            "convert the file to UTF-8 (with iconv, say)"
        )
    try:
        json.loads(text, parse_int=float, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        return error.lineno, _describe(error)
    except RecursionError:
        return 1, "its lists or objects are nested too deeply"
    except ValueError as error:
        return 1, f"not JSON: {error}"
    return _explain_escapes(text)


def is_incomplete(data: bytes) -> bool:
    """Whether `data` is the beginning of a JSON document that may go on in the next line (so not inside a string)."""
    try:
        json.loads(data.decode().rstrip())
    except json.JSONDecodeError as error:
        return _at_end(error)
    except (ValueError, RecursionError):
        return False
    return False


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number; write null or leave the key out")


def _at_end(error: json.JSONDecodeError) -> bool:
    return error.pos == len(error.doc)


def _describe(error: json.JSONDecodeError) -> str:
    if error.msg.startswith("Unterminated string"):
        return (
            f"incomplete: it ends inside the string that begins at column {error.colno}; "
            "is the file cut off, or a line break not written as \\n?"
        )
    if _at_end(error):
        return "incomplete: it ends before its JSON value does; is the file cut off?"
    near = error.doc[error.pos :].split("\n", 1)[0][:_EXCERPT_CHARACTERS]
    if error.msg == "Extra data":
        return (
            f"more follows after the JSON value, at column {error.colno}, near {near!r}; "
            "write each entry on a line of its own, with nothing between (jq -c . does)"
        )
    if error.msg.startswith("Invalid control character"):
        return f"a line break, tab or the like in a string, at column {error.colno}; write it as \\n, \\t or \\u00.."
    return (
        f"not JSON at column {error.colno}, near {near!r}: {error.msg[:1].lower()}{error.msg[1:]}; "
        'an entry looks like {"text": "..."}'
    )


def _explain_escapes(text: str) -> tuple[int, str]:
    """What the standard library lets pass though it is not text: half a surrogate pair (RFC 8259, section 8.2)."""
    for escape in _ESCAPES.finditer(text):
        if escape["lone"]:
            line_start = text.rfind("\n", 0, escape.start()) + 1
            return text.count("\n", 0, escape.start()) + 1, (
                f"{escape['lone']} at column {escape.start() - line_start + 1} is half a surrogate pair, "
                "no character, and cannot be sent; repair or remove it"
            )
    return 1, "it has a number that is too large"
