"""What real servers stream, as bytes through the decoder and the chat API to the facts that a request is judged by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from fluxperf.api import APIS, Delta, SseDecoder, Usage

CAPTURES = Path(__file__).parent / "captures"

NOTHING = Delta()
SILENT = Delta(silent=True)
BLANK = Delta(silent=True, blank=True)
FINISHED = Delta(silent=True, finish_reason="stop")
DONE = Delta(done=True)


def say(text: str) -> Delta:
    return Delta(output=True, answer=True, text=text)


THOUGHT = Delta(output=True)
CALLED = Delta(output=True, answer=True)


def read(stream: bytes, piece_bytes: int = 1 << 16) -> list[Delta]:
    decoder = SseDecoder()
    payloads: list[bytes] = []
    for start in range(0, len(stream), piece_bytes):
        payloads += decoder.feed(stream[start : start + piece_bytes])
    payloads += decoder.finish()
    return [APIS["chat"].decode(payload, True) for payload in payloads]


def chunk(choice: str) -> bytes:
    """An event with one choice, whose fields are `choice`."""
    return b'data: {"object":"chat.completion.chunk","choices":[{"index":0,' + choice.encode() + b"}]}\n\n"


@dataclass(frozen=True)
class Facts:
    output_events: int
    answer_events: int
    text: str
    finish_reason: str | None = None
    usage: Usage | None = None
    error: str | None = None
    done: bool = True


T = TypeVar("T")


def last(values: Iterable[T | None]) -> T | None:
    return ([None, *(value for value in values if value is not None)])[-1]


def gather(deltas: list[Delta]) -> Facts:
    return Facts(
        output_events=sum(delta.output for delta in deltas),
        answer_events=sum(delta.answer for delta in deltas),
        text="".join(delta.text for delta in deltas),
        finish_reason=last(delta.finish_reason for delta in deltas),
        usage=last(delta.usage for delta in deltas),
        error=last(delta.error for delta in deltas),
        done=deltas[-1].done,
    )


WHOLE_STREAMS = {
    "llamacpp": Facts(2, 2, "One two", "length", Usage(20, 2, 16)),
    "litellm": Facts(3, 3, "One two", "stop", Usage(12, 2)),
    "vllm_reasoning": Facts(3, 1, "Two", "stop", Usage(9, 4, 0)),
    "sglang": Facts(2, 2, "One two", "stop", Usage(30, 2, 29)),
    "openai": Facts(2, 2, "One two", "stop", Usage(11, 2, 0)),
    "azure": Facts(1, 1, "One two", "stop"),
    "transformers": Facts(2, 2, "One two", "stop", Usage(8, 2), done=False),
    "tgi": Facts(2, 2, "One two", "eos_token", done=False),
    "openrouter_error": Facts(1, 1, "One", "error", error="Provider disconnected", done=False),
    "vllm_error": Facts(1, 1, "One", error="EngineCore died"),
    "sglang_error": Facts(0, 0, "", error="The input is longer than the context"),
}


@pytest.mark.parametrize("piece_bytes", [1, 7, 1 << 16])
@pytest.mark.parametrize("server", WHOLE_STREAMS)
def test_whole_stream(server: str, piece_bytes: int) -> None:
    stream = (CAPTURES / f"{server}.sse").read_bytes()
    assert gather(read(stream, piece_bytes)) == WHOLE_STREAMS[server]


def test_every_capture_is_tested() -> None:
    assert {path.stem for path in CAPTURES.iterdir()} == set(WHOLE_STREAMS)


@pytest.mark.parametrize(
    "delta", ['{"role":"assistant","content":""}', '{"role":"assistant","content":null}', '{"role":"assistant"}']
)
def test_role_only_first_chunk_is_not_a_token(delta: str) -> None:
    stream = chunk(f'"delta":{delta}') + chunk('"delta":{"content":"Hi"}')
    assert read(stream) == [SILENT, say("Hi")]


def test_role_and_text_in_the_first_chunk_is_the_first_token() -> None:
    assert read(chunk('"delta":{"role":"assistant","content":"The"}')) == [say("The")]


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_reasoning_is_output_but_not_answer(name: str) -> None:
    stream = chunk(f'"delta":{{"{name}":"Hm"}}') + chunk(f'"delta":{{"{name}":""}}') + chunk('"delta":{"content":"A"}')
    assert read(stream) == [THOUGHT, SILENT, say("A")]


def test_null_reasoning_beside_the_content_is_not_reasoning() -> None:
    stream = chunk('"delta":{"content":"","reasoning_content":null}') + chunk(
        '"delta":{"content":"A","reasoning_content":null,"reasoning":null}'
    )
    assert read(stream) == [BLANK, say("A")]


def test_reasoning_and_answer_in_one_chunk_is_answer() -> None:
    assert read(chunk('"delta":{"reasoning":"Hm","content":"A"}')) == [say("A")]


def test_reasoning_as_content_parts_is_output_but_not_answer() -> None:
    thinking = '{"type":"thinking","thinking":[{"type":"text","text":"Hm"}]}'
    stream = chunk(f'"delta":{{"content":[{thinking}]}}') + chunk('"delta":{"content":[{"type":"text","text":"A"}]}')
    assert read(stream) == [THOUGHT, say("A")]


def test_tool_call_deltas_are_output() -> None:
    first = '"delta":{"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"f","arguments":""}}]}'
    more = '"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\\"a\\""}}]}'
    nothing = '"delta":{"tool_calls":[{"index":0,"function":{"arguments":""}}]}'
    last = '"delta":{},"finish_reason":"tool_calls"'
    stream = chunk(first) + chunk(more) + chunk(nothing) + chunk(last)
    assert read(stream) == [CALLED, CALLED, SILENT, Delta(silent=True, finish_reason="tool_calls")]


def test_function_call_deltas_are_output() -> None:
    stream = chunk('"delta":{"function_call":{"name":"f","arguments":""}}')
    stream += chunk('"delta":{"function_call":{"arguments":"{}"}}') + chunk('"delta":{"function_call":null}')
    assert read(stream) == [CALLED, CALLED, SILENT]


def test_empty_tool_calls_beside_the_role_are_not_output() -> None:
    assert read(chunk('"delta":{"role":"assistant","content":null,"tool_calls":[],"function_call":{}}')) == [SILENT]


def test_refusal_is_answer() -> None:
    assert read(chunk('"delta":{"refusal":"I will not"}') + chunk('"delta":{"refusal":null}')) == [
        say("I will not"),
        SILENT,
    ]


def test_token_that_decodes_to_nothing_is_not_a_first_token() -> None:
    assert read(chunk('"delta":{"content":""},"finish_reason":null') + chunk('"delta":{"content":"A"}')) == [
        BLANK,
        say("A"),
    ]


@pytest.mark.parametrize(
    ("delta", "is_blank"),
    [
        ('{"content":""}', True),
        ('{"content":"","reasoning_content":null}', True),
        ('{"content":"","role":"assistant"}', False),
        ('{"content":"","role":null}', False),
        ('{"content":null}', False),
        ('{"reasoning":""}', False),
        ("{}", False),
        ("null", False),
    ],
)
def test_blank_is_an_empty_content_without_a_role(delta: str, is_blank: bool) -> None:
    """What `vllm bench serve` takes for a token that decodes to nothing."""
    assert read(chunk(f'"delta":{delta}')) == [Delta(silent=True, blank=is_blank)]
    finish = f'"delta":{delta},"finish_reason":"stop"'
    assert read(chunk(finish)) == [Delta(silent=True, blank=is_blank, finish_reason="stop")]


USAGE = '"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8}'


def test_usage_with_no_choices() -> None:
    assert read(f'data: {{"choices":[],{USAGE}}}\n\n'.encode()) == [Delta(usage=Usage(5, 3))]


def test_usage_without_the_key_choices() -> None:
    assert read(f"data: {{{USAGE}}}\n\n".encode()) == [Delta(usage=Usage(5, 3))]


def test_usage_on_the_finish_chunk() -> None:
    stream = f'data: {{"choices":[{{"index":0,"delta":{{}},"finish_reason":"stop"}}],{USAGE}}}\n\n'
    assert read(stream.encode()) == [Delta(silent=True, finish_reason="stop", usage=Usage(5, 3))]


def test_usage_with_choices_that_say_nothing() -> None:
    stream = f'data: {{"choices":[{{"index":0,"delta":{{}}}}],{USAGE}}}\n\n'
    assert read(stream.encode()) == [Delta(silent=True, usage=Usage(5, 3))]


def test_usage_on_every_chunk_beside_the_text() -> None:
    stream = f'data: {{"choices":[{{"index":0,"delta":{{"content":"A"}}}}],{USAGE}}}\n\n'
    assert read(stream.encode()) == [Delta(output=True, answer=True, text="A", usage=Usage(5, 3))]


def test_usage_within_the_choice() -> None:
    assert read(chunk(f'"delta":{{}},"finish_reason":"stop",{USAGE}')) == [
        Delta(silent=True, finish_reason="stop", usage=Usage(5, 3))
    ]


def test_null_usage_is_unknown_not_zero() -> None:
    stream = b'data: {"choices":[{"index":0,"delta":{"content":"A"}}],"usage":null}\n\n'
    assert read(stream) == [say("A")]


def test_usage_without_counts_is_unknown_not_zero() -> None:
    assert read(b'data: {"choices":[],"usage":{}}\n\n') == [NOTHING]


@pytest.mark.parametrize(
    ("details", "cached"),
    [
        ('{"cached_tokens":4}', 4),
        ('{"cached_tokens":0}', 0),
        ('{"cached_tokens":null}', None),
        ("{}", None),
        ("null", None),
    ],
)
def test_cached_tokens_come_from_the_prompt_details(details: str, cached: int | None) -> None:
    stream = f'data: {{"choices":[],"usage":{{"prompt_tokens":5,"prompt_tokens_details":{details}}}}}\n\n'
    assert read(stream.encode()) == [Delta(usage=Usage(5, None, cached))]


def test_cached_tokens_come_from_the_timings_where_usage_has_none() -> None:
    timings = '"timings":{"cache_n":19,"prompt_n":1,"predicted_n":2}'
    stream = f'data: {{"choices":[],{timings}}}\n\ndata: {{"choices":[],{USAGE},{timings}}}\n\n'
    assert read(stream.encode()) == [Delta(usage=Usage(20, None, 19)), Delta(usage=Usage(5, 3, 19))]


def test_usage_prevails_over_the_timings() -> None:
    usage = '"usage":{"prompt_tokens":7,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":0}}'
    stream = f'data: {{"choices":[],{usage},"timings":{{"cache_n":19,"prompt_n":1}}}}\n\n'
    assert read(stream.encode()) == [Delta(usage=Usage(7, 2, 0))]


def test_stream_without_done_is_finished_by_its_finish_reason() -> None:
    assert read(chunk('"delta":{"content":"A"}') + chunk('"delta":{},"finish_reason":"stop"')) == [say("A"), FINISHED]


@pytest.mark.parametrize(
    "marker", [b"data: [DONE]\n\n", b"data:[DONE]\n\n", b"data:  [DONE] \r\n\r\n", b"data: [DONE]"]
)
def test_done_marker(marker: bytes) -> None:
    assert read(marker) == [DONE]


def test_clean_end_without_a_finish_reason_has_none() -> None:
    deltas = read(chunk('"delta":{"content":"A"},"finish_reason":""') + chunk('"delta":{},"finish_reason":null'))
    assert deltas == [say("A"), SILENT]


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ('{"error":{"message":"out of memory","type":"server_error","code":500}}', "out of memory"),
        ('{"error":"out of memory","error_type":"generation"}', "out of memory"),
        ('{"object":"error","message":"out of memory","type":"BadRequestError","code":400}', "out of memory"),
        ('{"detail":"out of memory"}', "out of memory"),
        ('{"choices":[],"error":{"message":"out of memory"}}', "out of memory"),
        ('{"error":{"code":500}}', '{"code": 500}'),
        ('{"error":" "}', "an error without a message"),
        ('{"object":"error"}', "an error without a message"),
    ],
)
def test_error_objects_first_or_in_the_middle(event: str, message: str) -> None:
    error = Delta(error=message)
    stream = f"data: {event}\n\n".encode()
    assert read(stream + b"data: [DONE]\n\n") == [error, DONE]
    assert read(chunk('"delta":{"content":"A"}') + b"event: error\n" + stream) == [say("A"), error]


def test_error_beside_choices() -> None:
    stream = b'data: {"error":{"code":502,"message":"gone"},"choices":[{"index":0,"delta":{"content":"A"},'
    stream += b'"finish_reason":"error"}]}\n\n'
    assert read(stream) == [Delta(output=True, answer=True, text="A", finish_reason="error", error="gone")]


def test_error_within_the_choice() -> None:
    stream = chunk('"delta":{},"finish_reason":"error","error":{"code":502,"message":"gone"}')
    assert read(stream) == [Delta(silent=True, finish_reason="error", error="gone")]


def test_null_error_is_no_error() -> None:
    assert read(b'data: {"error":null,"choices":[{"index":0,"delta":{"content":"A"}}]}\n\n') == [say("A")]


def test_detail_and_message_beside_choices_are_no_errors() -> None:
    stream = b'data: {"detail":"x","message":"y","choices":[{"index":0,"delta":{"content":"A"}}]}\n\n'
    assert read(stream) == [say("A")]


@pytest.mark.parametrize("comment", [b":\n\n", b": ping\n\n", b": OPENROUTER PROCESSING\n\n", b":\r\n\r\n"])
def test_comments_during_prefill_say_nothing(comment: bytes) -> None:
    assert read(comment * 3 + chunk('"delta":{"content":"A"}') + comment) == [say("A")]


def test_data_without_a_space() -> None:
    assert read(chunk('"delta":{"content":"A"}').replace(b"data: ", b"data:")) == [say("A")]


def test_crlf_line_ends() -> None:
    stream = (chunk('"delta":{"content":"A"}') + chunk('"delta":{"content":"B"}')).replace(b"\n", b"\r\n")
    assert read(stream) == [say("A"), say("B")]


def test_event_and_id_lines() -> None:
    stream = b"event: message\nid: 4\n" + chunk('"delta":{"content":"A"}')
    assert read(stream * 2) == [say("A"), say("A")]


def test_several_data_lines_an_event() -> None:
    stream = b'data: {"choices":[{"index":0,\ndata: "delta":\ndata: {"content":"A"}}]}\n\n'
    assert read(stream) == [say("A")]


def test_event_with_empty_data_says_nothing() -> None:
    assert read(b"data:\n\ndata: \n\n") == [NOTHING, NOTHING]


def test_utf8_split_over_writes() -> None:
    stream = chunk('"delta":{"content":"naïve 漢字 😀"}')
    for piece_bytes in range(1, 8):
        assert read(stream, piece_bytes) == [say("naïve 漢字 😀")]


def test_line_separators_within_the_json() -> None:
    assert read(chunk('"delta":{"content":"a\u2028b\u2029c\u0085d"}')) == [say("a\u2028b\u2029c\u0085d")]


def test_several_tokens_a_chunk_are_one_event() -> None:
    assert gather(read(chunk('"delta":{"content":"three whole words"}'))) == Facts(
        1, 1, "three whole words", done=False
    )


def test_whole_answer_in_one_write() -> None:
    stream = (CAPTURES / "openai.sse").read_bytes()
    assert SseDecoder().feed(stream)[-1] == b"[DONE]"
    assert gather(read(stream, len(stream))).output_events == 2


def test_interleaved_choices_all_count_and_index_0_tells_reason_and_text() -> None:
    def other(choice: str) -> bytes:
        return chunk(choice).replace(b'"index":0', b'"index":1')

    stream = chunk('"delta":{"content":"A"}') + other('"delta":{"content":"X"}')
    stream += other('"delta":{},"finish_reason":"length"') + chunk('"delta":{},"finish_reason":"stop"')
    assert read(stream) == [say("A"), CALLED, SILENT, FINISHED]


def test_several_choices_in_one_chunk() -> None:
    stream = b'data: {"choices":[{"index":1,"delta":{"content":"X"},"finish_reason":"length"},'
    stream += b'{"index":0,"delta":{"content":"A"},"finish_reason":"stop"}]}\n\n'
    assert read(stream) == [Delta(output=True, answer=True, text="A", finish_reason="stop")]


def test_azures_first_chunk_says_nothing() -> None:
    assert read(b'data: {"choices":[],"prompt_filter_results":[{"prompt_index":0}]}\n\n') == [NOTHING]


def test_extra_fields_are_ignored() -> None:
    stream = b'data: {"sglext":{"a":[1]},"obfuscation":"xx","choices":[{"token_ids":[1],"logprobs":{"content":[]},'
    stream += b'"index":0,"delta":{"content":"A","annotations":[],"audio":null},"stop_reason":7}],"x":1e400}\n\n'
    assert read(stream) == [say("A")]


def test_keys_in_any_order_and_spaces_anywhere() -> None:
    stream = (
        b'data:  { "choices" : [ { "finish_reason" : "stop" , "delta" : { "content" : "A" } , "index" : 0 } ] } \n\n'
    )
    assert read(stream) == [Delta(output=True, answer=True, text="A", finish_reason="stop")]
