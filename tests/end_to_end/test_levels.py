"""Several levels of concurrency: which prompts each gets, what is said of them, and how many are in flight."""

from __future__ import annotations

import json
import threading
from typing import Any

from tests.end_to_end.command import TIMEOUT_S, Fluxperf
from tests.end_to_end.servers import Exchange, Mock, Serve


def indices(result: Any) -> set[int]:
    return {row["index"] for row in result["requests"]}


def test_no_level_sees_a_prompt_of_an_earlier_one(fluxperf: Fluxperf, mock: Mock) -> None:
    fluxperf.write_prompts(10)
    ended = fluxperf.measure(mock.url, "--concurrency 2 4 --num-samples 3 5")
    assert ended.code == 0
    samples = {level: indices(fluxperf.round(level, 1)) for level in (2, 4)}
    assert {level: len(sample) for level, sample in samples.items()} == {2: 3, 4: 5}
    assert not samples[2] & samples[4]
    assert all(indices(fluxperf.round(level, 2)) == sample for level, sample in samples.items())
    assert [fluxperf.round(level, 1)["summary"]["cold"] for level in (2, 4)] == [True, True]
    for level in (2, 4):
        assert f"Concurrency: {level} | Round 1 Performance Metrics" in ended.out
    assert "there are fewer requests than the concurrency" not in ended.out
    assert "not cold" not in ended.out


def test_the_same_samples_are_not_cold_at_the_second_level(fluxperf: Fluxperf, mock: Mock) -> None:
    fluxperf.write_prompts(10)
    ended = fluxperf.measure(mock.url, "--concurrency 2 4 --num-samples 4 --same-samples")
    assert ended.code == 0
    assert indices(fluxperf.round(2, 1)) == indices(fluxperf.round(4, 1))
    mark = "not cold: sent before at concurrency 2"
    assert mark in ended.out
    assert "Concurrency 4: that cannot be told. Round 1 was not cold: sent before at concurrency 2; " in ended.out
    assert [entry["cold_reason"] == mark for entry in fluxperf.run_json()["rounds"]] == [False, False, True, False]
    assert [(row["cold"], row["cold_reason"] == mark) for row in fluxperf.csv_rows()] == [
        ("true", False),
        ("", False),
        ("false", True),
        ("", False),
    ]


def test_what_is_unusual_about_a_sample_is_said_above_its_table(fluxperf: Fluxperf, serve: Serve) -> None:
    server = serve(lambda exchange: exchange.stream("a", "b"))
    prompts = ["short", "twice", "a long prompt of forty-one characters, ok", "twice"]
    (fluxperf.place / "prompts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in prompts))
    ended = fluxperf.measure(server.url, "--concurrency 8 --num-samples 50 --max-input-length 13 --rounds 1")
    notes = [line.removeprefix("Note: ") for line in ended.out.splitlines() if line.startswith("Note: ")]
    assert notes == [
        "asked for 50 prompts, the dataset holds 4: all of them, once each",
        "at most 4 in flight: there are fewer requests than the concurrency",
        "1 of 4 prompts are the same as another one in the sample",
        "1 of 4 prompts were cut to 13 characters",
    ]
    assert sorted(server.prompts) == ["a long prompt", "short", "twice", "twice"]
    assert fluxperf.round(8, 1)["summary"]["notes"] == notes


class Gate:
    """Answers one request at a time, the newest, and only while exactly `concurrency` are open, or all that are left.

    Whoever has more or fewer in flight at any time than it should gets no further.
    """

    def __init__(self, concurrency: int, total: int) -> None:
        self.most = 0
        self.answered = 0
        self._concurrency = concurrency
        self._total = total
        self._open: list[int] = []
        self._changed = threading.Condition()

    def __call__(self, exchange: Exchange) -> None:
        with self._changed:
            self._open.append(exchange.number)
            self.most = max(self.most, len(self._open))
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._is_next(exchange.number), TIMEOUT_S)
            self._open.remove(exchange.number)
            self.answered += 1
            self._changed.notify_all()
        exchange.stream("a", "b")

    def _is_next(self, number: int) -> bool:
        expected = min(self._concurrency, self._total - self.answered)
        return len(self._open) == expected and number == max(self._open)


def test_exactly_as_many_are_in_flight_as_asked_until_the_end(fluxperf: Fluxperf, serve: Serve) -> None:
    gate = Gate(concurrency=5, total=20)
    server = serve(gate)
    fluxperf.write_prompts(20)
    ended = fluxperf.measure(server.url, "--concurrency 5 --workers 2 --rounds 1 --engine none")
    assert ended.code == 0
    assert (gate.most, gate.answered) == (5, 20)
    assert {row["worker"] for row in fluxperf.round(5, 1)["requests"]} == {0, 1}
    assert server.connections == 1 + 5  # the first one was to see whether anybody is there


def test_an_answer_from_the_cache_in_round_1_leaves_no_gain_to_tell(fluxperf: Fluxperf, serve: Serve) -> None:
    server = serve(lambda exchange: exchange.stream("a", "b", cached_tokens=2, prompt_tokens=10))
    fluxperf.write_prompts(4)
    ended = fluxperf.measure(server.url)
    _, _, closing = ended.out.partition("Comparison of Rounds")
    assert "Round 1 was not cold: 20.0% of its prompt tokens were already cached" in closing
    assert "faster" not in closing
    assert fluxperf.round(10, 1)["summary"]["cold"] is False
