from __future__ import annotations

import math

import numpy as np
import pytest

from fluxperf.analysis.samples import read_sample
from fluxperf.analysis.totals import _ends, contrast_totals, measure_total
from fluxperf.model.contrast import Way
from tests.analysis.rounds import MS, request
from tests.analysis.worlds import Change, World, make_requests, make_round, simulate

TOTALS = ("tokens_per_s", "requests_per_s", "duration_s")


@pytest.mark.parametrize("metric", TOTALS)
def test_values_are_those_of_the_summary(metric: str) -> None:
    base, new = next(simulate(World("noisy", 100, 8), 1, Change(failures=0.1)))
    results = [make_round(make_requests(sample), 8) for sample in (base, new)]
    told = [getattr(result.summary, metric) for result in results]
    first, second = map(read_sample, results)
    one, ratio = measure_total(first, metric), contrast_totals(first, second, metric)
    assert one is not None
    assert ratio is not None
    assert one.value == pytest.approx(told[0])
    assert ratio.value == pytest.approx(told[1] / told[0])


def test_of_the_same_tokens_only_time_is_uncertain() -> None:
    base, new = next(simulate(World("plain", 200, 4), 1))
    tokens, requests, duration = (contrast_totals(base, new, metric) for metric in TOTALS)
    assert tokens is not None
    assert requests is not None
    assert duration is not None
    assert tokens.way is Way.PAIRED
    assert tokens.value == pytest.approx(requests.value) == pytest.approx(1 / duration.value)
    assert tokens.standard_error == pytest.approx(requests.standard_error) == pytest.approx(duration.standard_error)


def test_tokens_per_s_hardly_depend_on_which_prompts_were_drawn() -> None:
    base, new = next(simulate(World("plain", 400, 2), 1, Change(same_prompts=False)))
    tokens, requests = (contrast_totals(base, new, metric) for metric in TOTALS[:2])
    assert tokens is not None
    assert requests is not None
    assert (tokens.standard_error or 1) < (requests.standard_error or 0) / 2


def test_the_end_is_the_idle_time_of_all_places() -> None:
    """Two at once: while the long one runs on, its neighbour has nothing to do, had it been the last."""
    sent, done = np.array([0, 0, 10, 20]), np.array([10, 40, 20, 30])
    assert _ends(sent, done).tolist() == [0, 15, 10, 5]


def test_one_at_a_time_has_no_end() -> None:
    assert _ends(np.array([0, 10, 30]), np.array([10, 30, 35])).tolist() == [0, 0, 0]


def test_a_round_that_took_no_time_has_no_rate() -> None:
    sample = read_sample(make_round([request(0, 0, end_ns=None, done_ns=None, sent_ns=MS)]))
    assert measure_total(sample, "requests_per_s") is None


def test_without_a_success_there_is_no_rate() -> None:
    base, _ = next(simulate(World("plain", 40, 4), 1, Change(failures=1.0)))
    assert measure_total(base, "tokens_per_s") is None
    assert measure_total(base, "duration_s") is not None


def test_too_few_stretches_say_nothing() -> None:
    base, new = next(simulate(World("plain", 40, 16), 1))
    found = contrast_totals(base, new, "tokens_per_s")
    assert found is not None
    assert found.bounds(0.5) == (0, math.inf)
    assert "40 prompts at a concurrency of 16" in (found.why or "")
