"""`Figures`: what one process counts, and `Board`: those of all replicas, in memory that they have in common."""

from __future__ import annotations

import ctypes

from fluxperf_mock.counters import Counters, Load
from fluxperf_mock.shared import share
from fluxperf_mock.truth import Truth


class Figures:
    """What one process counts. Only that process writes them."""

    __slots__ = ("counters", "load", "truth")

    def __init__(self) -> None:
        self.truth = Truth()
        self.counters = Counters()
        self.load = share(Load)


class _Orders(ctypes.Structure):
    cache_resets: int

    _fields_ = (("cache_resets", ctypes.c_int64),)


class Board:
    """The figures of all replicas, made before they are forked. `own` is which of them this process is."""

    __slots__ = ("_orders", "own", "replicas")

    def __init__(self, replicas: int = 1) -> None:
        self.replicas = [Figures() for _ in range(replicas)]
        self.own = 0
        self._orders = share(_Orders)

    @property
    def figures(self) -> Figures:
        """Those of this process."""
        return self.replicas[self.own]

    @property
    def busy(self) -> bool:
        """Whether requests run or wait anywhere."""
        return any(figures.load.running or figures.load.waiting for figures in self.replicas)

    @property
    def cache_resets(self) -> int:
        """How often all caches were to be emptied; each process empties its own before its next request."""
        return self._orders.cache_resets

    def reset_caches(self) -> None:
        """Has all caches emptied."""
        self._orders.cache_resets += 1

    def kept_tokens(self) -> int:
        """How many tokens all caches hold; one that is about to be emptied holds none."""
        loads = [figures.load for figures in self.replicas]
        return sum(load.kept_tokens for load in loads if load.cache_resets == self.cache_resets)
