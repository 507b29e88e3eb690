"""Builders that tests of several folders share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import settings

import fluxperf.analysis.numeric  # noqa: F401 (tests fork, so it is to load numpy, without threads, before they do)
from fluxperf.clock import kernel_stamps_work, stamped_socket
from fluxperf.model import Outcome, Timeline

MS = 1_000_000

# A limit on the time of an example would be an assertion about the machine.
settings.register_profile("fluxperf", deadline=None)
settings.load_profile("fluxperf")


def make_request(**changes: Any) -> Timeline:
    """A success of 11 tokens: sent at 1 s, the first 100 ms later, one each 10 ms, the end 1 ms after the last."""
    facts: dict[str, Any] = {
        "index": 0,
        "outcome": Outcome.OK,
        "status": 200,
        "finish_reason": "stop",
        "sent_ns": 1000 * MS,
        "first_byte_ns": 1090 * MS,
        "first_output_ns": 1100 * MS,
        "first_answer_ns": 1100 * MS,
        "last_output_ns": 1200 * MS,
        "end_ns": 1201 * MS,
        "done_ns": 1201 * MS,
        "output_events": 11,
        "prompt_tokens": 50,
        "completion_tokens": 11,
    }
    return Timeline(**facts | changes)


@pytest.fixture(scope="session", autouse=True)
def _kernel_stamps() -> Iterator[None]:
    """The kernel begins to stamp a moment after the first socket has asked, and stops after the last: one is kept."""
    with stamped_socket() if kernel_stamps_work() else nullcontext():
        yield


@pytest.fixture(scope="session")
def a_request() -> Callable[..., Timeline]:
    return make_request
