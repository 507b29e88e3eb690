from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.cells import cell_len

from fluxperf.model.hdr import Buckets, Layout
from fluxperf.model.hlog import Exact, Interval, Merged
from fluxperf.report.merged import render_merged

HIGHEST = 3_600_000_000_000


def an_interval(tag: str | None, *values: int) -> Interval:
    counts = {Layout().bucket(value): 1 for value in sorted(values)}
    exact = Exact(min(values), max(values), 1.0) if values else None
    return Interval(tag=tag, start_s=0, length_s=1, buckets=Buckets(Layout(), HIGHEST, counts), exact=exact)


@pytest.fixture
def merged() -> Merged:
    place = "concurrency_8/round_2"
    return Merged(
        files=("host-a/histograms.hlog", "host-b/histograms.hlog"),
        intervals=(
            an_interval(f"{place}/ttft_ms", *range(200_000_000, 300_000_000, 1_000_000)),
            an_interval(f"Prefix%20cache%20on/{place}/latency_ms", *range(10**9, 3 * 10**9, 10**7)),
            an_interval(f"Prefix%20cache%20on/{place}/output_token_throughput", 52_100, 61_330),
            an_interval("reads", 1200, 5400),
            an_interval(None, 7),
            an_interval("nothing"),
        ),
        holders={"reads": ("host-b/histograms.hlog",)},
        notes=("reads: to 2 significant digits, because host-b/histograms.hlog:7 has no more",),
    )


@pytest.mark.parametrize("columns", [80, 160, None])
def test_the_table(merged: Merged, columns: int | None, golden: Callable[[str, str], None]) -> None:
    golden(f"merged_{columns or 'piped'}.txt", render_merged(merged, columns) + "\n")


@pytest.mark.parametrize("columns", range(40, 170, 7))
def test_no_line_is_wider_than_the_terminal(merged: Merged, columns: int) -> None:
    long = replace(merged, intervals=(*merged.intervals, an_interval("x" * 200, 1)))
    assert max(map(cell_len, render_merged(long, columns).split("\n"))) <= columns


def test_nothing_dangerous_is_printed() -> None:
    text = render_merged(Merged(files=("a\x1b[31m",), intervals=(an_interval("\x1b[2Jtag", 1),)), None)
    assert "\x1b" not in text


def test_files_without_histograms_are_said_to_have_none() -> None:
    assert "No histogram" in render_merged(Merged(files=("a",), intervals=()), 80)
