"""The command line: usage text in, settings out, an exit code at the end. What a run does is `fluxperf.runner`'s.

Heavy imports happen only once there is work to do, so that --help answers at once.
"""

from __future__ import annotations

import difflib
import io
import json
import os
import re
import signal
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from fluxperf import __version__
from fluxperf.errors import FluxPerfError, Interrupted, NotYetError, RunFailed, UsageError

USAGE = """FluxPerf: how much does the cache of an OpenAI-compatible LLM server help, and can the number be trusted?

Usage:
  fluxperf [run] [options]
  fluxperf mock [MOCK_OPTIONS...]
  fluxperf --help | --version

`run`, which may be left out, sends the same prompts in rounds at each level of concurrency, streams
every answer, and compares the rounds prompt by prompt. `mock` is a mock LLM server (fluxperf mock --help).
A list takes spaces: --concurrency 5 10 20.

What to send, and where:
  --dataset FILE             Prompts: JSONL, a JSON array, or {"data": [...]}
  --endpoint URL             Full URL of chat completions, e.g. http://localhost:8000/v1/chat/completions
  --model NAME               Default: the one model that the server lists
  --api-key KEY              Default: from the environment, FLUXPERF_API_KEY or OPENAI_API_KEY
  --api-key-env NAME         Take the key from this environment variable
  --header HEADER            A further header, 'Name: value'; may be repeated
  --num-samples N...         Prompts a level: one number, or one for each level; default: all
  --concurrency N...         Requests in flight, one level after the other [default: 10]
  --same-samples             Use the same prompts at every level
  --mode MODE                dual_round [default: dual_round]
  --rounds N                 Rounds of the same prompts [default: 2]
  --no-shuffle-round2        Keep the order of round 1 in later rounds
  --seed N                   Decides what is drawn and how it is shuffled [default: 42]

What to ask for:
  --max-output-tokens N      [default: 256]
  --min-output-tokens N
  --temperature X            [default: 0]
  --top-p X
  --extra-body JSON          Further keys of the body; a null removes a key
  --max-input-length N       Cut each prompt to N characters

The client:
  --timeout S                For a whole request, from sent to end [default: 300]
  --workers N                Processes; default: one a core, at most the concurrency
  --http VERSION             auto or 1.1 [default: auto]
  --timestamps SOURCE        auto, kernel or user: what stamps arrivals [default: auto]
  --slo-file FILE            Service level objectives (YAML), for goodput

The built-in mock server:
  --mock-server              Start it and test it; an endpoint given beside it is overridden
  --mock-host HOST           [default: 127.0.0.1]
  --mock-port PORT           0: any free port [default: 0]

What to leave behind:
  --output-dir DIR           [default: results]
  --overwrite                Replace an earlier run in DIR; without it, that run is renamed
  --save-requests            Keep every body, answer and event time
  --debug                    A line for each request's life
  --debug-verbose            The same with payloads, a file a session
  --debug-log-dir DIR        [default: debug_logs]
  --label LABEL              K=V to keep with the result; may be repeated
  --quiet                    Say nothing but errors
  --no-progress              No live progress
  -h, --help
  --version

Exit codes: 0 done, 2 wrong usage, 3 the run failed, 130 and 143 interrupted.
"""

LISTS = frozenset({"--num-samples", "--concurrency"})
REPEATED = frozenset({"--header", "--label"})

# Promised, not built. Each is taken out of here when it is.
LATER_COMMANDS = frozenset({"calibrate", "compare", "report", "baseline"})
LATER_OPTIONS = frozenset(
    f"--{name}"
    for group in (
        (
            "arrival",
            "cooldown",
            "duration",
            "grace",
            "max-in-flight",
            "replay-round1",
            "request-rate",
            "speed",
            "sweep",
        ),
        ("launcher", "nodes", "ray-address", "rows", "trace", "warmup", "workers-per-node"),
        ("as", "baseline", "fail-on", "github", "judge", "junit", "markdown", "repeat", "strict"),
        ("ca-file", "client-cert", "client-key", "insecure", "streams-per-connection"),
        ("control-round", "engine", "round2-order", "salt", "prometheus-metrics", "prometheus-url"),
        ("reset-cache-url", "reset-cache-between-rounds", "reset-cache-between-concurrency"),
        ("dry-run", "max-context-tokens", "own-history", "recipe", "resume", "tokenizer"),
    )
    for name in group
)

_OPTION_LINE = re.compile(r"^  (?:-h, )?(--[a-z0-9-]+)(?: ([A-Z]+(?:\.\.\.)?))?(?:  |$)", re.MULTILINE)
OPTIONS: dict[str, bool] = {name: bool(value) for name, value in _OPTION_LINE.findall(USAGE)}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    _replace_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show a character shows another
            stream.reconfigure(errors="replace")
    try:
        if words[:1] == ["mock"]:
            from fluxperf_mock.cli import main as serve_mock

            return serve_mock(words[1:])
        return _run(words)
    except FluxPerfError as error:
        if isinstance(error, Interrupted):  # all is written: a further signal shall not change the exit code
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _complain("interrupted")
        return 130
    except ModuleNotFoundError as error:
        _complain(f"the Python package {error.name!r} is missing: pip install -r requirements.txt")
        return UsageError.exit_code
    except Exception as error:  # the outermost boundary: whatever it is, it is our failure
        _complain(f"internal error: {type(error).__name__}: {error}; the traceback is in {_write_traceback(error)}")
        return RunFailed.exit_code


