"""`Timeline`: what happened to one request, as facts. Everything else is a function of it (`fluxperf.metrics`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from fluxperf.model.outcome import Outcome


@dataclass(slots=True, kw_only=True)
class Timeline:
    """The facts of one request. Stamps are nanoseconds on the host's CLOCK_MONOTONIC; None: it did not happen.

    `index` is the prompt's place in the dataset (0-based), the same in every round; `turn` counts
    from 0 within a session, and `dropped_turns` says how many before it were left out of the history.
    `connect_ns` and `wait_ns` are what the request spent on opening a
    connection and on waiting for a free one, before it was sent. `done_ns` is when the client was done
    with it, whichever way it ended. Token counts are as the server's `usage` gave them; None: it gave
    none. `coalesced_events` counts output events that came in the same read as the one before, so that
    the gap between them is not known. `prompt_tokens_estimate` and `counted_tokens` (of the answer) are the
    client's own: by a tokenizer, or an estimate; None: nobody counted. *Silent* events have a choice and no output
    (a role, or the reason for the end); *blank* ones are silent, with a content of "" and no role, as a token that
    decodes to nothing may be; None: results of a version that did not look. `last_event_ns` is the last event of any
    kind but the closing `[DONE]`.
    """

    index: int
    session_id: str | None = None
    turn: int = 0
    worker: int = 0
    outcome: Outcome = Outcome.CUT_OFF
    status: int | None = None
    finish_reason: str | None = None
    error: str | None = None
    sent_ns: int | None = None
    first_byte_ns: int | None = None
    first_output_ns: int | None = None
    first_answer_ns: int | None = None
    last_output_ns: int | None = None
    end_ns: int | None = None
    done_ns: int | None = None
    max_gap_ns: int | None = None
    output_events: int = 0
    coalesced_events: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    prompt_tokens_estimate: int = 0
    counted_tokens: int | None = None
    connect_ns: int = 0
    wait_ns: int = 0
    resent: int = 0
    dropped_turns: int = 0
    first_silent_ns: int | None = None
    last_silent_ns: int | None = None
    silent_events: int | None = None
    first_blank_ns: int | None = None
    last_blank_ns: int | None = None
    blank_events: int | None = None
    last_event_ns: int | None = None

    @property
    def success(self) -> bool:
        """Whether the request counts as successful (see `Outcome`)."""
        return self.outcome.success

    @property
    def input_tokens(self) -> int:
        """`usage.prompt_tokens` where the server sent it, else the client's estimate."""
        return self.prompt_tokens_estimate if self.prompt_tokens is None else self.prompt_tokens

    @property
    def believed_cached_tokens(self) -> int | None:
        """What usage told of the cache; None where it told nothing, or more than the prompt has."""
        cached, prompt = self.cached_tokens, self.prompt_tokens
        return None if cached is None or cached < 0 or (prompt is not None and cached > prompt) else cached

    @property
    def output_tokens(self) -> int:
        """`usage.completion_tokens` where the server sent it and it is not 0.

        Else what a tokenizer made of the answer, else the count of output events.
        """
        return self.completion_tokens or self.counted_tokens or self.output_events


_FIELDS = tuple(field.name for field in fields(Timeline))
_FEWEST = _FIELDS.index("dropped_turns") + 1  # what the first versions wrote: fields are only added, at the end
_values = attrgetter(*_FIELDS)


def to_row(request: Timeline) -> Sequence[Any]:
    """The timeline as plain values, in the order of its fields."""
    row: Sequence[Any] = _values(request)
    return row


def from_row(row: Sequence[Any]) -> Timeline:
    """The timeline that `to_row` gave, in this version or in an earlier one, which had fewer fields."""
    request = Timeline(**dict(zip(_FIELDS[: max(len(row), _FEWEST)], row, strict=True)))
    request.outcome = Outcome(request.outcome)
    return request
