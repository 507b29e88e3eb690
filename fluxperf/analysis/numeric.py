"""numpy, and Student's t from scipy, loaded without starting a thread. What is computed with them is not known here.

Their linear algebra would start a thread for each core as it is loaded, and the parent of the workers must have one
only. Modules that need numpy take it from here, and are themselves imported no sooner than there is work for them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["np", "t_below", "t_quantile"]

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
    from scipy.special import stdtr, stdtrit  # scipy.stats, which has them too, takes ten times as long to load


def t_below(degrees_of_freedom: float, value: float) -> float:
    """The probability of a value below this one."""
    return float(stdtr(degrees_of_freedom, value))


def t_quantile(degrees_of_freedom: float, probability: float) -> float:
    """The value that is not exceeded with this probability."""
    return float(stdtrit(degrees_of_freedom, probability))
