"""`fluxperf mock`: argv and environment -> MockSettings -> the server -> exit code."""

from __future__ import annotations

import difflib
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from typing import Any

from docopt import DocoptExit, docopt

from fluxperf.errors import FluxPerfError, UsageError
from fluxperf_mock.dialects import DIALECTS
from fluxperf_mock.environment import PREFIX_CACHE, read_surroundings
from fluxperf_mock.faults import FAULTS, Fault
from fluxperf_mock.settings import DEFAULT_MODEL, MockSettings, option_name, read_value

_DEFAULT = MockSettings()

USAGE = f"""A mock LLM server: OpenAI's API over a model of a server with a prefix cache, and the truth at GET /truth.

Usage: fluxperf mock [options]

  --host HOST               Address to listen on. [default: {_DEFAULT.host}]
  --port PORT               Port to listen on; 0: any free one. [default: {_DEFAULT.port}]
  --prefill-tokens-per-s N  Prompt tokens computed a second, one prompt after another.
                            [default: {_DEFAULT.prefill_tokens_per_s}]
  --decode-ms MS            Time from one token of an answer to the next. [default: {_DEFAULT.decode_ms}]
  --jitter X                Standard deviation of both, as a share of them. [default: {_DEFAULT.jitter}]
  --overhead-ms MS          Time before a prompt's computation starts. [default: {_DEFAULT.overhead_ms}]
  --cache-tokens N          Size of the prefix cache; 0: none. [default: {_DEFAULT.cache_tokens}]
  --block-tokens N          Size of one block of it. [default: {_DEFAULT.block_tokens}]
  --max-num-seqs N          Requests that run at once; others wait. [default: {_DEFAULT.max_num_seqs}]
  --max-concurrent-streams N
                            Requests that an HTTP/2 connection carries at once.
                            [default: {_DEFAULT.max_concurrent_streams}]
  --tokens N                Mean length of an answer. [default: {_DEFAULT.tokens}]
  --model NAME              The one model there is. Not given: it is called {DEFAULT_MODEL},
                            and requests for any model are served.
  --seed N                  What answers, their lengths and jitter are drawn from. [default: {_DEFAULT.seed}]
  --replicas N              Processes behind the port, each a server of its own with a cache of its own.
                            [default: {_DEFAULT.replicas}]
  --engine NAME             Whose metrics and resets it has: {", ".join(DIALECTS)}.
                            [default: {_DEFAULT.engine}]
  --faults LIST             What goes wrong, as NAME or NAME=V, separated by commas.
  --tls-cert FILE           Serve https:// with this certificate (PEM) ...
  --tls-key FILE            ... and its key. Both or neither.
  --self-test               Say in one line what a server can serve on this machine, and end.
  -h --help                 Show this.

FLUXPERF_MOCK_PORT and the like in the environment serve for options that are not given; {PREFIX_CACHE}=false
there turns the prefix cache off, whatever the options say.
"""


def _describe(name: str, fault: Fault) -> str:
    given = name if fault.value is None else f"{name}={fault.value.default:g}"
    return f"  {given:<24}  {fault.text}\n"


# Apart from the usage, in which docopt looks for options.
HELP = f"{USAGE}\nFaults (V is the value; the one shown is taken if none is given):\n\n" + "".join(
    _describe(name, fault) for name, fault in FAULTS.items()
)

_SELF_TEST = "--self-test"
_FIELDS = {option_name(field.name): field.name for field in fields(MockSettings)}


def main(argv: list[str] | None = None) -> int:
    """Runs `fluxperf mock` with the arguments after that word; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        if _asks_help(argv):
            sys.stdout.write(HELP)
            return 0
        if _SELF_TEST in argv:
            return _test([word for word in argv if word != _SELF_TEST])
        stopped_by = _serve(_take_settings(argv, os.environ))
    except FluxPerfError as error:
        sys.stderr.write(f"fluxperf mock: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:  # before the server could see to it, or during a self-test
        return 128 + signal.SIGINT
    return 128 + stopped_by if stopped_by == signal.SIGINT else 0


def _serve(settings: MockSettings) -> int:
    # The event loop is loaded for a server only: help and errors come at once.
    from fluxperf_mock import replicas, server

    serve = server.serve if settings.replicas == 1 else replicas.serve
    return serve(settings, partial(_announce, settings.replicas))


def _test(argv: list[str]) -> int:
    settings = parse_settings(argv)
    if settings != MockSettings(replicas=settings.replicas):
        raise UsageError(f"{_SELF_TEST} takes no other option than --replicas: it has a schedule of its own")
    from fluxperf_mock.selftest import run_self_test

    sys.stdout.write(f"{run_self_test(settings.replicas)}\n")
    return 0


def parse_settings(argv: list[str]) -> MockSettings:
    """The settings that the arguments ask for by themselves; raises UsageError."""
    options = _parse_options(argv)
    return read_surroundings({}, options).apply(options)


def _take_settings(argv: list[str], env: Mapping[str, str]) -> MockSettings:
    """The settings that the arguments ask for, and the environment where they say nothing; says what it took there."""
    options = _parse_options(argv)
    surroundings = read_surroundings(env, options)
    settings = surroundings.apply(options)
    if str(surroundings):
        sys.stderr.write(f"fluxperf mock: {surroundings}\n")
    return settings


def _parse_options(argv: list[str]) -> dict[str, Any]:
    """The settings that are among the arguments, by name; raises UsageError."""
    seen = _check_options(argv)
    try:
        given = docopt(USAGE, ["mock", *argv], default_help=False)
    except DocoptExit as error:
        raise UsageError(str(error)) from error
    return {name: read_value(option, name, given[option]) for option, name in _FIELDS.items() if option in seen}


def _asks_help(argv: list[str]) -> bool:
    return "--help" in argv or "-h" in argv


def _check_options(argv: list[str]) -> set[str]:
    """The options given. Finds what docopt would pass over or explain badly: unknown, abbreviated, repeated ones."""
    seen: set[str] = set()
    words = iter(argv)
    for word in words:
        option, equals, _ = word.partition("=")
        if option not in _FIELDS:
            near = difflib.get_close_matches(option, _FIELDS, 1)
            hint = f"; did you mean {near[0]}?" if near else "; see fluxperf mock --help"
            raise UsageError(
                f"there is no option {option}{hint}" if word.startswith("-") else f"{word!r} is no option{hint}"
            )
        if option in seen:
            raise UsageError(f"{option} is given twice")
        seen.add(option)
        if not equals and next(words, None) is None:
            raise UsageError(f"{option} needs a value")
    return seen


def _announce(replicas: int, url: str) -> None:
    if replicas > 1:
        sys.stderr.write(
            f"fluxperf mock: {replicas} replicas take the connections in turn, each with a cache of its own; "
            "/truth, /metrics and the resets are of all of them\n"
        )
    sys.stdout.write(f"fluxperf mock listening on {url}\n")
    sys.stdout.flush()
