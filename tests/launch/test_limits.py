from __future__ import annotations

import resource
import threading
from collections.abc import Iterator

import pytest

from fluxperf.errors import UsageError
from fluxperf.launch.limits import SPARE_DESCRIPTORS, count_threads, raise_descriptor_limit


@pytest.fixture
def hard_limit() -> Iterator[int]:
    """The hard limit of open files; the soft one is below it, and put back afterwards."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        pytest.skip("there is no limit here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard - 1), hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_soft_limit_is_raised_to_the_hard_one(hard_limit: int) -> None:
    raise_descriptor_limit(hard_limit - SPARE_DESCRIPTORS)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard_limit, hard_limit)


def test_what_the_hard_limit_does_not_allow_is_said(hard_limit: int) -> None:
    with pytest.raises(UsageError, match=rf"need {hard_limit + 1} open files, the limit is {hard_limit}.*ulimit -n"):
        raise_descriptor_limit(hard_limit - SPARE_DESCRIPTORS + 1)


def test_threads_are_counted_by_the_kernel() -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        assert count_threads(0) == threading.active_count() >= 2
    finally:
        over.set()
        thread.join()
