"""The command line: usage text in, settings out, an exit code at the end. What a run does is `fluxperf.runner`'s.

Heavy imports happen only once there is work to do, so that --help answers at once.
"""

from __future__ import annotations

import difflib
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluxperf import __version__
from fluxperf.errors import FluxPerfError, Interrupted, NotYetError, RunFailed, UsageError
from fluxperf.files import replace_closed_streams
from fluxperf.usage import COMMANDS, LATER_OPTIONS, LISTS, OPTIONS, REPEATED, USAGE
from fluxperf.words import take_option, unknown_option

if TYPE_CHECKING:
    from fluxperf.plan.campaign import Campaign


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    replace_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show a character shows another
            stream.reconfigure(errors="replace")
    try:
        command = _find_command(words[0] if words else "")
        return _run(words) if command is None else command(words[1:])
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


def _find_command(name: str) -> Callable[[Sequence[str]], int] | None:
    """What takes the words after the name of a command; None: it is none, or `run`."""
    if name == "mock":
        from fluxperf_mock.cli import main as serve_mock

        return lambda rest: serve_mock(list(rest))
    if name == "calibrate":
        from fluxperf.calibrate.cli import main as calibrate

        _check_platform()
        return calibrate
    if name == "compare":
        from fluxperf.compare.command import main as compare

        return compare
    if name == "report":
        from fluxperf.presentation.command import main as report

        return report
    if name == "baseline":
        from fluxperf.baselines.command import main as baseline

        return baseline
    return None


def _check_platform() -> None:
    if sys.platform != "linux":
        raise UsageError("FluxPerf needs Linux: its measurement stands on epoll, timerfd and kernel receive stamps")


def _run(words: list[str]) -> int:
    _check_platform()
    from fluxperf.masking import hide_in_title

    hide_in_title(secrets_in(words))
    values = parse(words)
    if values is None:
        return 0
    from fluxperf import runner
    from fluxperf.plan.campaign import repeat

    campaign = repeat(read_campaign(values))

    return runner.show(campaign) if values["dry_run"] else runner.run(campaign, resume=values["resume"])


def read_campaign(values: Mapping[str, Any]) -> Campaign:
    """What the options ask for, with a recipe or without one. Raises UsageError."""
    given = {name: raw for name, raw in values.items() if name not in ("recipe", "resume", "dry_run")}
    recipe = values.get("recipe")
    if recipe is not None:
        from fluxperf.plan.recipe.load import RecipeSurroundings, load_recipe
        from fluxperf.survey import find_selector_problem
        from fluxperf_mock.settings import MockSettings, find_problem

        def find_mock_conflict(values: Mapping[str, Any]) -> str | None:
            try:
                MockSettings(**values)
            except UsageError as error:
                return str(error)
            return None

        os.environ.setdefault("FLUXPERF_PYTHON", sys.executable)  # for recipes, and the shell lines in them
        names = frozenset(MockSettings.__dataclass_fields__)
        later = frozenset(name.removeprefix("--").replace("-", "_") for name in LATER_OPTIONS)
        surroundings = RecipeSurroundings(
            environ=os.environ,
            mock_names=names,
            find_mock_problem=find_problem,
            later=later,
            find_mock_conflict=find_mock_conflict,
            find_metric_problem=find_selector_problem,
        )
        return load_recipe(Path(recipe), given, surroundings)
    from fluxperf.plan.campaign import campaign_of
    from fluxperf.plan.settings import read_settings

    if given.pop("continue_on_error", None):
        raise UsageError("--continue-on-error needs --recipe: without one there is one stage")
    return campaign_of(read_settings(given))


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
        "lens" if name == "--as" else name[2:].replace("-", "_"): value  # `as` is no name in Python
        for name, value in found.items()
        if name.startswith("--") and name not in ("--help", "--version") and (name in given or value not in ([], None))
    }


def check_command(words: Sequence[str]) -> None:
    """Raises UsageError for a first word that is no command of ours."""
    first = words[0] if words else ""
    if first and not first.startswith("-") and first != "run":
        nearest = difflib.get_close_matches(first, COMMANDS, n=1)
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
        name = word.partition("=")[0]
        if not word.startswith("--"):
            if word not in ("-h", "run") or (word == "run" and expanded):
                raise UsageError(f"unexpected {word!r}: it belongs to no option\nfluxperf --help lists the options")
            expanded.append(word)
            continue
        check_option(name)
        if name in seen and name not in LISTS | REPEATED:
            raise UsageError(f"{name} is given twice")
        seen.add(name)
        expanded += take_option(word, rest, takes_value=OPTIONS[name], is_list=name in LISTS)
    return expanded


def check_option(name: str) -> None:
    """Raises NotYetError or UsageError unless it is an option of ours, in full."""
    if name in OPTIONS:
        return
    if name in LATER_OPTIONS:
        raise NotYetError(f"{name} is not yet built")
    raise unknown_option(name, OPTIONS, "fluxperf")


def secrets_in(words: Sequence[str]) -> list[str]:
    """What on the command line nobody else on this machine should read."""
    from fluxperf.masking import secrets_in_header, secrets_in_json, secrets_in_url

    headers = [text.partition(":") for text in _given(words, "--header")]
    in_headers = [secret for name, _, text in headers for secret in secrets_in_header(name, text.strip())]
    urls = [url for option in ("--endpoint", "--reset-cache-url", "--prometheus-url") for url in _given(words, option)]
    in_urls = [secret for url in urls for secret in secrets_in_url(url)]
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
