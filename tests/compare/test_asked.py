from __future__ import annotations

from pathlib import Path

import pytest

from fluxperf.analysis.contrast import TABLE
from fluxperf.compare.asked import read_asked
from fluxperf.compare.usage import USAGE
from fluxperf.errors import UsageError
from fluxperf.model.contrast import Figure


def test_two_directories() -> None:
    asked = read_asked(["a", "b"])
    assert (asked.base, asked.new, asked.margin, asked.judge) == (("a",), ("b",), 0.02, "interval")
    assert asked.figures == TABLE
    assert not any([asked.gates, asked.strict, asked.allow_different, asked.quiet, asked.github])
    assert (asked.json, asked.junit, asked.markdown) == (None, None, None)


def test_several_a_side() -> None:
    asked = read_asked(["--base", "a", "b", "--new", "c", "--new=d", "--strict", "--margin", "5%"])
    assert (asked.base, asked.new, asked.margin, asked.strict) == (("a", "b"), ("c", "d"), 0.05, True)


def test_gates_leave_what_follows_them_alone() -> None:
    asked = read_asked(["--fail-on", "ttft_ms.p99 > +10%", "a", "--fail-on=errors.ratio > 0.01", "b"])
    assert (asked.base, asked.new) == (("a",), ("b",))
    assert [gate.text for gate in asked.gates] == ["ttft_ms.p99 > +10%", "errors.ratio > 0.01"]


def test_figures_are_narrowed() -> None:
    asked = read_asked(["a", "b", "--metrics", "ttft_ms", "itl_ms.p90", "cached_tokens"])
    of_ttft = tuple(figure for figure in TABLE if figure.metric == "ttft_ms")
    assert asked.figures == (*of_ttft, Figure("itl_ms", "p90"), Figure("cached_tokens", "ratio"))


@pytest.mark.parametrize(
    ("words", "has"),
    [
        ([], True),
        (["--metrics", "itl_ms"], False),
        (["--metrics", "itl_ms", "--fail-on", "goodput.ratio < 0.9"], True),
        (["--metrics", "goodput"], True),
    ],
)
def test_whether_goodput_matters(words: list[str], has: bool) -> None:
    assert read_asked(["a", "b", *words]).has_goodput is has


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "the arguments do not fit"),
        (["a"], "the arguments do not fit"),
        (["a", "b", "c"], "the arguments do not fit"),
        (["--base", "a"], "the arguments do not fit"),
        (["a", "--new", "b"], "the arguments do not fit"),
        (["a", "b", "--bse", "c"], "unknown option --bse, did you mean --base?"),
        (["a", "b", "--judge", "eye"], "--judge must be interval or point, but is 'eye'"),
        (["a", "b", "--margin", "x"], "--margin must be a percentage from 0 to under 100, but is 'x'"),
        (["a", "b", "--margin", "-1"], "--margin must be"),
        (["a", "b", "--margin", "100"], "--margin must be"),
        (["a", "b", "--margin", "nan"], "--margin must be"),
        (["a", "b", "--metrics", "ttft"], "--metrics: ttft: there is no such figure; did you mean ttft_ms"),
        (["a", "b", "--metrics", "ttft_ms.p42"], "--metrics: ttft_ms.p42"),
        (["a", "b", "--fail-on", "ttft_ms.p99"], "does not say when it fails"),
        (["a", "b", "--fail-on"], "--fail-on needs a value"),
        (["a", "b", "--strict", "--strict"], "--strict is given twice"),
    ],
)
def test_what_does_not_fit(words: list[str], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_asked(words)
    assert says in str(caught.value)


@pytest.mark.parametrize("option", ["--json", "--junit", "--markdown"])
def test_files_are_checked_before_anything_is_read(option: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a directory"):
        read_asked(["a", "b", option, str(tmp_path)])
    with pytest.raises(UsageError, match="there is no directory"):
        read_asked(["a", "b", option, str(tmp_path / "no" / "file")])
    assert read_asked(["a", "b", option, str(tmp_path / "file")])


def test_the_usage_fits_a_terminal() -> None:
    assert max(map(len, USAGE.splitlines())) <= 80
