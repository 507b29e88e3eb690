"""What it would take to show a change, and the least change that could have been shown."""

from __future__ import annotations

import math
from itertools import count

from fluxperf.analysis.clustered import CUT, MOST_STRETCHES
from fluxperf.analysis.numeric import t_quantile
from fluxperf.analysis.uncertain import Uncertain
from fluxperf.model.contrast import Need, Way

LEVEL, POWER = 0.05, 0.8
_MOST_REPEATS = 10_000
_ROUNDS = 20


def find_need(contrast: Uncertain, change: float = 0.05) -> Need:
    """What would show a change of `change` in this ratio of two runs, or sets of repeats, as they scatter now.

    For prompts: the error shrinks with the root of their number, as it does where moods are short against a round.
    """
    error, freedom = contrast.standard_error, contrast.degrees_of_freedom
    if error is None or freedom is None:
        return Need(change=change)
    if contrast.way is Way.REPEATS:
        deviation = error / math.sqrt(1 / contrast.counts[0] + 1 / contrast.counts[1])
        return Need(change=change, repeats=count_repeats(deviation, change))
    return Need(change=change, prompts=_count_prompts(contrast, error, freedom, change))


def find_least_change(contrast: Uncertain) -> float | None:
    """The least change (0.05: up by 5 %) that would have been shown with a power of 80 %; None: that is not known."""
    error, freedom = contrast.standard_error, contrast.degrees_of_freedom
    if error is None or freedom is None:
        return None
    return math.expm1(_distance(freedom, 1.0 if contrast.way is Way.REPEATS else CUT) * error)


def count_repeats(deviation: float, change: float = 0.05) -> int | None:
    """The repeats of either side that would show `change`, where logarithms scatter by `deviation` from run to run.

    None: more than anybody would run.
    """
    for repeats in count(2):
        if _distance(2 * repeats - 2) * deviation * math.sqrt(2 / repeats) <= math.log1p(change):
            return repeats
        if repeats >= _MOST_REPEATS:
            break
    return None


def _distance(degrees_of_freedom: float, excess: float = 1.0) -> float:
    """How many of the standard errors that are seen the truth must be from no change.

    One from so few is more often too small than too large: by this much in the middle, where what it stands on counts
    `excess` times.
    """
    small = math.pow(1 - 2 * excess**2 / (9 * max(degrees_of_freedom, 1)), 1.5)
    return (t_quantile(degrees_of_freedom, 1 - LEVEL / 2) + t_quantile(degrees_of_freedom, POWER)) / small


def _count_prompts(contrast: Uncertain, error: float, freedom: float, change: float) -> int:
    """Longer rounds have more stretches, but no more than so many: that is found by going round.

    What shorter rounds would be like is not known so well, the end of a round in particular: they are taken to lose as
    much again.
    """
    now = min(contrast.counts)
    sides = 1 if contrast.way is Way.PAIRED else 2
    most = max(freedom, sides * (MOST_STRETCHES - 1.0))
    times = 1.0
    for _ in range(_ROUNDS):
        known = min(freedom * max(times, 1.0), most)
        times = (_distance(known, CUT) * error / math.log1p(change)) ** 2
    return max(math.ceil(now * (times if times > 1 else math.sqrt(times))), 1)
