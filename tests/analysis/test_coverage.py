"""Whether the intervals of a comparison cover, and how often it finds a difference where there is none.

Rounds are simulated, 1,000 pairs of them for each case: prompts of very different length, noise of each request, and
moods of the server that requests which ran together share, in each of the rounds on its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from zlib import crc32

import numpy as np
import pytest
from numpy.typing import NDArray

from fluxperf.analysis.clustered import Stretches, count_stretches, estimate_mean, label

RUNS = 1000
GAIN = -0.4  # of the logarithm of TTFT, in the mean over all prompts there could be
PROMPTS, CONCURRENCY = (50, 200, 1000), (1, 10, 20)

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Case:
    """`moods`: how long they last. "waves" are as long as the concurrency, "drifts" as a tenth of the round."""

    prompts: int
    concurrency: int
    moods: str
    shuffled: bool

    @property
    def stretches(self) -> int:
        return count_stretches(self.prompts, self.concurrency)

    def __str__(self) -> str:
        order = "shuffled" if self.shuffled else "same order"
        return f"{self.prompts:5} prompts at {self.concurrency:2}, {self.moods:6}, {order:10}"


def draw_moods(chance: np.random.Generator, case: Case) -> Floats:
    """What the requests of a round have in common, by place in time, for each run; they begin anywhere."""
    if case.moods == "none":
        return np.zeros((RUNS, case.prompts))
    length = case.concurrency if case.moods == "waves" else max(case.prompts // 10, case.concurrency)
    begin = chance.integers(0, length, (RUNS, 1))
    moods = chance.normal(0, 0.2, (RUNS, case.prompts // length + 2))
    return np.take_along_axis(moods, (begin + np.arange(case.prompts)) // length, axis=1)


def simulate(case: Case, gain: float, spread: float) -> tuple[Floats, Places, Places]:
    """Log ratios by prompt, and its place in both rounds; effects differ by `spread` from prompt to prompt."""
    chance = np.random.default_rng(crc32(f"{case} {gain}".encode()))
    shape = (RUNS, case.prompts)
    first = np.broadcast_to(np.arange(case.prompts), shape)
    second = chance.permuted(first, axis=1) if case.shuffled else first
    lengths = chance.normal(0, 1, shape)
    before = lengths + chance.normal(0, 0.35, shape) + draw_moods(chance, case)
    effects = chance.normal(gain, spread, shape)
    later = lengths + effects + chance.normal(0, 0.35, shape)
    later += np.take_along_axis(draw_moods(chance, case), second, axis=1)
    return later - before, first, second


def share_that_covers(case: Case, gain: float, spread: float) -> float | None:
    """In how many of the runs `gain` is in the interval; None: there is none in any of them."""
    found = [
        estimate_mean(values, Stretches(label(first, case.stretches), label(second, case.stretches)))
        for values, first, second in zip(*simulate(case, gain, spread), strict=True)
    ]
    if not any(found):
        return None
    covers = [estimate.interval[0] <= gain <= estimate.interval[1] for estimate in found if estimate is not None]
    assert len(covers) == RUNS
    if gain == 0:
        assert covers == [estimate.p_value >= 0.05 for estimate in found if estimate is not None]
    return sum(covers) / RUNS


@pytest.fixture(scope="module")
def shares() -> dict[Case, tuple[float | None, float | None]]:
    """For each case which part of the intervals covers a gain, and which covers none where there is none."""
    cases = [Case(*facts) for facts in product(PROMPTS, CONCURRENCY, ("none", "waves", "drifts"), (True, False))]
    return {case: (share_that_covers(case, GAIN, 0.3), share_that_covers(case, 0, 0)) for case in cases}


def tabulate(shares: dict[Case, tuple[float | None, float | None]]) -> str:
    rows = ["covered, significant under A/A"]
    for case, (covered, alike) in shares.items():
        told = "cannot tell" if covered is None or alike is None else f"{covered:6.1%} {1 - alike:6.1%}"
        rows.append(f"{case}: {told}")
    return "\n".join(rows)


def test_intervals_of_95_percent_cover(shares: dict[Case, tuple[float | None, float | None]]) -> None:
    told = [covered for covered, _ in shares.values() if covered is not None]
    assert told
    assert all(0.92 <= covered <= 0.99 for covered in told), tabulate(shares)


def test_two_rounds_that_are_alike_seldom_differ(shares: dict[Case, tuple[float | None, float | None]]) -> None:
    told = [alike for _, alike in shares.values() if alike is not None]
    assert told
    assert all(0.01 <= 1 - alike <= 0.08 for alike in told), tabulate(shares)


def test_where_there_are_too_few_stretches_it_is_never_told(
    shares: dict[Case, tuple[float | None, float | None]],
) -> None:
    untold = {(case.prompts, case.concurrency) for case, found in shares.items() if None in found}
    assert untold == {(50, 20)}
    assert all(found == (None, None) for case, found in shares.items() if (case.prompts, case.concurrency) == (50, 20))
