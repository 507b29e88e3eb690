"""Whether a client that cannot keep up says so, and what a verdict does to the end of a run.

That an idle machine is not flagged is a matter of the rules (tests/analysis): the one that runs this may be busy.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.command import Ended, Fluxperf, fluxperf_in
from tests.end_to_end.servers import Exchange, Mock, Serve, running_mock

STALL_MS = 20


@pytest.fixture(scope="module")
def slow_mock() -> Iterator[Mock]:
    """A mock server that takes 10 ms a token."""
    with running_mock("--decode-ms", "10", "--overhead-ms", "5", "--tokens", "15") as mock:
        yield mock


@pytest.fixture(scope="module")
def stalled(tmp_path_factory: pytest.TempPathFactory, slow_mock: Mock) -> Iterator[tuple[Ended, Any, Any]]:
    """How a run with one worker of two that stands still ended, its round 1 and its run.json."""
    with fluxperf_in(tmp_path_factory.mktemp("stalled")) as fluxperf:
        fluxperf.write_prompts(12)
        line = fluxperf.measuring(slow_mock.url, "--concurrency 4 --workers 2 --rounds 2 --strict")
        ended = fluxperf(line, {"FLUXPERF_TEST_STALL": f"{STALL_MS}ms every 60ms in worker 1"})
        yield ended, fluxperf.round(4, 1), fluxperf.run_json()


def test_a_worker_that_stands_still_is_flagged(stalled: tuple[Ended, Any, Any]) -> None:
    _, result, _ = stalled
    summary = result["summary"]
    assert summary["verdict"]["status"] != "valid"
    (check,) = [check for check in summary["checks"] if check["name"] == "stalls"]
    assert check["ok"] is False
    assert "worker 1 stood still for up to " in check["text"]
    assert check["text"] in summary["verdict"]["reasons"]


def test_the_audit_tells_which_worker_and_how_long(stalled: tuple[Ended, Any, Any]) -> None:
    _, result, _ = stalled
    audit = result["summary"]["audit"]
    assert [worker["worker"] for worker in audit["workers"]] == [0, 1]
    worker = audit["workers"][1]
    assert worker["longest_stall_ms"] >= STALL_MS
    assert worker["stalls"] >= 1
    assert audit["away_ms"]["max"] >= STALL_MS


def test_the_verdict_is_in_the_run_the_csv_and_the_closing_text(stalled: tuple[Ended, Any, Any]) -> None:
    ended, _, run = stalled
    status = run["verdict"]["status"]
    assert status != "valid"
    assert any("worker 1 stood still" in reason for reason in run["verdict"]["reasons"])
    assert all(reason.startswith("concurrency 4") for reason in run["verdict"]["reasons"])
    closing = ended.out[ended.out.index("Comparison of Rounds") :]
    assert f"\n\nVerdict: {status}:\n  Concurrency 4, round 1: " in closing


def test_the_exit_code_is_that_of_the_verdict_if_strict(fluxperf: Fluxperf, slow_mock: Mock) -> None:
    """What stands still nine tenths of the time reads whole answers at once: that is degraded at best."""
    fluxperf.write_prompts(8)
    line = fluxperf.measuring(slow_mock.url, "--concurrency 4 --workers 1 --rounds 1")
    stall = {"FLUXPERF_TEST_STALL": "100ms every 10ms"}
    assert fluxperf(line, stall).code == 0
    assert fluxperf.run_json()["verdict"]["status"] != "valid"

    ended = fluxperf(f"{line} --strict --overwrite", stall)
    run = fluxperf.run_json()
    status = run["verdict"]["status"]
    assert (status, ended.code) in {("invalid", 4), ("degraded", 0)}, ended.err
    assert (run["partial"], run["configuration"]["strict"]) == (False, True)
    assert fluxperf.round(4, 1)["summary"]["verdict"]["status"] == status
    assert [row["verdict"] for row in fluxperf.csv_rows()] == [status]
    assert f"Verdict: {status}" in ended.out
    told = [line.removeprefix("fluxperf: ") for line in ended.err.splitlines()]
    assert ("the measurement is invalid (--strict):" in told) is (ended.code == 4)
    assert (set(run["verdict"]["reasons"]) <= set(told)) is (ended.code == 4)


def test_what_is_degraded_is_no_failure_however_strict(fluxperf: Fluxperf, serve: Serve) -> None:
    """Answers in one write have no gaps and no ITL: neither is shown, and the rest is as good as ever."""
    server = serve(lambda exchange: exchange.stream("a", "b", "c"))
    fluxperf.write_prompts(4)
    ended = fluxperf.measure(server.url, "--concurrency 2 --rounds 1 --strict")
    assert ended.code == 0, ended.err
    result = fluxperf.round(2, 1)
    summary = result["summary"]
    assert summary["verdict"]["status"] != "valid"
    assert {"chunk_gap_ms", "itl_ms"} <= set(summary["verdict"]["figures"])
    assert "100% of answers came at once" in " ".join(summary["verdict"]["reasons"])
    assert [summary[name]["p50"] for name in ("chunk_gap_ms", "itl_ms")] == [None, None]
    assert [(row["itl_ms"], row["max_gap_ms"]) for row in result["requests"]] == [(None, None)] * 4
    assert all(row["ttft_ms"] > 0 for row in result["requests"])
    assert set(summary["unmeasured"]) == {"chunk_gap_ms", "itl_ms"}
    assert "│ * ITL (ms) " in ended.out
    assert "│ * Chunk gap (ms) " in ended.out


def test_a_run_in_which_nothing_succeeded_ends_with_3_however_strict(fluxperf: Fluxperf, serve: Serve) -> None:
    def fail(exchange: Exchange) -> None:
        exchange.answer(500, "no")

    server = serve(fail)
    fluxperf.write_prompts(2)
    assert fluxperf.measure(server.url, "--concurrency 2 --rounds 1 --strict").code == 3
    assert fluxperf.run_json()["verdict"] == {
        "status": "invalid",
        "reasons": ["concurrency 2, round 1: not one request succeeded"],
    }


def test_a_stall_that_nobody_can_read_is_refused(fluxperf: Fluxperf, mock: Mock, tmp_path: Path) -> None:
    fluxperf.write_prompts(1)
    ended = fluxperf(fluxperf.measuring(mock.url), {"FLUXPERF_TEST_STALL": "often"})
    assert ended.code == 3
    assert "FLUXPERF_TEST_STALL must look like '20ms every 200ms'" in ended.err
