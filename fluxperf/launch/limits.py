"""The limits of this process that a run needs raised."""

from __future__ import annotations

import resource

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
