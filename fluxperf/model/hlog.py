"""`Interval`: one line of a histogram log, as a value and as text; what tags say; several logs as one.

The format is HdrHistogram's log format 1.3 (`HistogramLogWriter` of the Java original). What is exact beside the
counts stands in a comment before a line, which other readers pass over.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from fluxperf.model import hdr
from fluxperf.model.result import CONTROL, RoundName, RoundResult

VERSION_LINE = "#[Histogram log format version 1.3]"
OURS = "#[FluxPerf."
"""What a comment of ours begins with. A log that has it ends with a comment that counts the histograms."""
LEGEND = '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"'
MAX_UNIT = 1_000_000
"""Interval_Max is the highest value divided by this: milliseconds of what is counted in nanoseconds."""

_SAFE = "/:+()@~"  # beside letters, digits and `_.-`; no comma, white space, quote or percent sign
_TAG = re.compile(r"(?:(?P<stage>.*)/)?concurrency_(?P<concurrency>\d+)/round_(?P<round>\d+|control)/(?P<metric>[^/]+)")
_EXACT = re.compile(r"#\[Exact: min (\d+), max (\d+), mean ([^ ,\]]+)\]")


@dataclass(frozen=True, slots=True)
class Place:
    """What a tag of ours names."""

    stage: str | None
    concurrency: int
    round: RoundName
    metric: str


@dataclass(frozen=True, slots=True)
class Exact:
    """What is known exactly of a histogram's values, in their own unit."""

    low: int
    high: int
    mean: float

    def is_of(self, buckets: hdr.Buckets) -> bool:
        """Whether this can be of the values in `buckets`; what is above their highest value is in the last one."""
        bucket, counts = buckets.layout.bucket, buckets.counts
        ends = [bucket(min(value, buckets.highest)) for value in (self.low, self.high)]
        return bool(counts) and ends == [next(iter(counts)), next(reversed(counts))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A histogram with its tag (None: it has none). `start_s` counts from the epoch; `where` is its file and line."""

    tag: str | None
    start_s: float
    length_s: float
    buckets: hdr.Buckets
    exact: Exact | None = None
    where: str = ""

    @property
    def low(self) -> int:
        """The lowest value, or what it is at least."""
        return self.exact.low if self.exact else self.buckets.low

    @property
    def high(self) -> int:
        """The highest value, or what it is at most."""
        return self.exact.high if self.exact else self.buckets.high

    def percentiles(self, *percents: float) -> list[float | None]:
        """Nearest-rank percentiles at the middle of their buckets, kept within the lowest and the highest value."""
        found = self.buckets.percentiles(*percents)
        return [None if value is None else min(max(value, self.low), self.high) for value in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """The histograms of several logs, one a tag. `holders` has the files of each tag, where these are not all."""

    files: tuple[str, ...]
    intervals: tuple[Interval, ...]
    holders: Mapping[str | None, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def round_tag(result: RoundResult) -> str:
    """What the tags of the round's histograms begin with; a slash and the metric's name follow."""
    place = f"concurrency_{result.concurrency}/round_{result.round}"
    return place if result.stage is None else f"{quote(result.stage, safe=_SAFE, errors='surrogatepass')}/{place}"


def read_tag(tag: str) -> Place | None:
    """What a tag names; None: it is not one of ours."""
    found = _TAG.fullmatch(tag)
    if found is None:
        return None
    stage, name = found["stage"], found["round"]
    return Place(
        None if stage is None else unquote(stage, errors="surrogatepass"),
        int(found["concurrency"]),
        name if name == CONTROL else int(name),
        found["metric"],
    )


def histograms_of(result: RoundResult, histograms: Mapping[str, bytes]) -> dict[str, bytes]:
    """Those of `histograms`, by tag, that are the round's, by metric."""
    start = f"{round_tag(result)}/"
    found = {tag.removeprefix(start): data for tag, data in histograms.items() if tag.startswith(start)}
    return {metric: data for metric, data in found.items() if "/" not in metric}


def write_interval(interval: Interval, base_s: float) -> str:
    """The interval as a line, after one with what is exact, with newlines."""
    exact = interval.exact
    before = "" if exact is None else f"#[Exact: min {exact.low}, max {exact.high}, mean {exact.mean!r}]\n"
    tag = "" if interval.tag is None else f"Tag={interval.tag},"
    start_s = max(interval.start_s - base_s, 0)
    data = base64.b64encode(hdr.encode(interval.buckets)).decode()
    return f"{before}{tag}{start_s:.3f},{interval.length_s:.3f},{interval.high / MAX_UNIT:.6f},{data}\n"


def read_exact(line: str) -> Exact | None:
    """What a comment says of the histogram that follows; None: it is another comment."""
    found = _EXACT.match(line)
    try:
        return None if found is None else Exact(int(found[1]), int(found[2]), float(found[3]))
    except ValueError:
        return None


def read_interval(line: str, base_s: float, where: str, exact: Exact | None = None) -> Interval:
    """The interval that a line describes. Raises NotAHistogram, which says why it is none."""
    rest, tag = line, None
    if line.startswith("Tag="):
        tag, _, rest = line.removeprefix("Tag=").partition(",")
    texts = [text.strip() for text in rest.split(",")]
    if len(texts) != 4:
        raise hdr.NotAHistogram(f"it has {len(texts)} fields, and a line of a histogram log has 4 after its tag")
    try:
        start_s, length_s, _ = map(float, texts[:3])
    except ValueError:
        raise hdr.NotAHistogram("start, length and maximum are no numbers") from None
    try:
        data = base64.b64decode(texts[3], validate=True)
    except (binascii.Error, ValueError):
        raise hdr.NotAHistogram("its base64 is cut short or broken") from None
    buckets = hdr.decode(data)
    if exact is not None and not exact.is_of(buckets):
        exact = None
    return Interval(tag=tag, start_s=base_s + start_s, length_s=length_s, buckets=buckets, exact=exact, where=where)
