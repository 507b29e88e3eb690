"""Requests as columns, pairs of them, and the choice of those that are drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.model import Outcome, RoundResult, Timeline
from fluxperf.report.html.columns import choose, pair, read_columns

MS = 1_000_000


def round_of(plain: RoundResult, requests: list[Timeline]) -> RoundResult:
    return replace(plain, requests=tuple(requests), first_sent_ns=1000 * MS)


def test_a_request_is_a_row(a_round: Callable[..., RoundResult], a_request: Callable[..., Timeline]) -> None:
    failed = a_request(index=1, outcome=Outcome.RESET, end_ns=None, done_ns=1300 * MS)
    unsent = Timeline(index=2, outcome=Outcome.NOT_SENT)
    columns = read_columns(round_of(a_round(), [a_request(cached_tokens=32), failed, unsent]))
    assert list(columns.index) == [0, 1]
    assert list(columns.succeeded) == [True, False]
    assert columns.ttft_ms[0] == 100
    assert columns.itl_ms[0] == 10
    assert columns.latency_ms[0] == 201
    assert (columns.sent_s[0], columns.first_s[0], columns.done_s[0]) == (0, 0.1, 0.201)
    assert columns.cached_tokens[0] == 32
    assert np.isnan(columns.cached_tokens[1])
    assert np.isnan(columns.ttft_ms[1])
    assert columns.failures() == [(0.3, Outcome.RESET)]


def test_nothing_at_all_is_no_row(a_round: Callable[..., RoundResult]) -> None:
    columns = read_columns(round_of(a_round(), []))
    assert len(columns) == 0
    assert len(pair(columns, columns)) == 0


def test_pairs_are_prompts_that_succeeded_in_both(
    a_round: Callable[..., RoundResult], a_request: Callable[..., Timeline]
) -> None:
    def turn(index: int, number: int, ttft_ms: int, outcome: Outcome = Outcome.OK) -> Timeline:
        return a_request(index=index, turn=number, outcome=outcome, first_output_ns=(1000 + ttft_ms) * MS)

    before = [turn(3, 0, 30), turn(3, 1, 31), turn(4, 0, 40), turn(5, 0, 50)]
    after = [turn(5, 0, 5), turn(4, 0, 4, Outcome.RESET), turn(3, 1, 3), turn(9, 0, 9)]
    found = pair(read_columns(round_of(a_round(), before)), read_columns(round_of(a_round(), after)))
    assert [list(values) for values in found.both("ttft_ms")] == [[31, 50], [3, 5]]
    assert [list(values) for values in found.only(np.array([1])).both("index")] == [[5], [5]]


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=400), st.integers(20, 100))
def test_the_extremes_are_chosen_and_never_too_many(values: list[float], most: int) -> None:
    quantity = np.array(values)
    other = -quantity[::-1].copy()
    places = choose([quantity, other], most)
    assert len(places) <= most
    assert len(set(places)) == len(places)
    assert quantity[places].max() == quantity.max()
    assert quantity[places].min() == quantity.min()
    assert other[places].max() == other.max()
    assert list(places) == list(choose([quantity, other], most))
    if len(values) <= most:
        assert len(places) == len(values)
