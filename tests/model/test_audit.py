from __future__ import annotations

from dataclasses import fields

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.model import Audit, Histogram


def histogram(values: list[int]) -> Histogram:
    made = Histogram()
    made.record_all(values)
    return made


histograms = st.lists(st.integers(0, 10**10), max_size=5).map(histogram)
counts = st.integers(0, 10**12)
audits = st.builds(
    Audit,
    **{field.name: histograms if field.default_factory is Histogram else counts for field in fields(Audit)},
)


@given(audits)
def test_state_survives_msgpack(audit: Audit) -> None:
    assert Audit.from_state(msgpack.unpackb(msgpack.packb(audit.to_state()))) == audit


@given(audits, audits)
def test_merged_has_what_both_counted(one: Audit, other: Audit) -> None:
    merged = Audit.from_state(one.to_state())
    merged.merge(other)
    for field in fields(Audit):
        mine, first, second = (getattr(audit, field.name) for audit in (merged, one, other))
        if isinstance(mine, Histogram):
            assert (mine.count, mine.sum) == (first.count + second.count, first.sum + second.sum)
        else:
            assert mine == first + second


def test_an_audit_starts_with_nothing() -> None:
    empty = Audit()
    empty.merge(Audit())
    assert empty == Audit()
    empty.away.record(5)
    assert Audit().away.count == 0
