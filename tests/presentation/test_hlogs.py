from __future__ import annotations

import base64
from pathlib import Path

import pytest

from fluxperf.errors import UsageError
from fluxperf.model import Histogram
from fluxperf.presentation.hlogs import merge_hlogs
from fluxperf.report.hlog import merged_hlog
from fluxperf.report.merged import render_merged
from fluxperf.stored.hlog import read_log

GOLDEN = Path(__file__).parent.parent / "golden" / "histograms.hlog"


def write(path: Path, *values: int) -> Path:
    histogram = Histogram()
    histogram.record_all(values)
    data = base64.b64encode(histogram.encode()).decode()
    path.write_text(f"Tag=A,1,1,1,{data}\n", "utf-8")
    return path


def test_two_hosts_become_one(tmp_path: Path) -> None:
    merged = merge_hlogs([write(tmp_path / "a.hlog", 1, 2, 3), write(tmp_path / "b.hlog", 3, 4)])
    assert merged.files == (str(tmp_path / "a.hlog"), str(tmp_path / "b.hlog"))
    (interval,) = merged.intervals
    assert list(interval.buckets.values()) == [(1, 1), (2, 1), (3, 2), (4, 1)]
    assert "5 " in render_merged(merged, 80)


def test_what_is_merged_can_be_merged_again(tmp_path: Path) -> None:
    twice = tmp_path / "twice.hlog"
    copy = tmp_path / "copy.hlog"
    copy.write_bytes(GOLDEN.read_bytes())
    twice.write_text("".join(merged_hlog(merge_hlogs([GOLDEN, copy]))), "utf-8")
    assert [one.buckets.count for one in read_log(twice)] == [2 * one.buckets.count for one in read_log(GOLDEN)]
    assert [one.exact for one in read_log(twice)] == [one.exact for one in read_log(GOLDEN)]
    assert len(merge_hlogs([twice, GOLDEN]).intervals) == len(read_log(GOLDEN))


def test_a_file_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.hlog", 1)
    (tmp_path / "link.hlog").symlink_to(path)
    with pytest.raises(UsageError, match="counted twice"):
        merge_hlogs([path, tmp_path / "link.hlog"])


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "b.hlog").write_text("{}", "utf-8")
    with pytest.raises(UsageError, match=r"b\.hlog:1: cannot be read as a histogram"):
        merge_hlogs([write(tmp_path / "a.hlog", 1), tmp_path / "b.hlog"])
