from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from fluxperf.analysis.hlog import merge_logs
from fluxperf.model.hdr import Buckets, Layout
from fluxperf.model.hlog import Exact, Interval

HIGHEST = 3_600_000_000_000


def an_interval(
    *values: int,
    tag: str | None = "a",
    times: tuple[float, float] = (0, 1),
    layout: Layout | None = None,
    exact: bool = True,
) -> Interval:
    layout = layout or Layout()
    counts: dict[int, int] = {}
    for value in sorted(values):
        counts[layout.bucket(value)] = counts.get(layout.bucket(value), 0) + 1
    known = Exact(min(values), max(values), sum(values) / len(values)) if exact and values else None
    return Interval(
        tag=tag,
        start_s=times[0],
        length_s=times[1],
        buckets=Buckets(layout, HIGHEST, counts),
        exact=known,
        where=f"{tag}:1",
    )


@given(st.lists(st.lists(st.integers(0, HIGHEST), min_size=1), min_size=1, max_size=4))
def test_merged_is_the_histogram_of_all_values(hosts: Sequence[Sequence[int]]) -> None:
    merged = merge_logs({str(host): [an_interval(*values)] for host, values in enumerate(hosts)})
    every = [value for values in hosts for value in values]
    (interval,) = merged.intervals
    assert interval.buckets == an_interval(*every).buckets
    assert interval.exact is not None
    assert (interval.low, interval.high) == (min(every), max(every))
    assert abs(interval.exact.mean - sum(every) / len(every)) <= 1e-6 * max(every)
    assert (merged.holders, merged.notes) == ({}, ())


def test_tags_that_some_files_lack_are_told() -> None:
    merged = merge_logs(
        {
            "A": [an_interval(1), an_interval(2, tag="b")],
            "B": [an_interval(1), an_interval(7, tag=None)],
            "C": [an_interval(1)],
        }
    )
    assert [interval.tag for interval in merged.intervals] == ["a", "b", None]
    assert merged.holders == {"b": ("A",), None: ("B",)}
    assert merged.files == ("A", "B", "C")


def test_a_log_over_time_becomes_one_histogram() -> None:
    merged = merge_logs(
        {"A": [an_interval(1, times=(10, 1)), an_interval(2, times=(11, 1)), an_interval(3, times=(9, 1))]}
    )
    (interval,) = merged.intervals
    assert (interval.start_s, interval.length_s, interval.buckets.count) == (9, 3, 3)
    assert merged.holders == {}


def test_without_the_exact_figures_of_one_there_are_none_of_all() -> None:
    (interval,) = merge_logs({"A": [an_interval(5000)], "B": [an_interval(1, exact=False)]}).intervals
    assert interval.exact is None
    assert (interval.low, interval.high) == (1, 5003)


def test_an_empty_histogram_takes_nothing_from_what_is_exact() -> None:
    (interval,) = merge_logs({"A": [an_interval(5000)], "B": [an_interval()]}).intervals
    assert interval.exact == Exact(5000, 5000, 5000.0)


def test_the_coarsest_file_is_named() -> None:
    coarse, rough = Layout(1, 2), Layout(1000, 3)
    merged = merge_logs({"A": [an_interval(5000), an_interval(1, tag="b")], "B": [an_interval(5000, layout=coarse)]})
    assert merged.notes == ("a: to 2 significant digits, because a:1 has no more",)
    assert merge_logs({"A": [an_interval(5000)], "B": [an_interval(5000, layout=rough)]}).notes == (
        "a: to units of 1000, because a:1 is no finer",
    )


def test_no_file_at_all() -> None:
    assert merge_logs({}).intervals == ()
