from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fluxperf.errors import FluxPerfError, RunFailed, UsageError
from fluxperf_tools.command import parse, read_number, read_whole, run

USAGE = """What it does.

Usage: tool INPUT OUTPUT [--dataset=NAME]... [options]

  --dataset NAME...  One or more.
  --seed N           A number. [default: 42]
  --min-tokens=N     Another.
  --strict           A switch, and --no-such-thing is mentioned here.
  -h, --help         Show this.
  --version          Show the version.
"""


def parsed(*words: str) -> dict[str, object]:
    return parse(USAGE, words, ["--dataset"])


def test_options_have_the_names_and_values_of_docopt() -> None:
    found = parsed("in", "--strict", "--dataset", "a", "b-c", "--seed", "-1", "out", "--dataset=d", "--min-tokens", "3")
    assert found == {
        "INPUT": "in",
        "OUTPUT": "out",
        "--dataset": ["a", "b-c", "d"],
        "--seed": "-1",
        "--min-tokens": "3",
        "--strict": True,
        "--help": False,
        "--version": False,
    }
    assert parsed("in", "out")["--seed"] == "42"
    assert parsed("-", "out")["INPUT"] == "-"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["in", "out", "--sed", "1"], "unknown option --sed, did you mean --seed?"),
        (["in", "out", "--min", "1"], "unknown option --min"),
        (["in", "out", "--no-such-thing"], "unknown option --no-such-thing"),
        (["in", "--", "out"], "unknown option --"),
        (["in", "out", "-x"], "unknown option -x"),
        (["in", "out", "--seed"], "--seed needs a value"),
        (["in", "out", "--seed", "--strict"], "--seed needs a value"),
        (["in", "out", "--dataset"], "--dataset needs a value"),
        (["in", "out", "--strict=yes"], "--strict takes no value"),
        (["in", "out", "--seed", "1", "--seed", "2"], "--seed is given twice"),
        (["in"], "Usage: tool INPUT OUTPUT"),
        (["in", "out", "more"], "Usage: tool INPUT OUTPUT"),
    ],
)
def test_what_is_wrong_is_said(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsed(*words)
    assert message in str(caught.value)
    assert "--help" in str(caught.value) or "value" in str(caught.value) or "twice" in str(caught.value)


def test_help_and_version_are_printed_whatever_else_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(lambda: len(parsed("--nonsense", "-h"))) == 0
    assert capsys.readouterr().out == USAGE
    assert run(lambda: len(parsed("--version"))) == 0
    assert capsys.readouterr().out.split()[-1].count(".") == 2


@pytest.mark.parametrize(("text", "number"), [("5", 5), ("+5", 5), ("-3", -3), ("0", 0), ("9" * 18, 10**18 - 1)])
def test_whole_numbers(text: str, number: int) -> None:
    assert read_whole("--seed", text) == number
    assert read_number(parsed("in", "out", "--seed", text), "--seed") == number
    assert read_number(parsed("in", "out"), "--min-tokens", 1) is None


@pytest.mark.parametrize("text", ["", "x", "1.5", "1e3", " 5", "5\n", "--5", "٣", "9" * 19])
def test_what_is_no_whole_number_is_told(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--seed must be a whole number, but is "):
        read_whole("--seed", text)


def test_a_number_may_have_to_be_large_enough() -> None:
    assert read_whole("--min-tokens", "2", 2) == 2
    with pytest.raises(UsageError, match=r"^--min-tokens must be a whole number of at least 2, but is '1'$"):
        read_whole("--min-tokens", "1", 2)


def raising(error: BaseException) -> Callable[[], int]:
    def command() -> int:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UsageError("one\ntwo"), 2, ["one", "two"]),
        (RunFailed("gone"), 3, ["gone"]),
        (FluxPerfError(""), 3, [""]),
        (KeyboardInterrupt(), 130, ["interrupted"]),
        (BrokenPipeError(), 141, []),
        (SystemExit(5), 5, []),
        (SystemExit(), 0, []),
        (
            ModuleNotFoundError(name="ijson"),
            2,
            ["the Python package 'ijson' is missing: pip install -r requirements.txt"],
        ),
    ],
)
def test_each_end_has_its_code_and_message(
    error: BaseException,
    code: int,
    said: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/convert_x.py"])
    assert run(raising(error)) == code
    assert capsys.readouterr().err.splitlines() == [f"convert_x: {line}" for line in said]


def test_an_error_of_ours_leaves_its_traceback_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(raising(ZeroDivisionError("oh"))) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "internal error: ZeroDivisionError: oh" in line
    log = Path(line.rpartition(" ")[2])
    assert "Traceback" in log.read_text()
    log.unlink()


def test_sigterm_ends_it_as_an_exception_does() -> None:
    ended: list[str] = []

    def command() -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Exception:
            ended.append("swallowed, as some libraries would")
        finally:
            ended.append("cleaned up")
        return 0

    before = signal.getsignal(signal.SIGTERM)
    assert run(command) == 143
    assert ended == ["cleaned up"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_it_runs_in_any_thread() -> None:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(run(lambda: 7)))
    thread.start()
    thread.join()
    assert codes == [7]
