"""`Delta`: what one event of an answer says, the same for every API. How each API writes it is not known here.

Deltas are msgspec structs, which cost a tenth of what a frozen dataclass does: there is one for every token.
"""

from __future__ import annotations

from typing import Any

import msgspec

_MOST_TOKENS = 2**53


class Malformed(ValueError):
    """The data of an event is not what the API may send."""


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Token counts as the server gave them; None: it did not. Of several in one answer, the later count holds."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None


class Delta(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What one event says. All the defaults together: nothing that counts.

    `output`: it carries output of any kind, in any choice; `answer`: output other than reasoning.
    `silent`: it has a choice, and no output in any; `blank`: such a one whose first choice has a content of "" and no
    role, which a token that decodes to nothing looks like.
    `finish_reason` and `text` (the answer without its reasoning) are those of choice index 0.
    `error`: the server's message, on one line. `done`: it is the closing `[DONE]`.
    """

    output: bool = False
    answer: bool = False
    silent: bool = False
    blank: bool = False
    finish_reason: str | None = None
    usage: Usage | None = None
    error: str | None = None
    text: str = ""
    done: bool = False


NOTHING = Delta()
REASONING = Delta(output=True)
ANSWER = Delta(output=True, answer=True)
SILENT = Delta(silent=True)
BLANK = Delta(silent=True, blank=True)
DONE = Delta(done=True)

_NO_USAGE = Usage()


def read_usage(usage: Any, timings: Any = None) -> Usage | None:
    """The counts in a `usage` object; what is not a count is left out, None if nothing is left.

    llama.cpp's `timings` tell the cached tokens where `usage` does not: `cache_n` of the prompt's
    tokens were cached and `prompt_n` were processed.
    """
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details")
    prompt = _tokens(usage.get("prompt_tokens"))
    cached = _tokens(details.get("cached_tokens")) if isinstance(details, dict) else None
    if cached is None and isinstance(timings, dict):
        cached = _tokens(timings.get("cache_n"))
        processed = _tokens(timings.get("prompt_n"))
        if prompt is None and cached is not None and processed is not None:
            prompt = cached + processed
    found = Usage(prompt, _tokens(usage.get("completion_tokens")), cached)
    return None if found == _NO_USAGE else found


def _tokens(value: Any) -> int | None:
    """`value` as a count; some servers write whole numbers as floats."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST_TOKENS:
        return None
    return int(value) if value == int(value) else None
