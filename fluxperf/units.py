"""Units and their conversions. Times are integer nanoseconds until a report is written."""

from __future__ import annotations

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


def ns_to_ms(ns: int | float) -> float:
    """Nanoseconds as milliseconds, unrounded."""
    return ns / NS_PER_MS


def ns_to_s(ns: int | float) -> float:
    """Nanoseconds as seconds, unrounded."""
    return ns / NS_PER_S


def s_to_ns(seconds: float) -> int:
    """Seconds as whole nanoseconds."""
    return round(seconds * NS_PER_S)
