"""Tallies of requests, and evidence of rounds, for the tests of what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fluxperf.analysis.evidence import Evidence
from fluxperf.model import Audit, Histogram, Slo, Timeline
from fluxperf.tally import Tally

Build = Callable[..., Timeline]


@pytest.fixture(scope="session")
def tally_of(a_request: Callable[..., Timeline]) -> Callable[..., Tally]:
    """Makes the tally of successes that differ from the usual one by the given facts."""

    def make(*facts: dict[str, Any], slo: Slo | None = None) -> Tally:
        tally = Tally(slo)
        for changes in facts:
            tally.add(a_request(**changes))
        return tally

    return make


def histogram(*values: int, zeros: int = 0) -> Histogram:
    """A histogram of these values, and of zeros."""
    made = Histogram()
    made.record_all(values)
    made.record(0, zeros)
    return made


@pytest.fixture(scope="session")
def evidence_of(a_request: Build) -> Callable[..., Evidence]:
    """Makes the evidence of a round of so many plain successes, by one worker that noted the given facts."""

    def make(requests: int = 100, **facts: Any) -> Evidence:
        tally = Tally()
        for index in range(requests):
            tally.add(a_request(index=index), [10_000_000] * 10)
        return Evidence(tally=tally, audits={0: Audit(**facts)}, planned=requests)

    return make


@pytest.fixture(scope="session")
def a_histogram() -> Callable[..., Histogram]:
    return histogram
