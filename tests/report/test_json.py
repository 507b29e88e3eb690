from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NoReturn

from hypothesis import given
from hypothesis import strategies as st

from fluxperf.metrics import METRICS
from fluxperf.model import Outcome, RoundResult, RunResult, Stats, Status, Timeline, Verdict
from fluxperf.report.json import request_row, round_file_name, round_json, run_json

BuildRound = Callable[..., RoundResult]
BuildRun = Callable[..., RunResult]

ROW_KEYS = [
    "index",
    "session_id",
    "turn",
    "outcome",
    "success",
    "finish_reason",
    "status",
    "sent_s",
    "ttft_ms",
    "ttfo_ms",
    "itl_ms",
    "latency_ms",
    "first_byte_ms",
    "last_output_ms",
    "end_ms",
    "max_gap_ms",
    "output_events",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "meets_slo",
    "worker",
    "connect_ms",
    "wait_ms",
    "resent",
    "error",
]
SPREAD_KEYS = ["avg", "p50", "p90", "p95", "p99", "min", "max", "stddev"]
SUMMARY_KEYS = [
    "total_requests",
    "successful_requests",
    "failed_requests",
    "duration_s",
    "avg_input_tokens",
    "avg_output_tokens",
    "avg_in_flight",
    "ttft_ms",
    "ttfo_ms",
    "itl_ms",
    "chunk_gap_ms",
    "latency_ms",
    "connect_ms",
    "wait_ms",
    "output_token_throughput",
    "throughput",
    "goodput",
    "outcomes",
    "cached_tokens",
    "cold",
    "cold_reason",
    "prometheus",
    "checks",
]


def refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is not JSON")


def parse(chunks: Iterator[str]) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads("".join(chunks).encode(), parse_constant=refuse)
    return parsed


def test_the_round_file(full_round: RoundResult, golden: Callable[[str, str], None]) -> None:
    assert round_file_name(full_round) == "concurrency_5_round_1.json"
    golden("concurrency_5_round_1.json", "".join(round_json(full_round)))


def test_the_run_file(a_run: BuildRun, full_round: RoundResult, golden: Callable[[str, str], None]) -> None:
    run = a_run()
    golden("run.json", "".join(run_json(replace(run, rounds=(*run.rounds, full_round)))))


def test_every_promised_key_of_a_round(full_round: RoundResult) -> None:
    file = parse(round_json(full_round))
    assert list(file) == ["schema", "configuration", "summary", "requests"]
    assert file["schema"] == "fluxperf.round/1"
    summary = file["summary"]
    assert set(SUMMARY_KEYS) <= set(summary)
    for metric in METRICS:
        assert list(summary[metric.name]) == SPREAD_KEYS
    assert list(summary["throughput"]) == ["tokens_per_s", "requests_per_s"]
    goodput = ["name", "requests", "ratio", "tokens", "requests_per_s", "tokens_per_s", "missed"]
    assert list(summary["goodput"]) == goodput
    assert list(summary["cached_tokens"]) == ["prompt_tokens", "cached_tokens", "ratio"]
    assert [list(check) for check in summary["checks"]] == [["name", "ok", "text"]] * 3
    for row in file["requests"]:
        assert list(row)[: len(ROW_KEYS)] == ROW_KEYS


def test_every_promised_key_of_a_run(a_run: BuildRun) -> None:
    file = parse(run_json(a_run()))
    keys = ["schema", "started_at", "partial", "environment", "labels", "configuration", "rounds", "comparisons"]
    assert list(file) == [*keys, "evaluations", "verdict"]
    assert file["schema"] == "fluxperf.run/1"
    assert file["verdict"] == {"status": "valid", "reasons": []}
    assert [(entry["concurrency"], entry["round"], entry["stage"]) for entry in file["rounds"]] == [
        (5, 1, None),
        (5, 2, None),
    ]
    assert [entry["file"] for entry in file["rounds"]] == ["concurrency_5_round_1.json", "concurrency_5_round_2.json"]
    assert set(SUMMARY_KEYS) <= set(file["rounds"][0])
    comparison = (
        "stage concurrency metric pairs dropped baseline_round round median_ratio mean_ratio ratio_ci95 "
        "median_difference_ms difference_ci95_ms p_value share_slower"
    )
    assert list(file["comparisons"][0])[:14] == comparison.split()
    assert file["comparisons"][0]["median_difference_ms"] == -165.123457


