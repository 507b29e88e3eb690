"""`--tokenizer`: against servers that count nothing, a model's own tokenizer counts."""

from __future__ import annotations

import json

import pytest

from tests.end_to_end.command import Fluxperf
from tests.end_to_end.servers import Exchange, Serve
from tests.plan.tokenizers_made import byte_level

pytest.importorskip("tokenizers", reason="needs the extra fluxperf[tokenizers]")
WORDS = ("The quick cache", " answers before", " the slow model has read the question.")


def silent(exchange: Exchange) -> None:
    """Several tokens an event, and no usage."""
    chunks = [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in WORDS]
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in (*chunks, last))
    exchange.answer(200, events, "text/event-stream")


def test_what_the_server_does_not_count_the_tokenizer_does(
    fluxperf: Fluxperf, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")  # threads of it would be left to tests that fork
    tokenizer = byte_level()
    tokenizer.save(str(fluxperf.place / "tokenizer.json"))
    fluxperf.write_prompts(12, words=10)
    server = serve(silent)
    ended = fluxperf.measure(server.url, "--concurrency 3 --workers 2 --tokenizer . --max-input-length 7")
    assert ended.code == 0, ended.err
    expected = len(tokenizer.encode("".join(WORDS), add_special_tokens=False).ids)
    assert expected > len(WORDS)
    prompts = {len(tokenizer.encode(text, add_special_tokens=False).ids) for text in server.prompts}
    assert max(prompts) <= 7
    for number in (1, 2):
        result = fluxperf.round(3, number)
        assert result["configuration"]["output_tokens_from"] == "tokenizer"
        assert result["configuration"]["input_tokens_from"] == "tokenizer"
        assert {row["output_tokens"] for row in result["requests"]} == {expected}
        assert {row["output_events"] for row in result["requests"]} == {len(WORDS)}
        assert {row["input_tokens"] for row in result["requests"]} == prompts
        assert result["summary"]["avg_output_tokens"] == expected
    assert "12 of 12 prompts were cut to 7 tokens" in ended.out
    assert fluxperf.run_json()["configuration"]["tokenizer"] == "."


def test_without_one_events_are_counted_and_the_input_is_an_estimate(fluxperf: Fluxperf, serve: Serve) -> None:
    fluxperf.write_prompts(4)
    ended = fluxperf.measure(serve(silent).url, "--concurrency 2 --rounds 1")
    assert ended.code == 0, ended.err
    configuration = fluxperf.round(2, 1)["configuration"]
    assert (configuration["output_tokens_from"], configuration["input_tokens_from"]) == ("output_events", "estimate")
    assert {row["output_tokens"] for row in fluxperf.round(2, 1)["requests"]} == {len(WORDS)}
