"""Sessions of several turns: what servers really get, round by round, and what is told of it."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from typing import Any

import pytest

from tests.end_to_end.command import Fluxperf
from tests.end_to_end.servers import Exchange, Mock, Serve, running_mock

TURNS = (3, 1, 4, 2)
ENTRIES = [
    {
        "session_id": f"s{number}",
        "messages": [
            {"role": "system", "content": f"be kind to {number}"},
            *({"role": "user", "content": f"question {number}.{turn}"} for turn in range(turns)),
        ],
    }
    for number, turns in enumerate(TURNS)
]
TOTAL = sum(TURNS)


def write_sessions(fluxperf: Fluxperf, entries: list[Any] = ENTRIES) -> None:
    (fluxperf.place / "prompts.jsonl").write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))


def histories(bodies: list[Any]) -> dict[str, list[tuple[str, ...]]]:
    """Of each question what was sent before it, once for each time that it was asked."""
    found = defaultdict(list)
    for body in bodies:
        *before, question = (message["content"] for message in body["messages"])
        found[question].append(tuple(before))
    return found


class Echo:
    """Answers each question with its number of the request, so that no two answers are the same."""

    def __init__(self, *refused: str) -> None:
        self.refused = set(refused)

    def __call__(self, exchange: Exchange) -> None:
        question = exchange.server.bodies[exchange.number]["messages"][-1]["content"]
        if question in self.refused:
            exchange.answer(500, "no")
        else:
            exchange.stream(f"answer {exchange.number}")


def test_later_rounds_have_the_real_answers_of_round_1_in_their_history(fluxperf: Fluxperf, serve: Serve) -> None:
    write_sessions(fluxperf)
    server = serve(Echo())
    ended = fluxperf.measure(server.url, "--mode multi_turn --concurrency 2 --rounds 3 --workers 2")
    assert ended.code == 0, ended.err
    assert len(server.bodies) == 3 * TOTAL
    for question, before in histories(server.bodies).items():
        assert len(set(before)) == 1, question
    (longest, *_) = histories(server.bodies)["question 2.3"]
    assert longest[::2] == ("be kind to 2", *(f"answer {number}" for number in map(_number, longest[2::2])))
    assert longest[1::2] == tuple(f"question 2.{turn}" for turn in range(3))
    rows = fluxperf.round(2, 2)["requests"]
    assert [(row["index"], row["turn"], row["session_id"]) for row in rows] == [
        (number, turn, f"s{number}") for number, turns in enumerate(TURNS) for turn in range(turns)
    ]
    compared = {one["metric"]: one for one in fluxperf.run_json()["comparisons"] if one["round"] == 2}
    assert (compared["ttft_ms"]["pairs"], compared["ttft_ms"]["dropped"]) == (TOTAL, 0)


def _number(answer: str) -> int:
    word, _, number = answer.partition(" ")
    assert word == "answer"
    return int(number)


def test_each_round_may_have_its_own_history(fluxperf: Fluxperf, serve: Serve) -> None:
    write_sessions(fluxperf)
    server = serve(Echo())
    ended = fluxperf.measure(server.url, "--mode multi_turn --concurrency 2 --own-history")
    assert ended.code == 0, ended.err
    found = histories(server.bodies)
    assert {len(set(before)) for question, before in found.items() if question.endswith(".0")} == {1}
    assert {len(set(before)) for question, before in found.items() if not question.endswith(".0")} == {2}
    assert fluxperf.round(2, 2)["configuration"]["history"] == "its own answers"


def test_each_level_repeats_its_own_answers(fluxperf: Fluxperf, serve: Serve) -> None:
    write_sessions(fluxperf)
    server = serve(Echo())
    ended = fluxperf.measure(server.url, "--mode multi_turn --concurrency 1 2 --same-samples --control-round")
    assert ended.code == 0, ended.err
    rounds = [histories(server.bodies[start : start + TOTAL]) for start in range(0, 6 * TOTAL, TOTAL)]
    assert rounds[0] == rounds[1] != rounds[3] == rounds[4]
    answers = {text for before in rounds[5].values() for text in before[0] if text.startswith("answer")}
    assert answers
    assert not answers & {text for before in rounds[4].values() for text in before[0]}


def test_what_refuses_is_noticed_also_with_fewer_sessions_than_places(fluxperf: Fluxperf, serve: Serve) -> None:
    write_sessions(fluxperf)
    server = serve(lambda exchange: exchange.answer(401, "no"))
    ended = fluxperf.measure(server.url, "--mode multi_turn --concurrency 10")
    assert ended.code == 3
    assert "--api-key" in ended.err
    assert len(server.bodies) == len(TURNS)


def test_the_pauses_are_the_same_in_each_round(fluxperf: Fluxperf, mock: Mock) -> None:
    write_sessions(fluxperf)
    assert fluxperf.measure(mock.url, "--mode multi_turn --concurrency 4 --think-time 0.01-0.4").code == 0
    pauses = []
    for number in (1, 2):
        result = fluxperf.round(4, number)
        rows = {(row["index"], row["turn"]): row for row in result["requests"]}
        pauses.append(
            {
                (index, turn): row["sent_s"] - rows[index, turn - 1]["sent_s"] - rows[index, turn - 1]["end_ms"] / 1000
                for (index, turn), row in rows.items()
                if turn
            }
        )
        assert all(check["ok"] for check in result["summary"]["checks"] if check["name"] == "turnaround")
    first, later = pauses
    assert later == pytest.approx(first, abs=0.1)
    assert len({round(pause, 2) for pause in first.values()}) > 2


def test_the_turns_of_a_session_come_one_after_the_other(fluxperf: Fluxperf, mock: Mock) -> None:
    write_sessions(fluxperf)
    assert fluxperf.measure(mock.url, "--mode multi_turn --concurrency 3 --rounds 1").code == 0
    rows = fluxperf.round(3, 1)["requests"]
    for before, after in itertools.pairwise(rows):
        if before["index"] == after["index"]:
            assert after["sent_s"] >= before["sent_s"] + before["end_ms"] / 1000
    assert max(row["sent_s"] for row in rows if row["turn"] == 0) < max(row["sent_s"] for row in rows)


def test_a_failed_turn_ends_its_session(fluxperf: Fluxperf, serve: Serve) -> None:
    write_sessions(fluxperf)
    server = serve(Echo("question 0.1"))
    ended = fluxperf.measure(server.url, "--mode multi_turn --concurrency 2")
    assert ended.code == 0, ended.err
    outcomes = {"ok": TOTAL - 2, "http_status": 1, "not_sent": 1}
    for number in (1, 2):
        result = fluxperf.round(2, number)
        assert result["summary"]["outcomes"] == outcomes
        assert result["summary"]["total_requests"] == TOTAL - 1
        row = next(row for row in result["requests"] if row["outcome"] == "not_sent")
        assert (row["index"], row["turn"], row["success"], row["sent_s"], row["meets_slo"]) == (0, 2, False, None, None)
        assert "turn 1" in row["error"]
    assert "Not Sent (not counted): 1" in ended.out
    assert not any("question 0.2" in question for question in histories(server.bodies))


def test_the_oldest_turns_are_left_out_beyond_the_limit(fluxperf: Fluxperf, serve: Serve) -> None:
    write_sessions(fluxperf)
    server = serve(Echo())
    ended = fluxperf.measure(server.url, "--mode multi_turn --concurrency 1 --workers 1 --max-context-tokens 12")
    assert ended.code == 0, ended.err
    for before in histories(server.bodies).values():
        assert len(set(before)) == 1
        assert before[0][0].startswith("be kind to")
    rows = [row for row in fluxperf.round(1, 1)["requests"] if row["index"] == 2]
    dropped = [row["dropped_turns"] for row in rows]
    assert dropped[0] == 0
    assert dropped == sorted(dropped)
    assert dropped[-1] > 0
    (last, *_) = histories(server.bodies)["question 2.3"]
    assert len(last) == 1 + 2 * (3 - dropped[-1])
    assert "oldest turns" in ended.out
    assert [row["dropped_turns"] for row in fluxperf.round(1, 2)["requests"] if row["index"] == 2] == dropped


def test_turn_by_turn_the_reuse_within_a_session_shows(fluxperf: Fluxperf) -> None:
    write_sessions(fluxperf, [{"user_messages": [f"{number} " * 300, "and?", "so?"]} for number in range(12)])
    options = "--prefill-tokens-per-s 20000 --decode-ms 0.5 --overhead-ms 2 --tokens 4"
    with running_mock(*options.split()) as mock:
        ended = fluxperf.measure(mock.url, "--mode multi_turn --concurrency 3 --workers 1 --control-round")
    assert ended.code == 0, ended.err
    first, later, control = (fluxperf.round(3, name)["summary"] for name in (1, 2, "control"))
    for summary in (first, control):
        ratios = [turn["cached_tokens"]["ratio"] for turn in summary["turns"]]
        assert ratios[0] == 0
        assert min(ratios[1:]) > 0.7
    assert first["cold"] is True
    assert min(turn["cached_tokens"]["ratio"] for turn in later["turns"]) > 0.7
    assert [turn["turn"] for turn in first["turns"]] == [0, 1, 2]
    assert [turn["requests"] for turn in first["turns"]] == [12, 12, 12]
    rows = fluxperf.round(3, 1)["requests"]
    for turn in first["turns"]:
        ttfts = sorted(row["ttft_ms"] for row in rows if row["turn"] == turn["turn"])
        assert turn["ttft_ms"]["p50"] == ttfts[5]
        assert turn["ttft_ms"]["max"] == ttfts[-1]
    assert "By turn, round 1 -> round 2:" in ended.out
    (found,) = fluxperf.run_json()["evaluations"]
    assert {check["name"]: check["ok"] for check in found["checks"]}["cold"] is True


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_run_that_was_killed_goes_on_with_the_answers_of_round_1(
    fluxperf: Fluxperf, serve: Serve, concurrency: int
) -> None:
    write_sessions(fluxperf)

    def script(exchange: Exchange) -> None:
        if TOTAL < exchange.number < TOTAL + 6 and holding:
            exchange.hang()
        else:
            Echo()(exchange)

    holding = [True]
    server = serve(script)
    options = f"--mode multi_turn --concurrency {concurrency} --workers 1"
    running = fluxperf.start(fluxperf.measuring(server.url, options))
    server.wait_for(TOTAL + 2)
    running.kill()
    first = server.bodies[:TOTAL]
    holding.clear()
    begun = len(server.bodies)
    ended = fluxperf.measure(server.url, f"{options} --resume")
    assert ended.code == 0, ended.err
    assert len(server.bodies) < begun + 2 * TOTAL  # round 2 alone, and what was still on its way
    assert histories(server.bodies[-TOTAL:]) == histories(first)


def test_a_worker_that_dies_loses_one_turn_of_each_session_it_had(fluxperf: Fluxperf, serve: Serve) -> None:
    """Ctrl-C in the middle, too, cuts off one turn of each session that was under way, and no more."""
    write_sessions(fluxperf)

    def script(exchange: Exchange) -> None:
        if exchange.server.bodies[exchange.number]["messages"][-1]["content"].endswith(".1"):
            exchange.hang()
        else:
            Echo()(exchange)

    server = serve(script)
    running = fluxperf.start(fluxperf.measuring(server.url, "--mode multi_turn --concurrency 4 --workers 2"))
    server.wait_for(sum(min(turns, 2) for turns in TURNS))
    running.press_ctrl_c()
    ended = running.end()
    assert ended.code == 130
    outcomes = fluxperf.round(4, 1)["summary"]["outcomes"]
    assert outcomes == {"ok": 4, "cut_off": 3}
