"""Calls that empty a server's prefix cache, and what their answers are worth.

A status of 200 is not enough: vLLM says `{"success": false}` with it while requests run. Whether the cache is empty
after a call that was accepted only the next round can tell.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urljoin

from fluxperf.clock import now_ns
from fluxperf.fetch import Access, Answer, fetch_unless
from fluxperf.masking import mask_url, scrub
from fluxperf.model.cache import CacheReset
from fluxperf.units import ns_to_s, s_to_ns
from fluxperf.watch.refusals import HTML, find_refusal, one_line

# For a whole reset, with all its attempts and all slots.
TIMEOUT_S = 30.0
ATTEMPTS = 5
RETRY_S = 0.5
# llama.cpp empties slot by slot: where the URL says {id}, each slot that GET /slots lists is meant.
SLOT = "{id}"
_MOST_SLOTS = 1024
# What may be otherwise in a moment: requests that still run (SGLang: 400), a server that is busy or loading.
_PASSING = (400, 408, 409, 423, 425, 429, 500, 502, 503, 504)
_ALLOWED = ("DELETE", "PUT")


def reset_cache(
    url: str,
    access: Access,
    secrets: Sequence[str] = (),
    pause: Callable[[float], None] = time.sleep,
    stop_asked: Callable[[], bool] = lambda: False,
) -> CacheReset:
    """Asks for an empty cache, five times at most where the server says that it cannot just now.

    `secrets` are masked in what is told of the answer. It ends after half a minute, whatever the server does, and soon
    once a stop is asked for.
    """
    asker = _Asker(access, now_ns() + s_to_ns(TIMEOUT_S), stop_asked)
    attempts = 1
    while not (reset := _ask(url, asker, secrets)).accepted and reset.status in (200, *_PASSING):
        if attempts == ATTEMPTS or stop_asked() or asker.left_s <= RETRY_S:
            break
        pause(RETRY_S)
        attempts += 1
    return replace(reset, attempts=attempts)


@dataclass(frozen=True, slots=True)
class _Asker:
    """Sends requests until a deadline, or a stop."""

    access: Access
    deadline_ns: int
    stop_asked: Callable[[], bool]

    @property
    def left_s(self) -> float:
        return ns_to_s(self.deadline_ns - now_ns())

    def ask(self, url: str, method: str) -> Answer:
        left_s = self.left_s
        if left_s <= 0:
            now = now_ns()
            return Answer(None, now, now, error=f"was not asked: {TIMEOUT_S:g} s were over")
        return fetch_unless(self.stop_asked, url, self.access, method=method, timeout_s=left_s)


def _ask(url: str, asker: _Asker, secrets: Sequence[str]) -> CacheReset:
    """Asks once; slot by slot up to the first that is not emptied."""
    urls = [url]
    if SLOT in url:
        base = url.partition(SLOT)[0].rstrip("/")
        listed = asker.ask(base, "GET")
        # A server that does not show its slots still says how many there are.
        slots = _slots(listed)
        if not slots and listed.status is not None:
            slots = _count_slots(asker.ask(urljoin(base, "props"), "GET"))
        if not slots:
            trouble = "has none" if listed.ok else listed.trouble
            told = f"nobody says which slots there are: {mask_url(base)} {trouble}"
            return CacheReset(url=mask_url(url), accepted=False, status=listed.status, answer=told, attempts=1)
        urls = [url.replace(SLOT, str(slot)) for slot in slots[:_MOST_SLOTS]]
    reset = _judge(urls[0], _send(urls[0], asker), secrets)
    for one in urls[1:]:
        if not reset.accepted:
            break
        reset = _judge(one, _send(one, asker), secrets)
    return reset


def _send(url: str, asker: _Asker) -> Answer:
    """By POST; by what the server says it takes, where that is one of the methods that change something."""
    answer = asker.ask(url, "POST")
    if answer.status == 405:
        allowed = [word.strip().upper() for word in answer.headers.get("allow", "").split(",")]
        method = next((word for word in allowed if word in _ALLOWED), None)
        if method is not None:
            return asker.ask(url, method)
    return answer


def _judge(url: str, answer: Answer, secrets: Sequence[str]) -> CacheReset:
    """An answer that is not whole has no status either."""
    text = scrub(answer.text, secrets)
    refusal = find_refusal(text) if answer.ok else None
    if answer.error is not None:
        said = f"it {answer.error}"
    elif refusal is not None:
        said = f"its body {'is' if refusal == HTML else 'says'} {refusal}"
    else:
        said = one_line(text)
    status = answer.status if answer.error is None else None
    return CacheReset(url=mask_url(url), accepted=answer.ok and refusal is None, status=status, answer=said, attempts=1)


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
