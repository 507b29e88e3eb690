from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Iterable

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.api import APIS
from fluxperf.engine.gauge import Gauge
from fluxperf.engine.observer import GAPS_AT_ONCE, MAX_PLAIN_BYTES, Observer, Transcript
from fluxperf.engine.sink import Headers
from fluxperf.model import Outcome, Refusal
from fluxperf.model.timeline import Timeline
from tests.engine.scripted import DONE, ROLE, USAGE, cut, delta, event, say, stop

EVENTS: Headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
MEGABYTE = 1 << 20
TEXT = "Größe 😀 \u2028 ok"
ANSWER = ROLE + say("Größe ") + say("😀 \u2028 ok") + stop() + USAGE + DONE


def watch(
    *bodies: bytes, status: int = 200, headers: Headers = EVENTS, transcript: Transcript | None = None
) -> Observer:
    """An observer that was told of an answer but not of its end: sent at 1000, its head at 2000, then each piece."""
    observer = Observer(Timeline(index=0), APIS["chat"], Gauge(), transcript)
    observer.opened(0, 0)
    observer.sent(1000)
    observer.head(status, headers, 2000)
    for number, body in enumerate(bodies, start=3):
        observer.body(body, number * 1000)
    return observer


def finish(observer: Observer, error: httpx.TransportError | None = None) -> Timeline:
    """Tells of the end, at 99000, unless there is an error."""
    if error is None:
        observer.end(99_000)
    observer.conclude(error)
    return observer.timeline


# Stamps and counts.


def test_the_stamps_of_an_answer() -> None:
    observer = watch(b": ping\n\n", ROLE, delta(content=""), say("a"), say("b"), say("c"), stop(), USAGE, DONE)
    timeline = finish(observer)
    assert (timeline.sent_ns, timeline.first_byte_ns) == (1000, 2000)
    assert (timeline.first_output_ns, timeline.first_answer_ns, timeline.last_output_ns) == (6000, 6000, 8000)
    assert (timeline.end_ns, timeline.done_ns) == (99_000, 99_000)
    assert (timeline.output_events, timeline.coalesced_events, timeline.max_gap_ns) == (3, 0, 1000)
    assert observer.gaps == [1000, 1000]
    assert (timeline.prompt_tokens, timeline.completion_tokens, timeline.cached_tokens) == (9, 2, None)


def test_reasoning_is_output_but_not_the_answer() -> None:
    timeline = finish(watch(ROLE, delta(reasoning="hm"), delta(reasoning_content="so"), say("42"), stop()))
    assert (timeline.first_output_ns, timeline.first_answer_ns, timeline.output_events) == (4000, 6000, 3)


def test_an_answer_of_reasoning_alone_is_a_success_without_a_first_answer() -> None:
    timeline = finish(watch(delta(reasoning="hm"), stop("length")))
    assert (timeline.outcome, timeline.first_answer_ns, timeline.output_events) == (Outcome.LENGTH, None, 1)


def test_output_in_the_first_chunk_with_the_role_is_the_first_output() -> None:
    assert finish(watch(delta(role="assistant", content="Hi"), stop())).first_output_ns == 3000


def test_events_that_come_in_one_read_are_coalesced() -> None:
    observer = watch(say("a") + say("b"), say("c"), ROLE + say("d") + say("e") + stop())
    timeline = finish(observer)
    assert observer.gaps == [0, 1000, 1000, 0]
    assert (timeline.coalesced_events, timeline.max_gap_ns) == (2, 1000)


def test_an_event_arrives_with_its_last_byte() -> None:
    half = say("two")
    observer = watch(say("one") + half[:9], half[9:-1], half[-1:] + stop())
    assert (finish(observer).first_output_ns, observer.gaps) == (3000, [2000])


def test_stamps_that_run_backwards_make_no_negative_gap() -> None:
    observer = watch(say("a"))
    observer.body(say("b"), 2500)
    assert observer.gaps == [0]


def test_a_single_token_has_no_gap() -> None:
    assert finish(watch(say("a"), stop())).max_gap_ns is None


