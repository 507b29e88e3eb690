"""Whether comparisons of runs keep what docs/statistics.md promises, on simulated servers (tests/analysis/worlds.py).

FLUXPERF_TEST_RUNS in the environment simulates more runs of each case, and the bands, which leave room for the chance
of as many runs, become narrower. With 60 it takes most of a minute.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from itertools import product

import numpy as np
import pytest

from fluxperf.analysis.contrast import compare_runs
from fluxperf.analysis.means import contrast_means, measure_mean
from fluxperf.analysis.power import find_need
from fluxperf.analysis.quantiles import contrast_samples, measure_quantile
from fluxperf.analysis.repeats import Values, contrast_repeats
from fluxperf.analysis.samples import Sample
from fluxperf.analysis.shares import contrast_shares, measure_share, share_of
from fluxperf.analysis.totals import contrast_totals, measure_total
from fluxperf.analysis.twins import contrast_twins
from fluxperf.analysis.uncertain import Uncertain
from fluxperf.model.contrast import Call
from tests.analysis.worlds import Change, World, make_requests, make_round, make_run, simulate, simulate_repeats

RUNS = int(os.environ.get("FLUXPERF_TEST_RUNS", "60"))
KINDS = ("plain", "noisy", "waves", "drift", "queue")
SIZES = ((24, 1), (24, 4), (60, 4), (200, 16), (1000, 32))

Contrast = Callable[[Sample, Sample], Uncertain | None]


def quantile(base: Sample, new: Sample, *, metric: str = "ttft_ms", share: float) -> Uncertain | None:
    return (contrast_twins if base.draws_as(new) else contrast_samples)(base, new, metric, share)


def goodput(base: Sample, new: Sample) -> Uncertain | None:
    first, second = share_of(base, "goodput"), share_of(new, "goodput")
    assert first is not None
    assert second is not None
    return contrast_shares(first, second)


FIGURES: Mapping[str, Contrast] = {
    "ttft_ms.mean": partial(contrast_means, metric="ttft_ms", statistic="mean"),
    "latency_ms.mean": partial(contrast_means, metric="latency_ms", statistic="mean"),
    "ttft_ms.avg": partial(contrast_means, metric="ttft_ms", statistic="avg"),
    "ttft_ms.p50": partial(quantile, share=0.5),
    "ttft_ms.p90": partial(quantile, share=0.9),
    "ttft_ms.p99": partial(quantile, share=0.99),
    "tokens_per_s": partial(contrast_totals, metric="tokens_per_s"),
    "requests_per_s": partial(contrast_totals, metric="requests_per_s"),
    "goodput.ratio": goodput,
}
MEASURES: Mapping[str, Callable[[Sample], Uncertain | None]] = {
    "ttft_ms.mean": partial(measure_mean, metric="ttft_ms", statistic="mean"),
    "ttft_ms.p50": partial(measure_quantile, metric="ttft_ms", share=0.5),
    "ttft_ms.p90": partial(measure_quantile, metric="ttft_ms", share=0.9),
    "tokens_per_s": partial(measure_total, metric="tokens_per_s"),
    "requests_per_s": partial(measure_total, metric="requests_per_s"),
}


def at_most(share: float, trials: int) -> float:
    """What a share of so many trials does not exceed by chance (once in a thousand)."""
    return share + 3.1 * math.sqrt(share * (1 - share) / trials)


def at_least(share: float, trials: int) -> float:
    return share - 3.1 * math.sqrt(share * (1 - share) / trials)


@cache
def false_alarms(kind: str, same_prompts: bool) -> Mapping[tuple[str, World], tuple[float, float]]:
    """Of two runs that are alike, by figure and world: how often 1 is outside 95 %, and p below 5 % of being above."""
    found = {}
    for prompts, concurrency in SIZES:
        world = World(kind, prompts, concurrency)
        for name, alarms in look(simulate(world, RUNS, Change(same_prompts=same_prompts))).items():
            outside, worse = np.mean(alarms, axis=0)
            found[name, world] = float(outside), float(worse)
    return found


def look(pairs: Iterable[tuple[Sample, Sample]]) -> Mapping[str, list[tuple[bool, bool]]]:
    alarms: dict[str, list[tuple[bool, bool]]] = {name: [] for name in FIGURES}
    for base, new in pairs:
        for name, contrast in FIGURES.items():
            found = contrast(base, new)
            if found is None:  # in a queue there may be no request that met the SLO
                alarms[name].append((False, False))
                continue
            low, high = found.bounds(0.95)
            alarms[name].append((not low <= 1 <= high, found.p_above(1) < 0.05))
    return alarms


def tabulate(alarms: Mapping[tuple[str, World], tuple[float, float]]) -> str:
    """What a failed test shows."""
    rows = [f"{world}: {name:16} {two:6.1%} {one:6.1%}" for (name, world), (two, one) in alarms.items()]
    return "\n".join(["outside 95 %, above at 5 %", *rows])


@pytest.mark.parametrize(("kind", "same_prompts"), [*product(KINDS, (True, False))])
def test_runs_that_are_alike_are_seldom_called_different(kind: str, same_prompts: bool) -> None:
    alarms = false_alarms(kind, same_prompts)
    for (name, world), (two_sided, one_sided) in alarms.items():
        # The mean of few prompts of very different lengths is not normal, and short rounds see moods through few
        # stretches: docs/statistics.md tells both.
        hard = name == "ttft_ms.avg" or (kind in ("waves", "drift", "queue") and world.prompts <= 200)
        promised = 0.12 if hard else 0.08
        assert two_sided <= at_most(promised, RUNS), tabulate(alarms)
        assert one_sided <= at_most(promised, RUNS), tabulate(alarms)


@pytest.mark.parametrize("name", ["ttft_ms.mean", "latency_ms.mean", "tokens_per_s", "requests_per_s"])
def test_intervals_are_not_wider_than_need_be(name: str) -> None:
    """Means and totals leave out the truth about as often as they say; quantiles and shares of few prompts less."""
    cases = [false_alarms(kind, same)[key][0] for kind in KINDS for same in (True, False) for key in _keys(kind, name)]
    assert at_least(0.03, RUNS * len(cases)) <= np.mean(cases) <= at_most(0.065, RUNS * len(cases))


def _keys(kind: str, name: str) -> list[tuple[str, World]]:
    return [(name, World(kind, prompts, concurrency)) for prompts, concurrency in SIZES]


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("same_prompts", [True, False])
def test_intervals_cover_a_slowdown(name: str, same_prompts: bool) -> None:
    if name == "goodput.ratio":
        pytest.skip("what a slowdown does to it depends on the prompts")
    world, slower = World("plain", 200, 4), 1.1
    truth = 1 / slower if name.endswith("_per_s") else slower
    found = [FIGURES[name](*pair) for pair in simulate(world, RUNS, Change(slower, same_prompts))]
    bounds = [one.bounds(0.95) for one in found if one is not None]
    covered = np.mean([low <= truth <= high for low, high in bounds])
    assert covered >= at_least(0.93, RUNS)


@pytest.mark.parametrize(("name", "kind"), [*product(MEASURES, ("plain", "waves", "queue"))])
def test_intervals_of_one_run_cover(name: str, kind: str) -> None:
    """The truth is what runs of other prompts give in the middle."""
    samples = [new for _, new in simulate(World(kind, 200, 8), 2 * RUNS, Change(same_prompts=False), seed=1)]
    found = [one for one in map(MEASURES[name], samples) if one is not None]
    truth = math.exp(np.mean([math.log(one.value) for one in found]))
    covered = np.mean([one.bounds(0.95)[0] <= truth <= one.bounds(0.95)[1] for one in found])
    assert covered >= at_least(0.91, 2 * RUNS)


@pytest.mark.parametrize("share", [0.0, 0.004, 0.03, 0.3])
def test_intervals_of_a_share_cover(share: float) -> None:
    pairs = simulate(World("plain", 200, 4), 2 * RUNS, Change(failures=share))
    errors = [share_of(new, "errors") for _, new in pairs]
    bounds = [measure_share(one).bounds(0.95) for one in errors if one is not None]
    assert np.mean([low <= share <= high for low, high in bounds]) >= at_least(0.95, 2 * RUNS)
    assert min(high - low for low, high in bounds) > 0.01


@pytest.mark.parametrize(("kind", "same_prompts"), [*product(("plain", "drift"), (True, False))])
def test_tables_of_runs_that_are_alike_seldom_call_anything_different(kind: str, same_prompts: bool) -> None:
    """Two levels of two rounds: about forty comparisons that have much to do with one another."""
    world, tables = World(kind, 100, 4), RUNS // 2
    change = Change(same_prompts=same_prompts)
    places = zip(*(simulate(world, tables, change, seed) for seed in range(4)), strict=True)
    alarms = 0
    for pairs in places:
        base, new = (
            make_run(
                *(
                    make_round(make_requests(pair[side]), 4, name=at + 1, dataset=pair[side].dataset or "")
                    for at, pair in enumerate(pairs)
                )
            )
            for side in (0, 1)
        )
        calls = {row.call for row in compare_runs([base], [new])}
        alarms += bool(calls & {Call.WORSE, Call.BETTER})
    assert alarms / tables <= at_most(0.06, tables)


@pytest.mark.parametrize(
    ("name", "change"), [*product(("ttft_ms.mean", "latency_ms.mean", "tokens_per_s"), (0.05, 0.1, 0.2))]
)
def test_slowdowns_are_found_with_the_power_that_was_told(name: str, change: float) -> None:
    contrast = FIGURES[name]
    pilot = [contrast(*pair) for pair in simulate(World("noisy", 200, 4), 40)]
    prompts = int(np.median([find_need(one, change).prompts or 0 for one in pilot if one is not None]))
    least = 8 * 4  # for all stretches of time
    world = World("noisy", max(prompts, least), 4)
    found = [contrast(*pair) for pair in simulate(world, 3 * RUNS, Change(slower=1 + change))]
    shown = np.mean([one is not None and one.p_value(1) < 0.05 for one in found])
    assert shown >= at_least(0.75, 3 * RUNS), (world, shown)
    if prompts > 200:  # fewer than the pilot had are more than need be
        assert shown <= at_most(0.92, 3 * RUNS), (world, shown)


@cache
def repeated_means(prompts: int) -> tuple[tuple[Sample, ...], tuple[float, ...]]:
    """Runs of the same prompts on a server that is 2 % faster or slower from run to run, and their mean latency."""
    samples = tuple(simulate_repeats(World("plain", prompts, 4), 8 * RUNS, run_spread=0.02))
    return samples, tuple(math.exp(np.log(sample.values["latency_ms"]).mean()) for sample in samples)


@pytest.mark.parametrize(("base", "new"), [(3, 3), (5, 5), (1, 5)])
def test_repeats_see_what_differs_from_run_to_run(base: int, new: int) -> None:
    _, means = repeated_means(200)
    starts = range(0, len(means) - base - new, base + new)
    found = [
        contrast_repeats(Values(means[at : at + base]), Values(means[at + base : at + base + new])) for at in starts
    ]
    wrong = np.mean([one is not None and one.p_value(1) < 0.05 for one in found])
    assert wrong <= at_most(0.055, len(starts))


def test_single_runs_do_not() -> None:
    """Their intervals are of the prompts, and nothing in a run tells that the next one will be another."""
    samples, _ = repeated_means(200)
    contrast = FIGURES["latency_ms.mean"]
    found = [contrast(*samples[at : at + 2]) for at in range(0, len(samples), 2)]
    wrong = np.mean([one is not None and one.p_value(1) < 0.05 for one in found])
    assert wrong > 0.5


@pytest.mark.parametrize(("repeats", "slower", "power"), [(3, 1.1, 0.8), (5, 1.05, 0.75)])
def test_repeats_find_slowdowns(repeats: int, slower: float, power: float) -> None:
    _, means = repeated_means(200)
    starts = range(0, len(means) - 2 * repeats, 2 * repeats)
    shown = []
    for at in starts:
        base, new = means[at : at + repeats], means[at + repeats : at + 2 * repeats]
        found = contrast_repeats(Values(base), Values(tuple(slower * value for value in new)))
        assert found is not None
        shown.append(found.p_value(1) < 0.05 and found.value > 1)
    assert np.mean(shown) >= at_least(power, len(starts))
