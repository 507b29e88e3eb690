"""Tallies of requests, for the tests of what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fluxperf.model import Slo, Timeline
from fluxperf.tally import Tally


@pytest.fixture(scope="session")
def tally_of(a_request: Callable[..., Timeline]) -> Callable[..., Tally]:
    """Makes the tally of successes that differ from the usual one by the given facts."""

    def make(*facts: dict[str, Any], slo: Slo | None = None) -> Tally:
        tally = Tally(slo)
        for changes in facts:
            tally.add(a_request(**changes))
        return tally

    return make