@pytest.mark.parametrize("transcript", [None, Transcript()])
def test_events_without_output_are_noted_beside_it(transcript: Transcript | None) -> None:
    events = (ROLE, delta(content=""), say("a"), delta(content=""), say("b"), stop(), USAGE, DONE)
    timeline = finish(watch(*events, transcript=transcript))
    assert (timeline.first_silent_ns, timeline.last_silent_ns, timeline.silent_events) == (3000, 8000, 4)
    assert (timeline.first_blank_ns, timeline.last_blank_ns, timeline.blank_events) == (4000, 6000, 2)
    assert timeline.last_event_ns == 9000
    assert (timeline.output_events, timeline.first_output_ns, timeline.last_output_ns) == (2, 5000, 7000)


def test_the_last_event_may_be_output() -> None:
    timeline = finish(watch(say("a"), delta(choices=1, content="b"), DONE))
    assert (timeline.last_event_ns, timeline.silent_events, timeline.first_silent_ns) == (4000, 0, None)


def test_where_there_was_no_event_nothing_was_silent() -> None:
    timeline = finish(watch(b'{"detail": "no"}', status=404, headers=[]))
    assert (timeline.last_event_ns, timeline.silent_events, timeline.blank_events) == (None, 0, 0)


@pytest.mark.parametrize(
    ("events", "counts"),
    [
        ([delta(), event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}})], (7, 3, None)),
        ([event({"choices": [], "usage": None})], (None, None, None)),
        ([], (None, None, None)),
        (
            [
                event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 1}}),
                event(
                    {"choices": [], "usage": {"completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}}
                ),
            ],
            (7, 2, 4),
        ),
    ],
)
def test_usage_counts_wherever_it_stands(events: list[bytes], counts: tuple[int | None, ...]) -> None:
    for order in ([say("a"), *events, stop()], [say("a"), stop(), *events]):
        timeline = finish(watch(*order))
        assert (timeline.prompt_tokens, timeline.completion_tokens, timeline.cached_tokens) == counts


def test_the_first_finish_reason_of_the_first_choice_holds() -> None:
    other = event({"choices": [{"index": 1, "delta": {"content": "b"}, "finish_reason": "length"}]})
    timeline = finish(watch(say("a"), other, stop("stop"), stop("length")))
    assert (timeline.finish_reason, timeline.output_events, timeline.outcome) == ("stop", 2, Outcome.OK)


def test_a_request_that_is_sent_again_adds_up_what_it_waited_for() -> None:
    observer = Observer(Timeline(index=0), APIS["chat"], Gauge())
    observer.opened(1, 20)
    observer.sent(1000)
    observer.resent()
    observer.opened(300, 4000)
    observer.sent(2000)
    timeline = observer.timeline
    assert (timeline.wait_ns, timeline.connect_ns, timeline.resent, timeline.sent_ns) == (301, 4020, 1, 2000)


# However it is cut.


@given(st.sets(st.integers(1, len(ANSWER) - 1)))
def test_cuts_anywhere_change_neither_text_nor_facts(cuts: set[int]) -> None:
    observer = watch(*cut(ANSWER, cuts), transcript=Transcript())
    timeline = finish(observer)
    assert observer.transcript is not None
    assert "".join(observer.transcript.text) == TEXT
    assert (timeline.outcome, timeline.output_events, timeline.finish_reason) == (Outcome.OK, 2, "stop")
    assert (timeline.prompt_tokens, timeline.completion_tokens) == (9, 2)
    assert len(observer.gaps) == 1


@given(st.sets(st.integers(1, 200)), st.sampled_from([b"gzip", b"deflate"]))
def test_cuts_anywhere_change_nothing_of_a_compressed_answer(cuts: set[int], coding: bytes) -> None:
    answer = gzip.compress(ANSWER) if coding == b"gzip" else zlib.compress(ANSWER)
    headers = [*EVENTS, (b"content-encoding", coding)]
    observer = watch(*cut(answer, cuts), headers=headers, transcript=Transcript())
    assert finish(observer).outcome is Outcome.OK
    assert observer.transcript is not None
    assert "".join(observer.transcript.text) == TEXT


# Memory.


def test_the_gaps_of_a_long_answer_are_bounded_and_complete() -> None:
    bodies, events_each = 10_000, 20
    body = say("x") * events_each
    observer = watch()
    most = 0
    for number in range(bodies):
        observer.body(body, 3000 + number * 7)
        most = max(most, len(observer.gaps))
    observer.body(stop(), 10**9)
    timeline = finish(observer)
    assert most <= GAPS_AT_ONCE
    assert observer.earlier_gaps is not None
    assert timeline.output_events == bodies * events_each
    assert observer.earlier_gaps.count + len(observer.gaps) == timeline.output_events - 1
    assert observer.earlier_gaps.sum + sum(observer.gaps) == (timeline.last_output_ns or 0) - 3000
    assert timeline.coalesced_events == bodies * (events_each - 1)
    assert timeline.max_gap_ns == 7


