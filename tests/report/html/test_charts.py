"""What single plots have on them, and what they say where there is nothing to show."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fluxperf.model import Constraint, RoundResult, Slo, Timeline, TurnFigures
from fluxperf.model.dose import DoseResponse
from fluxperf.model.stats import Stats
from fluxperf.report.html.chart import Chart, Mark, Missing, Scale
from fluxperf.report.html.columns import read_columns
from fluxperf.report.html.drawing import draw
from fluxperf.report.html.load import Knee, LoadSeries, load_charts
from fluxperf.report.html.palette import COLOURS, dark_of
from fluxperf.report.html.prompts import Paired, pair_rounds, saved_chart, ttft_chart
from fluxperf.report.html.scales import log_scale, scale_for
from fluxperf.report.html.turns import turns_part

MS = 1_000_000


def rounds(
    plain: Callable[..., RoundResult], request: Callable[..., Timeline], amount: int = 4, cached: int | None = 16
) -> Paired:
    """Prompts of 100 ms and more in round 1, and of a tenth of it in round 2."""

    def one(nth: int, ttft_ms: float, found: int | None) -> Timeline:
        return request(index=nth, first_output_ns=round((1000 + ttft_ms) * MS), cached_tokens=found)

    first = [one(nth, 100 + nth, None if cached is None else 0) for nth in range(amount)]
    later = [one(nth, 10 + nth / 10, cached) for nth in range(amount)]
    before, after = plain(requests=tuple(first)), plain(requests=tuple(later), round=2)
    return pair_rounds((before, read_columns(before)), (after, read_columns(after)), 1000)


def test_ttft_against_ttft(a_round: Callable[..., RoundResult], a_request: Callable[..., Timeline]) -> None:
    chart = ttft_chart([rounds(a_round, a_request)])
    assert isinstance(chart, Chart)
    (mark,) = chart.marks
    assert list(mark.columns["x"]) == [100, 101, 102, 103]
    assert list(mark.columns["y"]) == [10, 10.1, 10.2, 10.3]
    assert list(mark.columns["index"]) == [0, 1, 2, 3]
    assert (chart.x.least, chart.x.most) == (chart.y.least, chart.y.most)
    assert chart.rules[0].slope == 1
    assert "100% of 4 prompts faster, ratio 0.1 at the median" in chart.says


def test_of_many_prompts_some_are_shown_and_that_is_said(
    a_round: Callable[..., RoundResult], a_request: Callable[..., Timeline]
) -> None:
    paired = replace(rounds(a_round, a_request, 300), most=100)
    chart = ttft_chart([paired])
    assert isinstance(chart, Chart)
    shown = len(chart.marks[0].columns["x"])
    assert shown <= 100
    assert f"{shown} of 300 prompts shown" in (chart.note or "")


def test_without_pairs_there_is_a_sentence(
    a_round: Callable[..., RoundResult], a_request: Callable[..., Timeline]
) -> None:
    nothing = rounds(a_round, a_request, 0)
    assert isinstance(ttft_chart([nothing]), Missing)
    for paired, why in (
        (nothing, "no prompt succeeded in two rounds"),
        (rounds(a_round, a_request, cached=None), "the server does not tell cached tokens"),
        (rounds(a_round, a_request, cached=0), "no prompt had more cached tokens in the later round than in the first"),
    ):
        chart = saved_chart(paired, None)
        assert isinstance(chart, Missing)
        assert chart.why == why


def test_what_was_saved_has_the_fitted_line(
    a_round: Callable[..., RoundResult], a_request: Callable[..., Timeline]
) -> None:
    dose = DoseResponse(pairs=4, slope_us_per_token=50, slope_ci95=(40, 60), intercept_ms=3)
    chart = saved_chart(rounds(a_round, a_request), dose)
    assert isinstance(chart, Chart)
    assert list(chart.marks[0].columns["y"]) == [90, 90.9, 91.8, 92.7]
    assert (chart.rules[0].slope, chart.rules[0].intercept) == (0.05, 3)
    assert "50.0 us less for each cached token (95 % interval 40.0 to 60.0), and 3.0 ms" in (chart.note or "")
    unfitted = saved_chart(rounds(a_round, a_request), DoseResponse(pairs=4, why="all gained the same"))
    assert isinstance(unfitted, Chart)
    assert unfitted.rules == ()
    assert "all gained the same" in (unfitted.note or "")


def series(a_round: Callable[..., RoundResult], throughputs: dict[int, float | None]) -> LoadSeries:
    slo = Slo((Constraint("ttft_ms", below=300), Constraint("ttft_ms", max=250)))
    found = [
        a_round(concurrency=level, summary={"tokens_per_s": value}, slo=slo) for level, value in throughputs.items()
    ]
    knee = Knee(concurrency=4, says="4")
    return LoadSeries(name="Round 1", colour="series-1", dash="solid", rounds=tuple(found), knee=knee)


def test_load_has_levels_knee_and_objective(a_round: Callable[..., RoundResult]) -> None:
    throughput, p50, p99 = load_charts([series(a_round, {2: 10.0, 4: None, 8: 30.0})])
    assert isinstance(throughput, Chart)
    assert isinstance(p50, Chart)
    assert isinstance(p99, Chart)
    assert list(throughput.marks[0].columns["x"]) == [2, 8]
    assert list(throughput.x.ticks.values()) == ["2", "4", "8"]
    assert throughput.rules[0].x == 4
    assert "Round 1 at 4" in (throughput.note or "")
    assert p99.rules[-1].intercept == 250
    assert "objective of 250 ms" in (p99.note or "")


def test_one_level_is_no_load_curve(a_round: Callable[..., RoundResult]) -> None:
    (nothing,) = load_charts([series(a_round, {2: 10.0})])
    assert isinstance(nothing, Missing)


def test_axes_suit_what_is_on_them() -> None:
    near, far = np.array([10.0, 20.0]), np.array([1.0, 500.0])
    assert not scale_for("ms", [near]).log
    assert scale_for("ms", [near]).least == 0
    assert scale_for("ms", [near, far]).log
    assert not scale_for("ms", [np.array([0.0, 500.0])]).log
    assert not scale_for("ms", []).log
    scale = log_scale("ms", 9, 1100)
    assert [scale.ticks[place] for place in (10.0, 20.0, 50.0, 1000.0)] == ["10", "20", "50", "1,000"]


def test_turns_are_a_plot_and_a_table(a_round: Callable[..., RoundResult]) -> None:
    turns = tuple(
        TurnFigures(
            turn=nth,
            requests=5,
            successful=4,
            ttft_ms=Stats(p50=20.5 + nth, p99=30),
            avg_input_tokens=50,
            cached_tokens=None,
            shortened=0,
        )
        for nth in range(60)
    )
    assert turns_part([a_round()], 3) is None
    html = turns_part([a_round(summary={"turns": turns})], 3)
    assert html is not None
    assert "<td>4/5</td><td>20.50</td><td>30.00</td><td>-</td>" in html
    assert "20 turns between the last two are left out." in html


def test_a_drawing_is_json_in_the_colours_of_the_palette() -> None:
    mark = Mark(shape="step", name="a < b", colour="series-1", columns={"x": np.arange(3.0), "y": np.arange(3.0)})
    scale = Scale(title="s")
    item = json.loads(draw(Chart(title="t", x=scale, y=scale, marks=(mark,), says="", place=("At", "@x"), value="{0}")))
    assert item["doc"]["roots"][0]["name"] == "Figure"
    text = json.dumps(item)
    assert COLOURS["series-1"].light in text
    assert "NaN" not in text
    assert len(dark_of()) == len(COLOURS)  # so each colour can be replaced


def test_numbers_beyond_32_bits_and_empty_columns_are_drawn() -> None:
    scale = Scale(title="s")
    for values in (np.array([1, 2**40]), np.array([], dtype=np.int64)):
        mark = Mark(shape="points", name="m", colour="bad", columns={"x": values, "y": values}, hover=(("X", "@x"),))
        assert json.loads(draw(Chart(title="t", x=scale, y=scale, marks=(mark,), says="")))
