from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fluxperf.api import APIS
from fluxperf.engine.board import Board, Column
from fluxperf.engine.gauge import Gauge
from fluxperf.engine.observer import GAPS_AT_ONCE, Observer, Transcript
from fluxperf.engine.orders import Outlets
from fluxperf.engine.recorder import Recorder, transcript_line
from fluxperf.model import Constraint, Outcome, Slo
from fluxperf.model.timeline import Timeline, from_row
from fluxperf.spool import Spooled
from tests.engine.scripted import DONE, ROLE, USAGE, delta, say, stop

WORKER = 1
COUNTED = (Column.DONE, Column.OUTPUT_TOKENS, Column.OVER_EVENTS)


def answered(*events: bytes, status: int = 200, index: int = 0, transcript: Transcript | None = None) -> Observer:
    """An observer of an answer that is over: sent at 1000, an event each 1000 from 3000 on."""
    observer = Observer(Timeline(index=index, session_id="a", worker=WORKER), APIS["chat"], Gauge(), transcript)
    observer.opened(0, 0)
    observer.sent(1000)
    observer.head(status, [(b"content-type", b"text/event-stream")], 2000)
    for number, data in enumerate(events, start=3):
        observer.body(data, number * 1000)
    observer.end(99_000)
    observer.conclude(None)
    return observer


def succeeded(**changes: Any) -> Observer:
    return answered(ROLE, say("One"), say(" two"), stop(), USAGE, DONE, **changes)


@pytest.fixture
def board() -> Board:
    return Board(2)


@pytest.fixture
def recorder(board: Board, tmp_path: Path) -> Iterator[Recorder]:
    slo = Slo((Constraint("ttft_ms", below=1),))
    made = Recorder(board, Outlets(tmp_path / "rows", tmp_path / "uncounted", tmp_path / "transcripts"), slo)
    yield made
    made.close()


def test_a_success_is_counted_everywhere(recorder: Recorder, board: Board, tmp_path: Path) -> None:
    observer = succeeded(index=7)
    recorder.finish(observer, b"{}")
    assert list(Spooled([tmp_path / "rows"], from_row)) == [observer.timeline]
    assert recorder.tally.outcomes == {Outcome.OK: 1}
    assert recorder.tally.sums["good_requests"] == 1
    assert recorder.tally.histograms["chunk_gap_ms"].sum == 1000
    assert [board.total(column) for column in COUNTED] == [1, 2, 2]
    assert board.count(Outcome.OK) == 1
    assert board.ttft_percentiles(50) == [pytest.approx(10_000, rel=0.05)]  # 3 us, in the first bucket


def test_a_failure_is_counted_without_tokens(recorder: Recorder, board: Board, tmp_path: Path) -> None:
    recorder.finish(answered(say("One")), b"{}")
    recorder.finish(answered(b"no key", status=401, index=1), b"{}")
    assert [row.outcome for row in Spooled([tmp_path / "rows"], from_row)] == [Outcome.TRUNCATED, Outcome.HTTP_STATUS]
    assert recorder.tally.examples == {
        Outcome.TRUNCATED: "the stream ended without a finish_reason",
        Outcome.HTTP_STATUS: "HTTP 401: no key",
    }
    assert [board.total(column) for column in COUNTED] == [2, 0, 1]
    assert [board.count(outcome) for outcome in (Outcome.TRUNCATED, Outcome.HTTP_STATUS, Outcome.OK)] == [1, 1, 0]
    assert board.ttft_percentiles(50) == [None]
    assert board.all_refused(1) is None


def test_a_refusal_is_counted_by_its_kind(recorder: Recorder, board: Board) -> None:
    recorder.finish(answered(b"no key", status=401), b"{}")
    assert board.all_refused(1) == 401


def test_all_gaps_of_a_long_answer_are_counted(recorder: Recorder) -> None:
    events = GAPS_AT_ONCE * 2 + 10
    recorder.finish(answered(*[say("x")] * events, stop()), b"{}")
    gaps = recorder.tally.histograms["chunk_gap_ms"]
    assert (gaps.count, gaps.sum) == (events - 1, (events - 1) * 1000)


def test_what_was_finished_is_on_disk_before_the_recorder_is_closed(recorder: Recorder, tmp_path: Path) -> None:
    recorder.finish(succeeded(), b"{}")
    assert len(Spooled([tmp_path / "rows"], from_row)) == len(Spooled([tmp_path / "transcripts"], str)) == 1


def test_without_transcripts_there_is_no_file_of_them(board: Board, tmp_path: Path) -> None:
    recorder = Recorder(board, Outlets(tmp_path / "rows", tmp_path / "uncounted"), None)
    recorder.finish(succeeded(transcript=Transcript()), b"{}")
    recorder.close()
    assert [path.name for path in tmp_path.iterdir()] == ["rows"]