def test_a_request_that_succeeded(a_round: BuildRound) -> None:
    first, *_ = a_round().requests
    row = request_row(first, a_round(first_sent_ns=4_000_000_000))
    assert row["sent_s"] == 1.0
    assert row["ttft_ms"] == row["ttfo_ms"] == 20.000123
    assert (row["first_byte_ms"], row["last_output_ms"], row["end_ms"]) == (19.0, 110.000123, 111.0)
    assert row["latency_ms"] == 111.0
    assert row["itl_ms"] == 10.0
    assert row["max_gap_ms"] == 11.000001
    assert (row["outcome"], row["success"], row["meets_slo"]) == ("ok", True, True)
    assert row["output_token_throughput"] == 90.09


def test_a_request_that_failed_keeps_its_stamps_and_has_nulls_for_the_rest(a_round: BuildRound) -> None:
    _, late, failed, cut_off = (request_row(request, a_round()) for request in a_round().requests)
    assert late["meets_slo"] is False
    assert late["success"] is True
    assert (failed["sent_s"], failed["first_byte_ms"], failed["end_ms"]) == (1.0, 1.0, 2.0)
    assert failed["ttft_ms"] is failed["itl_ms"] is failed["max_gap_ms"] is failed["last_output_ms"] is None
    assert failed["meets_slo"] is False
    assert cut_off["outcome"] == "cut_off"
    assert cut_off["meets_slo"] is cut_off["end_ms"] is None


def test_a_request_that_was_never_sent(a_round: BuildRound) -> None:
    row = request_row(Timeline(index=0, outcome=Outcome.CONNECT), a_round(first_sent_ns=None, slo=None))
    assert row["sent_s"] is row["latency_ms"] is row["meets_slo"] is None


def test_no_requests_and_no_rounds(a_round: BuildRound, a_run: BuildRun) -> None:
    assert parse(round_json(a_round(requests=())))["requests"] == []
    nothing = parse(run_json(replace(a_run(), rounds=(), comparisons=())))
    assert nothing["rounds"] == nothing["comparisons"] == []


def test_a_metric_without_a_value_is_null(a_round: BuildRound) -> None:
    stats = {**a_round().summary.stats, "ttft_ms": Stats(avg=float("nan"), max=float("inf"), min=0.0)}
    result = a_round(
        configuration={"weird": [float("nan"), {1: float("-inf")}]},
        summary={"stats": stats, "goodput": None, "tokens_per_s": float("nan"), "duration_s": 1 / 3},
    )
    file = parse(round_json(result))
    assert file["summary"]["ttft_ms"] == dict.fromkeys(SPREAD_KEYS) | {"min": 0.0}
    assert file["summary"]["goodput"] is file["summary"]["throughput"]["tokens_per_s"] is None
    assert file["summary"]["duration_s"] == 0.333333333
    assert file["configuration"] == {"weird": [None, {"1": None}]}


def test_cold(a_round: BuildRound) -> None:
    file = parse(round_json(a_round(summary={"cold": False, "cold_reason": "sent before at concurrency 5"})))
    assert file["summary"]["cold"] is False
    assert file["summary"]["cold_reason"] == "not cold: sent before at concurrency 5"


class Endless:
    """Requests that cannot all be in memory, because they never end."""

    def __iter__(self) -> Iterator[Timeline]:
        index = 0
        while True:
            yield Timeline(index=index)
            index += 1

    def __len__(self) -> int:
        return 10**12

    def __contains__(self, request: object) -> bool:
        return True


def test_requests_are_streamed_one_a_line(a_round: BuildRound) -> None:
    chunks = round_json(a_round(requests=Endless()))
    text = "".join(next(chunks) for _ in range(1000))
    assert text.count("\n") > 900
    assert text.splitlines()[-1].startswith('{"index":')


@given(text=st.text(alphabet=st.characters(exclude_categories=[])))
def test_any_text_makes_json_that_utf_8_can_hold(a_round: BuildRound, a_run: BuildRun, text: str) -> None:
    expected = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
    result = a_round(
        stage=text, requests=[Timeline(index=0, error=text, session_id=text)], configuration={"model": text}
    )
    file = parse(round_json(result))
    assert file["requests"][0]["error"] == file["configuration"]["model"] == expected
    assert parse(run_json(a_run(result)))["rounds"][0]["stage"] == expected


