from __future__ import annotations

import pytest

from fluxperf.analysis.means import contrast_means
from fluxperf.analysis.power import find_least_change, find_need
from fluxperf.analysis.repeats import Values, contrast_repeats
from fluxperf.analysis.uncertain import Uncertain, unknown
from fluxperf.model.contrast import Need, Way
from tests.analysis.worlds import Change, World, simulate


def paired(error: float, freedom: float, prompts: int, way: Way = Way.PAIRED) -> Uncertain:
    return Uncertain(
        value=1.0,
        limits=unknown(),
        way=way,
        counts=(prompts, prompts),
        standard_error=error,
        degrees_of_freedom=freedom,
    )


def test_four_times_the_prompts_show_half_the_change() -> None:
    one, other = (find_need(paired(0.05, 7, 100), change).prompts for change in (0.05, 0.1))
    assert one is not None
    assert other is not None
    assert one / other == pytest.approx(3.8, abs=0.1)


def test_shorter_rounds_are_not_taken_to_be_as_good() -> None:
    """With an error of a quarter of what would do, a quarter of the prompts is left, not a sixteenth."""
    enough = find_need(paired(0.03, 7, 10_000)).prompts
    assert enough is not None
    ample = find_need(paired(0.03 / 40, 7, 10_000)).prompts
    assert ample is not None
    assert ample == pytest.approx(10_000 * (enough / 10_000) ** 0.5 / 40, rel=0.01)


def test_so_many_prompts_bring_the_least_change_down_to_it() -> None:
    now = paired(0.03, 7, 200)
    needed = find_need(now, 0.05).prompts
    assert needed is not None
    then = paired(0.03 * (200 / needed) ** 0.5, 7, needed)
    assert find_least_change(then) == pytest.approx(0.05, rel=0.01)


def test_a_short_round_gains_stretches_too() -> None:
    short, long = (find_need(paired(0.03, freedom, 200)).prompts for freedom in (3, 7))
    assert short is not None
    assert long is not None
    assert long <= short < 1.3 * long


def test_two_samples_know_their_error_from_both() -> None:
    one, both = (find_need(paired(0.03, 7, 200, way)).prompts for way in (Way.PAIRED, Way.TWO_SAMPLES))
    assert one is not None
    assert both is not None
    assert both < one


def test_errors_of_few_stretches_are_taken_to_be_larger() -> None:
    """2.365 + 0.896 standard errors, and 12 % more, since those that are seen are too small more often than not."""
    assert find_least_change(paired(0.03, 7, 100)) == pytest.approx(0.1154, abs=0.0005)
    assert find_least_change(paired(0.03, 7, 5, Way.REPEATS)) == pytest.approx(0.1081, abs=0.0005)


def test_repeats() -> None:
    """A spread of 2 % needs about four runs a side for 5 %: their difference has an error of 1.4 %."""
    found = contrast_repeats(Values((98.0, 100.0, 102.0)), Values((98.0, 100.0, 102.0)))
    assert found is not None
    need = find_need(found)
    assert need.prompts is None
    assert need.repeats in (4, 5)


def test_what_is_not_known_needs_what_nobody_can_tell() -> None:
    found = Uncertain(value=1.0, limits=unknown(), way=Way.PAIRED, counts=(5, 5))
    assert find_need(found) == Need(change=0.05)
    assert find_least_change(found) is None


def test_a_spread_beyond_all_measure_needs_what_nobody_can_pay() -> None:
    found = contrast_repeats(Values((1.0, 1e6)), Values((1.0, 1e6)))
    assert found is not None
    assert find_need(found).repeats is None


@pytest.mark.parametrize(("world", "same"), [(World("noisy", 200, 4), True), (World("plain", 50, 4), False)])
def test_so_many_prompts_find_it_four_times_of_five(world: World, same: bool) -> None:
    needs = []
    for base, new in simulate(world, 60, Change(same_prompts=same)):
        found = contrast_means(base, new, "ttft_ms", "mean")
        assert found is not None
        needs.append(find_need(found, 0.1).prompts or 0)
    prompts = sorted(needs)[30]
    enough = World(world.kind, prompts, world.concurrency)
    pairs = simulate(enough, 300, Change(slower=1.1, same_prompts=same))
    found_by = [contrast_means(base, new, "ttft_ms", "mean") for base, new in pairs]
    shown = sum(one is not None and one.p_value(1) < 0.05 for one in found_by) / 300
    assert 0.72 <= shown <= 0.93, (prompts, shown)
