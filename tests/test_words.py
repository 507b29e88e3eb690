from __future__ import annotations

import pytest

from fluxperf.errors import UsageError
from fluxperf.words import is_option, take_option, unknown_option


@pytest.mark.parametrize(
    ("word", "rest", "is_list", "expected", "left"),
    [
        ("--a", ["1", "2"], False, ["--a=1"], ["2"]),
        ("--a", ["1", "2", "--b"], True, ["--a=1", "--a=2"], ["--b"]),
        ("--a=1", ["2"], False, ["--a=1"], ["2"]),
        ("--a=1", ["2", "-h"], True, ["--a=1", "--a=2"], ["-h"]),
        ("--a", ["-1"], False, ["--a=-1"], []),
    ],
)
def test_an_option_takes_its_values(
    word: str, rest: list[str], is_list: bool, expected: list[str], left: list[str]
) -> None:
    assert take_option(word, rest, takes_value=True, is_list=is_list) == expected
    assert rest == left


def test_a_flag_takes_none() -> None:
    rest = ["1"]
    assert take_option("--a", rest, takes_value=False, is_list=False) == ["--a"]
    assert rest == ["1"]


@pytest.mark.parametrize(
    ("word", "takes_value", "complaint"), [("--a", True, "--a needs a value"), ("--a=1", False, "--a takes no value")]
)
def test_what_does_not_fit_is_told(word: str, takes_value: bool, complaint: str) -> None:
    with pytest.raises(UsageError, match=f"^{complaint}$"):
        take_option(word, ["--b"], takes_value=takes_value, is_list=False)


def test_the_nearest_option_is_named() -> None:
    assert str(unknown_option("--sed", ["--seed", "--x"], "tool")) == (
        "unknown option --sed, did you mean --seed?\ntool --help lists the options"
    )
    assert str(unknown_option("--q", ["--seed"], "tool")) == "unknown option --q\ntool --help lists the options"


def test_a_negative_number_is_no_option() -> None:
    assert [is_option(word) for word in ("--a", "-h", "-1", "a", "-")] == [True, True, False, False, False]
