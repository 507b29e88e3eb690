"""What progress is shown of a round: `LiveCounts`, sums over all workers. It knows nothing of where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Flight:
    """A request in flight: which it is, the tokens of its prompt by our own count, when it was sent, and last heard of.

    Stamps (monotonic, ns) are None where it has not come to that yet.
    """

    index: int
    turn: int
    input_tokens: int
    sent_ns: int | None
    last_output_ns: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCounts:
    """Sums since the start of the round, at `started_ns` (monotonic; None: it is not let go yet).

    `failures` are by outcome, those that were rejected by their status. `output_tokens` are those of requests in
    flight too, as far as they can be known. `ttft_ns`: p50 and p99 so far. `oldest` is in flight for longest.
    """

    sent: int = 0
    done: int = 0
    not_sent: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    output_tokens: float = 0
    ttft_ns: tuple[float, float] | None = None
    started_ns: int | None = None
    oldest: Flight | None = None
    stopped: bool = False

    @property
    def over(self) -> int:
        """Requests that nobody waits for any more."""
        return self.done + self.not_sent

    @property
    def in_flight(self) -> int:
        """Requests that were sent and are not over."""
        return max(self.sent - self.done, 0)
