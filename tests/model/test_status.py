from __future__ import annotations

import pytest

from fluxperf.model import Status, worst


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ((), Status.VALID),
        ((Status.VALID, Status.DEGRADED), Status.DEGRADED),
        ((Status.DEGRADED, Status.INVALID, Status.VALID), Status.INVALID),
    ],
)
def test_the_worst_counts(statuses: tuple[Status, ...], expected: Status) -> None:
    assert worst(statuses) is expected


def test_ranks_are_from_good_to_bad() -> None:
    assert [status.rank for status in (Status.VALID, Status.DEGRADED, Status.INVALID)] == [0, 1, 2]
