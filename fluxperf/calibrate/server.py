"""The test server of a calibration: our own in C where a compiler is there, else the mock on an exact schedule."""

from __future__ import annotations

import http.client
import json
import os
import selectors
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fluxperf.calibrate.child import child
from fluxperf.errors import RunFailed

SOURCES = Path(__file__).resolve().parent / "exact_server"
COMPILED, MOCK = "compiled", "mock"
READY_TIMEOUT_S = 20.0
COMPILE_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 60.0  # sorting some ten million values takes its time
_READY = "listening on "
_COMPILERS = ("cc", "gcc", "clang")
_ENOUGH = "100000"  # requests at once


@dataclass(frozen=True, slots=True)
class Schedule:
    """When an answer's tokens come: the first after `ttft_ms`, one each `itl_ms` after it, `tokens` in all."""

    ttft_ms: float
    itl_ms: float
    tokens: int

    @property
    def answer_ms(self) -> float:
        """From a request's arrival to the last token."""
        return self.ttft_ms + (self.tokens - 1) * self.itl_ms


@dataclass(frozen=True, slots=True)
class TestServer:
    """A server that keeps a schedule and tells the truth about it. `kind` is COMPILED or MOCK."""

    __test__ = False  # pytest takes every name that begins with Test for its own

    url: str
    kind: str
    pid: int

    def reset(self) -> None:
        """Starts the truth anew."""
        self._get("/reset")

    def truth(self) -> Mapping[str, Any]:
        """What was really written since then: counts, and series of durations in ms. Raises RunFailed."""
        return json.loads(self._get("/truth"))  # type: ignore[no-any-return]

    def _get(self, path: str) -> bytes:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=ANSWER_TIMEOUT_S)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        except (OSError, http.client.HTTPException) as error:
            raise RunFailed(f"the test server does not answer GET {path}: {error}") from error
        finally:
            connection.close()


@contextmanager
def compiled_server(program: Path, schedule: Schedule, core: int, more: tuple[str, ...] = ()) -> Iterator[TestServer]:
    """The compiled server on that core; it ends with the block. `more` are further options. Raises RunFailed."""
    options = ("--ttft-us", _us(schedule.ttft_ms), "--itl-us", _us(schedule.itl_ms), "--tokens", str(schedule.tokens))
    with child([program, *options, *more], core, program.parent, stdout=subprocess.PIPE) as process:
        yield TestServer(_wait_until_ready(process), COMPILED, process.pid)


@contextmanager
def mock_on_schedule(schedule: Schedule, core: int, place: Path) -> Iterator[TestServer]:
    """The mock without jitter, queueing, prefill and cache, on that core; it ends with the block. Raises RunFailed."""
    exact = ("--jitter", "0", "--prefill-tokens-per-s", "1e12", "--cache-tokens", "0", "--max-num-seqs", _ENOUGH)
    pace = ("--overhead-ms", str(schedule.ttft_ms), "--decode-ms", str(schedule.itl_ms))
    words = ("mock", "--port", "0", *exact, *pace, "--tokens", str(schedule.tokens))
    with child([sys.executable, "-m", "fluxperf", *words], core, place, stdout=subprocess.PIPE) as process:
        yield TestServer(_wait_until_ready(process), MOCK, process.pid)


def compile_server(place: Path) -> Path | None:
    """Compiles the server into the directory `place`; None if there is no compiler, or none that can."""
    program = place / "exact_server"
    sources = sorted(SOURCES.glob("*.c"))
    compiler = find_compiler()
    if compiler is None or not sources:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - the user's own compiler
            [*compiler, "-O2", "-o", program, *sources], capture_output=True, timeout=COMPILE_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return program if done.returncode == 0 else None


def find_compiler() -> list[str] | None:
    """The words that call a C compiler: $CC, or the first there is; None: there is none."""
    for words in (named_compiler(), *([name] for name in _COMPILERS)):
        if words and shutil.which(words[0]):
            return words
    return None


def named_compiler() -> list[str]:
    """The words of $CC; empty: it names nothing."""
    text = os.environ.get("CC", "")
    try:
        return shlex.split(text)
    except ValueError:  # a quotation mark without its other half
        return [text]


def missing_compiler() -> str | None:
    """What $CC names, if there is no such program."""
    named = named_compiler()
    return named[0] if named and shutil.which(named[0]) is None else None


def _us(ms: float) -> str:
    return str(round(ms * 1000))


def _wait_until_ready(process: subprocess.Popen[str]) -> str:
    """The URL in the first line that the server prints. Raises RunFailed."""
    assert process.stdout is not None  # noqa: S101
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        line = process.stdout.readline() if selector.select(READY_TIMEOUT_S) else ""
    if _READY not in line:
        raise RunFailed("the test server did not start; what it said stands above")
    return line.partition(_READY)[2].strip()