def traced(observer: Observer, bodies: Iterable[bytes]) -> tuple[int, int]:
    """Bytes that the observer holds afterwards, and the most it took, while it was told of these pieces."""
    tracemalloc.start()
    try:
        for body in bodies:
            observer.body(body, 3000)
        return tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()


def test_an_event_without_an_end_is_malformed_and_let_go_of() -> None:
    observer = watch(say("a"))
    held, peak = traced(observer, [b"data: ", *[b"x" * MEGABYTE] * 20, b"\n\n", say("b")])
    assert held < MEGABYTE
    assert peak < 64 * MEGABYTE
    timeline = finish(observer)
    assert (timeline.outcome, timeline.output_events) == (Outcome.MALFORMED, 1)
    assert timeline.error == "an event of the stream is longer than 16777216 bytes"
    assert observer.refusal is None


@pytest.mark.parametrize(
    ("status", "headers", "start"),
    [
        (500, EVENTS, b""),
        (200, [(b"content-type", b"application/json")], b""),
        (200, EVENTS, b"data: oops\n\n"),
        (200, EVENTS, say("a") + b"data: oops\n\n"),
        (200, [*EVENTS, (b"content-encoding", b"gzip")], b"not gzip"),
    ],
    ids=["failed", "JSON", "malformed", "malformed after output", "broken compression"],
)
def test_what_is_no_stream_is_not_kept(status: int, headers: Headers, start: bytes) -> None:
    observer = watch(status=status, headers=headers)
    held, peak = traced(observer, [start, *[b"x" * 10_000] * 1000])
    assert held < 2 * MAX_PLAIN_BYTES
    assert peak < 4 * MAX_PLAIN_BYTES


def test_a_stream_is_not_kept() -> None:
    observer = watch()
    held, _ = traced(observer, [ROLE, *[say("x" * 1000)] * 1000])
    assert held < MEGABYTE // 4


# The verdict.


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (httpx.ConnectError("refused"), Outcome.CONNECT),
        (httpx.ConnectTimeout("no answer"), Outcome.CONNECT),
        (httpx.ReadTimeout("too long"), Outcome.TIMEOUT),
        (httpx.RemoteProtocolError("no HTTP"), Outcome.MALFORMED),
        (httpx.ReadError("reset"), Outcome.RESET),
    ],
)
def test_what_the_transport_raises_names_the_outcome(error: httpx.TransportError, outcome: Outcome) -> None:
    observer = Observer(Timeline(index=0), APIS["chat"], Gauge())
    timeline = finish(observer, error)
    assert (timeline.outcome, timeline.error) == (outcome, str(error))
    assert timeline.end_ns is None
    assert timeline.done_ns is not None
    assert observer.refusal is None


@pytest.mark.parametrize("error", [httpx.ReadTimeout("too long"), httpx.RemoteProtocolError("no HTTP")])
def test_only_a_broken_connection_is_forgiven_after_the_finish(error: httpx.TransportError) -> None:
    assert not finish(watch(say("a"), stop()), error).success


def test_a_broken_connection_is_not_forgiven_without_output() -> None:
    assert finish(watch(ROLE, stop()), httpx.ReadError("reset")).outcome is Outcome.EMPTY


def test_what_the_server_said_goes_before_how_the_connection_ended() -> None:
    failed = event({"error": {"message": "out of memory"}})
    for error in (None, httpx.ReadError("reset"), httpx.ReadTimeout("too long")):
        timeline = finish(watch(say("a"), failed), error)
        assert (timeline.outcome, timeline.error) == (Outcome.ERROR_IN_STREAM, "out of memory")


def test_the_first_thing_that_went_wrong_is_told() -> None:
    first, second = event({"error": {"message": "first"}}), event({"error": {"message": "second"}})
    assert finish(watch(say("a"), first, b"data: oops\n\n", second)).error == "first"


def test_an_event_that_the_end_cuts_short_is_no_malformed_one() -> None:
    assert finish(watch(say("a"), stop(), USAGE[:-20])).outcome is Outcome.OK
    assert finish(watch(say("a"), stop()[:-20])).outcome is Outcome.TRUNCATED


