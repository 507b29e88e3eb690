from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf_mock.answers import Limits
from fluxperf_mock.api import (
    CHAT,
    COMPLETIONS,
    Api,
    GenerationRequest,
    Identity,
    Rejection,
    StreamText,
    Usage,
    decode_request,
    render_models,
    render_whole,
)
from fluxperf_mock.prompts import render_chat

IDENTITY = Identity(number=7, created_s=1_700_000_000, model='m"1')
USAGE = Usage(prompt_tokens=10, completion_tokens=3, cached_tokens=8)
USER = [{"role": "user", "content": "hi"}]


def decode(api: Api, **body: object) -> GenerationRequest:
    return decode_request(api, json.dumps(body).encode())


def read_events(stream: bytes) -> list[Any]:
    assert stream.endswith(b"\n\n")
    events = [event.removeprefix(b"data: ") for event in stream.split(b"\n\n")[:-1]]
    return ["DONE" if event == b"[DONE]" else json.loads(event) for event in events]


def test_a_chat_request_is_read_and_unknown_keys_are_passed_over() -> None:
    request = decode(
        CHAT,
        model="m",
        messages=[{"role": "system", "content": None}, {"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        stream=True,
        stream_options={"include_usage": True},
        max_completion_tokens=5,
        max_tokens=9,
        min_tokens=2,
        temperature=0.3,
        future={"a": [1]},
    )
    assert request.prompt_text() == render_chat([("system", ""), ("user", "hi")])
    assert request.limits() == Limits(max_tokens=5, min_tokens=2)
    assert request.stream
    assert request.include_usage


@pytest.mark.parametrize("options", [None, {}, {"include_usage": None}, {"include_usage": False}])
def test_usage_is_streamed_only_if_asked_for(options: object) -> None:
    assert not decode(CHAT, messages=USER, stream_options=options).include_usage


@pytest.mark.parametrize("prompt", ["hi", ["hi"]])
def test_a_completion_takes_a_text_or_a_list_of_one(prompt: object) -> None:
    assert decode(COMPLETIONS, prompt=prompt).prompt_text() == b"hi"


def test_a_completion_takes_token_ids_one_token_each() -> None:
    assert len(decode(COMPLETIONS, prompt=[1, 2, 128_000]).prompt_text()) == 12


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": []},
        {"messages": "hi"},
        {"messages": [{"content": "hi"}]},
        {"messages": [{"role": "user", "content": 3}]},
        {"messages": USER, "max_tokens": 0},
        {"messages": USER, "max_tokens": "5"},
        {"messages": USER, "min_tokens": -1},
        {"messages": USER, "stream": "yes"},
        {"messages": USER, "n": 2},
    ],
)
def test_a_malformed_chat_request_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(Rejection) as caught:
        decode(CHAT, **body)
    error = json.loads(caught.value.body)["error"]
    assert caught.value.status == error["code"] == 400
    assert error["message"]
    assert error["type"] == "BadRequestError"


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"messages": ', b"[]", b'{"messages":"\xff"}', b'{"a":' + b"[" * 100_000]
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(Rejection):
        decode_request(CHAT, body)


@given(st.binary())
def test_no_bytes_do_worse_than_be_refused(body: bytes) -> None:
    for api in (CHAT, COMPLETIONS):
        with pytest.raises(Rejection):
            decode_request(api, body)


def test_limits_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(Rejection, match="min_tokens must be at most max_tokens=3, got 4"):
        decode(CHAT, messages=USER, max_tokens=3, min_tokens=4).limits()


@pytest.mark.parametrize("prompt", [[], ["a", "b"], ["a", 1], [-1], [2**32]])
def test_prompts_that_are_not_served_are_refused(prompt: object) -> None:
    request = decode(COMPLETIONS, prompt=prompt)
    with pytest.raises(Rejection):
        request.prompt_text()


def test_a_part_without_text_is_refused() -> None:
    request = decode(CHAT, messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}])
    with pytest.raises(Rejection, match="text"):
        request.prompt_text()


def test_a_chat_stream_has_role_tokens_reason_usage_and_done() -> None:
    text = StreamText(CHAT, IDENTITY)
    role, token, finish, usage, done = read_events(text.opening() + text.token(b"yes ") + text.ending("length", USAGE))
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert token["choices"][0] == {"index": 0, "delta": {"content": "yes "}, "logprobs": None, "finish_reason": None}
    assert (finish["choices"][0]["delta"], finish["choices"][0]["finish_reason"]) == ({}, "length")
    assert usage["choices"] == []
    assert usage["usage"] == {
        "prompt_tokens": 10,
        "total_tokens": 13,
        "completion_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 8},
    }
    assert done == "DONE"
    for event in (role, token, finish, usage):
        assert (event["object"], event["model"]) == ("chat.completion.chunk", 'm"1')
        assert (event["id"], event["created"]) == ("chatcmpl-0000000000000007", 1_700_000_000)


def test_a_completion_stream_has_texts_and_no_role() -> None:
    text = StreamText(COMPLETIONS, IDENTITY)
    assert text.opening() == b""
    token, finish, done = read_events(text.token(b"yes ") + text.ending("stop", None))
    assert (token["object"], token["choices"][0]["text"]) == ("text_completion", "yes ")
    assert (finish["choices"][0]["text"], finish["choices"][0]["finish_reason"]) == ("", "stop")
    assert done == "DONE"


def test_a_usage_may_have_no_details() -> None:
    usage = Usage(prompt_tokens=10, completion_tokens=3, cached_tokens=None)
    assert json.loads(usage.render()) == {"prompt_tokens": 10, "total_tokens": 13, "completion_tokens": 3}


def test_an_answer_in_one_piece() -> None:
    chat = json.loads(render_whole(CHAT, IDENTITY, b"yes no ", "stop", USAGE))
    assert chat["object"] == "chat.completion"
    assert chat["choices"][0]["message"] == {"role": "assistant", "content": "yes no "}
    assert chat["choices"][0]["finish_reason"] == "stop"
    assert chat["usage"]["prompt_tokens_details"] == {"cached_tokens": 8}
    plain = json.loads(render_whole(COMPLETIONS, IDENTITY, b"yes no ", "length", USAGE))
    assert (plain["choices"][0]["text"], plain["choices"][0]["finish_reason"]) == ("yes no ", "length")


def test_the_list_of_models_has_the_one() -> None:
    assert [model["id"] for model in json.loads(render_models("m", 5))["data"]] == ["m"]
