"""Where results go: no run is mixed with an earlier one, and none is lost without being asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.end_to_end.command import Fluxperf
from tests.end_to_end.servers import Mock

EARLIER = {
    "run.json": '{"started_at": "2001-02-03T04:05:06Z"}',
    "metrics_summary.csv": "old",
    "concurrency_7_round_1.json": "old",
    "requests_concurrency_7_round_1.jsonl": "old",
    "notes.txt": "mine",
}


@pytest.fixture
def earlier(fluxperf: Fluxperf) -> Fluxperf:
    """An earlier run, and a file of the user's, in the output directory."""
    fluxperf.write_prompts(2)
    fluxperf.out.mkdir()
    for name, text in EARLIER.items():
        (fluxperf.out / name).write_text(text)
    return fluxperf


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


WRITTEN = {"run.json", "metrics_summary.csv", "histograms.hlog", "concurrency_10_round_1.json"}


def test_an_earlier_run_is_renamed_and_that_is_said(earlier: Fluxperf, mock: Mock) -> None:
    ended = earlier.measure(mock.url, "--rounds 1")
    assert ended.code == 0
    kept = earlier.place / "out.2001-02-03T04:05:06Z"
    assert {path.name: path.read_text() for path in kept.iterdir()} == EARLIER
    assert "the earlier run in" in ended.err
    assert str(kept) in ended.err
    assert names(earlier.out) == WRITTEN


def test_an_earlier_run_is_replaced_if_asked(earlier: Fluxperf, mock: Mock) -> None:
    ended = earlier.measure(mock.url, "--rounds 1 --overwrite")
    assert ended.code == 0
    assert "replacing the earlier run" in ended.err
    assert names(earlier.out) == WRITTEN | {"notes.txt"}
    assert names(earlier.place) == {"out", "prompts.jsonl"}
    assert json.loads((earlier.out / "run.json").read_text())["schema"] == "fluxperf.run/1"
