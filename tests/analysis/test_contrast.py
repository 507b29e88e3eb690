from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest

from fluxperf.analysis.contrast import TABLE, compare_runs, find_confidence
from fluxperf.model import RoundResult, RunResult, Slo
from fluxperf.model.contrast import Call, Contrast, Way
from fluxperf.model.slo import Constraint
from tests.analysis.worlds import Change, World, make_requests, make_round, make_run, simulate, simulate_repeats

SLO = Slo((Constraint("ttft_ms", below=400),))


def two_runs(world: World, change: Change, slo: Slo | None = None) -> tuple[RunResult, RunResult]:
    base, new = next(simulate(world, 1, change))
    return (
        make_run(make_round(make_requests(base), world.concurrency, slo=slo, dataset=base.dataset or "")),
        make_run(make_round(make_requests(new), world.concurrency, slo=slo, dataset=new.dataset or "")),
    )


def by_name(contrasts: tuple[Contrast, ...]) -> Mapping[str, Contrast]:
    return {str(contrast.figure): contrast for contrast in contrasts}


def test_a_run_and_itself_are_the_same() -> None:
    run, _ = two_runs(World("plain", 1000, 4), Change(failures=0.05), SLO)
    rows = compare_runs([run], [run])
    assert [str(row.figure) for row in rows] == [str(figure) for figure in TABLE]
    for row in rows:
        assert row.ratio == 1
        assert row.base == row.new
        # Of its own slowest prompts a run does not know what others would be.
        assert row.call is Call.SAME or (row.figure.statistic == "p99" and row.interval == (0, math.inf)), row


def test_a_slower_server_is_worse_in_everything() -> None:
    base, new = two_runs(World("plain", 500, 4), Change(slower=1.2), SLO)
    rows = by_name(compare_runs([base], [new]))
    for name in ("ttft_ms.mean", "ttft_ms.p50", "itl_ms.mean", "latency_ms.mean", "tokens_per_s"):
        assert rows[name].call is Call.WORSE, rows[name]
        assert rows[name].way is Way.PAIRED
        assert rows[name].need is None
    back = by_name(compare_runs([new], [base]))
    assert back["tokens_per_s"].call is Call.BETTER
    assert back["ttft_ms.mean"].ratio == pytest.approx(1 / (rows["ttft_ms.mean"].ratio or 1))


def test_intervals_and_calls_agree() -> None:
    for slower in (1.0, 1.02, 1.1):
        for row in compare_runs(*([run] for run in two_runs(World("noisy", 100, 4), Change(slower=slower)))):
            low, high = row.interval or (0, math.inf)
            within = low >= 1 / 1.02 and high <= 1.02
            different = not low <= 1 <= high
            assert row.call is (
                Call.SAME
                if within
                else Call.CANNOT_TELL
                if not different
                else Call.WORSE
                if ((row.ratio or 0) > 1) is row.lower_is_better
                else Call.BETTER
            )
            assert (row.p_value is not None and row.p_value < 1 - row.confidence) is different
            assert (row.why is not None and row.need is not None) is (row.call is Call.CANNOT_TELL)


def test_a_change_that_is_real_and_does_not_matter_is_the_same() -> None:
    base, new = two_runs(World("plain", 2000, 4), Change(slower=1.008))
    row = by_name(compare_runs([base], [new]))["latency_ms.mean"]
    assert row.interval is not None
    assert row.interval[0] > 1
    assert row.call is Call.SAME
    strict = by_name(compare_runs([base], [new], margin=0.0))["latency_ms.mean"]
    assert strict.call is Call.WORSE


