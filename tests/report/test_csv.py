from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest

from fluxperf.metrics import METRICS
from fluxperf.model import RoundResult, RunResult, Stats
from fluxperf.report.csv import metrics_summary

FIRST_COLUMNS = (
    "stage,concurrency,round,requests,ok,failed,cold,duration_s,tokens_per_s,requests_per_s,goodput_ratio,"
    "ttft_ms_avg,ttft_ms_p50,ttft_ms_p90,ttft_ms_p95,ttft_ms_p99,ttft_ms_min,ttft_ms_max,ttft_ms_stddev,itl_ms_avg"
)


def read(run: RunResult) -> list[dict[str, str]]:
    text = "".join(metrics_summary(run)).encode().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_file(a_run: Callable[..., RunResult], full_round: RoundResult, golden: Callable[[str, str], None]) -> None:
    golden("metrics_summary.csv", "".join(metrics_summary(a_run(*a_run().rounds, full_round))))


def test_header_and_line_ends(a_run: Callable[..., RunResult]) -> None:
    header, *lines = metrics_summary(a_run())
    assert header.startswith("\ufeff" + FIRST_COLUMNS)
    assert all(line.endswith("\r\n") and line.count("\n") == 1 for line in (header, *lines))
    assert len(lines) == 2


def test_every_metric_of_the_table_has_its_columns(a_run: Callable[..., RunResult]) -> None:
    (row, _) = read(a_run())
    for metric in METRICS:
        assert f"{metric.name}_stddev" in row


def test_prometheus_columns_are_those_of_every_round(
    a_run: Callable[..., RunResult], a_round: Callable[..., RoundResult], full_round: RoundResult
) -> None:
    without, with_them = read(a_run(a_round(), full_round))
    assert without["cache_usage_avg"] == ""
    assert (with_them["cache_usage_avg"], with_them["cache_usage_delta"]) == ("0.5", "0.5")
    assert with_them["cache_usage_p50"] == with_them["absent_avg"] == ""


@pytest.mark.parametrize(
    ("summary", "cold", "reason"),
    [
        ({"cold": True}, "true", ""),
        ({"cold": None}, "", ""),
        ({"cold": False, "cold_reason": "sent before at concurrency 5"}, "false", None),
    ],
)
def test_cold(
    a_run: Callable[..., RunResult],
    a_round: Callable[..., RoundResult],
    summary: dict[str, Any],
    cold: str,
    reason: str | None,
) -> None:
    (row,) = read(a_run(a_round(summary=summary)))
    assert row["cold"] == cold
    assert row["cold_reason"] == ("not cold: sent before at concurrency 5" if reason is None else reason)


def test_what_is_null_stands_empty(a_run: Callable[..., RunResult], a_round: Callable[..., RoundResult]) -> None:
    stats = {**a_round().summary.stats, "itl_ms": Stats(avg=0.0, p50=float("inf"))}
    (row,) = read(a_run(a_round(summary={"stats": stats, "goodput": None, "tokens_per_s": None})))
    assert row["goodput_ratio"] == row["tokens_per_s"] == row["itl_ms_p50"] == row["itl_ms_p99"] == row["stage"] == ""
    assert row["itl_ms_avg"] == "0.0"


def test_what_could_not_be_measured_stands_empty(
    a_run: Callable[..., RunResult], a_round: Callable[..., RoundResult]
) -> None:
    (row,) = read(a_run(a_round(summary={"unmeasured": {"itl_ms": "it all came at once"}})))
    assert row["itl_ms_avg"] == row["itl_ms_p99"] == ""
    assert row["ttft_ms_avg"] == "245.32"


def test_the_verdict_has_a_column(a_run: Callable[..., RunResult], a_round: Callable[..., RoundResult]) -> None:
    judged, not_judged = read(a_run(a_round(), a_round(summary={"verdict": None})))
    assert (judged["verdict"], not_judged["verdict"]) == ("valid", "")


@pytest.mark.parametrize("stage", ["=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\tx", "\rx"])
def test_a_stage_is_never_a_formula(
    a_run: Callable[..., RunResult], a_round: Callable[..., RoundResult], stage: str
) -> None:
    (row,) = read(a_run(a_round(stage=stage)))
    assert row["stage"] == f"'{stage}"


@pytest.mark.parametrize("stage", ["plain", 'a "b", c\nd', "日本 ☃", "a-b"])
def test_any_other_stage_is_as_it_was(
    a_run: Callable[..., RunResult], a_round: Callable[..., RoundResult], stage: str
) -> None:
    (row,) = read(a_run(a_round(stage=stage)))
    assert row["stage"] == stage


def test_a_name_that_utf_8_cannot_hold(a_run: Callable[..., RunResult], a_round: Callable[..., RoundResult]) -> None:
    (row,) = read(a_run(a_round(stage="a\udcff")))
    assert row["stage"] == "a\ufffd"
