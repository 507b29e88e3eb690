"""What a run leaves in its output directory, held against itself and against what the server says it has done."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest

from tests.end_to_end.command import Fluxperf
from tests.end_to_end.servers import Mock, Serve

PROMPTS = 12


def names(text: str) -> list[str]:
    return text.split()


STATS = names("avg p50 p90 p95 p99 min max stddev")
METRICS = names("ttft_ms ttfo_ms itl_ms chunk_gap_ms latency_ms connect_ms wait_ms output_token_throughput")
CONFIGURATION = names("endpoint address model mode concurrency num_samples round workers http_version timestamps seed")
SUMMARY = names(
    "total_requests successful_requests failed_requests duration_s avg_input_tokens avg_output_tokens avg_in_flight "
    "throughput goodput outcomes cached_tokens cold cold_reason prometheus checks verdict audit unmeasured"
)
ROW = names(
    "index session_id turn outcome success finish_reason status sent_s ttft_ms ttfo_ms itl_ms latency_ms first_byte_ms "
    "last_output_ms end_ms max_gap_ms output_events input_tokens output_tokens cached_tokens meets_slo worker "
    "connect_ms wait_ms resent error"
)
COMPARISON = names(
    "stage concurrency metric pairs dropped baseline_round round median_ratio mean_ratio ratio_ci95 "
    "median_difference_ms difference_ci95_ms p_value share_slower"
)
CSV_HEAD = names("stage concurrency round requests ok failed cold duration_s tokens_per_s requests_per_s goodput_ratio")
RUN = names("schema started_at partial environment labels configuration rounds comparisons evaluations verdict")
PROVENANCE = names("ended_at server")


@pytest.fixture(scope="module")
def truth(shared_fluxperf: Fluxperf, mock_process: Mock) -> Any:
    """What the server did in the run that all tests here look at: two rounds of twelve prompts, three in flight."""
    mock_process.forget()
    shared_fluxperf.write_prompts(PROMPTS, words=20)
    (shared_fluxperf.place / "slo.yaml").write_text("name: easy\nslo: {ttft_ms: 60000}\n")
    words = "--concurrency 3 --workers 2 --max-output-tokens 5 --slo-file slo.yaml --label k=v --seed 7"
    ended = shared_fluxperf.measure(mock_process.url, words)
    assert ended.code == 0, ended.err
    return mock_process.truth()


@pytest.fixture
def run(shared_fluxperf: Fluxperf, truth: Any) -> Fluxperf:
    """That run."""
    return shared_fluxperf


@pytest.fixture(params=[1, 2])
def result(run: Fluxperf, request: pytest.FixtureRequest) -> Any:
    """Each of its rounds."""
    return run.round(3, request.param)


def test_there_is_a_file_a_round_and_three_of_the_run_and_nothing_else(run: Fluxperf) -> None:
    assert {path.name for path in run.out.iterdir()} == {
        "run.json",
        "metrics_summary.csv",
        "histograms.hlog",
        "concurrency_3_round_1.json",
        "concurrency_3_round_2.json",
    }


def test_a_round_has_every_key_that_is_promised(result: Any) -> None:
    assert result["schema"] == "fluxperf.round/1"
    assert set(CONFIGURATION) <= result["configuration"].keys()
    assert {*SUMMARY, *METRICS} <= result["summary"].keys()
    for metric in METRICS:
        assert [*result["summary"][metric]] == STATS
    assert all(set(ROW) <= row.keys() for row in result["requests"])
    assert all(set(check) == {"name", "ok", "text"} for check in result["summary"]["checks"])


def test_the_configuration_is_that_of_the_run(run: Fluxperf, mock: Mock) -> None:
    configuration = run.round(3, 2)["configuration"]
    asked = {"endpoint": mock.url, "model": "m", "mode": "dual_round", "concurrency": 3, "num_samples": PROMPTS}
    used = {"address": mock.url.split("/")[2], "round": 2, "workers": 2, "http_version": "1.1", "seed": 7}
    assert asked | used == {name: configuration[name] for name in asked | used}
    assert configuration["timestamps"] in ("kernel", "user")


def test_rows_are_in_order_of_index_one_for_each_prompt(result: Any) -> None:
    assert [(row["index"], row["turn"]) for row in result["requests"]] == [(index, 0) for index in range(PROMPTS)]


def test_rows_hold_together(result: Any) -> None:
    for row in result["requests"]:
        assert row["success"]
        assert row["outcome"] == ("length" if row["finish_reason"] == "length" else "ok")
        assert 0 < row["first_byte_ms"] <= row["ttft_ms"] <= row["last_output_ms"] <= row["end_ms"] == row["latency_ms"]
        assert row["output_events"] == row["output_tokens"] <= 5
        assert row["meets_slo"] is True
        assert (row["status"], row["error"], row["session_id"], row["resent"]) == (200, None, None, 0)
        assert (row["connect_ms"], row["wait_ms"]) == (0, 0)
        assert row["worker"] in (0, 1)
    assert min(row["sent_s"] for row in result["requests"]) == 0


def test_the_summary_adds_up(result: Any) -> None:
    summary, rows = result["summary"], result["requests"]
    totals = [summary[f"{kind}_requests"] for kind in ("total", "successful", "failed")]
    assert totals == [PROMPTS, PROMPTS, 0]
    assert sum(summary["outcomes"].values()) == PROMPTS
    duration_s = max(row["sent_s"] + row["end_ms"] / 1000 for row in rows)
    assert summary["duration_s"] == pytest.approx(duration_s, abs=1e-6)
    tokens = sum(row["output_tokens"] for row in rows)
    assert summary["throughput"]["tokens_per_s"] == pytest.approx(tokens / duration_s)
    assert summary["throughput"]["requests_per_s"] == pytest.approx(PROMPTS / duration_s)
    assert summary["avg_output_tokens"] == pytest.approx(tokens / PROMPTS)
    assert summary["avg_input_tokens"] == pytest.approx(sum(row["input_tokens"] for row in rows) / PROMPTS)
    assert 0 < summary["avg_in_flight"] <= 3
    cached = summary["cached_tokens"]
    assert cached["cached_tokens"] == sum(row["cached_tokens"] for row in rows)
    assert cached["prompt_tokens"] == sum(row["input_tokens"] for row in rows)
    assert summary["goodput"]["requests"] == PROMPTS
    assert (summary["goodput"]["name"], summary["goodput"]["missed"]) == ("easy", {"ttft_ms": 0})


@pytest.mark.parametrize("metric", ["ttft_ms", "ttfo_ms", "itl_ms", "latency_ms", "output_token_throughput"])
def test_statistics_are_those_of_the_rows(result: Any, metric: str) -> None:
    figures = result["summary"][metric]
    values = sorted(row[metric] for row in result["requests"] if row[metric] is not None)
    for percent in (50, 90, 95, 99):
        nearest_rank = values[math.ceil(len(values) * percent / 100) - 1]
        assert figures[f"p{percent}"] == pytest.approx(nearest_rank, rel=1e-3)
    mean = sum(values) / len(values)
    assert (figures["min"], figures["max"]) == (values[0], values[-1])
    assert figures["avg"] == pytest.approx(mean, abs=2e-6)
    assert figures["stddev"] == pytest.approx(math.sqrt(sum((v - mean) ** 2 for v in values) / len(values)), abs=1e-5)


def test_counts_are_those_of_the_server(run: Fluxperf, truth: Any) -> None:
    rows = [row for number in (1, 2) for row in run.round(3, number)["requests"]]
    assert truth["requests"] == truth["streamed"] == truth["finished"] == len(rows)
    assert truth["tokens"] == sum(row["output_tokens"] for row in rows)
    assert truth["prompt_tokens"] == sum(row["input_tokens"] for row in rows)
    assert truth["cached_tokens"] == sum(row["cached_tokens"] for row in rows)
    assert truth["aborted"] == 0


def test_round_2_shows_the_cache(run: Fluxperf) -> None:
    first, second = (run.round(3, number)["summary"] for number in (1, 2))
    assert (first["cold"], first["cached_tokens"]["ratio"]) == (True, 0)
    assert second["cached_tokens"]["ratio"] > 0.5
    assert second["cold"] is None


def test_run_json_has_the_rounds_and_their_comparison(run: Fluxperf) -> None:
    found = run.run_json()
    assert [name for name in found if name not in PROVENANCE] == RUN
    assert set(PROVENANCE) < set(found)
    assert (found["schema"], found["partial"]) == ("fluxperf.run/1", False)
    assert set(found["verdict"]) == {"status", "reasons"}
    assert found["labels"] == {"k": "v"}
    for number, entry in enumerate(found["rounds"], 1):
        assert entry["file"] == f"concurrency_3_round_{number}.json"
        summary = run.round(3, number)["summary"]
        assert {name: entry[name] for name in summary} == summary
    assert [comparison["metric"] for comparison in found["comparisons"]] == ["ttft_ms", "itl_ms", "latency_ms"]
    for comparison in found["comparisons"]:
        assert [*comparison][: len(COMPARISON)] == COMPARISON
        assert (comparison["baseline_round"], comparison["round"], comparison["concurrency"]) == (1, 2, 3)
        assert comparison["pairs"] + comparison["dropped"] == PROMPTS


def test_the_comparison_is_that_of_the_rows(run: Fluxperf) -> None:
    before, after = (run.round(3, number)["requests"] for number in (1, 2))
    ratios = [later["ttft_ms"] / first["ttft_ms"] for first, later in zip(before, after, strict=True)]
    comparison = run.run_json()["comparisons"][0]
    assert comparison["mean_ratio"] == pytest.approx(math.prod(ratios) ** (1 / PROMPTS), rel=1e-4)
    assert comparison["share_slower"] == pytest.approx(sum(ratio > 1 for ratio in ratios) / PROMPTS)


def test_the_csv_has_the_rounds(run: Fluxperf) -> None:
    assert (run.out / "metrics_summary.csv").read_bytes().startswith(b"\xef\xbb\xbfstage,concurrency,round,")
    rows = run.csv_rows()
    assert [*rows[0]][: len(CSV_HEAD)] == CSV_HEAD
    assert {f"{metric}_{stat}" for metric in METRICS for stat in STATS} <= rows[0].keys()
    assert [(row["concurrency"], row["round"], row["requests"]) for row in rows] == [("3", "1", "12"), ("3", "2", "12")]
    for row in rows:
        summary = run.round(3, int(row["round"]))["summary"]
        assert float(row["ttft_ms_p99"]) == summary["ttft_ms"]["p99"]
        assert float(row["tokens_per_s"]) == summary["throughput"]["tokens_per_s"]
        assert (row["goodput_ratio"], row["stage"]) == ("1.0", "")


def test_later_rounds_send_the_same_prompts_in_another_order(fluxperf: Fluxperf, serve: Serve) -> None:
    server = serve(lambda exchange: exchange.stream("a", "b"))
    fluxperf.write_prompts(8)
    assert fluxperf.measure(server.url, "--concurrency 1 --rounds 3").code == 0
    first, second, third = server.prompts[:8], server.prompts[8:16], server.prompts[16:]
    assert sorted(first) == sorted(second) == sorted(third)
    assert all(one != other for one, other in pairwise([first, second, third, first]))
    lines = (fluxperf.place / "prompts.jsonl").read_text().splitlines()
    rows = fluxperf.round(1, 2)["requests"]
    by_time = sorted(rows, key=lambda row: float(row["sent_s"]))
    assert [prompt in lines[row["index"]] for prompt, row in zip(second, by_time, strict=True)] == [True] * 8

    server.bodies.clear()
    assert fluxperf.measure(server.url, "--concurrency 1 --no-shuffle-round2").code == 0
    assert server.prompts == first * 2
