"""`Recorder`: what a worker keeps of its finished requests: a tally, a row in the spool, live counts on the board."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fluxperf import metrics
from fluxperf.engine.board import Board, Column
from fluxperf.engine.observer import Observer
from fluxperf.model import Slo
from fluxperf.model.timeline import to_row
from fluxperf.spool import SpoolWriter
from fluxperf.tally import Tally


class Recorder:
    """Records one worker's requests of one round. `transcripts`: where bodies and answers go, if they are kept."""

    def __init__(self, board: Board, spool: Path, slo: Slo | None, transcripts: Path | None = None) -> None:
        self.tally = Tally(slo)
        self._board = board
        self._spool = SpoolWriter(spool)
        self._transcripts = SpoolWriter(transcripts) if transcripts is not None else None

    def finish(self, observer: Observer, body: bytes) -> None:
        """A request is over, whichever way it ended."""
        request = observer.timeline
        self._spool.append(request.index, request.turn, to_row(request))
        if self._transcripts is not None:
            self._transcripts.append(request.index, request.turn, transcript_line(observer, body))
        self.tally.add(request, observer.gaps, observer.earlier_gaps)
        self._count(observer)

    def _count(self, observer: Observer) -> None:
        request, board, worker = observer.timeline, self._board, observer.timeline.worker
        board.add(worker, Column.DONE)
        if request.success:
            board.add(worker, Column.SUCCEEDED)
            board.add(worker, Column.OUTPUT_TOKENS, request.output_tokens)
            board.add(worker, Column.TTFT_NS_SUM, metrics.ttft(request) or 0)
        else:
            board.add(worker, Column.FAILED)
        if observer.refusal is not None:
            board.refuse(worker, observer.refusal)

    def close(self) -> None:
        """Closes the files."""
        self._spool.close()
        if self._transcripts is not None:
            self._transcripts.close()


def transcript_line(observer: Observer, body: bytes) -> str:
    """A line of `requests_concurrency_{C}_round_{R}.jsonl`: the body, the answer's text, and when each event came."""
    request, transcript = observer.timeline, observer.transcript
    sent_ns = request.sent_ns or 0
    line: Mapping[str, Any] = {
        "index": request.index,
        "session_id": request.session_id,
        "turn": request.turn,
        "outcome": request.outcome,
        "error": request.error,
        "body": json.loads(body),
        "text": "".join(transcript.text) if transcript else "",
        "events_ns": [at_ns - sent_ns for at_ns in transcript.event_ns] if transcript else [],
    }
    text = json.dumps(line, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair in the body, which no file takes but as an escape
        return json.dumps(line)
    return text
