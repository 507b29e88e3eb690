from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from fluxperf.calibrate.cli import DEFAULTS, READERS, USAGE, main, parse, read_asked
from fluxperf.calibrate.record import SCHEMA
from fluxperf.calibrate.search import Range, Verdict, conclude
from fluxperf.calibrate.server import Schedule
from fluxperf.calibrate.step import Step
from fluxperf.errors import UsageError
from tests.calibrate.steps import make_step

OPTIONS = re.findall(r"^  (?:-h, )?--([a-z-]+)", USAGE, re.MULTILINE)


def test_without_options_the_values_are_the_defaults_that_the_usage_text_tells() -> None:
    assert parse([]) == DEFAULTS
    told = dict(re.findall(r"^  --([a-z-]+) .*?\[default: (.+?)\]", USAGE, re.MULTILINE))
    assert parse([word for name, text in told.items() for word in (f"--{name}", text)]) == DEFAULTS
    assert set(told) | {"quick"} == {name.replace("_", "-") for name in DEFAULTS}


def test_every_option_is_in_the_usage_text() -> None:
    assert {name.replace("-", "_") for name in OPTIONS} - {"help"} == set(READERS) == set(DEFAULTS)


def test_options_are_read() -> None:
    words = "--http=2 --ttft-ms 5.5 --itl-ms 1 --tokens 8 --max-streams 100 --server mock --quick --output x.json"
    assert parse(words.split()) == {
        "http": "2",
        "ttft_ms": 5.5,
        "itl_ms": 1.0,
        "tokens": 8,
        "max_streams": 100,
        "server": "mock",
        "quick": True,
        "output": "x.json",
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--token 5", "unknown '--token', did you mean --tokens?"),
        ("--frobnicate", "unknown '--frobnicate'"),
        ("5", "unknown '5'"),
        ("-x", "unknown '-x'"),
        ("ttft-ms", "unknown 'ttft-ms'"),
        ("--tokens 5 --tokens 5", "--tokens is given twice"),
        ("--quick --quick", "--quick is given twice"),
        ("--quick=yes", "--quick takes no value"),
        ("--tokens", "--tokens needs a value"),
        ("--tokens --quick", "--tokens needs a value"),
        ("--tokens=", "--tokens needs a value"),
        ("--tokens 1", "--tokens takes a whole number from 2 to 10000, not '1'"),
        ("--tokens 5.5", "--tokens takes a whole number"),
        ("--tokens \N{ARABIC-INDIC DIGIT FIVE}", "--tokens takes a whole number"),
        ("--max-streams 0", "--max-streams takes a whole number from 1"),
        ("--itl-ms 0", "--itl-ms takes a number from 0.1 to 10000, not '0'"),
        ("--ttft-ms nan", "--ttft-ms takes a number"),
        ("--ttft-ms fast", "--ttft-ms takes a number"),
        ("--http 3", "--http is one of 1.1, 2, not '3'"),
        ("--server fast", "--server is one of auto, compiled, mock"),
    ],
)
def test_wrong_usage_is_named(words: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(words.split())
    assert str(caught.value).splitlines()[0].startswith(f"calibrate: {message}")


def test_a_place_where_nothing_can_be_written_is_told_at_once(tmp_path: Path) -> None:
    for output in (tmp_path, tmp_path / "missing" / "calibration.json"):
        with pytest.raises(UsageError, match="must be a file in a directory that exists"):
            main(["--output", str(output)])


def test_a_file_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("my notes")
    with pytest.raises(UsageError, match=r"notes.txt is no calibration and is not replaced: remove it, or name"):
        main(["--output", str(notes)])
    with pytest.raises(UsageError, match="must be a file"):
        main(["--output", "/dev/null"])
    assert notes.read_text() == "my notes"


@pytest.mark.parametrize(
    ("step", "kept"), [(make_step(16, late_ms=5), True), (make_step(16, ttft_p99=5), False), (make_step(16), False)]
)
def test_where_nothing_can_be_said_an_earlier_calibration_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], step: Step, kept: bool
) -> None:
    def calibrate(_asked: object, steps: list[Step], _say: object) -> tuple[Verdict, dict[str, Any]]:
        steps.append(step)
        verdict = conclude(steps)
        schedule = {"ttft_ms": 50.0, "itl_ms": 10.0, "tokens": 64}
        facts = {"created_at": "now", "protocol": "1.1", "server": "mock", "cores_apart": True, "schedule": schedule}
        return verdict, facts | {"verdict": asdict(verdict)}

    monkeypatch.setattr("fluxperf.calibrate.session.calibrate", calibrate)
    path = tmp_path / "calibration.json"
    assert main(["--output", str(path)]) == 0
    assert path.exists() is not kept
    said = capsys.readouterr().err
    assert said == ("fluxperf: nothing is written\n" if kept else f"fluxperf: written to {path}\n")
    if kept:
        path.write_text(f'{{"schema": "{SCHEMA}"}}')
        assert main(["--output", str(path)]) == 0
        assert path.read_text() == f'{{"schema": "{SCHEMA}"}}'
        assert capsys.readouterr().err == f"fluxperf: nothing is written; {path} stays as it is\n"


def test_quick_is_less_of_everything() -> None:
    quick, whole = (read_asked(parse(words)) for words in (["--quick"], []))
    assert (quick.tries, quick.loads) == (1, Range(4096, halvings=0))
    assert (whole.tries, whole.loads) == (3, Range(4096))
    assert all(quick.count_requests(streams) < whole.count_requests(streams) for streams in (16, 100, 4096))


@pytest.mark.parametrize(
    ("streams", "requests"),
    [
        (16, 400),  # enough for a p99
        (30, 420),  # whole waves
        (64, 448),
        (512, 2048),  # four waves
    ],
)
def test_requests_suffice_for_a_p99(streams: int, requests: int) -> None:
    assert read_asked(parse([])).count_requests(streams) == requests


def test_long_answers_come_in_fewer_waves() -> None:
    asked = read_asked(parse(["--ttft-ms", "1000", "--itl-ms", "50", "--tokens", "101"]))
    assert asked.schedule == Schedule(1000, 50, 101)
    assert asked.schedule.answer_ms == 6000
    assert asked.count_requests(16) == 16 * 4


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["--tokens", "x", "--help"]])
def test_help_is_on_stdout(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    assert capsys.readouterr() == (USAGE, "")
    assert max(map(len, USAGE.splitlines())) <= 120
