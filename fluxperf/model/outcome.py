"""How a request can end. Exactly one outcome a request; every failure is counted under its name."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Outcome(StrEnum):
    """The outcome of one request. `OK` and `LENGTH` are successes, everything else is a failure."""

    OK = "ok"
    LENGTH = "length"  # a success whose finish_reason is "length"
    HTTP_STATUS = "http_status"  # not 2xx, and none of the below
    REJECTED = "rejected"  # 429 or 503
    ERROR_IN_STREAM = "error_in_stream"  # an error object in a 200 answer, or finish_reason abort or error
    TRUNCATED = "truncated"  # a clean end without a finish_reason
    RESET = "reset"  # the connection ended before the response did
    TIMEOUT = "timeout"
    CONNECT = "connect"  # no connection could be made
    MALFORMED = "malformed"  # not HTTP, not an event stream, not JSON
    EMPTY = "empty"  # a finish_reason, but no output event
    CUT_OFF = "cut_off"  # in flight when the run was stopped: outside every denominator
    NOT_SENT = "not_sent"  # a turn whose session ended before it, with a failure: outside every denominator

    @property
    def success(self) -> bool:
        """Whether the request counts as successful."""
        return self is Outcome.OK or self is Outcome.LENGTH

    @property
    def counted(self) -> bool:
        """Whether the request is in the denominators: it came to an end of its own."""
        return self is not Outcome.CUT_OFF and self is not Outcome.NOT_SENT


class Refusal(IntEnum):
    """Answers that say the request is wrong, not that the server is busy: more of the same will not help.

    Named by the HTTP status.
    """

    NOT_A_STREAM = 200
    UNAUTHORIZED = 401
    FORBIDDEN = 403
    NOT_FOUND = 404
    METHOD_NOT_ALLOWED = 405
