from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.cells import cell_len

from fluxperf.model import CachedTokens, RoundResult, Stats, TurnFigures
from fluxperf.report.turns import compared_turn_lines, turn_lines

Build = Callable[..., RoundResult]


def figures(turn: int, ttft_ms: float, cached: int | None = 50, *, shortened: int = 0) -> TurnFigures:
    told = None if cached is None else CachedTokens(prompt_tokens=200, cached_tokens=cached, ratio=cached / 200)
    stats = Stats(avg=ttft_ms + 1, p50=ttft_ms, p90=ttft_ms * 2, p95=ttft_ms * 2.5, p99=ttft_ms * 3)
    return TurnFigures(
        turn=turn,
        requests=10,
        successful=9,
        ttft_ms=stats,
        avg_input_tokens=100.25 * (turn + 1),
        cached_tokens=told,
        shortened=shortened,
    )


def with_turns(result: RoundResult, *turns: TurnFigures, **changes: object) -> RoundResult:
    return replace(result, summary=replace(result.summary, turns=turns), **changes)  # type: ignore[arg-type]


def test_a_round_without_sessions_has_no_turns(a_round: Build) -> None:
    assert turn_lines(a_round(), None) == []
    assert compared_turn_lines(a_round(), a_round(), None) == []


@pytest.mark.parametrize("columns", [80, None])
def test_the_turns_of_a_round_and_of_two(
    a_round: Build, golden: Callable[[str, str], None], columns: int | None
) -> None:
    before = with_turns(a_round(), figures(0, 120, 0), figures(1, 60, shortened=3), figures(2, 61.5, None))
    after = with_turns(a_round(), figures(0, 30, 190), figures(1, 45), round=2)
    lines = [*turn_lines(before, columns), "", *compared_turn_lines(before, after, columns)]
    assert columns is None or max(map(cell_len, lines)) <= columns
    golden(f"turns_{columns or 'piped'}.txt", "".join(f"{line}\n" for line in lines))


def test_that_histories_were_cut_short_is_told_where_it_is_so(a_round: Build) -> None:
    assert not any("oldest turns" in line for line in turn_lines(with_turns(a_round(), figures(0, 1)), None))
    assert any("oldest turns" in line for line in turn_lines(with_turns(a_round(), figures(0, 1, shortened=1)), None))


def test_of_many_turns_the_first_and_the_last_are_shown(a_round: Build) -> None:
    result = with_turns(a_round(), *(figures(turn, 10) for turn in range(40)))
    for lines in (turn_lines(result, None), compared_turn_lines(result, result, None)):
        shown = [line.split("│")[1].strip() for line in lines if line.startswith("│")]
        assert shown[2:] == [*map(str, range(1, 12)), "40"]
        assert lines[-1] == "(28 turns between the last two: summary.turns in the JSON file)"


def test_a_turn_that_only_one_round_has_is_not_compared(a_round: Build) -> None:
    before, after = with_turns(a_round(), figures(0, 10)), with_turns(a_round(), figures(0, 10), figures(1, 10))
    assert len(compared_turn_lines(before, after, None)) == len(compared_turn_lines(before, before, None))
