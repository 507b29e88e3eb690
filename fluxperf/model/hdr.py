"""`Buckets`: a histogram as HdrHistogram's files hold it, and the bytes of its V2 encoding. Knows no unit.

The encoding is that of the Java original (`HdrHistogram.AbstractHistogram`, `ZigZagEncoding`): a header, counts as
ZigZag LEB128 numbers of up to nine bytes, negative ones for runs of empty buckets; all of it compressed with zlib.
Only buckets that are not empty are kept, so one of these costs what was counted and not what could have been.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

_COMPRESSED, _PLAIN = 0x1C849304, 0x1C849303
_OLDER = (0x1C849301, 0x1C849302, 0x1C849308, 0x1C849309)  # V1 and V0, with and without compression
_FRACTIONS = (0x0C72124E, 0x0C72124F)
_ONE_BYTE_WORDS = 0x10  # what every writer of V2 has in the place of a word size
_WORD_SIZE = 0xF0
_OUTER, _INNER = struct.Struct(">II"), struct.Struct(">IIiIqqd")
_SHIFTS = (0, 1)  # 1 is what hdr-histogram-js writes for none
_MOST_BYTES = 64 * 1024 * 1024
_MOST_DIGITS = 5
_HIGHEST = 2**63 - 1


class NotAHistogram(ValueError):
    """The bytes hold no histogram that can be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How values are cut into buckets: all that `lowest` cannot tell apart, then to so many significant digits.

    A bucket of any layout is a whole part of one bucket of each coarser layout, because all widths are powers of two.
    """

    lowest: int = 1
    digits: int = 3

    @property
    def unit_bits(self) -> int:
        """The width of the narrowest buckets, as a power of two."""
        return self.lowest.bit_length() - 1

    @property
    def half_bits(self) -> int:
        """So many buckets, as a power of two, have the same width, and twice as many the narrowest."""
        most: int = 2 * 10**self.digits
        return max((most - 1).bit_length() - 1, 0)

    def bucket(self, value: int) -> int:
        """The index of the bucket that the value belongs to."""
        shift = max(value.bit_length() - self.half_bits - 1 - self.unit_bits, 0)
        return (shift << self.half_bits) + (value >> (shift + self.unit_bits))

    def bounds(self, bucket: int) -> tuple[int, int]:
        """The lowest and the highest value of the bucket."""
        shift = max((bucket >> self.half_bits) - 1, 0)
        width_bits = shift + self.unit_bits
        low = (bucket - (shift << self.half_bits)) << width_bits
        return low, low + (1 << width_bits) - 1

    def middle(self, bucket: int) -> float:
        """Half way between these."""
        low, high = self.bounds(bucket)
        return (low + high) / 2

    def common(self, other: Layout) -> Layout:
        """The finest layout that both can be brought to."""
        return Layout(max(self.lowest, other.lowest), min(self.digits, other.digits))


@dataclass(frozen=True)
class Buckets:
    """Counts by bucket, in ascending order and none of them 0; `highest` is what the writer could count at most."""

    layout: Layout
    highest: int
    counts: dict[int, int]

    @cached_property
    def count(self) -> int:
        """How many values."""
        return sum(self.counts.values())

    @property
    def low(self) -> int:
        """The lowest value that the first bucket may stand for; 0 if there is none."""
        return self.layout.bounds(next(iter(self.counts)))[0] if self.counts else 0

    @property
    def high(self) -> int:
        """The highest value that the last bucket may stand for; 0 if there is none."""
        return self.layout.bounds(next(reversed(self.counts)))[1] if self.counts else 0

    def values(self) -> Iterator[tuple[float, int]]:
        """The middle of each bucket, and its count."""
        for bucket, count in self.counts.items():
            yield self.layout.middle(bucket), count

    def percentiles(self, *percents: float) -> list[float | None]:
        """Nearest-rank percentiles, at the middle of their buckets; None where nothing was counted."""
        ranks = [max(math.ceil(round(percent * self.count / 100, 9)), 1) for percent in percents]
        if not self.count:
            return [None] * len(percents)
        return [self.layout.middle(bucket) for bucket in at_ranks(self.counts.items(), ranks)]

    def to_layout(self, layout: Layout) -> Buckets:
        """The same counts in a layout that is no finer."""
        if layout == self.layout:
            return self
        counts: dict[int, int] = {}
        for bucket, count in self.counts.items():
            coarse = layout.bucket(self.layout.bounds(bucket)[0])
            counts[coarse] = counts.get(coarse, 0) + count
        return Buckets(layout, self.highest, counts)


def add(parts: Sequence[Buckets]) -> Buckets:
    """All of them together (at least one), in the finest layout that all can be brought to: counts add exactly."""
    layout = parts[0].layout
    for part in parts:
        layout = layout.common(part.layout)
    counts: dict[int, int] = {}
    for part in parts:
        for bucket, count in part.to_layout(layout).counts.items():
            counts[bucket] = counts.get(bucket, 0) + count
    return Buckets(layout, max(part.highest for part in parts), dict(sorted(counts.items())))


def at_ranks(counts: Iterable[tuple[int, int]], ranks: Sequence[int]) -> list[int]:
    """The buckets at these ranks (from 1), of ascending buckets with their counts; the last one for what is beyond."""
    found: dict[int, int] = {}
    wanted = sorted(set(ranks), reverse=True)
    below = bucket = 0
    for bucket, count in counts:
        below += count
        while wanted and wanted[-1] <= below:
            found[wanted.pop()] = bucket
        if not wanted:
            break
    return [found.get(rank, bucket) for rank in ranks]


def encode(buckets: Buckets) -> bytes:
    """The histogram in HdrHistogram's V2 compressed encoding, as logs hold it in base64."""
    body = bytearray()
    at = 0
    for bucket, count in buckets.counts.items():
        empty = bucket - at
        if empty:
            _put(body, 2 * empty - 1)
        _put(body, 2 * count)
        at = bucket + 1
    layout = buckets.layout
    header = _INNER.pack(
        _PLAIN | _ONE_BYTE_WORDS, len(body), 0, layout.digits, layout.lowest, min(buckets.highest, _HIGHEST), 1.0
    )
    packed = zlib.compress(header + bytes(body))
    return _OUTER.pack(_COMPRESSED | _ONE_BYTE_WORDS, len(packed)) + packed