def test_a_line_of_a_transcript() -> None:
    observer = succeeded(index=7, transcript=Transcript())
    assert json.loads(transcript_line(observer, '{"prompt": "Größe"}'.encode())) == {
        "index": 7,
        "session_id": "a",
        "turn": 0,
        "outcome": "ok",
        "error": None,
        "body": {"prompt": "Größe"},
        "text": "One two",
        "events_ns": [3000, 4000],
    }


def test_a_line_of_a_transcript_of_a_failure_has_what_there_is() -> None:
    observer = Observer(Timeline(index=0), APIS["chat"], Gauge(), Transcript())
    line = json.loads(transcript_line(observer, b"{}"))
    assert (line["outcome"], line["text"], line["events_ns"]) == ("cut_off", "", [])


@pytest.mark.parametrize("text", ["Größe 😀 \u2028", "half a pair: \\ud800", "line\\nend"])
def test_any_text_can_be_kept_and_stays_on_its_line(recorder: Recorder, tmp_path: Path, text: str) -> None:
    body = f'{{"prompt": "{text}"}}'.encode()
    recorder.finish(succeeded(transcript=Transcript()), body)
    (line,) = Spooled([tmp_path / "transcripts"], str)
    assert json.loads(line)["body"] == json.loads(body)
    assert "\n" not in line
    line.encode()


class Words:
    """A tokenizer whose tokens are words."""

    name, exact, sha256 = "words", True, None

    def count(self, text: str) -> int:
        return len(text.split())

    def count_all(self, texts: Sequence[str]) -> list[int]:
        return [self.count(text) for text in texts]

    def cut(self, text: str, limit: int) -> str:
        return " ".join(text.split()[:limit])


@pytest.fixture
def counting(board: Board, tmp_path: Path) -> Recorder:
    """A recorder with a tokenizer. Closing it is the test's own business."""
    slo = Slo((Constraint("output_token_throughput", min=30_000),))
    return Recorder(board, Outlets(tmp_path / "rows", tmp_path / "uncounted"), slo, Words())


def count_all(recorder: Recorder) -> None:
    for _ in recorder.settle(lambda: True):
        pass
    recorder.close()


def test_what_nobody_came_to_count_is_entered_all_the_same(counting: Recorder, tmp_path: Path) -> None:
    for index in range(3):
        counting.finish(answered(say("One two"), stop(), index=index, transcript=Transcript()), b"{}")
    next(counting.settle(lambda: False))
    counting.close()
    rows = list(Spooled([tmp_path / "rows"], from_row))
    assert [(row.index, row.counted_tokens) for row in rows] == [(0, None), (1, None), (2, None)]
    assert counting.tally.outcomes == {Outcome.OK: 3}


def test_tokens_are_counted_once_the_round_is_over(counting: Recorder, board: Board, tmp_path: Path) -> None:
    silent = answered(say("One two"), say(" three four five"), stop(), transcript=Transcript())
    counting.finish(silent, b"{}")
    assert (counting.tally.outcomes, list(Spooled([tmp_path / "rows"], from_row))) == ({}, [])
    assert board.total(Column.DONE) == 1
    count_all(counting)
    (row,) = Spooled([tmp_path / "rows"], from_row)
    assert (row.output_events, row.counted_tokens, row.output_tokens) == (2, 5, 5)
    tally = counting.tally
    assert tally.histograms["itl_ms"].max == 1000 // 4
    assert tally.histograms["chunk_gap_ms"].sum == 1000
    assert (tally.sums["output_tokens"], tally.sums["counted_answers"], tally.sums["counted_events"]) == (5, 1, 0)
    assert tally.sums["good_requests"] == 1  # which two tokens would not have made
    assert not (tmp_path / "uncounted").exists()


@pytest.mark.parametrize(
    "observer",
    [
        succeeded(transcript=Transcript()),
        answered(b"no", status=500, transcript=Transcript()),
        answered(delta(reasoning="hm hm hm"), say("One two"), stop(), transcript=Transcript()),
    ],
    ids=["usage", "failure", "reasoning"],
)
def test_what_the_server_counted_or_nobody_can_does_not_wait(
    counting: Recorder, tmp_path: Path, observer: Observer
) -> None:
    counting.finish(observer, b"{}")
    (row,) = Spooled([tmp_path / "rows"], from_row)
    assert row.counted_tokens is None
    counting.close()


def test_the_gaps_of_a_long_answer_outlast_the_wait(counting: Recorder) -> None:
    events = GAPS_AT_ONCE * 2 + 10
    counting.finish(answered(*[say("x ")] * events, stop(), transcript=Transcript()), b"{}")
    count_all(counting)
    gaps = counting.tally.histograms["chunk_gap_ms"]
    assert (gaps.count, gaps.sum) == (events - 1, (events - 1) * 1000)
    assert counting.tally.sums["output_tokens"] == events
