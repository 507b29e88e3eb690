"""`Histogram`: an HdrHistogram with the exact moments beside it.

The HDR part (1 ns to 1 h, 3 significant digits) answers percentiles; count, sum, sum of squares,
minimum and maximum are exact integers, so that mean and stddev need no bucket. The class knows
integers only: what unit they are in is the metric's business.
"""

from __future__ import annotations

import math
import weakref
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

from hdrh.histogram import HdrHistogram

from fluxperf.model import hdr

LOWEST = 1
HIGHEST = 3_600_000_000_000
SIGNIFICANT_DIGITS = 3
LAYOUT = hdr.Layout(LOWEST, SIGNIFICANT_DIGITS)

# The bucket arithmetic of HdrHistogram for these three constants: 2048 sub-buckets, unit magnitude 0.
_SUB_BUCKET_BITS = 11
_HALF_BITS = _SUB_BUCKET_BITS - 1


def _bucket(value: int) -> int:
    """The index in the HDR counts array that `value` (0 <= value <= HIGHEST) belongs to."""
    shift = max(value.bit_length() - _SUB_BUCKET_BITS, 0)
    return (shift << _HALF_BITS) + (value >> shift)


def _middle(bucket: int) -> float:
    """The middle of the bucket's range of values (HdrHistogram's median equivalent value, not its upper edge)."""
    shift = max((bucket >> _HALF_BITS) - 1, 0)
    low = (bucket - (shift << _HALF_BITS)) << shift
    return low + ((1 << shift) - 1) / 2


def _narrowest(counts: array[int]) -> str:
    """The type code of the smallest array that holds the counts: most are small, and there are thousands."""
    most = max(counts, default=0)
    return next(code for code in "BHIQ" if most < 1 << 8 * array(code).itemsize)