def decode(data: bytes) -> Buckets:
    """What `encode`, or another writer of V2, has written. Raises NotAHistogram."""
    if len(data) < _OUTER.size:
        raise NotAHistogram("it is cut short")
    cookie, length = _OUTER.unpack_from(data)
    _check_kind(cookie, _COMPRESSED)
    if len(data) - _OUTER.size < length:
        raise NotAHistogram(f"it is cut short: {len(data) - _OUTER.size} of {length} bytes are there")
    plain = _inflate(data[_OUTER.size : _OUTER.size + length])
    if len(plain) < _INNER.size:
        raise NotAHistogram("it is cut short")
    cookie, length, shift, digits, lowest, highest, _ = _INNER.unpack_from(plain)
    _check_kind(cookie, _PLAIN)
    if shift not in _SHIFTS:
        raise NotAHistogram(f"its buckets are shifted by {shift}, which FluxPerf does not read")
    if digits > _MOST_DIGITS or lowest < 1 or highest < 2 * lowest:
        raise NotAHistogram(f"{digits} significant digits from {lowest} to {highest} make no histogram")
    body = plain[_INNER.size :][:length]
    if len(body) < length:
        raise NotAHistogram(f"it is cut short: {len(body)} of {length} bytes of counts are there")
    layout = Layout(lowest, digits)
    last = layout.bucket(_HIGHEST)
    counts: dict[int, int] = {}
    for bucket, number in _read_counts(body):
        if bucket > last:  # at the first: a few bytes may be packed counts of millions of them
            raise NotAHistogram("it has counts of values beyond 64 bits")
        counts[bucket] = number
    return Buckets(layout, highest, counts)


def _check_kind(cookie: int, wanted: int) -> None:
    kind = cookie & ~_WORD_SIZE
    if kind in _OLDER:
        raise NotAHistogram("it is in an encoding before V2: write it anew with a current HdrHistogram")
    if cookie in _FRACTIONS:
        raise NotAHistogram("it is a histogram of fractions (DoubleHistogram), which FluxPerf does not read")
    if kind != wanted:
        raise NotAHistogram("it is no HdrHistogram in V2 encoding")


def _inflate(packed: bytes) -> bytes:
    inflate = zlib.decompressobj()
    try:
        plain = inflate.decompress(packed, _MOST_BYTES)
    except zlib.error as error:
        raise NotAHistogram(f"its compression is broken ({error})") from None
    if inflate.unconsumed_tail:
        raise NotAHistogram(f"it is larger than {_MOST_BYTES} bytes")
    return plain


def _put(body: bytearray, number: int) -> None:
    """Appends a number of up to 64 bits: seven bits a byte, the least first; the ninth byte has eight."""
    for _ in range(8):
        if number < 0x80:
            body.append(number)
            return
        body.append(number & 0x7F | 0x80)
        number >>= 7
    body.append(number)


def _read_counts(body: bytes) -> Iterator[tuple[int, int]]:
    """Each bucket that is not empty, and its count."""
    at, bucket = 0, 0
    while at < len(body):
        number, shift = 0, 0
        while True:
            if at == len(body):
                raise NotAHistogram("its counts end in the middle of a number")
            byte = body[at]
            at += 1
            if shift == 56:
                number |= byte << shift
                break
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        if number & 1:
            bucket += (number + 1) >> 1
            continue
        if number:
            yield bucket, number >> 1
        bucket += 1
