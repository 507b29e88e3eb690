from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf_mock.dialects import DIALECTS
from fluxperf_mock.faults import FAULTS, Quota, read_faults


@pytest.mark.parametrize("text", ["", "  "])
def test_without_a_list_nothing_goes_wrong(text: str) -> None:
    faults = read_faults(text)
    assert list(faults) == faults.describe() == []
    harmless = {"drift": 1, "answers-shrink": 1}
    for name in FAULTS:
        assert name not in faults
        assert faults[name] == harmless.get(name, 0)


def test_a_list_is_read_with_values_and_defaults() -> None:
    faults = read_faults("reset-lies, drift = 0.25,foreign,counters-restart=7")
    assert list(faults) == ["reset-lies", "drift", "foreign", "counters-restart"]
    assert (faults["reset-lies"], faults["drift"], faults["foreign"], faults["counters-restart"]) == (1, 0.25, 0.05, 7)
    assert "foreign" in faults
    assert faults.describe() == ["reset-lies", "drift=0.25", "foreign=0.05", "counters-restart=7"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("reset-lie", "names 'reset-lie', which is no fault; did you mean reset-lies[?]"),
        ("drift,metrics500", "names 'metrics500', which is no fault; did you mean metrics-500[?]"),
        ("zzz", "names 'zzz', which is no fault; there are reset-lies, .*, preempt"),
        ("drift,,errors", "names '', which is no fault"),
        ("drift,", "names '', which is no fault"),
        ("drift=0.3,drift", "names drift twice"),
        ("reset-lies=1", "gives reset-lies the value '1', but it takes none"),
        ("drift=", "gives a value to drift that cannot be: it must be a number from 0 to 1, not ''"),
        ("drift=1.5", "it must be a number from 0 to 1, not '1.5'"),
        ("errors=nan", "it must be a number from 0 to 1, not 'nan'"),
        ("foreign=1", "it must be a number from 0 to 0.9, not '1'"),
        ("counters-restart=2.5", "it must be a whole number from 1 to 1000000000, not '2.5'"),
        ("counters-restart=0", "it must be a whole number from 1"),
    ],
)
def test_a_list_that_cannot_be_says_why(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_faults(text)


@given(st.text(alphabet="drift=0.5, x"))
def test_no_text_does_worse_than_be_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        faults = read_faults(text)
        assert read_faults(",".join(faults.describe())) == faults


@given(st.floats(0, 1), st.lists(st.integers(0, 1000), max_size=50))
def test_a_quota_is_kept_at_every_moment(share: float, amounts: list[int]) -> None:
    quota = Quota(share)
    taken = 0
    for index, amount in enumerate(amounts):
        taken += quota.take(amount)
        due = share * sum(amounts[: index + 1])
        assert due - 1.000001 < taken < due + 0.000001


@pytest.mark.parametrize(("share", "of_twenty"), [(0, 0), (0.1, 2), (0.2, 4), (0.5, 10), (1, 20)])
def test_a_share_is_dealt_out_evenly(share: float, of_twenty: int) -> None:
    quota = Quota(share)
    assert sum(quota.take() for _ in range(20)) == of_twenty


def test_the_manual_has_every_fault_and_engine() -> None:
    manual = (Path(__file__).resolve().parents[2] / "docs" / "mock.md").read_text("utf-8")
    rows = [line.split("|")[1] for line in manual.splitlines() if line.startswith("| `")]
    for name, fault in FAULTS.items():
        shown = name if fault.value is None else f"{name}={fault.value.default:g}"
        assert any(f"`{shown}`" in row for row in rows), shown
    assert all(any(row == f" `{engine}` " for row in rows) for engine in DIALECTS)
