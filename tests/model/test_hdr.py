from __future__ import annotations

import base64
import struct
import zlib
from collections import Counter

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import example, given
from hypothesis import strategies as st

from fluxperf.model.hdr import Buckets, Layout, NotAHistogram, add, at_ranks, decode, encode

HIGHEST = 3_600_000_000_000
layouts = st.builds(Layout, st.sampled_from([1, 2, 3, 1000, 1_000_000]), st.integers(1, 5))
values = st.integers(0, 5000) | st.integers(0, HIGHEST)


def buckets_of(recorded: list[int], layout: Layout | None = None, highest: int = HIGHEST) -> Buckets:
    layout = layout or Layout()
    return Buckets(layout, highest, dict(sorted(Counter(map(layout.bucket, recorded)).items())))


def outer(packed: bytes, cookie: int = 0x1C849314) -> bytes:
    return struct.pack(">II", cookie, len(packed)) + packed


def inner(body: bytes = b"", shift: int = 0, digits: int = 3, limits: tuple[int, int] = (1, 1000)) -> bytes:
    return struct.pack(">IIiIqqd", 0x1C849313, len(body), shift, digits, *limits, 1.0) + body


@given(layouts, values)
def test_buckets_are_those_of_the_package(layout: Layout, value: int) -> None:
    reference = HdrHistogram(layout.lowest, HIGHEST, layout.digits)
    bucket = layout.bucket(value)
    assert bucket == reference.get_counts_array_index(value)
    low, high = layout.bounds(bucket)
    assert (low, high) == (reference.get_lowest_equivalent_value(value), reference.get_highest_equivalent_value(value))
    assert layout.bucket(low) == layout.bucket(high) == bucket


@given(layouts, layouts, values)
def test_a_bucket_lies_within_one_of_any_coarser_layout(one: Layout, other: Layout, value: int) -> None:
    common = one.common(other)
    low, high = one.bounds(one.bucket(value))
    assert common.bucket(low) == common.bucket(high)


@given(st.lists(values, max_size=50), layouts)
def test_what_was_encoded_is_decoded(recorded: list[int], layout: Layout) -> None:
    buckets = buckets_of(recorded, layout)
    assert decode(encode(buckets)) == buckets
    assert list(decode(encode(buckets)).counts) == sorted(buckets.counts)


@given(st.dictionaries(st.integers(0, 30_000), st.integers(1, 2**62), max_size=20))
@example({0: 1, 1: 1, 3: 1, 6: 2**55, 7: 2**56, 8: 2**62})
def test_any_counts_and_any_gaps_survive(counts: dict[int, int]) -> None:
    buckets = Buckets(Layout(), HIGHEST, dict(sorted(counts.items())))
    assert decode(encode(buckets)) == buckets


@given(st.lists(values, min_size=1, max_size=50), layouts)
def test_the_package_reads_ours_and_we_read_the_packages(recorded: list[int], layout: Layout) -> None:
    reference = HdrHistogram(layout.lowest, HIGHEST, layout.digits)
    for value in recorded:
        reference.record_value(value)
    buckets = buckets_of(recorded, layout)
    theirs = base64.b64decode(reference.encode())
    assert decode(theirs) == buckets
    assert zlib.decompress(encode(buckets)[8:]) == zlib.decompress(theirs[8:])
    back = HdrHistogram.decode(base64.b64encode(encode(buckets)))
    assert {bucket: count for bucket, count in enumerate(back.counts) if count} == buckets.counts
    assert back.get_total_count() == len(recorded)


@given(st.lists(st.tuples(st.lists(values, max_size=20), layouts), min_size=1, max_size=4))
def test_counts_add_exactly_whatever_the_layouts(parts: list[tuple[list[int], Layout]]) -> None:
    together = add([buckets_of(recorded, layout) for recorded, layout in parts])
    layout = together.layout
    assert together == buckets_of([value for recorded, _ in parts for value in recorded], layout)
    assert layout.lowest == max(one.lowest for _, one in parts)
    assert layout.digits == min(one.digits for _, one in parts)


def test_the_highest_of_several_counts() -> None:
    assert add([buckets_of([1], highest=1000), buckets_of([5], highest=2000)]).highest == 2000


@given(st.lists(st.integers(0, 2000), min_size=1), st.sampled_from([0, 1, 50, 90, 99, 99.9, 100]))
def test_percentiles_are_nearest_rank(recorded: list[int], percent: float) -> None:
    wanted = sorted(recorded)[max(-(-round(percent * len(recorded) / 100, 9) // 1), 1).__int__() - 1]
    assert buckets_of(recorded).percentiles(percent) == [wanted]


def test_nothing_has_no_percentiles_and_no_bounds() -> None:
    empty = buckets_of([])
    assert (empty.percentiles(50, 99), empty.low, empty.high, empty.count) == ([None, None], 0, 0, 0)
    assert decode(encode(empty)) == empty


def test_ranks_beyond_the_last_have_its_value() -> None:
    assert at_ranks([(1, 2), (2, 1)], [3, 1, 9]) == [2, 1, 2]
    assert at_ranks([], []) == []


WHOLE = encode(buckets_of([1, 5000, 10**9]))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cut short"),
        (WHOLE[:-5], "cut short"),
        (WHOLE[:7], "cut short"),
        (b"nothing of the kind", "no HdrHistogram"),
        (outer(b"x", 0x1C849302), "before V2"),
        (outer(b"x", 0x1C849309), "before V2"),
        (outer(b"x", 0x0C72124F), "fractions"),
        (outer(b"not zlib"), "compression"),
        (outer(zlib.compress(b"short")), "cut short"),
        (outer(zlib.compress(inner(shift=-2048))), "shifted by -2048"),
        (outer(zlib.compress(inner(digits=9))), "9 significant digits"),
        (outer(zlib.compress(inner(limits=(5, 6)))), "from 5 to 6"),
        (outer(zlib.compress(inner(limits=(0, 6)))), "from 0 to 6"),
        (outer(zlib.compress(inner(b"\x02")[:-1])), "cut short: 0 of 1 bytes of counts"),
        (outer(zlib.compress(inner(b"\x82"))), "middle of a number"),
        (outer(zlib.compress(inner(b"\xff" * 7 + b"\x7f\x02"))), "beyond 64 bits"),
        (outer(zlib.compress(bytes(65 * 1024 * 1024))), "larger than"),
    ],
)
def test_what_is_no_histogram_is_told(data: bytes, message: str) -> None:
    with pytest.raises(NotAHistogram, match=message):
        decode(data)


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda body: outer(zlib.compress(inner(body)))))
def test_any_bytes_are_a_histogram_or_none(data: bytes) -> None:
    try:
        buckets = decode(data)
    except NotAHistogram:
        return
    assert list(buckets.counts) == sorted(buckets.counts)
    assert min(buckets.counts.values(), default=1) > 0


def test_a_shift_by_one_is_none() -> None:
    """hdr-histogram-js writes it, and reads no shift."""
    assert decode(outer(zlib.compress(inner(b"\x02", shift=1)))).counts == {0: 1}
