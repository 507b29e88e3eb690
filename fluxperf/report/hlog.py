"""`histograms.hlog`: every histogram of a run in HdrHistogram's log format. Knows tags and times, and opens no file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from fluxperf.metrics import METRICS
from fluxperf.model import RoundResult, RunResult, Stats
from fluxperf.model.hdr import Buckets, decode
from fluxperf.model.hlog import (
    LEGEND,
    MAX_UNIT,
    OURS,
    VERSION_LINE,
    Exact,
    Interval,
    Merged,
    read_tag,
    round_tag,
    write_interval,
)

_UNITS = "nanoseconds, output_token_throughput in thousandths of a token/s"
_PER_UNIT = {metric.name: metric.per_unit for metric in METRICS}


def histograms_hlog(run: RunResult) -> Iterator[str]:
    """The log of the run: a line for each metric of each round that has values."""
    base_s = _epoch_s(run.started_at) or 0.0
    yield from _log([interval for result in run.rounds for interval in _intervals(result, base_s)], base_s, _UNITS)


def merged_hlog(merged: Merged) -> Iterator[str]:
    """The log of what several logs make together."""
    base_s = min((interval.start_s for interval in merged.intervals), default=0.0)
    ours = all(read_tag(interval.tag or "") for interval in merged.intervals)
    yield from _log(merged.intervals, base_s, _UNITS if ours else "as they were recorded")


def _log(intervals: Sequence[Interval], base_s: float, units: str) -> Iterator[str]:
    started = datetime.fromtimestamp(base_s, UTC).strftime("%a %b %d %H:%M:%S UTC %Y")
    yield f"{VERSION_LINE}\n"
    yield f"{OURS} Values: {units}. Interval_Max: a value / {MAX_UNIT}]\n"
    yield f"#[StartTime: {base_s:.3f} (seconds since epoch), {started}]\n"
    yield f"#[BaseTime: {base_s:.3f} (seconds since epoch)]\n"
    yield f"{LEGEND}\n"
    for interval in intervals:
        yield write_interval(interval, base_s)
    yield f"#[End: {len(intervals)} histograms]\n"


def _intervals(result: RoundResult, base_s: float) -> Iterator[Interval]:
    start_s = _epoch_s(result.configuration.get("started_at"))
    for name, data in result.histograms.items():
        buckets = decode(data)
        if buckets.counts:
            yield Interval(
                tag=f"{round_tag(result)}/{name}",
                start_s=base_s if start_s is None else start_s,
                length_s=result.summary.duration_s,
                buckets=buckets,
                exact=_exact(result.summary.stats.get(name), _PER_UNIT.get(name), buckets),
            )


def _exact(stats: Stats | None, per_unit: int | None, buckets: Buckets) -> Exact | None:
    """What the round's figures know exactly, in the histogram's unit; None where they are of something else."""
    if stats is None or per_unit is None or stats.min is None or stats.max is None or stats.avg is None:
        return None
    exact = Exact(round(stats.min * per_unit), round(stats.max * per_unit), stats.avg * per_unit)
    return exact if exact.is_of(buckets) else None


def _epoch_s(time: object) -> float | None:
    try:
        return datetime.fromisoformat(str(time)).timestamp()
    except ValueError:
        return None
