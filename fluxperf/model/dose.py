"""What each cached token saved: the result of `fluxperf.analysis.dose`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DoseResponse:
    """TTFT saved (baseline - later) against cached tokens gained (later - baseline), over `pairs` prompts.

    The slope is in microseconds a token, the intercept in milliseconds: what a prompt saved that gained no
    token, which is not the cache's doing. `r2` is the share of the variance of what was saved that the gain
    explains. `why`: the reason, in words, for which a figure or its interval is None.
    """

    pairs: int
    slope_us_per_token: float | None = None
    slope_ci95: tuple[float, float] | None = None
    intercept_ms: float | None = None
    intercept_ci95: tuple[float, float] | None = None
    r2: float | None = None
    why: str | None = None
