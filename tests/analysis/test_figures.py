from __future__ import annotations

import math
from dataclasses import replace

import pytest

from fluxperf.analysis.figures import (
    FIGURES,
    Reading,
    contrast,
    find_figure,
    is_lower_better,
    measure,
    rounds_ratio,
    value_of,
)
from fluxperf.model import Constraint, RoundResult, Slo
from fluxperf.model.contrast import Figure, Way
from tests.analysis.worlds import Change, World, make_requests, make_round, simulate

NAMES = [f"{name}.{one}" if one else name for name, row in FIGURES.items() for one in row.statistics or ("",)]
SLO = Slo((Constraint("ttft_ms", below=100),))


def two_rounds(change: Change, prompts: int = 200) -> tuple[RoundResult, RoundResult]:
    base, new = next(simulate(World("noisy", prompts, 4), 1, change))
    return (
        make_round(make_requests(base), slo=SLO, dataset=base.dataset or ""),
        make_round(make_requests(new), slo=SLO, dataset=new.dataset or ""),
    )


@pytest.fixture(scope="module")
def pair() -> tuple[RoundResult, RoundResult]:
    return two_rounds(Change(slower=1.3, failures=0.1))


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_is_found_by_its_name(name: str) -> None:
    assert str(find_figure(name)) == name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ttft_ms", "ttft_ms: which statistic? ttft_ms has ttft_ms.mean, ttft_ms.avg, ttft_ms.p50"),
        ("ttft_ms.p98", "there is no such figure; ttft_ms has ttft_ms.mean"),
        ("ttft.p99", "did you mean ttft_ms.p99?"),
        ("goodput", "goodput: which statistic? goodput has goodput.ratio"),
        ("tokens_per_s.p99", "tokens_per_s has no statistics: name it by itself"),
        ("tokens_per_s.", "tokens_per_s has no statistics"),
        ("token_per_s", "did you mean tokens_per_s?"),
        ("chunk_gap_ms.mean", "chunk_gap_ms has chunk_gap_ms.avg"),
        ("", "there is no such figure; there are ttft_ms"),
        ("xyzzy", "there are ttft_ms, itl_ms"),
    ],
)
def test_what_is_no_figure_is_told_what_is(text: str, said: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 (its text is looked at below)
        find_figure(text)
    assert said in str(raised.value)


@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_the_tables_and_bounds_are_around_them(
    name: str, pair: tuple[RoundResult, RoundResult]
) -> None:
    figure = find_figure(name)
    values = [value_of(figure, result) for result in pair]
    found = measure(figure, pair[:1])
    ratio = contrast(figure, pair[:1], pair[1:])
    assert None not in values
    assert found is not None
    assert ratio is not None
    assert found.value == values[0]
    low, high = found.bounds(0.95)
    assert low <= found.value <= high
    if figure.statistic != "mean":  # which is of the pairs
        assert ratio.value == pytest.approx((values[1] or 0) / (values[0] or 1))
    assert ratio.bounds(0.95)[0] <= ratio.value <= ratio.bounds(0.95)[1]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("ttft_ms.p99", lambda summary: summary.stats["ttft_ms"].p99),
        ("itl_ms.avg", lambda summary: summary.stats["itl_ms"].avg),
        ("tokens_per_s", lambda summary: summary.tokens_per_s),
        ("goodput.ratio", lambda summary: summary.goodput.ratio),
        ("errors.ratio", lambda summary: summary.failed_requests / summary.total_requests),
        ("cached_tokens.ratio", lambda summary: summary.cached_tokens.ratio),
    ],
)
def test_values_are_read_from_the_summary(name: str, path: object, pair: tuple[RoundResult, RoundResult]) -> None:
    assert callable(path)
    assert value_of(find_figure(name), pair[0]) == path(pair[0].summary)


def test_the_unit_is_that_of_the_metric(pair: tuple[RoundResult, RoundResult]) -> None:
    for name in ("ttft_ms.p50", "ttft_ms.avg", "ttft_ms.mean", "tokens_per_s", "output_token_throughput.p50"):
        found = measure(find_figure(name), pair[:1])
        assert found is not None
        low, high = found.bounds(0.95)
        assert found.value / 3 < low < high < found.value * 3


