"""Prometheus text read strictly, and samples to make it from."""

from __future__ import annotations

import re

from fluxperf_mock.counters import Counters, Load, Sample

_SAMPLE = re.compile(
    r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*"(?:,(?=[a-z])|(?=\})))+\})? ([0-9.e+-]+|NaN)'
)


def read(text: str) -> dict[str, float]:
    """Name and labels -> value; what is no line of the format fails."""
    samples = {}
    for line in text.splitlines():
        if not line.startswith("# "):
            found = _SAMPLE.fullmatch(line)
            assert found, line
            key = found[1] + (found[2] or "")
            assert key not in samples
            samples[key] = float(found[3])
    return samples


def idle() -> Sample:
    """A server that has done nothing."""
    return Sample(Counters(), Load(), cache_tokens=100, started_s=1_700_000_000.25)
