"""numpy, and a few distributions from scipy, loaded without starting a thread. Knows not what is computed with them.

Their linear algebra would start a thread for each core as it is loaded, and the parent of the workers must have one
only. Modules that need numpy take it from here, and are themselves imported no sooner than there is work for them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["count_above", "normal_quantile", "np", "share_below", "t_below", "t_quantile"]

_POOLS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Libraries that are loaded meanwhile take it that there is one core."""
    kept = {name: os.environ.get(name) for name in _POOLS}
    os.environ.update(dict.fromkeys(_POOLS, "1"))
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


with _one_thread():
    import numpy as np

    # scipy.stats, which has them too, takes ten times as long to load.
    from scipy.special import betainc, betaincinv, ndtri, stdtr, stdtrit


def t_below(degrees_of_freedom: float, value: float) -> float:
    """The probability of a value below this one."""
    return float(stdtr(degrees_of_freedom, value))


def t_quantile(degrees_of_freedom: float, probability: float) -> float:
    """The value that is not exceeded with this probability."""
    return float(stdtrit(degrees_of_freedom, probability))


def count_above(trials: float, share: float, count: float) -> float:
    """The probability that so many trials or more of `trials` succeed, each with this probability.

    `count` is above 0; numbers of trials in between are taken as they come, by the incomplete beta function.
    """
    return float(betainc(count, trials - count + 1, share)) if count < trials + 1 else 0.0


def share_below(trials: float, count: float, probability: float) -> float:
    """The share of success with which so many or more of `trials` would succeed with this probability."""
    return float(betaincinv(count, trials - count + 1, probability))


def normal_quantile(probability: float) -> float:
    """The value that a standard normal one does not exceed with this probability."""
    return float(ndtri(probability))
