"""`Observer`: the sink that watches one answer and writes down its `Timeline`.

It knows event streams, what the API's deltas mean for a request's outcome, and what to make of an
answer that is no event stream. It knows no connection and computes no metric.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from fluxperf.api import Api, Delta, EventTooLong, Malformed, SseDecoder, error_message, looks_like_completion
from fluxperf.api.delta import ANSWER
from fluxperf.clock import now_ns
from fluxperf.engine.gauge import Gauge
from fluxperf.engine.sink import Headers, Sink
from fluxperf.masking import scrub
from fluxperf.model import Histogram, Outcome, Refusal, Timeline

MAX_PLAIN_BYTES = 64 * 1024
GAPS_AT_ONCE = 4096
REJECTIONS = (429, 503)

# Exceptions of the transport, and whose failure they are. The first that fits counts.
OUTCOMES: tuple[tuple[type[httpx.TransportError], Outcome], ...] = (
    (httpx.ConnectError, Outcome.CONNECT),
    (httpx.ConnectTimeout, Outcome.CONNECT),
    (httpx.ReadTimeout, Outcome.TIMEOUT),
    (httpx.RemoteProtocolError, Outcome.MALFORMED),
    (httpx.ReadError, Outcome.RESET),
)


@dataclass(slots=True)
class Transcript:
    """What an answer said and when, for those who asked to keep it.

    `event_ns` is None if nobody asks when. `is_whole`: there is text to all of its output.
    """

    text: list[str] = field(default_factory=list)
    event_ns: list[int] | None = field(default_factory=list)
    payloads: list[tuple[int, bytes]] | None = None
    is_whole: bool = True

    def scrub(self, secrets: Sequence[str]) -> None:
        """Masks secrets in the text, wherever it was split, and in each payload."""
        self.text = [scrub("".join(self.text), secrets)]
        if self.payloads is not None:
            texts = ((at_ns, data.decode("utf-8", "surrogateescape")) for at_ns, data in self.payloads)
            self.payloads = [(at_ns, scrub(text, secrets).encode("utf-8", "surrogateescape")) for at_ns, text in texts]


def _keep(transcript: Transcript, payload: bytes, delta: Delta, at_ns: int) -> None:
    if delta.output:
        if transcript.event_ns is not None:
            transcript.event_ns.append(at_ns)
        transcript.text.append(delta.text)
        transcript.is_whole &= bool(delta.text)
    if transcript.payloads is not None:
        transcript.payloads.append((at_ns, payload))


class Observer(Sink):
    """Fills in `timeline`; call `conclude` at the end. `gaps`, `earlier_gaps`: the times between output events.

    `gauge` counts the output events as they come.
    """

    __slots__ = (
        "_declared",
        "_decode",
        "_failure",
        "_gauge",
        "_inflate",
        "_plain",
        "_spoke",
        "_sse",
        "earlier_gaps",
        "gaps",
        "refusal",
        "timeline",
        "transcript",
    )

    def __init__(self, timeline: Timeline, api: Api, gauge: Gauge, transcript: Transcript | None = None) -> None:
        self.timeline = timeline
        self._gauge = gauge
        self.transcript = transcript
        self.gaps: list[int] = []
        self.earlier_gaps: Histogram | None = None
        self.refusal: Refusal | None = None
        self._decode = api.decode
        self._sse: SseDecoder | None = None
        self._declared = False
        self._spoke = False
        self._plain = bytearray()
        self._inflate: zlib._Decompress | None = None
        self._failure: tuple[Outcome, str] | None = None

    # What the transport calls.

    def opened(self, wait_ns: int, connect_ns: int) -> None:
        """See `Sink`."""
        self.timeline.wait_ns += wait_ns
        self.timeline.connect_ns += connect_ns

    def sent(self, at_ns: int) -> None:
        """See `Sink`."""
        self.timeline.sent_ns = at_ns

    def resent(self) -> None:
        """See `Sink`."""
        self.timeline.resent += 1

    def head(self, status: int, headers: Headers, at_ns: int) -> None:
        """See `Sink`."""
        self.timeline.status = status
        self.timeline.first_byte_ns = at_ns
        self.timeline.silent_events = self.timeline.blank_events = 0
        fields = dict(headers)
        coding = fields.get(b"content-encoding", b"identity").strip().lower()
        if coding in (b"gzip", b"x-gzip", b"deflate"):  # asked for identity; some proxies compress all the same
            self._inflate = zlib.decompressobj(wbits=47)
        elif coding not in (b"identity", b""):
            self._fail(
                Outcome.MALFORMED, f"the answer is encoded as {coding.decode('latin-1')}, which was not asked for"
            )
        content_type = fields.get(b"content-type", b"").lower()
        self._declared = b"event-stream" in content_type
        if 200 <= status < 300 and b"json" not in content_type:
            self._sse = SseDecoder()

    def body(self, data: bytes, at_ns: int) -> None:
        """See `Sink`."""
        if self.timeline.output_events and self._sse is not None and self._inflate is None:
            self._read_events(self._sse, data, at_ns)  # by far most pieces
            return
        if self._inflate is not None:
            try:
                data = self._inflate.decompress(data)
            except zlib.error as error:
                self._fail(Outcome.MALFORMED, f"the answer's compression is broken: {error}")
                return
        if self._sse is None or self.timeline.output_events == 0:
            self._plain += data[: MAX_PLAIN_BYTES - len(self._plain)]
        if self._sse is not None:
            self._read_events(self._sse, data, at_ns)

    def end(self, at_ns: int) -> None:
        """See `Sink`."""
        self.timeline.end_ns = at_ns
        if self._sse is not None:
            self._read_events(self._sse, None, at_ns)

    def _read_events(self, sse: SseDecoder, data: bytes | None, at_ns: int) -> None:
        transcript, decode = self.transcript, self._decode
        try:
            for payload in sse.finish() if data is None else sse.feed(data):
                delta = decode(payload, transcript is not None)
                if delta.output:
                    self._note_output(delta, at_ns)
                if delta is not ANSWER:
                    self._note_facts(delta)
                    if not delta.output:
                        self._note_silence(delta, at_ns)
                if transcript is not None:
                    _keep(transcript, payload, delta, at_ns)
                self._spoke = True
        except (EventTooLong, Malformed) as error:
            self._sse = None
            if data is not None:  # what the end cut short is no event; that the stream was truncated shows by itself
                self._fail(Outcome.MALFORMED, str(error))

    def _note_output(self, delta: Delta, at_ns: int) -> None:
        timeline, gauge = self.timeline, self._gauge
        gauge.outputs += 1
        last_ns = timeline.last_output_ns
        timeline.last_output_ns = at_ns
        timeline.output_events += 1
        if timeline.first_answer_ns is None and delta.answer:
            timeline.first_answer_ns = at_ns
        if last_ns is None:
            gauge.firsts += 1
            timeline.first_output_ns = at_ns
            return
        gaps = self.gaps
        gaps.append(at_ns - last_ns if at_ns > last_ns else 0)
        if len(gaps) >= GAPS_AT_ONCE:
            self._set_gaps_aside()

    def _note_facts(self, delta: Delta) -> None:
        timeline = self.timeline
        if delta.finish_reason is not None and timeline.finish_reason is None:
            timeline.finish_reason = delta.finish_reason
        if delta.error is not None:
            self._fail(Outcome.ERROR_IN_STREAM, delta.error)
        usage = delta.usage
        if usage is not None:
            if usage.prompt_tokens is not None:
                timeline.prompt_tokens = usage.prompt_tokens
            if usage.completion_tokens is not None:
                timeline.completion_tokens = usage.completion_tokens
            if usage.cached_tokens is not None:
                timeline.cached_tokens = usage.cached_tokens

    def _note_silence(self, delta: Delta, at_ns: int) -> None:
        """Events without output are no figure of ours, but some tools take them for tokens."""
        timeline = self.timeline
        if not delta.done:
            timeline.last_event_ns = at_ns
        if delta.silent:
            timeline.silent_events = (timeline.silent_events or 0) + 1
            timeline.first_silent_ns = timeline.first_silent_ns or at_ns
            timeline.last_silent_ns = at_ns
        if delta.blank:
            timeline.blank_events = (timeline.blank_events or 0) + 1
            timeline.first_blank_ns = timeline.first_blank_ns or at_ns
            timeline.last_blank_ns = at_ns

    def _set_gaps_aside(self) -> None:
        """Keeps memory bounded, however long the answer."""
        if self.earlier_gaps is None:
            self.earlier_gaps = Histogram()
        self._count_gaps()
        self.earlier_gaps.record_all(self.gaps)
        self.gaps.clear()

    def _count_gaps(self) -> None:
        if self.gaps:
            self.timeline.max_gap_ns = max(self.timeline.max_gap_ns or 0, *self.gaps)
            self.timeline.coalesced_events += self.gaps.count(0)

    def _fail(self, outcome: Outcome, message: str) -> None:
        if self._failure is None:
            self._failure = (outcome, message)

    # The verdict.

    def scrub(self, secrets: Sequence[str]) -> None:
        """Masks secrets in what the server said: some repeat the key that they refuse."""
        if self.timeline.error is not None:
            self.timeline.error = scrub(self.timeline.error, secrets)
        if self.transcript is not None and secrets:
            self.transcript.scrub(secrets)

    def conclude(self, error: httpx.TransportError | None) -> None:
        """Names the outcome, once the request is over; `error` is what the transport raised, if it did."""
        timeline = self.timeline
        if isinstance(error, httpx.ReadError) and timeline.finish_reason is not None:
            # Everything had been said when the connection broke.
            error = None
            timeline.end_ns = now_ns()
        timeline.done_ns = timeline.end_ns or now_ns()
        timeline.last_event_ns = max(timeline.last_event_ns or 0, timeline.last_output_ns or 0) or None
        self._count_gaps()
        timeline.outcome, timeline.error = self._judge(error)

    def _judge(self, error: httpx.TransportError | None) -> tuple[Outcome, str | None]:
        status = self.timeline.status
        if status is not None and not 200 <= status < 300:
            self.refusal = next((refusal for refusal in Refusal if refusal == status), None)
            outcome = Outcome.REJECTED if status in REJECTIONS else Outcome.HTTP_STATUS
            return outcome, f"HTTP {status}: {error_message(bytes(self._plain))}"
        if self._failure is not None:
            if not self._spoke:
                self.refusal = Refusal.NOT_A_STREAM
            return self._failure
        if error is not None:
            return next(outcome for kind, outcome in OUTCOMES if isinstance(error, kind)), str(error)
        return self._judge_stream()

    def _judge_stream(self) -> tuple[Outcome, str | None]:
        timeline = self.timeline
        reason = timeline.finish_reason
        if not self._spoke and (plain := bytes(self._plain).strip()):
            verdict = self._judge_plain(plain)
            if verdict is not None:
                self.refusal = Refusal.NOT_A_STREAM
                return verdict
        if reason is None:
            return Outcome.TRUNCATED, "the stream ended without a finish_reason"
        if reason in ("abort", "error"):
            return Outcome.ERROR_IN_STREAM, f"the stream ended with finish_reason {reason!r}"
        if timeline.output_events == 0:
            return Outcome.EMPTY, f"the stream ended with finish_reason {reason!r} and held no output"
        return (Outcome.LENGTH if reason == "length" else Outcome.OK), None

    def _judge_plain(self, body: bytes) -> tuple[Outcome, str] | None:
        """Of a 2xx answer that held no event; None: it says it is an event stream, and holds no error either."""
        try:
            error = self._decode(body, False).error
        except Malformed:
            error = None
        if error is not None:
            return Outcome.ERROR_IN_STREAM, error
        if self._declared:
            return None
        what = "a whole answer at once" if looks_like_completion(body) else error_message(body)
        return Outcome.MALFORMED, f"not an event stream: {what}"
