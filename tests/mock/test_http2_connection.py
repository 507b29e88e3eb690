"""HTTP/2 frames in, HTTP/2 frames out: h2's client against the mock server, but for its sockets and its clock.

h2 holds the server to its windows: a frame that they have no room for is an error of the test.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    InformationalResponseReceived,
    PingAckReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.settings import SettingCodes, Settings
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.units import NS_PER_MS
from fluxperf_mock import MockSettings
from fluxperf_mock.endpoints import Origin
from fluxperf_mock.figures import Board
from fluxperf_mock.generation import Receipt
from fluxperf_mock.http2_connection import Allowance, Http2Connection
from fluxperf_mock.service import Service
from fluxperf_mock.truth import describe
from tests.mock.client import Timer

FOREVER = 1 << 50
EXACT = MockSettings(prefill_tokens_per_s=1000, decode_ms=10, overhead_ms=5, jitter=0, tokens=4)
AMPLE = Allowance(streams=100)
FIELDS = [(":method", "POST"), (":scheme", "http"), (":authority", "h"), (":path", "/v1/chat/completions")]


class Sink:
    """Takes everything at once; the write with index i is stamped i ms."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.finished = False

    def write(self, data: bytes, receipt: Receipt | None = None) -> None:
        assert not self.finished
        assert data
        if receipt is not None:
            receipt(len(self.writes) * NS_PER_MS)
        self.writes.append(data)

    def finish(self) -> None:
        self.finished = True


