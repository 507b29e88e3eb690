"""Calls that empty a server's prefix cache, and what their answers are worth.

A status of 200 is not enough: vLLM says `{"success": false}` with it while requests run. Whether the cache is empty
after a call that was accepted only the next round can tell.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urljoin

from fluxperf.fetch import Access, Answer, fetch
from fluxperf.masking import mask_url, scrub
from fluxperf.model.cache import CacheReset

TIMEOUT_S = 30.0
ATTEMPTS = 5
RETRY_S = 0.5
# llama.cpp empties slot by slot: where the URL says {id}, each slot that GET /slots lists is meant.
SLOT = "{id}"
_MOST_SLOTS = 1024
_MAX_SHOWN, _MOST_READ = 200, 4096  # characters
# What may be otherwise in a moment: requests that still run (SGLang: 400), a server that is busy or loading.
_PASSING = (400, 408, 409, 423, 425, 429, 500, 502, 503, 504)
_ALLOWED = ("DELETE", "PUT")
_FAILURE = ("error", "fail", "failed", "failure")


def reset_cache(
    url: str, access: Access, secrets: Sequence[str] = (), pause: Callable[[float], None] = time.sleep
) -> CacheReset:
    """Asks for an empty cache, five times at most where the server says that it cannot just now.

    `secrets` are masked in what is told of the answer.
    """
    attempts = 1
    while not (reset := _ask(url, access, secrets)).accepted and reset.status in (200, *_PASSING):
        if attempts == ATTEMPTS:
            break
        pause(RETRY_S)
        attempts += 1
    return replace(reset, attempts=attempts)


def _ask(url: str, access: Access, secrets: Sequence[str]) -> CacheReset:
    urls = [url]
    if SLOT in url:
        base = url.partition(SLOT)[0].rstrip("/")
        listed = fetch(base, access, timeout_s=TIMEOUT_S)
        # A server that does not show its slots still says how many there are.
        slots = _slots(listed) or _count_slots(fetch(urljoin(base, "props"), access, timeout_s=TIMEOUT_S))
        if not slots:
            trouble = "has none" if listed.ok else listed.trouble
            told = f"nobody says which slots there are: {mask_url(base)} {trouble}"
            return CacheReset(url=mask_url(url), accepted=False, status=listed.status, answer=told, attempts=1)
        urls = [url.replace(SLOT, str(slot)) for slot in slots[:_MOST_SLOTS]]
    resets = [_judge(one, _send(one, access), secrets) for one in urls]
    return next((reset for reset in resets if not reset.accepted), resets[0])


def _send(url: str, access: Access) -> Answer:
    """By POST; by what the server says it takes, where that is one of the methods that change something."""
    answer = fetch(url, access, method="POST", timeout_s=TIMEOUT_S)
    if answer.status == 405:
        allowed = [word.strip().upper() for word in answer.headers.get("allow", "").split(",")]
        method = next((word for word in allowed if word in _ALLOWED), None)
        if method is not None:
            return fetch(url, access, method=method, timeout_s=TIMEOUT_S)
    return answer


def _judge(url: str, answer: Answer, secrets: Sequence[str]) -> CacheReset:
    """An answer that is not whole has no status either."""
    text = scrub(answer.text, secrets)
    refusal = find_refusal(text) if answer.ok else None
    if answer.error is not None:
        said = f"it {answer.error}"
    elif refusal is not None:
        said = f"its body says {refusal}"
    else:
        said = _one_line(text)
    status = answer.status if answer.error is None else None
    return CacheReset(url=mask_url(url), accepted=answer.ok and refusal is None, status=status, answer=said, attempts=1)


def find_refusal(text: str) -> str | None:
    """What in the body of a successful answer says that nothing was done; None: nothing does.

    JSON is searched at any depth for `success`, `ok` or `cleared` that is false, a `status` or `result` of failure, and
    an `error` that is not empty; plain text is only heard where it begins with a word of failure.
    """
    try:
        value = json.loads(text)
        return _refusal_in(value) if isinstance(value, list | dict) else _refusal_of(value)
    except (ValueError, RecursionError):
        return _refusal_of(text)


def _refusal_of(value: Any) -> str | None:
    """The same for what is no list and no object."""
    if value is False:
        return "false"
    words = value.split(maxsplit=1) if isinstance(value, str) else []
    return repr(_one_line(value)) if words and words[0].lower().strip(".:,!") in _FAILURE else None


def _refusal_in(value: Any) -> str | None:
    if isinstance(value, list):
        return next((found for entry in value if (found := _refusal_in(entry))), None)
    if not isinstance(value, dict):
        return None
    for name, entry in value.items():
        key, word = name.lower(), entry.lower() if isinstance(entry, str) else None
        says_no = (
            (key in ("success", "ok", "cleared", "succeeded") and (entry is False or word == "false"))
            or (key in ("status", "result", "state") and word in _FAILURE)
            or (key in ("error", "errors") and bool(entry))
        )
        if says_no:
            return _one_line(json.dumps({name: entry}, ensure_ascii=False))
        if found := _refusal_in(entry):
            return found
    return None


def _one_line(text: str) -> str:
    """The beginning of a text, fit to be shown."""
    printable = "".join(char if char.isprintable() else " " for char in text[:_MOST_READ])
    return " ".join(printable.split())[:_MAX_SHOWN]


def _slots(answer: Answer) -> list[int]:
    """The slots that GET /slots lists."""
    try:
        return [int(slot["id"]) for slot in json.loads(answer.body)] if answer.ok else []
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return []


def _count_slots(answer: Answer) -> list[int]:
    """As many as GET /props says."""
    try:
        return list(range(min(int(json.loads(answer.body)["total_slots"]), _MOST_SLOTS))) if answer.ok else []
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return []
