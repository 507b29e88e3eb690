"""What the repeats of one plan say of each other: the spread from run to run, and what would show a change."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from fluxperf.analysis.clustered import LEAST_STRETCHES
from fluxperf.analysis.figures import Reading, find_figure, value_of
from fluxperf.analysis.power import count_repeats, find_need
from fluxperf.model import RoundName, RoundResult, RunResult
from fluxperf.model.contrast import Figure, Need
from fluxperf.model.steadiness import Steadiness

SHOWN = tuple(
    map(
        find_figure, ("ttft_ms.mean", "ttft_ms.p99", "itl_ms.mean", "latency_ms.mean", "tokens_per_s", "requests_per_s")
    )
)
CHANGE = 0.05


def find_steadiness(runs: Sequence[RunResult]) -> tuple[Steadiness, ...]:
    """For each stage, level and round that every run has, each of `SHOWN` with a value above 0 in all of them.

    Raises what reading the rounds' requests raises.
    """
    if len(runs) < 2:
        return ()
    rounds = [{_place(one): one for one in run.rounds} for run in runs]
    common = [place for place in rounds[0] if all(place in found for found in rounds)]
    return tuple(row for place in common for row in _of_round([found[place] for found in rounds]))


def _of_round(repeats: Sequence[RoundResult]) -> Iterator[Steadiness]:
    reading = Reading()
    for figure in SHOWN:
        found = [value_of(figure, one, reading.samples) for one in repeats]
        values = tuple(value for value in found if value)
        if len(values) < len(repeats):
            continue
        spread = _deviation([math.log(value) for value in values])
        yield Steadiness(
            stage=repeats[0].stage,
            concurrency=repeats[0].concurrency,
            round=repeats[0].round,
            figure=figure,
            values=values,
            spread=spread,
            need=Need(
                change=CHANGE,
                repeats=count_repeats(spread, CHANGE),
                prompts=_find_prompts(reading, figure, repeats),
            ),
        )


def _find_prompts(reading: Reading, figure: Figure, repeats: Sequence[RoundResult]) -> int | None:
    """By the pairs of the first repeat with the last, as two runs would be compared."""
    contrast = reading.contrast(figure, repeats[:1], repeats[-1:])
    found = None if contrast is None else find_need(contrast, CHANGE).prompts
    return None if found is None else max(found, LEAST_STRETCHES * repeats[0].concurrency)  # fewer tell nothing


def _deviation(values: Sequence[float]) -> float:
    """The standard deviation of a sample."""
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _place(result: RoundResult) -> tuple[str | None, int, RoundName]:
    return result.stage, result.concurrency, result.round
