"""The limits of this process that a run needs: open files, which it raises, and one thread, which it counts."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from fluxperf.clock import now_ns
from fluxperf.errors import UsageError

# Beside its connections, a worker holds pipes, files and what it inherited.
SPARE_DESCRIPTORS = 128


def raise_descriptor_limit(connections: int) -> None:
    """Raises the soft limit of open files to the hard one. Raises UsageError if that does not do."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    needed = connections + SPARE_DESCRIPTORS
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise UsageError(
            f"{connections} requests in flight a worker need {needed} open files, the limit is {hard}: "
            "raise it with ulimit -n, or use more --workers"
        )


def count_threads(deadline_ns: int) -> int:
    """How many threads this process has. One that was joined is gone from the kernel's list a moment later."""
    while True:
        threads = sum(1 for _ in Path("/proc/self/task").iterdir())
        if threads == 1 or now_ns() > deadline_ns:
            return threads
        os.sched_yield()
