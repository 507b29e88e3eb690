from __future__ import annotations

import base64
import contextlib
import gzip
from pathlib import Path

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.errors import UsageError
from fluxperf.model import Histogram
from fluxperf.model.hdr import decode
from fluxperf.stored.hlog import read_histograms, read_log

LEGEND = '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"'
HEAD = "#[Histogram log format version 1.3]\n"


def data_of(*values: int) -> str:
    histogram = Histogram()
    histogram.record_all(values)
    return base64.b64encode(histogram.encode()).decode()


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "a.hlog"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_several_lines_of_a_tag_are_added(tmp_path: Path) -> None:
    lines = [f"Tag=A,0.1,1.0,2.0,{data_of(1, 2)}", f"0.1,1,2,{data_of(9)}", f"Tag=A,1.1,1.0,2.0,{data_of(2, 5000)}"]
    found = read_histograms(write(tmp_path, "\n".join([HEAD, LEGEND, "", *lines])))
    assert {tag: Histogram.decode(data).count for tag, data in found.items()} == {"A": 4, "": 1}
    assert list(Histogram.decode(found["A"]).values()) == [(1, 1), (2, 2), (5001.5, 1)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n\n"])
def test_line_ends_and_byte_order_marks(tmp_path: Path, end: str) -> None:
    text = end.join([HEAD.strip(), LEGEND, f"Tag=A,0.1,1.0,2.0,{data_of(1)}", ""])
    assert [one.tag for one in read_log(write(tmp_path, b"\xef\xbb\xbf" + text.encode()))] == ["A"]


@pytest.mark.parametrize(
    ("comments", "start_s"),
    [
        ("", 5.0),
        ("#[StartTime: 1500000000.5 (seconds since epoch), whenever]\n", 1500000005.5),
        (
            "#[StartTime: 1500000000.5 (seconds since epoch)]\n#[BaseTime: 1400000000 (seconds since epoch)]\n",
            1400000005,
        ),
        ("#[StartTime: 6 (seconds since epoch), soon after]\n", 5.0),
        ("#[BaseTime: 3 (seconds since epoch)]\n", 8.0),
    ],
)
def test_what_times_count_from(tmp_path: Path, comments: str, start_s: float) -> None:
    (interval,) = read_log(write(tmp_path, f"{HEAD}{comments}Tag=A,5.0,1.0,2.0,{data_of(1)}\n"))
    assert (interval.start_s, interval.length_s) == (start_s, 1.0)


def test_a_log_of_the_packages_own_writer(tmp_path: Path) -> None:
    histogram = HdrHistogram(1, 10**9, 2)
    for value in (3, 1000, 123_456):
        histogram.record_value(value)
    text = f"#[Histogram log format version 1.2]\n0.000000,1.000000,0.123456,{histogram.encode().decode()}\n"
    (interval,) = read_log(write(tmp_path, text))
    assert (interval.tag, interval.buckets.count, interval.buckets.layout.digits, interval.exact) == (None, 3, 2, None)
    assert interval.where == f"{tmp_path / 'a.hlog'}:2"
    assert decode(read_histograms(tmp_path / "a.hlog")[""]) == interval.buckets


def test_a_directory_is_asked_for_its_log(tmp_path: Path) -> None:
    (tmp_path / "histograms.hlog").write_text(f"{HEAD}1,1,1,{data_of(1)}\n")
    assert len(read_log(tmp_path)) == 1


def test_a_log_without_histograms_is_one(tmp_path: Path) -> None:
    assert read_log(write(tmp_path, HEAD)) == []
    assert read_log(write(tmp_path, LEGEND)) == []


OURS = f"{HEAD}#[FluxPerf. Values: nanoseconds]\n#[Exact: min 1, max 1, mean 1.0]\nTag=A,1,1,1,{data_of(1)}\n"


def test_exact_figures_are_of_the_next_line_only(tmp_path: Path) -> None:
    first, second = read_log(write(tmp_path, f"{OURS}Tag=B,1,1,1,{data_of(1)}\n#[End: 2 histograms]\n"))
    assert first.exact is not None
    assert second.exact is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OURS, "was cut short: its end is missing, after 1 histograms"),
        (f"{OURS}#[End: 2 histograms]\n", "was cut short"),
        (f"{HEAD}Tag=A,1,1,1,{data_of(*range(999))[:-40]}", ":2: cannot be read as a histogram: .*cut short"),
        (f"{HEAD}Tag=A,1,1", ":2: .* 2 fields.*: the file was cut short"),
        (
            f"{HEAD}Tag=A,1,1\n1,1,1,{data_of(1)}\n",
            r":2: .* 2 fields, and a line of a histogram log has 4 after its tag$",
        ),
        (f"{HEAD}1,1,1,HISTEgAAAAA=\n", ":2: .*before V2"),
        ("a,b\nc,d\n", ":1: cannot be read as a histogram"),
        ("", "is no histogram log: there is no line of one in it"),
        ("# a comment\n", "is no histogram log"),
        (b"\x00\xff\xfe", "is not UTF-8 at byte 2"),
        (gzip.compress(HEAD.encode()), "is compressed with gzip: unpack it first"),
        (f"{HEAD}1,1,1,{data_of(1)}\n".encode("utf-16"), "is not UTF-8 at byte 1"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_log(write(tmp_path, text))


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.hlog: cannot be read: No such file"):
        read_log(tmp_path / "none.hlog")
    with pytest.raises(UsageError, match=r"histograms\.hlog: cannot be read"):
        read_log(tmp_path)


@given(st.text() | st.text('#[]":,=+/.0123456789HISTFTagEnd \n'))
def test_any_text_is_a_log_or_told_to_be_none(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = write(tmp_path_factory.getbasetemp(), text.encode("utf-8", "replace"))
    with contextlib.suppress(UsageError):
        read_log(path)