def _replace_closed_streams() -> None:
    """After `>&-` or `2>&-` output goes nowhere; otherwise what is opened next would get the stream's number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # which gets the lowest number that is free
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w", closefd=False))  # noqa: SIM115 - it lives as long as we do


def _run(words: list[str]) -> int:
    if sys.platform != "linux":
        raise UsageError("FluxPerf needs Linux: its measurement stands on epoll, timerfd and kernel receive stamps")
    from fluxperf.masking import hide_in_title

    hide_in_title(secrets_in(words))
    values = parse(words)
    if values is None:
        return 0
    from fluxperf.plan.settings import read_settings

    settings = read_settings(values)
    from fluxperf.runner import run

    return run(settings)


def parse(words: Sequence[str]) -> dict[str, Any] | None:
    """The options by name, with `_` for `-`, as strings; None if help or the version was all that was asked for.

    Raises UsageError.
    """
    import docopt

    check_command(words)
    try:
        found = docopt.docopt(_docopt_usage(), argv=expand(words), default_help=False)
    except docopt.DocoptExit as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"{reason}\nfluxperf --help lists the options") from error
    if found["--help"]:
        sys.stdout.write(USAGE)
        return None
    if found["--version"]:
        sys.stdout.write(f"fluxperf {__version__}\n")
        return None
    given = {name.partition("=")[0] for name in words}
    return {
        name[2:].replace("-", "_"): value
        for name, value in found.items()
        if name.startswith("--") and name not in ("--help", "--version") and (name in given or value not in ([], None))
    }


def check_command(words: Sequence[str]) -> None:
    """Raises NotYetError or UsageError for a first word that is no command of ours."""
    first = words[0] if words else ""
    if first in LATER_COMMANDS:
        raise NotYetError(f"fluxperf {first} is not yet built")
    if first and not first.startswith("-") and first != "run":
        nearest = difflib.get_close_matches(first, ["run", "mock", *LATER_COMMANDS], n=1)
        hint = f", did you mean {nearest[0]}?" if nearest else ""
        raise UsageError(f"unknown command {first!r}{hint}\nfluxperf --help lists the commands")


def expand(words: Sequence[str]) -> list[str]:
    """The words as docopt wants them: each option with its value in one word, list options once for each value.

    A list ends at the next option. Raises UsageError for unknown options (docopt would take any
    abbreviation), NotYetError for those to come.
    """
    expanded: list[str] = []
    seen: set[str] = set()
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if not word.startswith("--"):
            if word not in ("-h", "run") or (word == "run" and expanded):
                raise UsageError(f"unexpected {word!r}: it belongs to no option\nfluxperf --help lists the options")
            expanded.append(word)
            continue
        check_option(name)
        if name in seen and name not in LISTS | REPEATED:
            raise UsageError(f"{name} is given twice")
        seen.add(name)
        values = [value] if equals else []
        while OPTIONS[name] and rest and not _is_option(rest[0]) and (not values or name in LISTS):
            values.append(rest.pop(0))
        if OPTIONS[name] and not values:
            raise UsageError(f"{name} needs a value")
        if equals and not OPTIONS[name]:
            raise UsageError(f"{name} takes no value")
        expanded += [f"{name}={value}" for value in values] or [name]
    return expanded


def check_option(name: str) -> None:
    """Raises NotYetError or UsageError unless it is an option of ours, in full."""
    if name in OPTIONS:
        return
    if name in LATER_OPTIONS:
        raise NotYetError(f"{name} is not yet built")
    nearest = difflib.get_close_matches(name, OPTIONS, n=1)
    hint = f", did you mean {nearest[0]}?" if nearest else ""
    raise UsageError(f"unknown option {name}{hint}\nfluxperf --help lists the options")


def _is_option(word: str) -> bool:
    return word.startswith("--") or word == "-h"


def secrets_in(words: Sequence[str]) -> list[str]:
    """What on the command line nobody else on this machine should read."""
    from fluxperf.masking import secrets_in_header, secrets_in_json, secrets_in_url

    headers = [text.partition(":") for text in _given(words, "--header")]
    in_headers = [secret for name, _, text in headers for secret in secrets_in_header(name, text.strip())]
    in_urls = [secret for url in _given(words, "--endpoint") for secret in secrets_in_url(url)]
    in_bodies = [secret for text in _given(words, "--extra-body") for secret in secrets_in_json(_as_json(text))]
    return _given(words, "--api-key") + in_headers + in_urls + in_bodies


def _as_json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _given(words: Sequence[str], name: str) -> list[str]:
    """The values that an option was given, before anything is checked."""
    following = [value for word, value in pairwise(words) if word == name]
    return following + [word.partition("=")[2] for word in words if word.startswith(f"{name}=")]


def _docopt_usage() -> str:
    """The usage text with list options as docopt writes those that may be repeated."""
    repeated = " ".join(f"[{name}=X]..." for name in sorted(LISTS | REPEATED))
    options = "\n".join(f"  {name}{'=X' if value else ''}" for name, value in OPTIONS.items() if name != "--help")
    return f"Usage: fluxperf [run] [options] {repeated}\n\nOptions:\n  -h --help\n{options}\n"


def _write_traceback(error: Exception) -> str:
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="fluxperf-", suffix=".log", delete=False, encoding="utf-8") as log:
        log.writelines(traceback.format_exception(error))
    return log.name


def _complain(message: str) -> None:
    from fluxperf.files import write_stream

    write_stream(sys.stderr, "".join(f"fluxperf: {line}\n" for line in message.splitlines() or [""]))
