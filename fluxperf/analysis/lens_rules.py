"""The rules that tools differ in: when a request starts, what is its first token, when it ends, and what follows.

A rule is a function of a `Timeline` and words for it. None: the stamps do not tell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from fluxperf.model import Outcome, Timeline

Stamp = Callable[[Timeline], int | None]

_RESPONDED = (Outcome.OK, Outcome.LENGTH, Outcome.TRUNCATED, Outcome.EMPTY, Outcome.ERROR_IN_STREAM)


@dataclass(frozen=True, slots=True)
class Rule:
    """An instant of a request, ns, and what it is, to stand after "it counts from" or "it counts to"."""

    stamp: Stamp
    words: str


# Starts.


def _sent(request: Timeline) -> int | None:
    return request.sent_ns


def _before_connecting(request: Timeline) -> int | None:
    return None if request.sent_ns is None else request.sent_ns - request.connect_ns - request.wait_ns


SENT = Rule(_sent, "when the request is written on an open connection")
BEFORE_CONNECTING = Rule(_before_connecting, "before it has a connection")


# First tokens, and the last ones.


def _earliest(*stamps: int | None) -> int | None:
    return min((stamp for stamp in stamps if stamp is not None), default=None)


def _latest(*stamps: int | None) -> int | None:
    return max((stamp for stamp in stamps if stamp is not None), default=None)


def _first_output(request: Timeline) -> int | None:
    return request.first_output_ns


def _first_answer(request: Timeline) -> int | None:
    return request.first_answer_ns


def _first_choice(request: Timeline) -> int | None:
    return None if request.silent_events is None else _earliest(request.first_silent_ns, request.first_output_ns)


def _first_shown(request: Timeline) -> int | None:
    return None if request.blank_events is None else _earliest(request.first_blank_ns, request.first_output_ns)


def _last_output(request: Timeline) -> int | None:
    return request.last_output_ns


def _last_choice(request: Timeline) -> int | None:
    return None if request.silent_events is None else _latest(request.last_silent_ns, request.last_output_ns)


def _last_shown(request: Timeline) -> int | None:
    return None if request.blank_events is None else _latest(request.last_blank_ns, request.last_output_ns)


def _last_event(request: Timeline) -> int | None:
    return request.last_event_ns


def _end(request: Timeline) -> int | None:
    return request.end_ns


FIRST_OUTPUT = Rule(_first_output, "the first event with output")
FIRST_ANSWER = Rule(_first_answer, "the first event with content that is not reasoning")
FIRST_CHOICE = Rule(_first_choice, "the first event with a choice, though it may hold no more than a role")
FIRST_SHOWN = Rule(_first_shown, 'the first event with output, or with a content of "" and no role')
LAST_OUTPUT = Rule(_last_output, "the last event with output")
LAST_CHOICE = Rule(_last_choice, "the last event with a choice, which may only tell the finish_reason")
LAST_SHOWN = Rule(_last_shown, 'the last event with output, or with a content of "" and no role')
LAST_EVENT = Rule(_last_event, "the last event of any kind, that of the usage included")
END = Rule(_end, "the end of the response")


@dataclass(frozen=True, slots=True)
class Others:
    """Events without output that are tokens to a tool: the first, the last, and how many there are."""

    first: Stamp
    last: Stamp
    count: Callable[[Timeline], int]


def _never(request: Timeline) -> int | None:
    return None


def _first_silent(request: Timeline) -> int | None:
    return request.first_silent_ns


def _last_silent(request: Timeline) -> int | None:
    return request.last_silent_ns


def _first_blank(request: Timeline) -> int | None:
    return request.first_blank_ns


def _last_blank(request: Timeline) -> int | None:
    return request.last_blank_ns


NO_OTHERS = Others(_never, _never, lambda request: 0)
SILENT = Others(_first_silent, _last_silent, lambda request: request.silent_events or 0)
BLANK = Others(_first_blank, _last_blank, lambda request: request.blank_events or 0)


# Which requests count.


def is_200_with_events(request: Timeline) -> bool:
    """Status 200 and a stream that ended by itself, whatever it said at its end."""
    return request.status == 200 and request.outcome in _RESPONDED


def is_2xx_with_events(request: Timeline) -> bool:
    """The same of any status of 2xx."""
    return request.status is not None and 200 <= request.status < 300 and request.outcome in _RESPONDED


def is_2xx_without_error(request: Timeline) -> bool:
    """The same without an error in the stream."""
    return is_2xx_with_events(request) and request.outcome is not Outcome.ERROR_IN_STREAM


# What is made of the instants of one request: a value in ns (or per second), and its weight.


class Seen(NamedTuple):
    """A request as a tool sees it. Stamps are ns."""

    start: int
    first: int
    last: int
    end: int
    tokens: int


Formula = Callable[[Seen], tuple[float, int] | None]


def first_token(seen: Seen) -> tuple[float, int] | None:
    """First token - start."""
    return seen.first - seen.start, 1


def whole(seen: Seen) -> tuple[float, int] | None:
    """End - start."""
    return seen.end - seen.start, 1


def rest_per_token(seen: Seen) -> tuple[float, int] | None:
    """(End - first token) / (tokens - 1)."""
    return None if seen.tokens < 2 else ((seen.end - seen.first) / (seen.tokens - 1), 1)


def rest_by_token(seen: Seen) -> tuple[float, int] | None:
    """(Last token - first token) / (tokens - 1), once for each of these tokens."""
    return None if seen.tokens < 2 else ((seen.last - seen.first) / (seen.tokens - 1), seen.tokens - 1)


def all_per_token(seen: Seen) -> tuple[float, int] | None:
    """(Last token - start) / tokens."""
    return None if seen.tokens < 1 else ((seen.last - seen.start) / seen.tokens, 1)


def all_by_token(seen: Seen) -> tuple[float, int] | None:
    """(Last token - start) / tokens, once for each token."""
    return None if seen.tokens < 1 else ((seen.last - seen.start) / seen.tokens, seen.tokens)


def token_rate(seen: Seen) -> tuple[float, int] | None:
    """Tokens / (end - start), per second."""
    return None if seen.end <= seen.start else (seen.tokens * 1e9 / (seen.end - seen.start), 1)


def rest_rate(seen: Seen) -> tuple[float, int] | None:
    """(Tokens - 1) / (end - first token), per second."""
    return None if seen.tokens < 2 or seen.end <= seen.first else ((seen.tokens - 1) * 1e9 / (seen.end - seen.first), 1)
