"""The turns of sessions as tables: of one round, and of two rounds side by side. Reads figures, and makes none."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fluxperf.model import RoundResult, TurnFigures
from fluxperf.report.grid import Column, Grid, draw_grid
from fluxperf.report.text import count, number, round_name

_MOST_SHOWN = 12


def turn_lines(result: RoundResult, width: int | None) -> list[str]:
    """The table of a round's turns; empty where its prompts are no sessions."""
    turns = result.summary.turns
    if not turns:
        return []
    shown = _choose(turns)
    columns = [
        _column("Requests", shown, lambda turn: f"{turn.successful}/{turn.requests}"),
        _column("TTFT p50\nms", shown, lambda turn: number(turn.ttft_ms.p50)),
        _column("TTFT p99\nms", shown, lambda turn: number(turn.ttft_ms.p99)),
        _column("Input\ntokens", shown, lambda turn: number(turn.avg_input_tokens, ".1f")),
        _column("Cached\n% of tokens", shown, _cached),
        _column("TTFT avg\nms", shown, lambda turn: number(turn.ttft_ms.avg)),
        _column("TTFT p90\nms", shown, lambda turn: number(turn.ttft_ms.p90)),
    ]
    if any(turn.shortened for turn in turns):
        columns.append(_column("Without their\noldest turns", shown, lambda turn: str(turn.shortened)))
    return ["By turn:", *draw_grid(Grid(_names(shown), (), columns), width), *_unseen(turns, shown)]


def compared_turn_lines(first: RoundResult, later: RoundResult, width: int | None) -> list[str]:
    """The turns that both rounds have, side by side; empty where their prompts are no sessions."""
    before = {turn.turn: turn for turn in first.summary.turns}
    both = [turn for turn in later.summary.turns if turn.turn in before]
    if not both:
        return []
    shown = _choose(both)

    def change(figure: Callable[[TurnFigures], str]) -> Callable[[TurnFigures], str]:
        return lambda turn: f"{figure(before[turn.turn])} -> {figure(turn)}"

    columns = [
        _column("TTFT p50\nms", shown, change(lambda turn: number(turn.ttft_ms.p50))),
        _column("Ratio", shown, lambda turn: _ratio(before[turn.turn].ttft_ms.p50, turn.ttft_ms.p50)),
        _column("TTFT p99\nms", shown, change(lambda turn: number(turn.ttft_ms.p99))),
        _column("Cached\n% of tokens", shown, change(_cached)),
    ]
    title = f"By turn, {round_name(first.round)} -> {round_name(later.round)}:"
    return [title, *draw_grid(Grid(_names(shown), (), columns), width), *_unseen(both, shown)]


def _choose(turns: Sequence[TurnFigures]) -> Sequence[TurnFigures]:
    """The first ones and the last, where all would be too many to read."""
    return turns if len(turns) <= _MOST_SHOWN else [*turns[: _MOST_SHOWN - 1], turns[-1]]


def _unseen(turns: Sequence[TurnFigures], shown: Sequence[TurnFigures]) -> list[str]:
    left = len(turns) - len(shown)
    return [f"({count(left, 'turn')} between the last two: summary.turns in the JSON file)"] if left else []


def _names(shown: Sequence[TurnFigures]) -> Column:
    return Column("Turn", [str(turn.turn + 1) for turn in shown], left=True)


def _column(heading: str, shown: Sequence[TurnFigures], figure: Callable[[TurnFigures], str]) -> Column:
    return Column(heading, [figure(turn) for turn in shown])


def _cached(turn: TurnFigures) -> str:
    ratio = None if turn.cached_tokens is None else turn.cached_tokens.ratio
    return number(None if ratio is None else 100 * ratio, ".1f")


def _ratio(before: float | None, after: float | None) -> str:
    return number(after / before if before and after is not None else None, ".3f")
