from __future__ import annotations

import pytest

from fluxperf.model import CONTROL
from fluxperf.model.contrast import Figure
from fluxperf.model.gate import Against, Gate, GateOutcome, GateResult
from fluxperf.model.shown import (
    known_bound,
    show_change,
    show_interval,
    show_number,
    show_place,
    show_threshold,
    show_value,
)

INFINITE = float("inf")


def make_result(against: Against, bounds: tuple[float, float] | None, *, above: bool = True) -> GateResult:
    gate = Gate(text="x", figure=Figure("ttft_ms", "p99"), above=above, threshold=1.1, against=against)
    return GateResult(gate=gate, stage=None, concurrency=8, round=1, outcome=GateOutcome.PASSED, text="", bounds=bounds)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (INFINITE, "-"), (0, "0"), (0.95, "0.95"), (231.456, "231.5"), (999.96, "1000"), (12345.6, "12,346")],
)
def test_a_number(value: float | None, shown: str) -> None:
    assert show_number(value) == shown


def test_a_value_has_its_unit() -> None:
    shown = [show_value(Figure(name), 5) for name in ("ttft_ms", "tokens_per_s", "duration_s", "goodput")]
    assert shown == ["5 ms", "5 tokens/s", "5 s", "5"]
    assert show_value(Figure("ttft_ms"), None) == "-"


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [(1.1, "+10%"), (1.104, "+10.4%"), (0.95, "-5%"), (0.99999, "0%"), (1.0, "0%"), (20, "+1,900%"), (INFINITE, "-")],
)
def test_a_change(ratio: float, shown: str) -> None:
    assert show_change(ratio) == shown


@pytest.mark.parametrize(
    ("against", "threshold", "shown"),
    [
        (Against.BASELINE, 1.1, "> +10%"),
        (Against.BASELINE, 1.00025, "> +0.025%"),
        (Against.VALUE, 249.99999999999997, "> 250 ms"),
        (Against.ROUND, 0.6, "> 0.6"),
    ],
)
def test_a_threshold_is_shown_as_it_was_written(against: Against, threshold: float, shown: str) -> None:
    gate = Gate(text="x", figure=Figure("ttft_ms", "p99"), above=True, threshold=threshold, against=against)
    assert show_threshold(gate) == shown


@pytest.mark.parametrize(
    ("against", "bounds", "shown"),
    [
        (Against.VALUE, None, "-"),
        (Against.VALUE, (240.0, 260.0), "240 to 260 ms"),
        (Against.VALUE, (0.0, 260.0), "? to 260 ms"),
        (Against.VALUE, (240.0, INFINITE), "240 to ?"),
        (Against.BASELINE, (0.95, 1.08), "-5% to +8%"),
        (Against.BASELINE, (0.0, INFINITE), "-"),
        (Against.BASELINE, (-INFINITE, INFINITE), "-"),
    ],
)
def test_an_interval(against: Against, bounds: tuple[float, float] | None, shown: str) -> None:
    assert show_interval(make_result(against, bounds)) == shown


def test_the_bound_that_decides() -> None:
    assert known_bound(make_result(Against.VALUE, (1.0, 2.0))) == 1.0
    assert known_bound(make_result(Against.VALUE, (1.0, 2.0), above=False)) == 2.0
    assert known_bound(make_result(Against.VALUE, (0.0, 2.0))) is None
    assert known_bound(make_result(Against.VALUE, (0.0, INFINITE), above=False)) is None
    assert known_bound(make_result(Against.VALUE, None)) is None


def test_a_place() -> None:
    assert show_place("Low load", 8, 2) == "Low load, concurrency 8, round 2"
    assert show_place(None, 0, CONTROL) == "control round"
