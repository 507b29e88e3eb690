"""What every tool's command line has in common: options read in full, and an end with one message and an exit code.

It knows nothing of what a tool does.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from fluxperf import __version__, words
from fluxperf.errors import FluxPerfError, RunFailed, UsageError
from fluxperf.files import replace_closed_streams, write_stream

_WHOLE = re.compile("[+-]?[0-9]{1,18}")
_HELP = ("-h", "--help")
_VERSION = "--version"


def run(command: Callable[[], int]) -> int:
    """Runs a tool and returns its exit code; what ends it early is told in one message on stderr.

    A FluxPerfError has its own code; SIGINT 130, SIGTERM 143, a reader that has gone (`| head`) 141 without a
    word. Anything else is our fault: one line, the traceback in a file, 3. A SystemExit is obeyed.
    """
    replace_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show a character shows another
            stream.reconfigure(errors="replace")
    try:
        with _terminable():
            return command()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except FluxPerfError as error:
        complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        complain("interrupted")
        return 128 + signal.SIGINT
    except _Terminated:
        complain("terminated")
        return 128 + signal.SIGTERM
    except BrokenPipeError:
        return 128 + signal.SIGPIPE
    except ModuleNotFoundError as error:
        complain(f"the Python package {error.name!r} is missing: pip install -r requirements.txt")
        return UsageError.exit_code
    except Exception as error:  # the outermost boundary: whatever it is, it is our failure
        complain(f"internal error: {type(error).__name__}: {error}; the traceback is in {_write_traceback(error)}")
        return RunFailed.exit_code


def parse(usage: str, argv: Sequence[str], lists: Collection[str] = ()) -> dict[str, Any]:
    """What docopt makes of the arguments `argv`: its own names (`--seed`, `INPUT`), and strings.

    Options are written in full, once, and with a value if the usage's list of options shows one. Those in
    `lists` take several (`--dataset a b c`, up to the next option, or given again) and are in the usage as
    `[--dataset=NAME]...`. `--help` and `--version` print and raise SystemExit. Raises UsageError.
    """
    if any(word in _HELP for word in argv):
        _answer(usage)
    if _VERSION in argv:
        _answer(f"{name()} {__version__}\n")
    return words.parse(usage, argv, name(), lists)


def read_number(given: Mapping[str, Any], option: str, least: int | None = None) -> int | None:
    """The whole number that was given for an option; None if none was. Raises UsageError."""
    return None if given[option] is None else read_whole(option, given[option], least)


def read_whole(option: str, text: str, least: int | None = None) -> int:
    """The whole number in the text, with a sign or without; at least `least`. Raises UsageError."""
    number = int(text) if _WHOLE.fullmatch(text) else None
    if number is None or (least is not None and number < least):
        wanted = "" if least is None else f" of at least {least}"
        raise UsageError(f"{option} must be a whole number{wanted}, but is {text[:40]!r}")
    return number


def name() -> str:
    """The command's name, as it was started."""
    return Path(sys.argv[0]).stem or "fluxperf"


def complain(message: str) -> None:
    """The message on stderr, the command's name before each line."""
    write_stream(sys.stderr, "".join(f"{name()}: {line}\n" for line in message.splitlines() or [""]))


def _answer(text: str) -> NoReturn:
    write_stream(sys.stdout, text if text.endswith("\n") else f"{text}\n")
    raise SystemExit(0)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Within the block SIGTERM ends the program as an exception does, so that temporary files are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Terminated(BaseException):
    """SIGTERM. No Exception, which many a library survives, and would go on."""


def _terminate(_signum: int, _frame: object) -> NoReturn:
    raise _Terminated


def _write_traceback(error: Exception) -> str:
    with tempfile.NamedTemporaryFile("w", prefix="fluxperf-", suffix=".log", delete=False, encoding="utf-8") as log:
        log.writelines(traceback.format_exception(error))
    return os.fspath(log.name)