def test_a_slower_server_is_seen(pair: tuple[RoundResult, RoundResult]) -> None:
    for name in ("ttft_ms.mean", "latency_ms.mean", "itl_ms.mean", "tokens_per_s", "latency_ms.p50"):
        figure = find_figure(name)
        found = contrast(figure, pair[:1], pair[1:])
        assert found is not None
        assert found.way is Way.PAIRED
        low, high = found.bounds(0.95)
        assert low > 1 if is_lower_better(figure) else high < 1


def test_the_same_runs_are_the_same_to_the_digit(pair: tuple[RoundResult, RoundResult]) -> None:
    found = contrast(Figure("ttft_ms", "p99"), pair[:1], pair[:1])
    assert found is not None
    assert found.value == 1


def test_other_prompts_are_two_samples() -> None:
    base, new = two_rounds(Change(same_prompts=False))
    found = contrast(Figure("ttft_ms", "p50"), [base], [new])
    assert found is not None
    assert found.way is Way.TWO_SAMPLES


def test_gaps_between_events_need_repeats(pair: tuple[RoundResult, RoundResult]) -> None:
    figure = Figure("chunk_gap_ms", "p99")
    found = contrast(figure, pair[:1], pair[1:])
    assert found is not None
    assert found.bounds(0.1) == (0, math.inf)
    assert found.why == "single requests do not tell how sure it is: repeat the run"
    repeated = contrast(figure, pair, pair)
    assert repeated is not None
    assert repeated.bounds(0.95)[1] < math.inf


def test_several_runs_are_repeats_and_their_requests_are_not_read(pair: tuple[RoundResult, RoundResult]) -> None:
    unread = [replace(result, requests=()) for result in pair]
    for name in NAMES:
        figure = find_figure(name)
        if figure.statistic == "mean":
            continue
        found, ratio = measure(figure, unread), contrast(figure, unread, unread[:1])
        assert found is not None
        assert found.way is Way.REPEATS
        assert found.counts == (2, 2)
        assert ratio is not None
        assert ratio.counts == (2, 1)
        assert "one run against 2" in (ratio.why or "")


def test_rounds_of_one_run_are_pairs_and_of_several_repeats(pair: tuple[RoundResult, RoundResult]) -> None:
    figure, reading = Figure("ttft_ms", "p50"), Reading()
    one, several = rounds_ratio(figure, [pair]), reading.rounds_ratio(figure, [pair, pair, pair])
    assert one is not None
    assert one.way is Way.PAIRED
    assert several is not None
    assert several.way is Way.REPEATS
    assert several.counts == (3, 3)
    assert several.value == pytest.approx(one.value)


def test_what_was_not_measured_has_no_value(pair: tuple[RoundResult, RoundResult]) -> None:
    figure = Figure("itl_ms", "p99")
    blind = replace(pair[0], summary=replace(pair[0].summary, unmeasured={"itl_ms": "all answers came at once"}))
    assert value_of(figure, blind) is None
    assert measure(figure, [blind]) is None
    assert contrast(figure, [blind], pair[1:]) is None
    without_slo = replace(pair[0], summary=replace(pair[0].summary, goodput=None))
    assert contrast(Figure("goodput", "ratio"), [without_slo], pair[1:]) is None


def test_runs_without_failures_have_no_ratio_of_them() -> None:
    base, new = two_rounds(Change())
    assert contrast(Figure("errors", "ratio"), [base], [new]) is None
    failing, _ = two_rounds(Change(failures=0.2))
    found = contrast(Figure("errors", "ratio"), [base], [failing])
    assert found is not None
    assert found.value == math.inf
    assert found.p_above(1) < 0.001


def test_a_round_without_requests_has_nothing() -> None:
    empty = make_round([])
    for name in NAMES:
        assert measure(find_figure(name), [empty]) is None
        assert contrast(find_figure(name), [empty], [empty]) is None
        assert contrast(find_figure(name), [], [empty]) is None