@dataclass
class Reply:
    """What came on one stream."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False
    reset: int | None = None
    informed: bool = False

    @property
    def status(self) -> int:
        return int(self.headers[b":status"])

    def json(self) -> Any:
        return json.loads(self.body)

    def tokens(self) -> int:
        return self.body.count(b'"delta":{"content":"')


class Client:
    """A client of a service of its own. With `grants`, it gives back the windows of what it has read."""

    def __init__(self, settings: MockSettings = EXACT, allowance: Allowance = AMPLE, window: int = 0) -> None:
        self.timer = Timer()
        self.service = Service(settings, Board(), Origin(0, 0), self.timer)
        self.figures = self.service.engine.truth.counts
        self.breaths = 0
        self.sink = Sink()
        self.connection = Http2Connection(self.sink, self.service, allowance, self._breathe)
        self.h2 = H2Connection(H2Configuration(client_side=True))
        if window:
            self.h2.local_settings = Settings(initial_values={SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.replies: dict[int, Reply] = defaultdict(Reply)
        self.events: list[Event] = []
        self._seen = 0
        self.grants = True
        self.h2.initiate_connection()

    def _breathe(self) -> None:
        self.breaths += 1

    def exchange(self, at_ns: int = 0) -> None:
        """Sends and reads until neither side has anything to say."""
        while True:
            sent = self.h2.data_to_send()
            if sent:
                self.connection.receive(sent, at_ns)
            if self._seen == len(self.sink.writes):
                if not sent:
                    return
                continue
            data = self.sink.writes[self._seen]
            self._seen += 1
            for event in self.h2.receive_data(data):
                self._note(event)

    def _note(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, ResponseReceived):
            self.replies[event.stream_id].headers = dict(event.headers)
        elif isinstance(event, InformationalResponseReceived):
            self.replies[event.stream_id].informed = True
        elif isinstance(event, DataReceived):
            self.replies[event.stream_id].body += event.data
            if self.grants:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            self.replies[event.stream_id].ended = True
        elif isinstance(event, StreamReset):
            self.replies[event.stream_id].reset = event.error_code

    def begin(self, method: str, path: str, *fields: tuple[str, str], end: bool = False) -> int:
        number = self.h2.get_next_available_stream_id()
        head = [(":method", method), *FIELDS[1:3], (":path", path), *fields]
        self.h2.send_headers(number, head, end_stream=end)
        return number

    def send(self, method: str, path: str, body: bytes = b"") -> int:
        """Sends a request as the server's windows allow; its stream's number."""
        number = self.begin(method, path, end=not body)
        rest = memoryview(body)
        while rest:
            room = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size)
            assert room, "the server gives no window"
            self.h2.send_data(number, rest[:room], end_stream=len(rest) <= room)
            rest = rest[room:]
            self.exchange()
        return number

    def run(self, until_ns: int = FOREVER) -> None:
        self.exchange()
        while self.service.engine.step(until_ns):
            pass
        self.exchange()

    def ask(self, method: str, path: str, body: bytes = b"") -> Reply:
        number = self.send(method, path, body)
        self.run()
        reply = self.replies[number]
        assert reply.ended
        return reply

    def stream(self, content: str = "hello", **more: object) -> int:
        """Asks for a stream, of as many tokens as `max_tokens` says."""
        return self.send("POST", "/v1/chat/completions", chat(content, stream=True, ignore_eos=True, **more))


def chat(content: str = "hello", **more: object) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": content}], **more}).encode()


def test_a_stream_in_its_order() -> None:
    reply = Client().ask("POST", "/v1/chat/completions", chat(stream=True, max_tokens=2))
    assert reply.headers == {
        b":status": b"200",
        b"content-type": b"text/event-stream; charset=utf-8",
        b"cache-control": b"no-cache",
    }
    role, first, second, finish, done, rest = reply.body.split(b"\n\n")
    assert b'"delta":{"role":"assistant","content":""}' in role
    assert all(b'"delta":{"content":"' in event for event in (first, second))
    assert b'"finish_reason":"length"' in finish
    assert (done, rest) == (b"data: [DONE]", b"")


def test_one_write_a_token_and_the_end_with_the_last() -> None:
    client = Client()
    client.exchange()
    before = len(client.sink.writes)
    client.stream(max_tokens=3)
    client.run()
    # The acknowledgement of the settings aside: head and role, two tokens, and the last with the end.
    writes = [data for data in client.sink.writes[before:] if b"data: " in data]
    assert [data.count(b'"content":"') for data in writes] == [1, 1, 1, 1]
    assert writes[1][:5] == (len(writes[1]) - 9).to_bytes(3, "big") + b"\0\0"
    assert writes[-1].endswith(b"data: [DONE]\n\n")
    truth = describe([client.service.engine.truth])
    first_ms = client.sink.writes.index(writes[1])
    assert truth["tokens"] == 3
    assert truth["ttft_ms"] == {"n": 1, **dict.fromkeys(("mean", "p50", "p90", "p99", "max"), first_ms)}
    assert truth["itl_ms"] == {"n": 2, "mean": 1, "p50": 1, "p90": 1, "p99": 1, "max": 1}


def test_a_request_arrives_with_the_read_that_completes_it() -> None:
    client = Client()
    client.exchange()
    body = chat(stream=True)
    number = client.begin("POST", "/v1/chat/completions")
    client.h2.send_data(number, body[:9])
    client.exchange(at_ns=1)
    assert client.service.engine.next_due_ns() is None
    client.h2.send_data(number, body[9:], end_stream=True)
    client.exchange(at_ns=70 * NS_PER_MS)
    prompt_tokens = 9  # one ms each
    assert client.service.engine.next_due_ns() == (70 + 5 + prompt_tokens) * NS_PER_MS


def test_many_streams_are_answered_at_once() -> None:
    client = Client()
    numbers = [client.stream(f"prompt {index}", max_tokens=3) for index in range(20)]
    client.run()
    assert [client.replies[number].tokens() for number in numbers] == [3] * 20
    assert all(client.replies[number].ended for number in numbers)
    assert (client.figures.requests, client.figures.finished, client.figures.tokens) == (20, 20, 60)


def test_a_whole_answer_and_a_stream_say_the_same() -> None:
    client = Client()
    whole = client.ask("POST", "/v1/chat/completions", chat()).json()
    streamed = client.ask("POST", "/v1/chat/completions", chat(stream=True))
    words = whole["choices"][0]["message"]["content"].split()
    assert all(f'"content":"{word} "'.encode() in streamed.body for word in words)
    assert streamed.tokens() == len(words) == whole["usage"]["completion_tokens"]


def test_every_endpoint_answers() -> None:
    client = Client()
    for method, path in (
        ("GET", "/v1/models"),
        ("GET", "/health"),
        ("GET", "/version?x=1"),
        ("GET", "/metrics"),
        ("GET", "/truth"),
        ("POST", "/truth/reset"),
        ("GET", "/reset"),
        ("POST", "/reset_prefix_cache"),
    ):
        reply = client.ask(method, path)
        assert reply.status == 200
        assert int(reply.headers[b"content-length"]) == len(reply.body)
    assert client.ask("GET", "/nowhere").status == 404
    wrong = client.ask("GET", "/v1/chat/completions")
    assert (wrong.status, wrong.headers[b"allow"]) == (405, b"POST")
    assert client.ask("POST", "/v1/chat/completions", b"{").status == 400


def test_a_query_is_not_part_of_the_path() -> None:
    client = Client(MockSettings(engine="llamacpp", max_num_seqs=2))
    erased = client.ask("POST", "/slots/1?action=erase")
    assert (erased.status, erased.json()) == (200, {"id_slot": 1, "n_erased": 0})
    assert client.ask("POST", "/slots/1").status == 400


def test_every_response_names_a_server_that_does_so() -> None:
    client = Client(MockSettings(engine="llamacpp"))
    stream = client.replies[client.stream(max_tokens=1)]
    client.run()
    assert stream.headers[b"server"] == client.ask("GET", "/nowhere").headers[b"server"] == b"llama.cpp"


def test_a_page_that_is_kept_back_holds_up_no_other_stream() -> None:
    client = Client(MockSettings(faults="slow-metrics=3"))
    page = client.send("GET", "/metrics")
    client.run()
    assert client.ask("GET", "/health").status == 200
    assert not client.replies[page].ended
    ((delay_s, act),) = client.timer.kept
    act()
    client.exchange()
    assert (delay_s, client.replies[page].ended) == (3, True)


@pytest.mark.parametrize("lost", [False, True])
def test_a_page_that_nobody_waits_for_is_not_sent(lost: bool) -> None:
    client = Client(MockSettings(faults="slow-metrics=3"))
    page = client.send("GET", "/metrics")
    client.exchange()
    if lost:
        client.connection.lose(0)
    else:
        client.h2.reset_stream(page)
        client.exchange()
    assert client.timer.kept == []


def test_a_head_has_no_body() -> None:
    reply = Client().ask("HEAD", "/v1/models")
    assert reply.status == 200
    assert int(reply.headers[b"content-length"]) > 0
    assert reply.body == b""


def test_long_prompts_find_open_windows() -> None:
    client = Client()
    for size in (500_000, 20_000_000, 20_000_000):  # the last passes what both windows began with
        reply = client.ask("POST", "/v1/completions", b'{"max_tokens":1,"prompt":"' + b"x" * size + b'"}')
        assert reply.json()["usage"]["prompt_tokens"] == size // 4


def test_a_body_that_is_too_long_is_refused_and_the_connection_stays() -> None:
    client = Client()
    number = client.begin("POST", "/v1/completions")
    sent, piece = 0, b"x" * 16_384
    while client.replies[number].reset is None:
        client.h2.send_data(number, piece)
        client.exchange()
        sent += len(piece)
    assert sent == 64 * 1024 * 1024 + len(piece)
    assert (client.replies[number].status, client.replies[number].ended) == (413, True)
    assert client.replies[number].reset == ErrorCodes.NO_ERROR
    assert client.ask("GET", "/health").status == 200


def test_a_long_answer_is_cut_into_frames_the_client_takes() -> None:
    client = Client(MockSettings(jitter=0))
    reply = client.ask("POST", "/v1/completions", b'{"max_tokens":30000,"ignore_eos":true,"prompt":"x"}')
    assert len(reply.json()["choices"][0]["text"]) == 120_000
    assert max(len(event.data) for event in client.events if isinstance(event, DataReceived)) == 16_384


def test_a_client_that_gives_no_window_stalls_its_stream_only() -> None:
    client = Client()
    client.exchange()
    client.grants = False
    slow = client.stream("slow", max_tokens=400)
    client.run()
    stalled_at = client.replies[slow].tokens()
    assert 100 < stalled_at < 400
    counted = client.figures.tokens
    assert counted == stalled_at
    client.h2.increment_flow_control_window(1_000_000)  # of the connection
    other = client.stream("other", max_tokens=3)
    client.run()
    assert client.replies[other].ended
    assert not client.replies[slow].ended
    client.h2.increment_flow_control_window(1_000_000, slow)
    client.exchange()
    assert client.replies[slow].ended
    assert client.replies[slow].tokens() == client.figures.tokens - 3 == 400


def test_a_connection_without_a_window_stalls_all_its_streams() -> None:
    client = Client(window=1_000_000)
    client.exchange()
    client.grants = False
    numbers = [client.stream(str(index), max_tokens=200) for index in range(3)]
    client.run()
    assert sum(len(client.replies[number].body) for number in numbers) <= 65_535
    assert not any(client.replies[number].ended for number in numbers)
    client.h2.increment_flow_control_window(1_000_000)
    client.exchange()
    assert [client.replies[number].tokens() for number in numbers] == [200] * 3
    assert all(client.replies[number].ended for number in numbers)


def test_a_window_that_the_settings_open_lets_go() -> None:
    client = Client(window=300)
    client.exchange()
    client.grants = False
    number = client.stream(max_tokens=5)
    client.run()
    assert (len(client.replies[number].body), client.replies[number].ended) == (300, False)
    client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 100})  # which makes it negative
    client.exchange()
    client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 5000})
    client.exchange()
    assert (client.replies[number].tokens(), client.replies[number].ended) == (5, True)


@given(st.integers(1, 400), st.lists(st.integers(1, 900), max_size=12))
def test_an_answer_is_the_same_through_any_windows(window: int, increments: list[int]) -> None:
    client = Client(window=window)
    client.exchange()
    client.grants = False
    numbers = [client.stream(content, max_tokens=4) for content in ("a", "b")]
    for increment in increments:
        client.service.engine.step(FOREVER)
        if not client.replies[numbers[0]].ended:
            client.h2.increment_flow_control_window(increment, numbers[0])
        client.exchange()
    client.run()
    for number in numbers:
        if not client.replies[number].ended:
            client.h2.increment_flow_control_window(10_000, number)
    client.exchange()
    assert [client.replies[number].tokens() for number in numbers] == [4, 4]
    assert all(client.replies[number].body.endswith(b"data: [DONE]\n\n") for number in numbers)
    assert client.figures.tokens == 8


def test_a_client_that_leaves_too_much_waiting_loses_that_stream() -> None:
    client = Client(allowance=Allowance(100, waiting_bytes=20_000), window=100)
    client.exchange()
    client.grants = False
    small, big = client.stream("small", max_tokens=2), client.stream("big", max_tokens=400)
    client.run()
    assert client.replies[big].reset == ErrorCodes.ENHANCE_YOUR_CALM
    assert client.replies[small].reset is None
    assert client.figures.aborted == 1
    assert client.service.engine.next_due_ns() is None
    client.h2.increment_flow_control_window(1000, small)
    client.exchange()
    assert client.replies[small].ended


def test_a_client_that_is_slow_but_reads_loses_nothing() -> None:
    client = Client(allowance=Allowance(100, waiting_bytes=3_000), window=500)
    client.exchange()
    number = client.stream(max_tokens=100)
    client.exchange()
    client.grants = False
    for _ in range(100):
        client.service.engine.step(FOREVER)
        client.exchange()
        client.h2.increment_flow_control_window(200, number)  # nearly a token
    client.h2.increment_flow_control_window(5_000, number)
    client.exchange()
    assert (client.replies[number].tokens(), client.replies[number].ended) == (100, True)


def test_a_stalled_stream_that_is_reset_is_over() -> None:
    client = Client(window=100)
    client.exchange()
    client.grants = False
    number, other = client.stream("stalled", max_tokens=5), client.stream("other", max_tokens=2)
    client.run()
    client.h2.reset_stream(number)
    client.h2.increment_flow_control_window(100_000)
    client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 10_000})
    client.exchange()
    assert (client.replies[number].ended, client.replies[other].ended) == (False, True)


def test_a_reset_cancels_its_request_only() -> None:
    client = Client()
    first, second = client.stream("first", max_tokens=50), client.stream("second", max_tokens=5)
    client.run(until_ns=40 * NS_PER_MS)
    client.h2.reset_stream(first, ErrorCodes.CANCEL)
    client.run()
    assert (client.replies[first].ended, client.replies[second].ended) == (False, True)
    assert (client.figures.requests, client.figures.aborted, client.figures.finished) == (2, 1, 1)
    assert client.replies[first].tokens() < 50


def test_a_request_and_its_reset_in_one_read_are_no_request() -> None:
    client = Client()
    client.exchange()
    body = chat(stream=True)
    for _ in range(3):
        number = client.begin("POST", "/v1/chat/completions")
        client.h2.send_data(number, body, end_stream=True)
        client.h2.reset_stream(number)
    half = client.begin("POST", "/v1/chat/completions")
    client.h2.reset_stream(half)
    last = client.stream(max_tokens=2)
    client.run()
    assert client.replies[last].ended
    assert (client.figures.requests, client.figures.aborted) == (4, 3)


def test_a_client_that_goes_away_frees_all_its_places() -> None:
    client = Client()
    for index in range(3):
        client.stream(str(index))
    client.begin("POST", "/v1/chat/completions")
    client.exchange()
    client.connection.lose(1)
    assert client.service.engine.next_due_ns() is None
    assert (client.figures.requests, client.figures.aborted) == (3, 3)


def test_a_stream_too_many_is_refused_and_the_others_are_not() -> None:
    client = Client(allowance=Allowance(2))
    # Before the client has read the settings: it may open as many as it likes.
    numbers = [client.begin("POST", "/v1/chat/completions") for _ in range(4)]
    for number in numbers:
        client.h2.send_data(number, chat(stream=True, max_tokens=2, ignore_eos=True), end_stream=True)
    client.run()
    assert [client.replies[number].reset for number in numbers] == [None, None, *[ErrorCodes.REFUSED_STREAM] * 2]
    assert [client.replies[number].tokens() for number in numbers] == [2, 2, 0, 0]
    assert client.h2.remote_settings.max_concurrent_streams == 2
    assert client.ask("GET", "/health").status == 200


def test_a_ping_is_answered() -> None:
    client = Client()
    client.h2.ping(b"12345678")
    client.exchange()
    assert [event.ping_data for event in client.events if isinstance(event, PingAckReceived)] == [b"12345678"]


def test_a_client_that_says_goodbye_is_answered_first() -> None:
    client = Client()
    client.exchange()
    client.grants = False
    number = client.stream(max_tokens=400)
    client.run(until_ns=100 * NS_PER_MS)
    # What h2's client would not do after its own GOAWAY: it goes on to read, and gives windows.
    goaway = b"\0\0\x08\x07\0\0\0\0\0" + bytes(8)
    window = b"\0\0\4\x08\0" + number.to_bytes(4, "big") + (1_000_000).to_bytes(4, "big")
    both = b"\0\0\4\x08\0\0\0\0\0" + (1_000_000).to_bytes(4, "big")
    client.connection.receive(goaway + window + both, 0)
    assert not client.sink.finished
    client.grants = True
    client.h2.increment_flow_control_window(1_000_000)
    client.h2.increment_flow_control_window(1_000_000, number)
    client.h2.clear_outbound_data_buffer()
    client.run()
    assert (client.replies[number].tokens(), client.replies[number].ended) == (400, True)
    assert client.sink.finished


def test_a_goodbye_without_requests_ends_the_connection() -> None:
    client = Client()
    assert client.ask("GET", "/health").status == 200
    client.h2.close_connection()
    client.connection.receive(client.h2.data_to_send(), 0)
    assert client.sink.finished


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\0\0\1\0\0\0\0\0\0x", ErrorCodes.PROTOCOL_ERROR),  # DATA without a stream
        (b"\0\x40\1\0\0\0\0\0\1" + bytes(16_385), ErrorCodes.FRAME_SIZE_ERROR),  # one byte more than the settings allow
        (b"\0\0\4\x08\0\0\0\0\0" + b"\x7f\xff\xff\xff", ErrorCodes.FLOW_CONTROL_ERROR),  # a window beyond its bound
        (b"\0\0\1\1\x05\0\0\0\1\xff", ErrorCodes.PROTOCOL_ERROR),  # no header block
    ],
)
def test_what_is_no_http2_ends_the_connection_with_the_reason(frame: bytes, code: ErrorCodes) -> None:
    client = Client()
    client.stream(max_tokens=100)
    client.exchange()
    client.connection.receive(frame, 7)
    client.connection.receive(frame, 8)
    client.exchange()
    (event,) = [event for event in client.events if isinstance(event, ConnectionTerminated)]
    assert event.error_code == code
    assert client.sink.finished
    assert client.figures.aborted == 1
    client.service.engine.step(FOREVER)


def test_a_preface_that_is_none_ends_the_connection() -> None:
    client = Client()
    client.connection.receive(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n", 0)
    assert client.sink.finished


def test_a_client_that_waits_for_it_is_told_to_go_on() -> None:
    client = Client()
    number = client.begin("POST", "/v1/chat/completions", ("expect", "100-continue"))
    client.exchange()
    assert client.replies[number].informed
    client.h2.send_data(number, chat(), end_stream=True)
    client.run()
    assert client.replies[number].status == 200


def test_padding_and_continuations_are_understood() -> None:
    client = Client()
    # Longer than a frame, so h2 cuts it; letters that HPACK's code does not make short.
    number = client.begin("POST", "/v1/chat/completions", ("x-long", "~|{}" * 5_000))
    client.h2.send_data(number, chat(max_tokens=2), pad_length=200)
    client.h2.send_data(number, b"", end_stream=True, pad_length=9)
    client.run()
    assert client.replies[number].json()["usage"]["completion_tokens"] == 2


def test_trailers_end_a_request_too() -> None:
    client = Client()
    number = client.begin("POST", "/v1/chat/completions")
    client.h2.send_data(number, chat(max_tokens=2))
    client.h2.send_headers(number, [("x-checksum", "1")], end_stream=True)
    client.run()
    assert client.replies[number].json()["usage"]["completion_tokens"] == 2


def test_what_is_due_goes_out_between_two_frames() -> None:
    client = Client()
    client.exchange()
    client.breaths = 0
    for _ in range(5):
        number = client.begin("POST", "/v1/chat/completions")
        client.h2.send_data(number, chat(), end_stream=True)
    client.exchange()
    assert client.breaths == 10


def test_nothing_is_kept_of_requests_that_are_over() -> None:
    client = Client()
    for _ in range(3):
        client.ask("POST", "/v1/chat/completions", chat(stream=True))
    state = vars(client.connection)
    assert [state[name] for name in ("_uploads", "_streams", "_waiting")] == [{}, {}, {}]
