"""`histograms.hlog`, and what other implementations of the format read in it."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from fluxperf.model import Histogram, RoundResult, RunResult, Stats
from fluxperf.model.hdr import decode
from fluxperf.model.hlog import Merged, read_tag
from fluxperf.report.hlog import histograms_hlog, merged_hlog
from fluxperf.stored.hlog import read_histograms, read_log

from .conftest import GOLDEN, make_round

HOUR = 3_600_000_000_000
VALUES = {
    "ttft_ms": [210_120_000, 238_150_001, 240_000_000, 328_910_000],
    "itl_ms": [0, 1, 7, 999, 1_000, 2_047, 2_048, 4_097, 12_340_000],
    "latency_ms": [*range(10**9, 10**9 + 10**7, 10**4), 2 * HOUR],
    "output_token_throughput": [44_100, 52_300, 61_000],
    "connect_ms": [0, 0, 0],
}
PERCENTS = (0, 1, 25, 50, 75, 90, 99, 99.9, 100)
NODE = Path(__file__).parent / "read_hlog.js"


def stats_of(values: Sequence[int], per_unit: int) -> Stats:
    return Stats(avg=sum(values) / len(values) / per_unit, min=min(values) / per_unit, max=max(values) / per_unit)


def encoded(values: Sequence[int]) -> bytes:
    histogram = Histogram()
    histogram.record_all(values)
    return histogram.encode()


def with_histograms(values: dict[str, list[int]], **changes: Any) -> RoundResult:
    summary = {
        "stats": {
            **make_round().summary.stats,
            **{name: stats_of(found, 1000 if name.startswith("output") else 10**6) for name, found in values.items()},
        }
    }
    histograms = {name: encoded(found) for name, found in values.items()} | {"ttfo_ms": encoded([])}
    return make_round(summary=summary, histograms=histograms, **changes)


@pytest.fixture
def run(a_run: Callable[..., RunResult]) -> RunResult:
    """Three rounds: two of a stage with a name that tags must not have in it, one without values."""
    started = {"started_at": "2026-11-25T08:00:12Z"}
    stage = 'Prefix cache, "on" ü'
    return a_run(
        started_at="2026-11-25T08:00:00Z",
        rounds=(
            with_histograms(VALUES, stage=stage, concurrency=8, round=1, configuration=started),
            with_histograms({"ttft_ms": [5]}, stage=stage, concurrency=8, round="control", configuration={}),
            with_histograms({}, stage=None, round=2),
        ),
    )


@pytest.fixture
def file(run: RunResult, tmp_path: Path) -> Path:
    path = tmp_path / "histograms.hlog"
    path.write_text("".join(histograms_hlog(run)), "utf-8")
    return path


def without_data(text: str) -> str:
    """The log without its compressed bytes, which another zlib may write in another way."""
    return re.sub(r",HIST[\w+/=]+$", ",HIST...", text, flags=re.MULTILINE)


def test_the_golden_log_is_read(run: RunResult, tmp_path: Path) -> None:
    """A file that was written once, by whatever zlib, is what is written now."""
    path = GOLDEN / "histograms.hlog"
    if os.environ.get("FLUXPERF_WRITE_GOLDEN"):
        path.write_text("".join(histograms_hlog(run)), "utf-8")
    written = tmp_path / "written.hlog"
    written.write_text("".join(histograms_hlog(run)), "utf-8")
    assert without_data(path.read_text("utf-8")) == without_data(written.read_text("utf-8"))
    before, now = read_histograms(path), read_histograms(written)
    assert {tag: decode(data) for tag, data in before.items()} == {tag: decode(data) for tag, data in now.items()}


def test_what_was_written_is_read_back(run: RunResult, file: Path) -> None:
    intervals = {read_tag(interval.tag or ""): interval for interval in read_log(file)}
    assert len(intervals) == len(VALUES) + 1
    for place, interval in intervals.items():
        assert place is not None
        values = VALUES[place.metric] if place.round == 1 else [5]
        assert (interval.buckets.count, interval.low, interval.high) == (len(values), min(values), max(values))
        assert interval.exact is not None
        assert interval.exact.mean == pytest.approx(sum(values) / len(values))
        assert place.stage == run.rounds[0].stage
    first = next(iter(intervals.values()))
    assert (first.start_s, first.length_s) == (1795593612.0, 25.43)


def test_empty_histograms_are_left_out(a_run: Callable[..., RunResult]) -> None:
    lines = list(histograms_hlog(a_run(rounds=(with_histograms({}),))))
    assert not [line for line in lines if "HIST" in line]
    assert lines[-1] == "#[End: 0 histograms]\n"


def test_without_times_and_figures_it_is_written_all_the_same(a_run: Callable[..., RunResult]) -> None:
    result = make_round(
        configuration={"started_at": None}, histograms={"ttft_ms": encoded([1, 2]), "other": encoded([7])}
    )
    text = "".join(histograms_hlog(a_run(started_at="who knows", rounds=(result,))))
    assert "#[BaseTime: 0.000 (seconds since epoch)]" in text
    assert re.findall(r"^Tag=\S+/round_\d/(\w+),0.000,25.430,([\d.]+),", text, re.MULTILINE) == [
        ("ttft_ms", "0.000002"),
        ("other", "0.000007"),
    ]


def test_merged_logs_are_written_as_any_other(file: Path, tmp_path: Path) -> None:
    intervals = tuple(read_log(file))
    again = tmp_path / "again.hlog"
    again.write_text("".join(merged_hlog(Merged(files=("a",), intervals=intervals))), "utf-8")
    assert [one.buckets for one in read_log(again)] == [one.buckets for one in intervals]
    assert [(one.tag, one.exact, one.start_s) for one in read_log(again)] == [
        (one.tag, one.exact, one.start_s) for one in intervals
    ]
    assert "nanoseconds" in again.read_text("utf-8")
    foreign = "".join(merged_hlog(Merged(files=("a",), intervals=(replace(intervals[0], tag="A"),))))
    assert "as they were recorded" in foreign


# Other readers.


def test_pythons_reader_finds_every_count(file: Path) -> None:
    reader = HistogramLogReader(str(file), HdrHistogram(1, HOUR, 3))
    found = {}
    while (histogram := reader.get_next_interval_histogram()) is not None:
        found[histogram.get_tag()] = histogram
    reader.close()
    assert reader.get_start_time_sec() == 1795593600
    assert len(found) == len(VALUES) + 1
    for tag, histogram in found.items():
        place = read_tag(tag)
        assert place is not None
        assert_is_read(histogram, VALUES[place.metric] if place.round == 1 else [5])


def assert_is_read(histogram: HdrHistogram, values: list[int]) -> None:
    """Each count is in its bucket. Percentiles have another rank there (rounded, not up) and another value in it."""
    assert histogram.get_total_count() == len(values)
    ours = decode(encoded(values))
    assert {bucket: count for bucket, count in enumerate(histogram.counts) if count} == ours.counts
    for percent in PERCENTS[1:]:
        value = sorted(values)[max(int(percent * len(values) / 100 + 0.5), 1) - 1]
        low, high = ours.layout.bounds(ours.layout.bucket(min(value, HOUR)))
        assert low <= histogram.get_value_at_percentile(percent) <= high


@pytest.fixture(scope="module")
def node() -> str:
    """The command, if it finds the package: `npm install hdr-histogram-js`, NODE_PATH for a place of its own."""
    command = shutil.which("node")
    if command is None:
        pytest.skip("node is not installed")
    if subprocess.run([command, "-e", "require('hdr-histogram-js')"], capture_output=True, check=False).returncode:
        pytest.skip("npm's hdr-histogram-js is not installed where node looks for it (NODE_PATH)")
    return command


@pytest.mark.parametrize("kind", ["js", "wasm"])
def test_hdr_histogram_js_reads_the_same(node: str, file: Path, kind: str) -> None:
    done = subprocess.run(
        [node, str(NODE), str(file), kind, *map(str, PERCENTS)], capture_output=True, check=True, text=True
    )
    read = json.loads(done.stdout)
    ours = {interval.tag: interval for interval in read_log(file)}
    assert set(read["tags"]) == {one["tag"] for one in read["histograms"]} == set(ours)
    for one in read["histograms"]:
        interval = ours[one["tag"]]
        buckets = interval.buckets
        assert one["count"] == buckets.count
        assert (one["start"], one["end"]) == (interval.start_s * 1000, (interval.start_s + interval.length_s) * 1000)
        for percent, value in zip(PERCENTS, one["values"], strict=True):
            (expected,) = buckets.percentiles(percent)
            assert expected is not None
            low, high = buckets.layout.bounds(buckets.layout.bucket(int(expected)))
            assert low <= value <= high, (one["tag"], percent)
        assert decode(base64.b64decode(one["again"])).counts == buckets.counts
