from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fluxperf.analysis.turns import exact_stats, figures_by_turn
from fluxperf.model import CachedTokens, Outcome, Stats
from tests.analysis.rounds import request


def test_each_turn_has_the_figures_of_its_own_requests() -> None:
    found = figures_by_turn(
        [
            request(0, 100, turn=0, prompt_tokens=10, cached_tokens=0),
            request(0, 20, turn=1, prompt_tokens=30, cached_tokens=20, dropped_turns=1),
            request(1, 200, turn=0, prompt_tokens=20, cached_tokens=5),
            request(1, 0, turn=1, outcome=Outcome.HTTP_STATUS, prompt_tokens=99),
            request(1, 0, turn=2, outcome=Outcome.NOT_SENT, sent_ns=None),
        ]
    )
    first, second = found
    assert (first.turn, first.requests, first.successful, first.shortened) == (0, 2, 2, 0)
    assert (first.ttft_ms.p50, first.ttft_ms.max, first.ttft_ms.avg) == (100, 200, 150)
    assert first.avg_input_tokens == 15
    assert first.cached_tokens == CachedTokens(prompt_tokens=30, cached_tokens=5, ratio=5 / 30)
    assert (second.turn, second.requests, second.successful, second.shortened) == (1, 2, 1, 1)
    assert second.ttft_ms.p50 == 20


def test_where_nobody_tells_cached_tokens_are_not_known() -> None:
    (turn,) = figures_by_turn([request(0, 100, prompt_tokens=10)])
    assert turn.cached_tokens is None


def test_a_turn_without_a_success_has_no_figures() -> None:
    (turn,) = figures_by_turn([request(0, 100, outcome=Outcome.RESET)])
    assert (turn.successful, turn.ttft_ms, turn.avg_input_tokens) == (0, Stats(), None)


@given(st.lists(st.integers(0, 10**12), min_size=1))
def test_percentiles_are_the_smallest_value_with_that_share_at_or_below_it(values: list[int]) -> None:
    found = exact_stats(values, 1)
    for share, value in ((0.5, found.p50), (0.9, found.p90), (0.99, found.p99)):
        assert value in values
        assert sum(one <= value for one in values) >= share * len(values) > sum(one < value for one in values)
    assert (found.min, found.max) == (min(values), max(values))
