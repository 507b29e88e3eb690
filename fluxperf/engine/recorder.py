"""`Recorder`: what a worker keeps of its finished requests: a tally, a row in the spool, live counts on the board.

Answers whose tokens only a tokenizer can count wait in a spool of their own until the round is over.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from fluxperf import metrics
from fluxperf.engine.board import Board, Column
from fluxperf.engine.observer import Observer
from fluxperf.engine.orders import Outlets
from fluxperf.model import Histogram, Slo, Timeline
from fluxperf.model.timeline import from_row, to_row
from fluxperf.plan.tokens import Tokens
from fluxperf.spool import Spooled, SpoolWriter
from fluxperf.tally import Tally


class Recorder:
    """Records one worker's requests of one round. `tokens` counts answers without usage; None: their events do."""

    def __init__(self, board: Board, outlets: Outlets, slo: Slo | None, tokens: Tokens | None = None) -> None:
        self.tally = Tally(slo)
        self._board = board
        self._outlets = outlets
        self._tokens = tokens
        self._rows = SpoolWriter(outlets.rows)
        self._transcripts = None if outlets.transcripts is None else SpoolWriter(outlets.transcripts)
        self._uncounted: SpoolWriter | None = None
        self._settling: Iterator[None] | None = None

    def finish(self, observer: Observer, body: bytes) -> None:
        """A request is over, whichever way it ended."""
        request = observer.timeline
        if self._transcripts is not None:
            self._transcripts.append(request.index, request.turn, transcript_line(observer, body))
        if self._tokens is not None and has_countable_text(observer):
            self._set_aside(observer)
        else:
            self._enter(request, observer.gaps, observer.earlier_gaps)
        self._count(observer)

    def leave(self, request: Timeline, *, on_board: bool = True) -> None:
        """A request that is not going to be sent. It counts as over for those who look on, unless the round is."""
        self._enter(request)
        if on_board:
            self._board.add(request.worker, Column.NOT_SENT)

    def _enter(self, request: Timeline, gaps: Sequence[int] = (), earlier_gaps: Histogram | None = None) -> None:
        self._rows.append(request.index, request.turn, to_row(request))
        self.tally.add(request, gaps, earlier_gaps)

    def _set_aside(self, observer: Observer) -> None:
        """The answer's text is written down as it is: counting its tokens would keep others waiting."""
        if self._uncounted is None:
            self._uncounted = SpoolWriter(self._outlets.uncounted)
        request, earlier = observer.timeline, observer.earlier_gaps
        gaps = array("q", observer.gaps).tobytes()
        text = "".join(observer.transcript.text) if observer.transcript is not None else ""
        value = (to_row(request), gaps, None if earlier is None else earlier.to_state(), text)
        self._uncounted.append(request.index, request.turn, value)

    def settle(self, is_to_count: Callable[[], bool]) -> Iterator[None]:
        """Enters what was set aside, one at each step, with its tokens counted as long as they are to be.

        What is left when it is asked for again is gone on with.
        """
        if self._settling is None:
            self._settling = self._settle(is_to_count)
        return self._settling

    def _settle(self, is_to_count: Callable[[], bool]) -> Iterator[None]:
        if self._uncounted is None or self._tokens is None:
            return
        self._uncounted.close()
        for row, gaps, earlier, text in Spooled[Any]([self._outlets.uncounted], tuple):
            request = from_row(row)
            if is_to_count():
                request.counted_tokens = self._tokens.count(text)
            self._enter(request, array("q", gaps), None if earlier is None else Histogram.from_state(earlier))
            yield
        self._outlets.uncounted.unlink()

    def _count(self, observer: Observer) -> None:
        request = observer.timeline
        self._board.finish(request, metrics.ttft(request))
        if observer.refusal is not None:
            self._board.refuse(request.worker, observer.refusal)

    def close(self) -> None:
        """Closes the files. What nobody came to count is entered as it is."""
        for _ in self.settle(lambda: False):
            pass
        self._rows.close()
        if self._transcripts is not None:
            self._transcripts.close()


def has_countable_text(observer: Observer) -> bool:
    """Whether an answer has no usage, and all of its output is text: reasoning and tool calls are not kept."""
    request, transcript = observer.timeline, observer.transcript
    return request.success and not request.completion_tokens and transcript is not None and transcript.is_whole


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
        "events_ns": [at_ns - sent_ns for at_ns in (transcript and transcript.event_ns) or []],
    }
    text = json.dumps(line, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair in the body, which no file takes but as an escape
        return json.dumps(line)
    return text
