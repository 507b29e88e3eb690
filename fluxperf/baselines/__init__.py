"""The store of baselines: a plain directory with a copy of a run for each name, and where it is from."""

from fluxperf.baselines.store import Baseline, Store, find_store, resolve

__all__ = ["Baseline", "Store", "find_store", "resolve"]