def test_what_cannot_be_told_says_why_and_what_would_tell() -> None:
    base, new = two_runs(World("noisy", 60, 4), Change(same_prompts=False))
    rows = by_name(compare_runs([base], [new]))
    assert rows["ttft_ms.p99"].interval == (0, math.inf)
    assert "p99 of 60 prompts is the slowest one" in (rows["ttft_ms.p99"].why or "")
    assert rows["ttft_ms.p99"].need is not None
    assert rows["ttft_ms.p99"].need.prompts is None
    assert rows["ttft_ms.mean"].way is Way.TWO_SAMPLES
    assert rows["ttft_ms.mean"].why == "noise is wider than 2%"
    assert rows["ttft_ms.mean"].need is not None
    assert (rows["ttft_ms.mean"].need.prompts or 0) > 1000


def test_need_is_never_less_than_stretches_take() -> None:
    base, new = two_runs(World("plain", 64, 16), Change())
    row = by_name(compare_runs([base], [new], margin=0.001))["itl_ms.mean"]
    assert row.call is Call.CANNOT_TELL
    assert row.need is not None
    assert row.need.prompts == 128


def test_failures_that_are_shown_are_worse_however_few() -> None:
    base, _ = two_runs(World("plain", 1000, 4), Change())
    _, new = two_runs(World("plain", 1000, 4), Change(failures=0.06))
    row = by_name(compare_runs([base], [new]))["errors.ratio"]
    assert row.base == 0
    assert row.ratio is None
    assert row.interval is not None
    assert row.interval[1] == math.inf
    assert row.call is Call.WORSE


def test_failures_as_rare_in_both_are_the_same() -> None:
    base, new = two_runs(World("plain", 1000, 4), Change(failures=0.002))
    assert by_name(compare_runs([base], [new]))["errors.ratio"].call is Call.SAME


def test_without_failures_they_are_no_row() -> None:
    assert "errors.ratio" not in by_name(compare_runs(*([run] for run in two_runs(World("plain", 60, 4), Change()))))


def test_only_places_that_both_have_are_compared() -> None:
    base, new = two_runs(World("plain", 60, 4), Change())
    (of_base,), (of_new,) = base.rounds, new.rounds
    base = replace(base, rounds=(of_base, replace(of_base, round=2), replace(of_base, concurrency=8)))
    new = replace(new, rounds=(replace(of_new, round=2), of_new, replace(of_new, stage="other")))
    places = {(row.stage, row.concurrency, row.round): None for row in compare_runs([base], [new])}
    assert list(places) == [(None, 4, 1), (None, 4, 2)]
    assert compare_runs([base], [make_run()]) == ()


def test_repeats_are_judged_by_the_spread_between_them() -> None:
    world = World("plain", 200, 4)
    rounds: list[RoundResult] = [
        make_round(make_requests(sample), 4) for sample in simulate_repeats(world, 6, run_spread=0.03)
    ]
    runs = [make_run(one) for one in rounds]
    rows = by_name(compare_runs(runs[:3], runs[3:]))
    row = rows["latency_ms.mean"]
    assert row.way is Way.REPEATS
    assert row.counts == (3, 3)
    assert row.base is not None
    assert row.new is not None
    assert row.ratio == pytest.approx(row.new / row.base)
    assert row.call is Call.CANNOT_TELL
    assert row.need is not None
    assert row.need.repeats is not None
    alone = by_name(compare_runs(runs[:1], runs[1:]))["latency_ms.mean"]
    assert alone.counts == (1, 5)
    assert "one run against 5" in (alone.why or "")


@pytest.mark.parametrize(
    ("p_values", "confidence"),
    [
        ([], 0.95),
        ([0.5], 0.95),
        ([0.04], 0.95),
        ([0.04, 0.5], 0.975),
        ([0.02, 0.5], 0.975),
        ([0.04, 0.03], 0.95),
        ([0.001, 0.2, 0.9, 0.4], 0.9875),
        ([0.001, 0.02, 0.9, 0.4], 0.975),
        ([0.001, 0.04, 0.9, 0.4], 0.9875),
    ],
)
def test_the_confidence_is_that_of_what_was_found(p_values: list[float], confidence: float) -> None:
    assert find_confidence(p_values) == pytest.approx(confidence)
