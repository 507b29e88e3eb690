"""The figures of one turn over all sessions of a round."""

from __future__ import annotations

from dataclasses import dataclass

from fluxperf.model.cache import CachedTokens
from fluxperf.model.stats import Stats


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFigures:
    """What the requests of one turn (from 0, as in `Timeline`) come to.

    `requests` are those in the denominators; the other figures are of the `successful` ones. `ttft_ms` is exact.
    `shortened` counts those whose history was without its oldest turns.
    """

    turn: int
    requests: int
    successful: int
    ttft_ms: Stats
    avg_input_tokens: float | None
    cached_tokens: CachedTokens | None
    shortened: int