class Histogram:
    """Counts of non-negative integers. Values above `HIGHEST` are counted in the top bucket and as `clipped`."""

    __slots__ = ("_buckets", "_made", "clipped", "count", "max", "min", "sum", "sum_of_squares")

    def __init__(self) -> None:
        # An HdrHistogram takes 0.4 ms to make and 270 kB: one is made only of what is recorded, or is a second to be
        # merged into. What a worker sent stays what it is, the buckets that are not empty, also to be looked at.
        self._made: HdrHistogram | None = None
        self._buckets: tuple[array[int], array[int]] = (array("H"), array("Q"))
        self.count = 0
        self.sum = 0
        self.sum_of_squares = 0
        self.min: int | None = None
        self.max: int | None = None
        self.clipped = 0

    def record(self, value: int, times: int = 1) -> None:
        """Counts a value (an integer in the metric's own unit; negative ones raise ValueError) so many times."""
        if value < 0:
            raise ValueError(f"a histogram holds no negative values, got {value}")
        if times <= 0:
            return
        self._hdr.counts[_bucket(min(value, HIGHEST))] += times
        self.count += times
        self.sum += value * times
        self.sum_of_squares += value * value * times
        self.min = value if self.min is None else min(self.min, value)
        self.max = value if self.max is None else max(self.max, value)
        self.clipped += times if value > HIGHEST else 0
        self._sync()

    def record_all(self, values: Iterable[int]) -> None:
        """Counts every value; raises ValueError, and counts none of them, if one is negative."""
        values = tuple(values)
        if not values:
            return
        low, high = min(values), max(values)
        if low < 0:
            raise ValueError(f"a histogram holds no negative values, got {low}")
        counts = self._hdr.counts
        for value in values if high <= HIGHEST else (min(value, HIGHEST) for value in values):
            shift = value.bit_length() - _SUB_BUCKET_BITS
            counts[value if shift < 0 else (shift << _HALF_BITS) + (value >> shift)] += 1
        self.count += len(values)
        self.sum += sum(values)
        self.sum_of_squares += sum(value * value for value in values)
        self.min = low if self.min is None else min(self.min, low)
        self.max = high if self.max is None else max(self.max, high)
        if high > HIGHEST:
            self.clipped += sum(value > HIGHEST for value in values)
        self._sync()

    @property
    def _hdr(self) -> HdrHistogram:
        if self._made is None:
            self._made = HdrHistogram(LOWEST, HIGHEST, SIGNIFICANT_DIGITS, b64_wrap=False)
            # It and its encoder hold each other, and a collector that is off would never free them.
            self._made.encoder.histogram = weakref.proxy(self._made)
            for bucket, count in zip(*self._buckets, strict=True):
                self._made.counts[bucket] = count
            self._buckets = (array("H"), array("Q"))
            self._sync()
        return self._made

    def _filled(self) -> tuple[array[int], array[int]]:
        """The buckets that are not empty, and their counts."""
        if self._made is None or self.min is None or self.max is None:
            return self._buckets
        first, last = _bucket(min(self.min, HIGHEST)), _bucket(min(self.max, HIGHEST))
        filled = array("H"), array("Q")
        for bucket, count in enumerate(self._made.counts[first : last + 1], first):
            if count:
                filled[0].append(bucket)
                filled[1].append(count)
        return filled

    def merge(self, other: Histogram) -> None:
        """Adds what `other` counted; afterwards this equals the histogram of the union."""
        if other.min is None or other.max is None:
            return
        buckets, filled = other._filled()
        if self.count:
            counts = self._hdr.counts
            for bucket, count in zip(buckets, filled, strict=True):
                counts[bucket] += count
        else:
            self._made, self._buckets = None, (buckets, filled)  # which nobody changes
        self.count += other.count
        self.sum += other.sum
        self.sum_of_squares += other.sum_of_squares
        self.min = other.min if self.min is None else min(self.min, other.min)
        self.max = other.max if self.max is None else max(self.max, other.max)
        self.clipped += other.clipped
        self._sync()

    @property
    def mean(self) -> float | None:
        """The exact mean; None if nothing was counted."""
        return self.sum / self.count if self.count else None

    @property
    def stddev(self) -> float | None:
        """The exact population standard deviation; None if nothing was counted."""
        if not self.count:
            return None
        return math.sqrt(max(self.count * self.sum_of_squares - self.sum * self.sum, 0)) / self.count

    def percentiles(self, *percents: float) -> list[float | None]:
        """Nearest-rank percentiles: for each percent, the smallest value with at least that share at or below it.

        Each is the middle of its bucket, kept within the exact minimum and maximum: at most 0.05 %
        from the value itself. None where nothing was counted.
        """
        if self.min is None or self.max is None:
            return [None] * len(percents)
        # The fraction is compared exactly: 0.9 * 10 is 9, not 9.000000000000002.
        ranks = [max(math.ceil(round(percent * self.count / 100, 9)), 1) for percent in percents]
        # The first and the last are known exactly.
        found: dict[int, float] = {1: self.min, self.count: self.max}
        wanted = sorted(set(ranks) - found.keys())
        counts = zip(*self._filled(), strict=True) if wanted else ()
        for rank, bucket in zip(wanted, hdr.at_ranks(counts, wanted), strict=True):
            found[rank] = min(max(_middle(bucket), self.min), self.max)
        return [found[rank] for rank in ranks]

    def percentile(self, percent: float) -> float | None:
        """One of `percentiles`."""
        return self.percentiles(percent)[0]

    def count_above(self, value: int) -> int:
        """How many values are above `value`, those in its own bucket (up to 0.1 % more) left out."""
        if self.max is None or value >= self.max:
            return 0
        if self.min is not None and value < self.min:
            return self.count
        own = _bucket(min(value, HIGHEST))
        return sum(count for bucket, count in zip(*self._filled(), strict=True) if bucket > own)

    def to_state(self) -> dict[str, Any]:
        """The histogram as plain values that msgpack carries; of HdrHistogram's buckets those that are not empty."""
        buckets, counts = self._filled()
        code = _narrowest(counts)
        return {
            "buckets": buckets.tobytes(),
            "counts": array(code, counts).tobytes(),
            "counts_code": code,
            "count": self.count,
            "sum": self.sum,
            # The sum of squares of nanoseconds passes 64 bits, which is all that msgpack has.
            "sum_of_squares": str(self.sum_of_squares),
            "min": self.min,
            "max": self.max,
            "clipped": self.clipped,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Histogram:
        """The histogram that `to_state` described."""
        new = cls()
        new._buckets = (array("H", state["buckets"]), array(state["counts_code"], state["counts"]))
        new.count = state["count"]
        new.sum = state["sum"]
        new.sum_of_squares = int(state["sum_of_squares"])
        new.min = state["min"]
        new.max = state["max"]
        new.clipped = state["clipped"]
        return new

    def values(self) -> Iterator[tuple[float, int]]:
        """The middle of each bucket that is not empty, in ascending order, and its count."""
        for bucket, count in zip(*self._filled(), strict=True):
            yield _middle(bucket), count

    def encode(self) -> bytes:
        """The counts in HdrHistogram's V2 compressed encoding, not in base64.

        It has no place for what is exact beside them. Values above `HIGHEST` are in the top bucket.
        """
        buckets, counts = self._filled()
        return hdr.encode(hdr.Buckets(LAYOUT, HIGHEST, dict(zip(buckets, counts, strict=True))))

    @classmethod
    def decode(cls, data: bytes) -> Histogram:
        """The histogram of what `encode` gave. Raises ValueError where that is not what it is given.

        The counts are exact. Minimum and maximum are the outer edges of their buckets, and the sums are those of the
        buckets' middles: at most 0.1 % off.
        """
        found = hdr.decode(data)
        if found.layout != LAYOUT or max(found.counts, default=0) > _bucket(HIGHEST):
            raise ValueError(f"its buckets are not those of FluxPerf's histograms: {found.layout}")
        new = cls()
        new._buckets = (array("H", found.counts.keys()), array("Q", found.counts.values()))
        new.count = found.count
        if found.count:
            new.min, new.max = found.low, min(found.high, HIGHEST)
            new.sum = round(sum(value * count for value, count in found.values()))
            new.sum_of_squares = round(sum(value * value * count for value, count in found.values()))
        return new

    def _sync(self) -> None:
        """Tells the HDR part its own totals, which its encoder and its `add` rely on."""
        if self._made is not None and self.min is not None and self.max is not None:
            self._made.total_count = self.count
            self._made.min_value = min(self.min, HIGHEST)
            self._made.max_value = min(self.max, HIGHEST)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return self.to_state() == other.to_state()

    __hash__ = None  # type: ignore[assignment]
