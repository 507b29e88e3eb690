"""Results that are on disk, as the values they were made from: `run.json`, the round files, `histograms.hlog`."""

from fluxperf.stored.requests import StoredRequests, find_problem
from fluxperf.stored.run import read_run, read_runs

__all__ = ["StoredRequests", "find_problem", "read_run", "read_runs"]
