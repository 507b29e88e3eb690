"""`--self-test`: what the mock can serve on this machine, by its own truth, in one line.

A server of its own, in a process of its own, on an exact schedule; this process is its client. The streams begin evenly
over some gaps, so their tokens are due evenly: what is found is what can be sustained, not what a burst does.
"""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from fluxperf.clock import now_ns
from fluxperf.errors import RunFailed
from fluxperf.units import NS_PER_MS, NS_PER_S
from fluxperf_mock.load import Load
from fluxperf_mock.settings import MockSettings

BOUND_MS = 1.0

_TTFT_MS = 20
_GAP_MS = 10
_TOKENS_PER_S = 1000 // _GAP_MS
_FIRST_STREAMS = 16
_MOST_STREAMS = 4096
_TRIES = 2  # somebody else may have been at work in the first
_ANSWERS = 3
_TOKENS = 50
_RAMP_NS = 10 * _GAP_MS * NS_PER_MS
_BUDGET_NS = 18 * NS_PER_S
_STEP_NS = _ANSWERS * (_TTFT_MS + _GAP_MS * _TOKENS) * NS_PER_MS + _RAMP_NS
_EXIT_INTERNAL = 70  # EX_SOFTWARE of sysexits(3)
_URL_BYTES = 1024
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many streams were served on schedule, and the first number that was not, with how far off (None: none)."""

    served: int
    missed: int | None = None
    off_ms: float = 0.0

    def describe(self, replicas: int) -> str:
        """The one line."""
        who, serve = ("1 process", "serves") if replicas == 1 else (f"{replicas} processes", "serve")
        missed = f"at {self.missed} the schedule is missed by {self.off_ms:.1f} ms at p99"
        if not self.served:
            return (
                f"self-test: on this machine {who} {serve} nothing in time (HTTP/1.1): already {missed}; "
                "is something else running on this machine?"
            )
        return (
            f"self-test: on this machine {who} {serve} {self.served} streams of {_TOKENS_PER_S} tokens/s "
            f"({self.served * _TOKENS_PER_S:,} tokens/s) within {BOUND_MS:g} ms of the schedule (HTTP/1.1); "
            + ("more was not tried" if self.missed is None else missed)
        )


def run_self_test(replicas: int, budget_ns: int = _BUDGET_NS) -> str:
    """Finds out in the time given, and says it in one line. Raises RunFailed if the server does not start."""
    settings = MockSettings(
        port=0,
        overhead_ms=_TTFT_MS,
        prefill_tokens_per_s=1e12,
        decode_ms=_GAP_MS,
        jitter=0,
        max_num_seqs=2 * _MOST_STREAMS,
        replicas=replicas,
    )
    with _serving(settings) as port:
        deadline_ns = now_ns() + budget_ns
        return search(lambda streams: _measure(port, streams, deadline_ns)).describe(replicas)


def search(measure: Callable[[int], float | None]) -> Capacity:
    """Doubles the streams until `measure`, which gives how far off they were (ms at p99), passes the bound.

    `measure` gives None when there is no time left.
    """
    served, streams = 0, _FIRST_STREAMS
    while streams <= _MOST_STREAMS:
        offs_ms: list[float] = []
        while len(offs_ms) < _TRIES and (not offs_ms or offs_ms[-1] > BOUND_MS):
            off_ms = measure(streams)
            if off_ms is None:
                break
            offs_ms.append(off_ms)
        if not offs_ms:
            break
        if min(offs_ms) > BOUND_MS:
            return Capacity(served, streams, min(offs_ms))
        served = streams
        streams *= 2
    return Capacity(served)


def _measure(port: int, streams: int, deadline_ns: int) -> float | None:
    if now_ns() + _STEP_NS > deadline_ns:
        return None
    Load(streams, _ANSWERS, _TOKENS, _RAMP_NS).run(port, lambda: _ask(port, "/reset"), deadline_ns)
    truth = _ask(port, "/truth")
    if not truth["itl_ms"]["n"]:  # the time was up before anything came
        return None
    return float(max(truth["ttft_ms"]["p99"] - _TTFT_MS, truth["itl_ms"]["p99"] - _GAP_MS))


def _ask(port: int, path: str) -> Any:
    with closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())


@contextmanager
def _serving(settings: MockSettings) -> Iterator[int]:
    """A server in a process of its own; gives its port."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _run_server(settings, writer)
    os.close(writer)
    try:
        url = os.read(reader, _URL_BYTES).decode()
        os.close(reader)
        if not url:
            raise RunFailed("the server of the self-test did not start")
        yield int(url.rpartition(":")[2].partition("/")[0])
    finally:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)


def _run_server(settings: MockSettings, writer: int) -> NoReturn:
    """What the forked process does until it ends; never returns."""
    status = _EXIT_INTERNAL
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        # The event loop is loaded in this process only.
        from fluxperf_mock import replicas, server

        def announce(url: str) -> None:
            os.write(writer, url.encode())

        serve = server.serve if settings.replicas == 1 else replicas.serve
        serve(settings, announce)
        status = 0
    except BaseException:
        os.write(2, traceback.format_exc().encode("utf-8", "replace"))
    finally:
        os._exit(status)