@pytest.mark.parametrize("body", [b"", b"\n\n", b": ping\n\n", b"event: ping\n\n"])
def test_a_stream_without_events_is_truncated_and_no_refusal(body: bytes) -> None:
    observer = watch(body)
    assert finish(observer).outcome is Outcome.TRUNCATED
    assert observer.refusal is None


def test_an_error_of_the_stream_is_no_refusal_once_it_spoke() -> None:
    observer = watch(event({"error": {"message": "full"}}))
    assert finish(observer).outcome is Outcome.ERROR_IN_STREAM
    assert observer.refusal is None


@pytest.mark.parametrize(
    ("coding", "body", "message"),
    [
        (b"gzip", b"not gzip at all", "compression is broken"),
        (b"deflate", zlib.compress(ANSWER)[:-4] + b"\xff" * 4, "compression is broken"),
        (b"br", b"\x0b\x02", "encoded as br"),
        (b"GZIP, br", b"\x0b\x02", "encoded as gzip, br"),
        (b"\xff", b"", "encoded as \xff"),
    ],
)
def test_a_coding_that_cannot_be_read_is_malformed(coding: bytes, body: bytes, message: str) -> None:
    timeline = finish(watch(body, headers=[*EVENTS, (b"content-encoding", coding)]))
    assert timeline.outcome is Outcome.MALFORMED
    assert message in str(timeline.error)


@pytest.mark.parametrize(
    "content_type", [b"application/json", b"application/json; charset=utf-8", b"application/problem+json"]
)
def test_json_in_place_of_a_stream_is_read_as_json(content_type: bytes) -> None:
    observer = watch(b'{"detail": "no such model"}', headers=[(b"content-type", content_type)])
    timeline = finish(observer)
    assert (timeline.outcome, timeline.error) == (Outcome.ERROR_IN_STREAM, "no such model")
    assert observer.refusal == Refusal.NOT_A_STREAM


# Secrets and transcripts.


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b'{"error": {"message": "Incorrect API key provided: sk-1234567."}}'),
        (401, b"<p>Incorrect API key provided: <b>sk-1234567</b></p>"),
        (401, b"Bearer sk-1234567 sk-1234567"),
        (200, event({"error": "no such key: sk-1234567"})),
        (200, b"data: sk-1234567\n\n"),
    ],
)
def test_secrets_that_the_server_repeats_are_masked(status: int, body: bytes) -> None:
    observer = watch(body, status=status)
    timeline = finish(observer)
    assert "sk-1234567" in str(timeline.error)
    observer.scrub(["other", "sk-1234567"])
    assert "sk-1234567" not in str(timeline.error)
    assert "****" in str(timeline.error)


def test_secrets_are_masked_in_transcripts_too_however_they_are_cut() -> None:
    transcript = Transcript(payloads=[])
    observer = watch(say("key: sk-12"), say("34567."), b"data: \xff sk-1234567\n\n", transcript=transcript)
    finish(observer)
    observer.scrub(["sk-1234567"])
    assert "".join(transcript.text) == "key: ****."
    assert transcript.event_ns == [3000, 4000]
    assert transcript.payloads is not None
    assert [at_ns for at_ns, _ in transcript.payloads] == [3000, 4000]
    assert not any(b"sk-1234567" in payload for _, payload in transcript.payloads)


def test_scrubbing_a_success_does_nothing() -> None:
    observer = watch(say("a"), stop())
    finish(observer)
    observer.scrub(["stop"])
    assert (observer.timeline.error, observer.timeline.finish_reason) == (None, "stop")


def test_a_transcript_has_the_answer_and_when_each_piece_of_it_came() -> None:
    transcript = Transcript()
    finish(watch(ROLE, delta(reasoning="hm"), say("One"), say(" two"), stop(), USAGE, DONE, transcript=transcript))
    assert "".join(transcript.text) == "One two"
    assert transcript.event_ns == [4000, 5000, 6000]
    assert transcript.payloads is None


def test_a_transcript_of_payloads_has_every_event_as_it_came() -> None:
    transcript = Transcript(payloads=[])
    payloads = [b'{"choices": [{"delta": {"content": "One"}}]}', b"[DONE]"]
    finish(watch(*(b"data: " + payload + b"\n\n" for payload in payloads), transcript=transcript))
    assert transcript.payloads == [(3000, payloads[0]), (4000, payloads[1])]