def test_labels_are_passed_on(a_run: BuildRun) -> None:
    assert parse(run_json(a_run(labels={"status": "none"})))["labels"] == {"status": "none"}


def test_the_verdict_of_a_run_and_of_its_rounds(a_run: BuildRun, full_round: RoundResult) -> None:
    verdict = Verdict(status=Status.INVALID, reasons=("round 1: this", "round 2: that"))
    file = parse(run_json(a_run(full_round, verdict=verdict)))
    assert file["verdict"] == {"status": "invalid", "reasons": ["round 1: this", "round 2: that"]}
    (entry,) = file["rounds"]
    assert entry["verdict"]["status"] == "invalid"
    assert entry["verdict"]["reasons"][0] == "worker 1 died"
    assert entry["verdict"]["figures"] == ["ttft_ms.p99", "throughput"]


def test_what_nobody_judged_is_null(a_run: BuildRun, a_round: BuildRound) -> None:
    file = parse(run_json(a_run(a_round(summary={"verdict": None, "audit": None}), verdict=None)))
    assert file["verdict"] is file["rounds"][0]["verdict"] is file["rounds"][0]["audit"] is None


def test_the_audit_of_a_round(a_round: BuildRound) -> None:
    audit = parse(round_json(a_round()))["summary"]["audit"]
    assert audit["receive_lag_ms"] == {"p50": 0.061234, "p99": 0.21, "max": 1.5}  # to the nanosecond
    assert audit["workers"][1] == {"worker": 1, "cpu_share": 0.04, "longest_stall_ms": 1.5, "stalls": 0}
    assert audit["shared_read_share"] == round(2 / 6480, 6)
    assert audit["collection_max_ms"] is None


def test_an_answer_that_came_at_once_has_no_gaps_and_no_itl(a_round: BuildRound) -> None:
    first, *_ = a_round().requests
    whole = replace(first, last_output_ns=first.first_output_ns, max_gap_ns=0)
    row = request_row(whole, a_round())
    assert row["max_gap_ms"] is row["itl_ms"] is None
    assert row["ttft_ms"] == 20.000123


def test_the_run_of_a_recipe(a_recipe_run: BuildRun) -> None:
    run = a_recipe_run(server={"restart": "never"})
    file = parse(run_json(run))
    assert list(file) == [
        *("schema", "started_at", "ended_at", "resumed_at", "partial", "environment", "labels", "configuration"),
        *("server", "recipe", "stages", "rounds", "comparisons", "evaluations", "verdict"),
    ]
    assert (file["ended_at"], file["resumed_at"]) == ("2026-01-31T12:02:00Z", ["2026-01-31T12:01:30Z"])
    assert file["recipe"] == {"path": "recipe.yaml", "sha256": "ab" * 32, "text": "stages: []\n"}
    first, second, third = file["stages"]
    keys = ("name", "folder", "state", "error", "started_at", "ended_at", "env", "configuration", "server", "verdict")
    assert tuple(first) == keys
    assert first["env"] == {"CUDA_VISIBLE_DEVICES": "0", "HF_TOKEN": "****", "PROXY": None}
    assert first["verdict"] == {"status": "invalid", "reasons": ["because"]}
    assert (second["state"], third["state"], third["verdict"]) == ("failed", "not run", None)
    assert [entry["file"] for entry in file["rounds"]][-2:] == [
        "Warm-up/Stage_1__Low_Concurrency/concurrency_4_round_2.json",
        "Stress/Stage_2__Burst/concurrency_16_round_1.json",
    ]


def test_the_run_of_one_stage_has_its_files_beside_it(a_recipe_run: BuildRun) -> None:
    file = parse(run_json(a_recipe_run(stages=(), recipe=None, resumed_at=(), ended_at=None)))
    assert not {"stages", "recipe", "resumed_at", "ended_at", "server"} & set(file)
    assert file["rounds"][0]["stage"] == "Warm-up/Stage 1: Low Concurrency"
    assert file["rounds"][0]["file"] == "concurrency_2_round_1.json"
