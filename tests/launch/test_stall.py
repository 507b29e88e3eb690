from __future__ import annotations

import pytest

from fluxperf.launch.stall import VARIABLE, Stall, planned_stall


def test_without_the_variable_nobody_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert planned_stall(0) is None
    monkeypatch.setenv(VARIABLE, "")
    assert planned_stall(0) is None


def test_all_workers_stand_still_or_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "20ms every 200ms")
    assert planned_stall(0) == planned_stall(7) == Stall(0.02, 0.2)
    monkeypatch.setenv(VARIABLE, "5ms every 1000ms in worker 7")
    assert planned_stall(0) is None
    assert planned_stall(7) == Stall(0.005, 1.0, 7)


@pytest.mark.parametrize("text", ["20", "20ms", "20ms every", "20 ms every 200 ms", "-1ms every 1ms", "1ms every 1ms "])
def test_anything_else_is_refused_with_an_example(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(ValueError, match="must look like '20ms every 200ms'"):
        planned_stall(0)
