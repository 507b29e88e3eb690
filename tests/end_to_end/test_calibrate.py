"""`fluxperf calibrate` as its users run it, on schedules that take no time."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fluxperf.calibrate.server import find_compiler
from tests.end_to_end.command import Ended, Fluxperf
from tests.end_to_end.servers import Mock

SHORT = "calibrate --quick --ttft-ms 5 --itl-ms 1 --tokens 4 --max-streams 2"


@pytest.fixture
def compiler() -> None:
    if find_compiler() is None:
        pytest.skip("there is no C compiler")


def load(fluxperf: Fluxperf, ended: Ended, name: str = "calibration.json") -> Any:
    """What was written. On a machine that is too busy even for two streams nothing is, and that is said."""
    if "nothing is written" in ended.err:
        assert not (fluxperf.place / name).exists()
        pytest.skip("this machine is too busy to measure anything now")
    return json.loads((fluxperf.place / name).read_text("utf-8"))


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("http", ["1.1", "2"])
def test_a_calibration_is_a_table_a_verdict_and_a_file(fluxperf: Fluxperf, http: str) -> None:
    ended = fluxperf(f"{SHORT} --http {http}")
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[0].startswith("Streams  Tokens/s   TTFT error, ms")
    assert lines[3].split()[0].rstrip("*!") == "2"
    assert max(map(len, lines)) <= 80
    assert f"HTTP/{http}, against the compiled server" in ended.out
    assert "2 streams: 100 requests, about 1 s" in ended.err
    found = load(fluxperf, ended)
    assert "written to " in ended.err
    assert found["schema"] == "fluxperf.calibration/1"
    entry = found["protocols"][http]
    assert (entry["server"], entry["schedule"]) == ("compiled", {"ttft_ms": 5.0, "itl_ms": 1.0, "tokens": 4})
    (step,) = entry["steps"]
    assert (step["streams"], step["requests"], step["lost"]) == (2, 100, 0)
    assert step["ttft_p50"]["true_ms"] >= 5
    assert entry["verdict"]["text"].split()[0] in ("on", "nothing")
    assert {path.name for path in fluxperf.place.iterdir()} == {"calibration.json"}


def test_without_a_compiler_the_mock_is_used_and_that_is_said(fluxperf: Fluxperf) -> None:
    ended = fluxperf(f"{SHORT} --output here.json", {"PATH": ""})
    assert ended.code == 0, ended.err
    assert "no C compiler that works: the mock server is used" in ended.err
    assert "the mock server (no C compiler was used)" in " ".join(ended.out.split())
    (step,) = load(fluxperf, ended, "here.json")["protocols"]["1.1"]["steps"]
    assert step["lost"] == 0


def test_the_compiled_server_cannot_be_had_without_a_compiler(fluxperf: Fluxperf) -> None:
    ended = fluxperf("calibrate --server compiled", {"PATH": ""})
    assert (ended.code, ended.out) == (2, "")
    assert "no C compiler here" in ended.err


def test_a_run_beyond_it_is_warned(fluxperf: Fluxperf, mock: Mock) -> None:
    ended = fluxperf(f"{SHORT} --server mock")
    assert ended.code == 0, ended.err
    found = load(fluxperf, ended)
    found["protocols"]["1.1"]["verdict"]["streams"] = 2
    (fluxperf.place / "calibration.json").write_text(json.dumps(found))
    fluxperf.write_prompts(6)
    warning = "3 streams a worker are more than this machine was calibrated for (2, with a token each 1 ms)"
    beyond = fluxperf.measure(mock.url, "--concurrency 6 --workers 2 --rounds 1")
    assert (beyond.code, warning in beyond.err) == (0, True)
    within = fluxperf.measure(mock.url, "--concurrency 4 --workers 2 --rounds 1")
    assert (within.code, "calibrated for" in within.err) == (0, False)
    quiet = fluxperf.measure(mock.url, "--concurrency 6 --workers 2 --rounds 1 --quiet")
    assert (quiet.code, quiet.err) == (0, "")


def test_a_calibration_that_is_none_does_not_stop_a_run(fluxperf: Fluxperf, mock: Mock) -> None:
    fluxperf.write_prompts(2)
    assert "fluxperf calibrate" not in fluxperf.measure(mock.url, "--rounds 1").err
    named = fluxperf(fluxperf.measuring(mock.url, "--rounds 1 --overwrite"), {"FLUXPERF_CALIBRATION": "missing.json"})
    assert named.code == 0
    assert "missing.json is no calibration that can be read (No such file or directory)" in named.err


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("by", ["Ctrl-C", "SIGTERM"])
def test_an_interrupt_leaves_no_process_behind(fluxperf: Fluxperf, by: str) -> None:
    running = fluxperf.start("calibrate --ttft-ms 10000 --itl-ms 1000")
    running.wait_until(lambda: len(running.others) >= 3)  # the server, the command, its worker
    if by == "Ctrl-C":
        running.press_ctrl_c()
    else:
        running.process.terminate()
    ended = running.end()  # which asserts that nothing is left
    assert ended.code == (130 if by == "Ctrl-C" else 143)
    assert ended.out == ""
    assert ended.err.splitlines()[-1] == "fluxperf: interrupted"
    assert list(fluxperf.place.iterdir()) == []
