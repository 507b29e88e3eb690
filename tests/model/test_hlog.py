from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fluxperf.model import Histogram, RoundResult
from fluxperf.model.hdr import Buckets, Layout, NotAHistogram, decode
from fluxperf.model.hlog import (
    Exact,
    Interval,
    Place,
    histograms_of,
    read_exact,
    read_interval,
    read_tag,
    round_tag,
    write_interval,
)
from fluxperf.model.result import CONTROL, RoundName

LINE = "Tag=a,1.000,2.000,0.000005,{}"


@dataclass
class _Round:
    stage: str | None
    concurrency: int
    round: RoundName


def a_round(stage: str | None = None, concurrency: int = 8, name: RoundName = 2) -> RoundResult:
    return cast(RoundResult, _Round(stage, concurrency, name))


def a_histogram(*values: int) -> Histogram:
    histogram = Histogram()
    histogram.record_all(values)
    return histogram


def an_interval(*values: int, tag: str | None = "a", exact: Exact | None = None) -> Interval:
    return Interval(tag=tag, start_s=11.0, length_s=2.0, buckets=decode(a_histogram(*values).encode()), exact=exact)


@given(st.none() | st.text(), st.integers(1, 9999), st.integers(1, 99) | st.just(CONTROL))
@example("repeat 1/Prefix cache, 'on'", 8, 2)
@example("concurrency_3/round_1", 8, 2)
@example("", 8, 1)
@example('100% \ud800\n"ü"', 8, CONTROL)
def test_a_tag_tells_what_it_was_made_of(stage: str | None, concurrency: int, name: RoundName) -> None:
    tag = f"{round_tag(a_round(stage, concurrency, name))}/ttft_ms"
    assert not set(tag) & set(", \n\r\t\"'")
    assert tag.isascii()
    assert tag.isprintable()
    assert read_tag(tag) == Place(stage, concurrency, name, "ttft_ms")


def test_tags_can_be_read_by_people() -> None:
    assert round_tag(a_round()) == "concurrency_8/round_2"
    assert round_tag(a_round("suite/Cache (on)")) == "suite/Cache%20(on)/concurrency_8/round_2"


@pytest.mark.parametrize("tag", ["", "reads", "concurrency_8/round_2", "concurrency_x/round_2/a", "round_2/ttft_ms"])
def test_other_peoples_tags_are_none_of_ours(tag: str) -> None:
    assert read_tag(tag) is None


def test_the_histograms_of_a_round_are_found_by_its_tag() -> None:
    found = {
        "concurrency_8/round_2/ttft_ms": b"a",
        "concurrency_8/round_22/ttft_ms": b"b",
        "x/concurrency_8/round_2/t": b"c",
    }
    assert histograms_of(a_round(), found) == {"ttft_ms": b"a"}
    assert histograms_of(a_round("x"), found) == {"t": b"c"}
    assert histograms_of(a_round(), {"concurrency_8/round_2/concurrency_1/round_1/t": b"d"}) == {}


@given(st.lists(st.integers(0, 2**43), min_size=1))
@example([3_601_330_077_696])
def test_an_interval_survives_its_line(values: list[int]) -> None:
    exact = Exact(min(values), max(values), sum(values) / len(values))
    interval = an_interval(*values, exact=exact)
    comment, line, end = write_interval(interval, 10.0).split("\n")
    assert end == ""
    assert line.startswith(f"Tag=a,1.000,2.000,{max(values) / 1e6:.6f},")
    back = read_interval(line, 10.0, "", read_exact(comment))
    assert back == interval
    assert (back.low, back.high) == (exact.low, exact.high)


def test_values_below_a_microsecond_and_above_an_hour_survive() -> None:
    hours = 5 * 3_600_000_000_000
    interval = an_interval(0, 1, 999, hours, exact=Exact(0, hours, 1.0))
    back = read_interval(write_interval(interval, 0).split("\n")[1], 0, "", interval.exact)
    assert (back.buckets.count, back.low, back.high) == (4, 0, hours)
    assert back.percentiles(25, 50, 75) == [0, 1, 999]


def test_a_line_without_tag_and_exact_figures() -> None:
    line = write_interval(an_interval(5, tag=None), 11.0).strip()
    assert line.startswith("0.000,2.000,0.000005,")
    back = read_interval(line, 0, "f:7")
    assert (back.tag, back.exact, back.where, back.low, back.high) == (None, None, "f:7", 5, 5)


@pytest.mark.parametrize("exact", [Exact(4, 5, 5.0), Exact(5, 9000, 5.0)])
def test_exact_figures_of_another_histogram_are_not_believed(exact: Exact) -> None:
    line = write_interval(an_interval(5), 0).strip()
    assert read_interval(line, 0, "", exact).exact is None


def test_percentiles_keep_within_what_is_exact() -> None:
    interval = an_interval(10**9 + 1, 10**9 + 3, exact=Exact(10**9 + 1, 10**9 + 3, 10**9 + 2.0))
    assert interval.percentiles(1, 99) == [10**9 + 3, 10**9 + 3]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", "1 fields"),
        ("1,2,3", "3 fields"),
        ("Tag=a,1,2,3,x,y", "5 fields"),
        (LINE.format("x").replace("1.000", "soon"), "no numbers"),
        (LINE.format("HISTFAAA!"), "base64"),
        (LINE.format("HISTF"), "base64"),
        (LINE.format("HIST"), "cut short"),
        (LINE.format(""), "cut short"),
    ],
)
def test_what_is_no_interval_is_told(line: str, message: str) -> None:
    with pytest.raises(NotAHistogram, match=message):
        read_interval(line, 0, "")


@pytest.mark.parametrize(
    "line", ["", "#", "#[Exact: min 1, max 2, mean x]", "#[Exact: min -1, max 2, mean 1]", "#[Other]"]
)
def test_other_comments_say_nothing_exact(line: str) -> None:
    assert read_exact(line) is None


@given(st.text())
def test_any_text_is_an_interval_or_none(line: str) -> None:
    read_exact(line)
    with pytest.raises(NotAHistogram):
        read_interval(line, 0, "")


def test_nothing_has_no_bounds_to_be_exact_of() -> None:
    assert not Exact(0, 0, 0.0).is_of(Buckets(Layout(), 1000, {}))
