"""What `--save-requests` and `--debug` leave behind, held against the round's rows."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from tests.end_to_end.command import Fluxperf
from tests.end_to_end.servers import Mock

PROMPTS = 6


@pytest.fixture(scope="module")
def run(shared_fluxperf: Fluxperf, mock_process: Mock) -> Fluxperf:
    """A run that keeps everything."""
    mock_process.forget()
    sessions = (f'{{"id": "chat/{number}", "text": "number {number}"}}\n' for number in range(PROMPTS))
    (shared_fluxperf.place / "prompts.jsonl").write_text("".join(sessions))
    words = "--concurrency 3 --workers 2 --max-output-tokens 5 --save-requests --debug-verbose --debug-log-dir logs"
    assert shared_fluxperf.measure(mock_process.url, f"{words} --extra-body '{{\"top_k\": 3}}'").code == 0
    return shared_fluxperf


@pytest.fixture(params=[1, 2])
def pairs(run: Fluxperf, request: pytest.FixtureRequest) -> list[tuple[Any, Any]]:
    """Each row of a round with its kept request."""
    lines = (run.out / f"requests_concurrency_3_round_{request.param}.jsonl").read_text("utf-8").splitlines()
    return list(zip(run.round(3, request.param)["requests"], map(json.loads, lines), strict=True))


def test_kept_requests_are_those_of_the_rows(pairs: list[tuple[Any, Any]]) -> None:
    for index, (row, kept) in enumerate(pairs):
        assert row["index"] == kept["index"] == index
        for name in ("session_id", "turn", "outcome", "error"):
            assert row[name] == kept[name]
        assert row["session_id"] == f"chat/{index}"


def test_a_kept_body_is_what_was_sent(pairs: list[tuple[Any, Any]]) -> None:
    for row, kept in pairs:
        assert kept["body"] == {
            "model": "m",
            "messages": [{"role": "user", "content": f"number {row['index']}"}],
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": 5,
            "temperature": 0,
            "top_k": 3,
        }


def test_kept_events_are_those_that_were_counted(pairs: list[tuple[Any, Any]]) -> None:
    for row, kept in pairs:
        events_ms = [event_ns / 1e6 for event_ns in kept["events_ns"]]
        assert len(events_ms) == row["output_events"]
        assert len(kept["text"].split()) == row["output_tokens"]
        assert events_ms == sorted(events_ms)
        assert events_ms[0] == pytest.approx(row["ttft_ms"], abs=1e-6)
        assert events_ms[-1] == pytest.approx(row["last_output_ms"], abs=1e-6)
        gaps_ms = [later - first for first, later in pairwise(events_ms)]
        longest_ms = max(gaps_ms, default=0) or None  # no gap was measured where the whole answer came at once
        assert longest_ms == pytest.approx(row["max_gap_ms"], abs=1e-6)


def test_the_debug_log_has_a_line_for_each_life(run: Fluxperf) -> None:
    for number in (1, 2):
        lines = (run.place / "logs" / f"concurrency_3_round_{number}.log").read_text().splitlines()
        lives = sorted(
            (dict(word.split("=", 1) for word in line.split()) for line in lines), key=lambda life: life["index"]
        )
        rows = run.round(3, number)["requests"]
        for life, row in zip(lives, rows, strict=True):
            assert (life["index"], life["session"]) == (str(row["index"]), row["session_id"])
            assert (life["outcome"], life["status"]) == (row["outcome"], "200")
            assert float(life["first_output_ms"]) == pytest.approx(row["ttft_ms"], abs=1e-3)
            assert float(life["end_ms"]) == pytest.approx(row["latency_ms"], abs=1e-3)


def test_the_verbose_log_has_a_file_for_each_session(run: Fluxperf) -> None:
    folder = run.place / "logs" / "concurrency_3_round_1"
    assert {path.name for path in folder.iterdir()} == {f"chat_{number}.log" for number in range(PROMPTS)}
    text = (folder / "chat_4.log").read_text()
    assert '"content":"number 4"' in text
    assert text.count(' ms {"id":') >= run.round(3, 1)["requests"][4]["output_events"]
    assert text.rstrip().endswith(" ms [DONE]")


def test_without_these_options_nothing_is_kept(fluxperf: Fluxperf, mock: Mock) -> None:
    fluxperf.write_prompts(2)
    assert fluxperf.measure(mock.url, "--rounds 1 --debug").code == 0
    assert {path.name for path in fluxperf.place.iterdir()} == {"out", "debug_logs", "prompts.jsonl"}
    assert [path.name for path in (fluxperf.place / "debug_logs").iterdir()] == ["concurrency_10_round_1.log"]
    assert not [*fluxperf.out.glob("requests_*")]
